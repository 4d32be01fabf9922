/* After a fork, under limits and filters that forbid to copy a region: the errors say so, and nothing has
 * changed. Linux only. */

#include "check.h"

#if COPIES_REGIONS && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if __has_include(<linux/filter.h>)
#define TESTS_LIMITS 1
#endif
#endif

#if defined(TESTS_LIMITS)

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "resource_limits.h"
#include "own.h"
#include "pool_helpers.h"

static execbuf_pool *pool;
static execbuf old;
static execbuf reserved;

static bool make_pool(void) {
    pool = new_pool();
    old = publish(pool, 1);
    CHECK(execbuf_pool_reserve(pool, &reserved, 100, NULL) == EXECBUF_OK);
    bool has_regions = stats_of(pool).regions == 1;
    if (!has_regions) {
        (void)fprintf(stderr, "SKIP: forks under limits: there are no regions here\n");
    }
    return has_regions;
}

static void end_pool(void) {
    code made = returning(6);
    CHECK(execbuf_rewrite(&old, 0, made.bytes, made.length, NULL) == EXECBUF_OK && call(&old, 0) == 6);
    release(&old);
    release(&reserved);
    CHECK(stats_of(pool).live == 0 && stats_of(pool).frozen == 0);
    execbuf_pool_free(pool);
}

/* Makes the system refuse a call with EPERM. False: it has no filters. */
static bool refuse(long number) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Of many buffers, one in a shared region prevents all. */
static void check_many_without_copies(const char *culprit) {
    code made = returning(5);
    execbuf buffers[2];
    const execbuf_code codes[2] = {{made.bytes, made.length, NULL}, {made.bytes, made.length, NULL}};
    CHECK(execbuf_pool_reserve(pool, &buffers[0], 100, NULL) == EXECBUF_OK); /* in no shared region */
    buffers[1] = reserved;
    CHECK(execbuf_publish_all(buffers, codes, 2, &error) == EXECBUF_E_FROZEN && error.position == 1);
    CHECK(strcmp(error.culprit, culprit) == 0 && buffers[0].length == 0 && buffers[1].length == 0);
    CHECK(!finds(pool, buffers[0].entry, NULL) && !finds(pool, buffers[1].entry, NULL));
    CHECK(execbuf_publish(&buffers[0], made.bytes, made.length, NULL) == EXECBUF_OK);
    code other = returning(6);
    const execbuf_change changes[2] = {{&buffers[0], 0, other.bytes, other.length},
                                       {&old, 0, other.bytes, other.length}};
    CHECK(execbuf_rewrite_batch(changes, 2, &error) == EXECBUF_E_FROZEN && error.position == 1);
    CHECK(strcmp(error.culprit, culprit) == 0 && call(&buffers[0], 0) == 5 && call(&old, 0) == 1);
    release(&buffers[0]);
}

/* What cannot be done without a copy, and what can be. */
static void check_without_copies(const char *culprit) {
    code made = returning(5);
    CHECK(execbuf_rewrite(&old, 0, made.bytes, made.length, &error) == EXECBUF_E_FROZEN);
    CHECK(strcmp(error.culprit, culprit) == 0 && error.os_error != 0);
    CHECK(execbuf_publish(&reserved, made.bytes, made.length, &error) == EXECBUF_E_FROZEN);
    CHECK(strcmp(error.culprit, culprit) == 0 && reserved.length == 0);
    CHECK(call(&old, 0) == 1 && stats_of(pool).live == 2);
    execbuf other = publish(pool, 7); /* in a new region, or with a dedicated mapping */
    CHECK(call(&other, 0) == 7);
    release(&other);
    check_many_without_copies(culprit);
    CHECK(execbuf_rewrite(&old, 0, made.bytes, made.length, &error) == EXECBUF_E_FROZEN);
    CHECK(call(&old, 0) == 1);
    release(&reserved);
    release(&old);
    CHECK(stats_of(pool).live == 0 && stats_of(pool).frozen == 0);
}

static void without_file_size(void) {
    const rlim_t before = limit(RLIMIT_FSIZE, 0);
    check_without_copies("getrlimit(RLIMIT_FSIZE)");
    (void)limit(RLIMIT_FSIZE, before);
}

