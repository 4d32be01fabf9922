/* Fault injection: chooses which calls fail, and runs a scenario once for each fault that it can have. */
#ifndef FAULTS_H
#define FAULTS_H

#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* syscall */
#endif

#include "check.h"
#include <stdbool.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

int32_t xb_fault(const char *call);

#if defined(_WIN32)
#define PROTECT "VirtualProtect"
#define UNMAP "VirtualFree"
#define EXHAUSTED ERROR_NOT_ENOUGH_MEMORY
#define REFUSED ERROR_ACCESS_DENIED
#define INVALID ERROR_INVALID_PARAMETER
#else
#include <errno.h>
#define PROTECT "mprotect"
#define UNMAP "munmap"
#define EXHAUSTED ENOMEM
#define REFUSED EPERM
#define INVALID EINVAL
#endif

#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
#define LADDER 1 /* there is more than one backend for dedicated mappings */
#else
#define LADDER 0
#endif

/* Two calls that fail always, with REFUSED. */
static const char *always[2] = {"", ""};
/* The armed fault. If only is not NULL, calls of other names do not count and do not fail. Of those that
 * count, the one numbered first fails (from 0), and all later ones too if and_all_after is true. No call
 * fails if first is -1. */
static const char *only;
static long first = -1;
static bool and_all_after;
static int32_t code_given = EXHAUSTED; /* the error code of failures */
static long calls;                     /* how many calls counted since the last arm */
static long failures;                  /* how many of them failed */
/* Called before each system call and allocation, with its name, unless it is NULL. */
static void (*watch)(const char *call);
/* Answers instead of all of this, unless it is NULL. */
static int32_t (*answer)(const char *call);

int32_t xb_fault(const char *call) {
    (void)look(); /* checks at each call that nothing is writable and executable */
    if (watch != NULL) {
        watch(call);
    }
    if (answer != NULL) {
        return answer(call);
    }
    if (strcmp(always[0], call) == 0 || strcmp(always[1], call) == 0) {
        return REFUSED;
    }
    /* These are not calls. "stale" makes the library behave as under an emulator that runs old code,
     * "barrier" as on AArch64 without membarrier, "unmapped" as on a kernel whose mremap may fail after it
     * has unmapped what it was to replace. "fence" is one, whose failure changes all that follows. */
    bool is_call = strcmp("stale", call) != 0 && strcmp("barrier", call) != 0 &&
                   strcmp("unmapped", call) != 0 && strcmp("fence", call) != 0;
    if (only != NULL ? strcmp(only, call) != 0 : !is_call) {
        return 0;
    }
    long number = calls++;
    bool fails = first >= 0 && (number == first || (and_all_after && number > first));
    failures += fails;
    return fails ? code_given : 0;
}

/* Sets the fault; see the variables above. */
static inline void arm(const char *name, long number, bool all_after) {
    only = name;
    first = number;
    and_all_after = all_after;
    calls = 0;
    failures = 0;
}

static inline void disarm(void) {
    first = -1;
}

#if defined(__linux__)
/* The number of open descriptors. Does not open one itself. */
static inline int open_fds(void) {
    int count = 0;
    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) != -1;
    }
    return count;
}
#else
static inline int open_fds(void) {
    return 0;
}
#endif

/* The mappings in which a leak would show. The allocators of AddressSanitizer and musl change mappings of
 * their own. */
#if defined(__SANITIZE_ADDRESS__) || (defined(__linux__) && !defined(__GLIBC__))
#define LEAKS look_at_code
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LEAKS look_at_code
#endif
#endif
#if !defined(LEAKS)
#define LEAKS look
#endif

/* The buffer that a scenario uses, and the report of its call. */
static execbuf buffer;
static execbuf_error error;

/* One use of the library. Calls fail only during act, not in before and after. */
typedef struct scenario {
    const char *name;
    void (*before)(void);
    execbuf_status (*act)(void);
    void (*after)(execbuf_status status);
    bool costly; /* run_all runs fewer variants */
} scenario;

