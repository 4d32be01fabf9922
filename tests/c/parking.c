/* Memory that the system refuses to unmap is parked, and later calls try again (csrc/exec/park.h). This file
 * tests that a program cannot accumulate temporary mappings while every unmapping is refused, and what the
 * child of a fork does with the memory that its parent parked. faults.c tests the retry itself.
 *
 * Built with EXECBUF_FAULT_INJECTION, which makes the library ask xb_fault before each call. */

#include "faults.h"

/* park.c makes no temporary mapping while so many are parked. One more is possible: a self-test checks the
 * limit, maps its page and then rewrites the page, which parks the copy if the rewrite fails. */
enum { LIMIT = 32, MOST_PARKED = LIMIT + 1 };

/* Every unmapping is refused from now on. */
static void refuse_unmapping(void) {
#if defined(_WIN32)
    always[0] = "UnmapViewOfFile"; /* how Windows unmaps the views of regions */
#endif
    arm(UNMAP, 0, true);
}

static void allow_unmapping(void) {
    disarm();
    always[0] = "";
}

/* Unmaps what is parked. Returns how many calls of the system that took. */
static long unmap_parked(void) {
    arm(NULL, -1, false);
    CHECK(execbuf_free(NULL) == EXECBUF_OK);
    return calls;
}

static bool is_unmapping(const char *call) {
    return call != NULL && (strcmp(call, UNMAP) == 0 || strcmp(call, "UnmapViewOfFile") == 0);
}

static execbuf_status rewrite(uint32_t value) {
    code made = returning(value);
    return execbuf_rewrite(&buffer, 0, made.bytes, made.length, &error);
}

/* The probe makes temporary mappings: at least one for each backend. */
static execbuf_probe probe_system(void) {
    execbuf_probe probe = EXECBUF_PROBE_INIT;
    CHECK(execbuf_probe_system(&probe) == EXECBUF_OK);
    return probe;
}

/* Reaches the limit. The caller has refused unmapping. */
static void fill_the_list(void) {
    for (int i = 0; i < 2 * LIMIT; i++) {
        (void)probe_system();
    }
}

static void check_refused(const execbuf_probe_result *before, const execbuf_probe_result *after,
                          uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        CHECK(before[i].call != NULL || is_unmapping(after[i].call));
    }
}

static void temporary_mappings_are_bounded_and_the_probe_names_the_reason(void) {
    execbuf_probe before = probe_system();
    CHECK(before.status == EXECBUF_OK);
    maps maps_before = look();
    refuse_unmapping();
    fill_the_list();
    maps full = look();
    fill_the_list();
    CHECK(same(full, look()));
    execbuf_probe refused = probe_system();
    check_refused(before.buffer, refused.buffer, refused.buffer_count);
    check_refused(before.pool, refused.pool, refused.pool_count);
    allow_unmapping();
    long unmapped = unmap_parked();
    CHECK(unmapped >= LIMIT && unmapped <= 2 * MOST_PARKED); /* one or two mappings each */
    CHECK(same(maps_before, look()));
    execbuf_probe after = probe_system();
    for (uint32_t i = 0; i < after.buffer_count; i++) {
        CHECK((after.buffer[i].call == NULL) == (before.buffer[i].call == NULL));
    }
    for (uint32_t i = 0; i < after.pool_count; i++) {
        CHECK((after.pool[i].call == NULL) == (before.pool[i].call == NULL));
    }
    CHECK(same(maps_before, look()));
}

/* Without a temporary mapping no pages are rewritten by replacing them, and no region is made. What needs
 * none works: publishing with the backend that worked last, and calls. */