static void without_descriptors(void) {
    const rlim_t before = limit(RLIMIT_NOFILE, 0);
    check_without_copies("memfd_create");
    (void)limit(RLIMIT_NOFILE, before);
}

static void without_mremap(void) {
    if (!refuse(SYS_mremap)) {
        (void)fprintf(stderr, "SKIP: a refused mremap: no seccomp filters\n");
        return;
    }
    check_without_copies("mremap");
}

/* The limit allows no further mapping, so no code can be published either. */
static void without_address_space(void) {
    code made = returning(5);
    const rlim_t before = limit(RLIMIT_AS, 1 << 20);
    CHECK(execbuf_rewrite(&old, 0, made.bytes, made.length, &error) == EXECBUF_E_FROZEN);
    CHECK(strcmp(error.culprit, "mmap") == 0 && error.os_error == ENOMEM && call(&old, 0) == 1);
    CHECK(execbuf_publish(&reserved, made.bytes, made.length, &error) == EXECBUF_E_FROZEN);
    CHECK(call(&old, 0) == 1);
    release(&old);
    release(&reserved);
    CHECK(stats_of(pool).live == 0);
    (void)limit(RLIMIT_AS, before);
}

static void a_copy_that_is_refused_is_an_error_and_changes_nothing(void) {
    static void (*const tests[])(void) = {without_file_size, without_descriptors, without_mremap,
                                          without_address_space};
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        if (!make_pool()) {
            return;
        }
        in_child(tests[i]);
        end_pool();
    }
}

/* The parent has the writable view, and nobody else can write to a reserved slot. */
static void fill_without_copies(void) {
    code made = returning(5);
    waiting child = fork_waiting(NULL);
    const rlim_t before = limit(RLIMIT_FSIZE, 0);
    CHECK(execbuf_rewrite(&old, 0, made.bytes, made.length, &error) == EXECBUF_E_FROZEN);
    CHECK(execbuf_publish(&reserved, made.bytes, made.length, &error) == EXECBUF_OK);
    CHECK(call(&reserved, 0) == 5 && call(&old, 0) == 1);
    finish(&child);
    CHECK(execbuf_rewrite(&old, 0, made.bytes, made.length, &error) == EXECBUF_OK); /* without a copy */
    CHECK(call(&old, 0) == 5);
    (void)limit(RLIMIT_FSIZE, before);
}

static void a_parent_that_may_not_copy_fills_what_it_reserved(void) {
    if (make_pool()) {
        release(&reserved);
        release(&old);
        execbuf_pool_free(pool);
        pid_t child = fork(); /* its regions are its own */
        if (child == 0) {
            CHECK(make_pool());
            fill_without_copies();
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
}

/* On 32-bit x86, shmget is a part of ipc. */
#if defined(SYS_ipc)
#define CALL_OF_SHMGET SYS_ipc
#else
#define CALL_OF_SHMGET SYS_shmget
#endif

/* Without System V shared memory nobody knows whether the child lives, so memory is copied. */
static void rewrite_without_families(void) {
    code made = returning(5);
    if (!refuse(CALL_OF_SHMGET)) {
        (void)fprintf(stderr, "SKIP: a refused shmget: no seccomp filters\n");
        return;
    }
    CHECK(make_pool());
    for (int i = 0; i < 3; i++) {
        const unsigned long memory = memory_at(old.entry);
        in_child(NULL);
        CHECK(stats_of(pool).frozen == 1);
        CHECK(execbuf_rewrite(&old, 0, made.bytes, made.length, &error) == EXECBUF_OK);
        CHECK(call(&old, 0) == 5 && memory_at(old.entry) != memory && stats_of(pool).frozen == 0);
    }
    end_pool();
}

static void without_shared_memory_every_change_after_a_fork_copies(void) {
    if (make_pool()) {
        end_pool();
        in_child(rewrite_without_families);
    }
}

int main(void) {
    (void)alarm(seconds(60));
    (void)read_maps(); /* if /proc is not mounted, this ends the test before it forks */
    RUN(a_copy_that_is_refused_is_an_error_and_changes_nothing);
    RUN(a_parent_that_may_not_copy_fills_what_it_reserved);
    RUN(without_shared_memory_every_change_after_a_fork_copies);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr,
                  "SKIP: forks under limits: no copies of regions, no headers for filters, or a sanitizer\n");
    return 0;
}

#endif
