/* execbuf_probe_system: on this platform, on an unsupported one (EXECBUF_PRIM_STUB), and if system calls fail
 * (EXECBUF_FAULT_INJECTION). */

#include "check.h"

#if defined(EXECBUF_FAULT_INJECTION)
#include <errno.h>

int32_t xb_fault(const char *call);

/* The call that fails. */
static const char *failing = "";

int32_t xb_fault(const char *call) {
    (void)look(); /* checks at each call that nothing is writable and executable */
    return strcmp(call, failing) == 0 ? EPERM : 0;
}
#endif

static execbuf_probe probe_system(void) {
    execbuf_probe probe;
    memset(&probe, 0xa5, sizeof probe); /* garbage, which the library overwrites */
    probe.size = sizeof probe;
    CHECK(execbuf_probe_system(&probe) == EXECBUF_OK && probe.size == sizeof probe);
    CHECK(probe.buffer_count <= EXECBUF_MAX_ATTEMPTS && probe.pool_count <= EXECBUF_MAX_ATTEMPTS);
    CHECK(probe.fact_count <= EXECBUF_MAX_FACTS);
    for (uint32_t i = 0; i < probe.fact_count; i++) {
        CHECK(probe.facts[i].name != NULL && memchr(probe.facts[i].value, 0, sizeof probe.facts[i].value));
    }
    return probe;
}

#if defined(EXECBUF_PRIM_STUB)

static void an_unsupported_platform_is_reported(void) {
    execbuf_probe probe = probe_system();
    CHECK(probe.status == EXECBUF_E_UNSUPPORTED);
    CHECK(probe.buffer_count == 0 && probe.pool_count == 0 && probe.fact_count == 0);
}

int main(void) {
    RUN(an_unsupported_platform_is_reported);
    return 0;
}

#elif defined(EXECBUF_FAULT_INJECTION)

/* Checks the reason in the result of a backend, if the backend worked before. */
static void check_result(const execbuf_probe_result *before, const execbuf_probe_result *after,
                         uint32_t count, execbuf_backend backend, const char *reason) {
    uint32_t i = 0;
    while (i < count && after[i].backend != backend) {
        i++;
    }
    CHECK(i < count && before[i].backend == backend);
    if (before[i].call == NULL) {
        CHECK(after[i].call != NULL && strcmp(after[i].call, reason) == 0);
    }
}

/* Lets a call fail, and checks the reasons that a backend fails for buffers and for pools. NULL: any. */
static void check_reason(const char *call, execbuf_backend backend, const char *buffer, const char *pool) {
    execbuf_probe before = probe_system();
    maps seen = look();
    failing = call;
    execbuf_probe after = probe_system();
    failing = "";
    CHECK(same(look(), seen));
    CHECK(after.status == EXECBUF_OK);
    CHECK(after.buffer_count == before.buffer_count && after.pool_count == before.pool_count);
    if (buffer != NULL) {
        check_result(before.buffer, after.buffer, after.buffer_count, backend, buffer);
    }
    if (pool != NULL) {
        check_result(before.pool, after.pool, after.pool_count, backend, pool);
    }
}

static void failed_calls_are_reported_and_nothing_stays_mapped(void) {
    const char *stale = "self-test: old code ran after a rewrite, as in some emulators";
    check_reason("mmap", EXECBUF_BACKEND_FLIP, "mmap", NULL);
    check_reason("flip", EXECBUF_BACKEND_FLIP, "prctl(PR_GET_MDWE)", NULL);
    check_reason("mprotect", EXECBUF_BACKEND_FLIP, "mprotect", NULL);
    check_reason("stale", EXECBUF_BACKEND_FLIP, stale, NULL);
    check_reason("stale", EXECBUF_BACKEND_MEMFD, stale, stale);
    check_reason("memfd_create", EXECBUF_BACKEND_MEMFD, "memfd_create", "memfd_create");
    check_reason("fcntl", EXECBUF_BACKEND_MEMFD, "fcntl(F_ADD_SEALS)", NULL);
    check_reason("mmap", EXECBUF_BACKEND_MEMFD, "mmap", "mmap");
    check_reason("mremap", EXECBUF_BACKEND_ALIAS, "mremap", "mremap");
    check_reason("madvise", EXECBUF_BACKEND_ALIAS, "madvise(MADV_DONTFORK)", "madvise(MADV_DONTFORK)");
}

static void no_backend_is_tested_without_fork_handlers(void) {
    failing = "pthread_atfork";
    execbuf_probe probe = probe_system();
    failing = "";
    CHECK(probe.status == EXECBUF_E_DENIED && probe.buffer_count > 0 && probe.pool_count > 0);
    for (uint32_t i = 0; i < probe.buffer_count; i++) {
        CHECK(strcmp(probe.buffer[i].call, "pthread_atfork") == 0 && probe.buffer[i].os_error == EPERM);
    }
    for (uint32_t i = 0; i < probe.pool_count; i++) {
        CHECK(strcmp(probe.pool[i].call, "pthread_atfork") == 0);
    }
}

int main(void) {
#if defined(__linux__)
    RUN(no_backend_is_tested_without_fork_handlers); /* before the library has registered its fork handlers */
    RUN(failed_calls_are_reported_and_nothing_stays_mapped);
#else
    (void)fprintf(stderr, "SKIP: the calls of the probe are those of Linux\n");
    (void)no_backend_is_tested_without_fork_handlers;
    (void)failed_calls_are_reported_and_nothing_stays_mapped;
#endif
    return 0;
}

#else

static void a_null_report_is_refused(void) {
    CHECK(execbuf_probe_system(NULL) == EXECBUF_E_NULL);
}

static void buffers_work_if_one_backend_works(void) {
    execbuf_probe probe = probe_system();
    CHECK(probe.status == EXECBUF_OK && probe.buffer_count > 0 && probe.fact_count > 0);
    int works = 0;
    for (uint32_t i = 0; i < probe.buffer_count; i++) {
        CHECK(probe.buffer[i].backend != EXECBUF_BACKEND_NONE);
        CHECK(probe.buffer[i].call != NULL || probe.buffer[i].os_error == 0);
        works += probe.buffer[i].call == NULL;
    }
    code one = returning(1);
    execbuf buffer;
    CHECK((execbuf_new(&buffer, one.bytes, one.length, NULL) == EXECBUF_OK) == (works > 0));
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void the_probe_leaves_no_mappings(void) {
    maps seen = look();
    for (int i = 0; i < 50; i++) {
        (void)probe_system();
    }
    CHECK(same(look(), seen));
}

int main(void) {
    RUN(a_null_report_is_refused);
    RUN(buffers_work_if_one_backend_works);
    RUN(the_probe_leaves_no_mappings);
    return 0;
}

#endif