static void code_is_published_and_runs_while_the_limit_is_reached(void) {
    execbuf_pool *pool;
    execbuf another;
    execbuf in_pool;
    code five = returning(5);
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    maps before = look_at_code();
    CHECK(create() == EXECBUF_OK);
    CHECK(rewrite(1) == EXECBUF_OK); /* the first rewrite tests a backend, on a temporary page */
    refuse_unmapping();
    fill_the_list();
    CHECK(execbuf_new(&another, five.bytes, five.length, &error) == EXECBUF_OK && call(&another, 0) == 5);
    CHECK(execbuf_pool_publish(pool, &in_pool, five.bytes, five.length, &error) == EXECBUF_OK);
    execbuf_pool_stats stats = stats_of(pool);
    CHECK(call(&in_pool, 0) == 5 && stats.regions == 0 && stats.dedicated == 1);
    for (size_t i = 0; i < stats.why.attempt_count; i++) {
        CHECK(is_unmapping(stats.why.attempts[i].call) || stats.why.attempts[i].os_error != 0);
    }
    maps full = look();
    for (int i = 0; i < 2 * LIMIT; i++) {
        execbuf_status status = rewrite(2);
        CHECK((status == EXECBUF_OK) == !LADDER); /* other systems rewrite in place */
        if (status != EXECBUF_OK) {
            CHECK(status == EXECBUF_E_NO_MEMORY && is_unmapping(error.culprit) && call(&buffer, 0) == 1);
        }
    }
    CHECK(same(full, look()));
    CHECK(execbuf_free(&another) == EXECBUF_OK && execbuf_free(&in_pool) == EXECBUF_OK);
    allow_unmapping();
    CHECK(rewrite(3) == EXECBUF_OK && call(&buffer, 0) == 3);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK && unmap_parked() == 0);
    execbuf_pool_free(pool);
    CHECK(same(before, look_at_code()));
}

#if LADDER
/* Each of these rewrites fails after it has mapped a copy of the pages. */
static void failing_rewrites_do_not_accumulate_copies(void) {
    maps before = look();
    CHECK(create() == EXECBUF_OK);
    always[0] = "mremap";
    always[1] = PROTECT; /* else the pages would be rewritten in place */
    refuse_unmapping();
    for (int i = 0; i < LIMIT; i++) {
        CHECK(rewrite(2) != EXECBUF_OK && call(&buffer, 0) == 1);
    }
    maps full = look();
    for (int i = 0; i < LIMIT; i++) {
        CHECK(rewrite(2) != EXECBUF_OK && call(&buffer, 0) == 1);
    }
    CHECK(is_unmapping(error.culprit) && same(full, look()));
    allow_unmapping();
    always[1] = "";
    long unmapped = unmap_parked();
    CHECK(unmapped >= LIMIT && unmapped <= 2 * MOST_PARKED);
    CHECK(rewrite(2) == EXECBUF_OK && call(&buffer, 0) == 2);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    CHECK(same(before, look()));
}
#endif

#if !defined(_WIN32)
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void wait_for(pid_t child) {
    int status;
    CHECK(child >= 0 && waitpid(child, &status, 0) == child && status == 0);
}

/* A child forgets which backend works, so it needs a self-test, and with it a temporary mapping. */
static void a_child_recovers_from_the_limit(void) {
    maps before = look();
    CHECK(create() == EXECBUF_OK);
    refuse_unmapping();
    fill_the_list();
    pid_t child = fork();
    if (child == 0) {
        execbuf inherited = buffer;
        CHECK(create() == EXECBUF_E_NO_MEMORY && is_unmapping(error.culprit) && is_zero(&buffer));
        CHECK(call(&inherited, 0) == 1 && execbuf_free(&inherited) == EXECBUF_OK);
        allow_unmapping();
        CHECK(unmap_parked() >= LIMIT);
        maps recovered = look();
        CHECK(create() == EXECBUF_OK && call(&buffer, 0) == 1 && execbuf_free(&buffer) == EXECBUF_OK);
        CHECK(unmap_parked() == 0 && same(recovered, look()));
        _exit(0);
    }
    wait_for(child);
    CHECK(call(&buffer, 0) == 1);
    allow_unmapping();
    CHECK(execbuf_free(&buffer) == EXECBUF_OK && same(before, look()));
}
#endif

#if LADDER
/* The start and size of the only mapping that has the given letters in its protection, such as "w-s". NULL if
 * there is none or more than one. */
static uint8_t *only_mapping(const char *letters, size_t *size) {
    uint8_t *found = NULL;
    if (count_mappings(letters) != 1) {
        return NULL;
    }
    for (char *line = read_maps(); *line != '\0'; line = strchr(line, '\n') + 1) {
        unsigned long long start;
        unsigned long long end;
        char protection[5];
        CHECK(sscanf(line, "%llx-%llx %4s", &start, &end, protection) == 3);
        if (strstr(protection, letters) != NULL) {
            found = (uint8_t *)(uintptr_t)start; /* NOLINT(performance-no-int-to-ptr) */
            *size = (size_t)(end - start);
        }
    }
    return found;
}

static bool is_mapped(const void *address) {
    for (char *line = read_maps(); *line != '\0'; line = strchr(line, '\n') + 1) {
        unsigned long long start;
        unsigned long long end;
        CHECK(sscanf(line, "%llx-%llx", &start, &end) == 2);
        if ((uintptr_t)address >= start && (uintptr_t)address < end) {
            return true;
        }
    }
    return false;
}

