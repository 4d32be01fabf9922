/* What execbuf_probe_system says: on this platform, on one that execbuf does not know (EXECBUF_PRIM_STUB),
 * and when calls fail (EXECBUF_FAULT_INJECTION). */

#include "check.h"

#if defined(EXECBUF_FAULT_INJECTION)
#include <errno.h>

int32_t xb_fault(const char *call);

/* The call that fails, always. */
static const char *failing = "";

int32_t xb_fault(const char *call) {
    (void)look(); /* at no instant is anything writable and executable */
    return strcmp(call, failing) == 0 ? EPERM : 0;
}
#endif

static execbuf_probe probe_system(void) {
    execbuf_probe probe;
    memset(&probe, 0xa5, sizeof probe); /* it fills what matters */
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

static void an_unknown_platform_is_unsupported(void) {
    execbuf_probe probe = probe_system();
    CHECK(probe.status == EXECBUF_E_UNSUPPORTED);
    CHECK(probe.buffer_count == 0 && probe.pool_count == 0 && probe.fact_count == 0);
}

int main(void) {
    RUN(an_unknown_platform_is_unsupported);
    return 0;
}

#elif defined(EXECBUF_FAULT_INJECTION)

/* Checks what is said of a backend, if it worked before. */
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

/* What is to be said of a backend when a call fails; NULL: whatever. */
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

static void reasons_are_named_and_nothing_stays_mapped(void) {
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

static void without_fork_handlers_nothing_is_tried(void) {
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
    RUN(without_fork_handlers_nothing_is_tried); /* before they are there */
    RUN(reasons_are_named_and_nothing_stays_mapped);
#else
    (void)fprintf(stderr, "SKIP: the calls of the probe are those of Linux\n");
    (void)without_fork_handlers_nothing_is_tried;
    (void)reasons_are_named_and_nothing_stays_mapped;
#endif
    return 0;
}

#else

static void no_report_is_no_crash(void) {
    CHECK(execbuf_probe_system(NULL) == EXECBUF_E_NULL);
}

static void the_first_that_works_is_used(void) {
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

static void nothing_is_kept(void) {
    maps seen = look();
    for (int i = 0; i < 50; i++) {
        (void)probe_system();
    }
    CHECK(same(look(), seen));
}

int main(void) {
    RUN(no_report_is_no_crash);
    RUN(the_first_that_works_is_used);
    RUN(nothing_is_kept);
    return 0;
}

#endif
