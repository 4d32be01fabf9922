/* Copies of regions and families while each system call in turn fails. Linux only. */

#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
#include "copy.h"
#endif

#include "faults.h"

#if LADDER

enum { CODE = 4096 + 16 };

/* Copies the region while calls fail as armed. Returns what the copy returned. */
static xb_result copy_with_failures(void) {
    maps before = look();
    int fds = open_fds();
    const xb_prim_views views_before = views;
    xb_result result = copy(1, 1);
    disarm();
    CHECK(run_at(CODE) == 5 && open_fds() == fds && same(before, look()));
    CHECK(result.call == NULL || memcmp(&views_before, &views, sizeof views) == 0);
    return result;
}

/* Fails each call of a copy in turn, and then all calls of each name. How many calls a copy makes varies,
 * because the place of the writable view is random, and another one is tried if it is taken. */
static void fail_each(execbuf_backend wanted, const char *const *names, size_t count) {
    if (!map_region_with(wanted)) {
        return;
    }
    put(CODE, 5);
    code_given = REFUSED;
    for (long number = 0; number == 0 || failures > 0; number++) {
        arm(NULL, number, false);
        xb_result result = copy_with_failures();
        CHECK(result.call == NULL || failures > 0);
    }
    for (size_t i = 0; i < count; i++) {
        arm(names[i], 0, true);
        xb_result result = copy_with_failures();
        CHECK(result.call != NULL && strncmp(result.call, names[i], strlen(names[i])) == 0);
    }
    unmap_region();
}

static void a_call_that_fails_changes_nothing(void) {
    static const char *const of_memfd[] = {"memfd_create", "ftruncate", "mmap",  "madvise",
                                           "mprotect",     "pwrite",    "fcntl", "mremap"};
    static const char *const of_alias[] = {"mmap", "madvise", "mprotect", "mremap"};
    fail_each(EXECBUF_BACKEND_MEMFD, of_memfd, 8);
    fail_each(EXECBUF_BACKEND_ALIAS, of_alias, 4);
}

/* mremap fails after it has unmapped the old pages. */
static int32_t lose_target(const char *name) {
    static bool fails;
    if (strcmp(name, "mremap") == 0) {
        fails = calls++ == first;
        return fails ? EXHAUSTED : 0;
    }
    return fails && strcmp(name, "unmapped") == 0;
}

static void code_that_a_failed_move_has_unmapped_is_mapped_again(void) {
    static const execbuf_backend both[] = {EXECBUF_BACKEND_MEMFD, EXECBUF_BACKEND_ALIAS};
    for (long i = 0; i < 2; i++) {
        if (!map_region_with(both[i])) {
            continue;
        }
        put(CODE, 5);
        maps before = look();
        answer = lose_target;
        first = i; /* the alias is itself made by mremap */
        calls = 0;
        xb_prim_content content = {pages_of(1, 1), {{0}}, {{0}}};
        for (size_t page = 2; page < 5 && can_hide(); page++) {
            xb_prim_add_page(&content.hidden, page);
        }
        CHECK(copy_content(&content).call == NULL);
        answer = NULL;
        disarm();
        CHECK(run_at(CODE) == 5);
        CHECK(is_gone(views.rx + 3 * CODE, 16) || !can_hide());
        put(CODE, 6);
        CHECK(has(CODE, 6) && same(before, look()));
        unmap_region();
    }
}

static void a_family_that_cannot_be_begun_is_none(void) {
    static const char *const names[] = {"shmget", "shmat", "shmctl"};
    xb_prim_family family;
    maps before = look();
    code_given = REFUSED;
    for (size_t i = 0; i < 3; i++) {
        arm(names[i], 0, false);
        xb_result result = xb_prim_begin_family(&family, 0);
        disarm();
        CHECK(result.call != NULL && strcmp(result.call, names[i]) == 0 && result.code == REFUSED);
        CHECK(family.page == NULL && !xb_prim_is_alone(&family) && same(before, look()));
        xb_prim_leave_family(&family);
    }
    if (xb_prim_begin_family(&family, 0).call == NULL) {
        arm("shmctl", 0, false);
        CHECK(!xb_prim_is_alone(&family)); /* not known */
        disarm();
        CHECK(xb_prim_is_alone(&family));
        xb_prim_leave_family(&family);
    }
    CHECK(same(before, look()));
}

int main(void) {
    (void)is_in_qemu_user(); /* before there is a region */
    RUN(a_call_that_fails_changes_nothing);
    RUN(code_that_a_failed_move_has_unmapped_is_mapped_again);
    RUN(a_family_that_cannot_be_begun_is_none);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: copies of regions: only Linux has them\n");
    return 0;
}

#endif