static inline execbuf_status create(void) {
    code one = returning(1);
    return execbuf_new(&buffer, one.bytes, one.length, &error);
}

static bool may_lose; /* whether all calls failed from some call on, so that code may be lost */

/* Makes the library forget which backend worked, so that the next call tests all backends again. */
static inline void forget(void) {
    code one = returning(1);
    execbuf forgotten;
    int32_t code_before = code_given;
    code_given = EXHAUSTED;
    arm(PROTECT, 0, true);
    execbuf_status status = execbuf_new(&forgotten, one.bytes, one.length, &error);
    if (status == EXECBUF_OK) { /* another backend than the flip works */
        (void)execbuf_free(&forgotten);
        arm("mmap", 1, true); /* staging succeeds, all later mappings fail */
        status = execbuf_new(&forgotten, one.bytes, one.length, &error);
    }
    disarm();
    code_given = code_before;
    CHECK(status == EXECBUF_E_NO_MEMORY && error.attempt_count > 0);
}

/* Checks that a status fits the error code of the failed calls. A failed allocation is E_NO_MEMORY, and
 * E_LOST is always possible. */
static inline void check_status(execbuf_status status) {
    CHECK(error.status == status);
    if (status == EXECBUF_OK || status == EXECBUF_E_LOST) {
        return;
    }
    CHECK(error.culprit != NULL && error.culprit[0] != '\0');
    bool exhausted = code_given == EXHAUSTED;
    for (size_t i = 0; i < error.attempt_count; i++) {
        exhausted |= error.attempts[i].os_error == EXHAUSTED; /* qemu-user's own error of mremap */
    }
    bool allocation = strcmp(error.culprit, "calloc") == 0 || strcmp(error.culprit, "malloc") == 0;
    CHECK(status == (exhausted || allocation ? EXECBUF_E_NO_MEMORY : EXECBUF_E_DENIED));
    CHECK(allocation || error.os_error != 0);
}

/* Runs a scenario with one fault, and checks that nothing leaks.
 *
 * Returns: false if act made fewer calls, so that none failed.
 * In: number, all_after: as for arm.
 *     cold:              whether no backend is known to work when act begins. */
static inline bool run(const scenario *tested, long number, bool all_after, bool cold) {
    if (cold) {
        forget();
    }
    maps maps_before = LEAKS();
    int fds_before = open_fds();
    tested->before();
    if (cold) {
        forget();
    }
    arm(NULL, number, all_after);
    execbuf_status status = tested->act();
    disarm();
    check_status(status);
    bool reached = failures > 0;
    may_lose = reached && all_after;
    tested->after(status);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    CHECK(execbuf_free(NULL) == EXECBUF_OK);
    if (!same(maps_before, LEAKS()) || open_fds() != fds_before) {
        (void)fprintf(
            stderr, "leak: %s, fault %ld%s%s: %zu maps, %zu bytes, %d descriptors; were %zu, %zu, %d\n",
            tested->name, number, all_after ? " and all after" : "", cold ? ", cold" : "", LEAKS().count,
            LEAKS().bytes, open_fds(), maps_before.count, maps_before.bytes, fds_before);
        exit(1);
    }
    return reached;
}

/* The number of variants that run_all runs. All 12 are: three error codes, with and without a known backend,
 * a single failure or all calls from it on. */
static int variants = 12;

/* Runs a scenario with each fault that it can have. Returns the number of faults. */
static inline long run_all(const scenario *tested) {
    static const int32_t codes[] = {EXHAUSTED, REFUSED, INVALID};
    long faults = 0;
    int most = tested->costly || is_emulated() ? 2 : variants;
    for (int variant = 0; variant < most; variant++) {
        code_given = codes[variant / 4];
        long number = 0;
        while (run(tested, number, variant % 2 != 0, variant / 2 % 2 != 0)) {
            number++;
        }
        faults += number;
    }
    code_given = EXHAUSTED;
    return faults;
}

#endif