/* Functions that unmap what is parked, as the first call in a child. */
static void free_nothing(void) {
    CHECK(execbuf_free(NULL) == EXECBUF_OK);
}

static void make_buffer(void) {
    CHECK(create() == EXECBUF_OK && execbuf_free(&buffer) == EXECBUF_OK);
}

static void reserve_buffer(void) {
    CHECK(execbuf_reserve(&buffer, 100, NULL) == EXECBUF_OK && execbuf_free(&buffer) == EXECBUF_OK);
}

static execbuf inherited; /* a dedicated mapping, made before the child */

static void free_buffer(void) {
    CHECK(execbuf_free(&inherited) == EXECBUF_OK);
}

/* What the child does: its own memory takes the address of the writable view, which it has not inherited.
 * Then it unmaps what is parked, and publishes.
 *
 * In: view, size: the writable view that the parent has parked.
 *     entry:      an address in the executable view, which is parked, too.
 *     first_call: the child's first call of the library. */
static void unmap_in_child(uint8_t *view, size_t size, const void *entry, void (*first_call)(void)) {
    CHECK(!is_mapped(view) && is_mapped(entry));
    CHECK(mmap(view, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == view);
    memset(view, 0x5a, size);
    allow_unmapping();
    first_call();
    CHECK(!is_mapped(entry)); /* the executable view only */
    CHECK(is_mapped(view) && view[0] == 0x5a && view[size - 1] == 0x5a);
    execbuf_pool *pool;
    code five = returning(5);
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_publish(pool, &buffer, five.bytes, five.length, NULL) == EXECBUF_OK);
    CHECK(call(&buffer, 0) == 5 && stats_of(pool).regions == 1);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_pool_free(pool);
    CHECK(unmap_parked() == 0 && view[0] == 0x5a && view[size - 1] == 0x5a);
    _exit(0);
}

/* Parks the views of a region. Returns an address in the executable view, or NULL if there are no regions. */
static const void *park_region(void) {
    execbuf_pool *pool;
    code one = returning(1);
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_publish(pool, &buffer, one.bytes, one.length, NULL) == EXECBUF_OK);
    const void *entry = stats_of(pool).regions == 1 ? buffer.entry : NULL;
    refuse_unmapping();
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_pool_free(pool);
    if (entry != NULL) {
        CHECK(failures >= 2 && is_mapped(entry));
    }
    return entry;
}

/* Children by fork, and by raw clone(2), which runs no fork handlers. */
static void a_child_drops_parked_writable_views(void) {
    static void (*const first_calls[])(void) = {free_nothing, make_buffer, reserve_buffer, free_buffer};
    for (size_t i = 0; i < 8; i++) {
        bool raw = i % 2 != 0;
        code one = returning(1);
        maps before = look_at_code();
        CHECK(execbuf_new(&inherited, one.bytes, one.length, NULL) == EXECBUF_OK);
        const void *entry = park_region();
        size_t size = 0;
        uint8_t *view = only_mapping("w-s", &size);
        if (entry == NULL || view == NULL) {
            (void)fprintf(stderr, "SKIP: parked views: there are no regions, or other shared memory\n");
            allow_unmapping();
            (void)unmap_parked();
            CHECK(execbuf_free(&inherited) == EXECBUF_OK);
            return;
        }
        pid_t child = raw ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
        if (child == 0) {
            unmap_in_child(view, size, entry, first_calls[i / 2]);
        }
        wait_for(child);
        CHECK(is_mapped(entry) && is_mapped(view));
        allow_unmapping();
        CHECK(unmap_parked() == 2 && !is_mapped(entry) && !is_mapped(view));
        CHECK(execbuf_free(&inherited) == EXECBUF_OK);
        CHECK(same(before, look_at_code()));
    }
}
#endif

int main(void) {
    RUN(temporary_mappings_are_bounded_and_the_probe_names_the_reason);
    RUN(code_is_published_and_runs_while_the_limit_is_reached);
#if LADDER
    RUN(failing_rewrites_do_not_accumulate_copies);
#endif
#if !defined(_WIN32)
    RUN(a_child_recovers_from_the_limit);
#endif
#if LADDER
    RUN(a_child_drops_parked_writable_views);
#endif
    (void)printf("ok\n");
    return 0;
}
