/* What the tests share in which calls fail: saying which, and running a scenario with each fault there is. */
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
#define LADDER 1 /* there is more than one backend */
#else
#define LADDER 0
#endif

/* Calls that fail whatever is armed. */
static const char *always[2] = {"", ""};
/* Which calls fail next: the one numbered first, counted from 0, or also all after it; of those called only,
 * unless that is NULL. And the code they fail with. */
static const char *only;
static long first = -1;
static bool and_all_after;
static int32_t code_given = EXHAUSTED;
static long calls;
static long failures;
/* Called before each call, with its name. */
static void (*watch)(const char *call);

int32_t xb_fault(const char *call) {
    (void)look(); /* at no instant is anything writable and executable */
    if (watch != NULL) {
        watch(call);
    }
    if (strcmp(always[0], call) == 0 || strcmp(always[1], call) == 0) {
        return REFUSED;
    }
    /* "stale" is no call but a way to behave. */
    if (only != NULL ? strcmp(only, call) != 0 : strcmp("stale", call) == 0) {
        return 0;
    }
    long number = calls++;
    bool fails = first >= 0 && (number == first || (and_all_after && number > first));
    failures += fails;
    return fails ? code_given : 0;
}

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
/* How many descriptors are open, found without opening one. */
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

/* What the scenarios work on. */
static execbuf buffer;
static execbuf_error error;

/* One use of the library: act is what calls fail in; before and after it they don't. */
typedef struct scenario {
    const char *name;
    void (*before)(void);
    execbuf_status (*act)(void);
    void (*after)(execbuf_status status);
    bool costly; /* run_all makes do with fewer variants */
} scenario;

static inline execbuf_status create(void) {
    code one = returning(1);
    return execbuf_new(&buffer, one.bytes, one.length, &error);
}

static bool may_lose; /* whether all calls failed, from some one on */

/* Makes the library forget which backend works, so that the next call climbs the whole ladder. */
static inline void forget(void) {
    code one = returning(1);
    execbuf forgotten;
    int32_t code_before = code_given;
    code_given = EXHAUSTED;
    arm(PROTECT, 0, true);
    execbuf_status status = execbuf_new(&forgotten, one.bytes, one.length, &error);
    if (status == EXECBUF_OK) { /* not by the flip */
        (void)execbuf_free(&forgotten);
        arm("mmap", 1, true); /* the pages are staged, and nothing else is mapped */
        status = execbuf_new(&forgotten, one.bytes, one.length, &error);
    }
    disarm();
    code_given = code_before;
    CHECK(status == EXECBUF_E_NO_MEMORY && error.attempt_count > 0);
}

/* A status is what the code means that calls failed with, or one of an allocation, or LOST. */
static inline void check_status(execbuf_status status) {
    CHECK(error.status == status);
    if (status == EXECBUF_OK || status == EXECBUF_E_LOST) {
        return;
    }
    CHECK(error.culprit != NULL && error.culprit[0] != '\0');
    bool exhausted = code_given == EXHAUSTED;
    for (size_t i = 0; i < error.attempt_count; i++) {
        exhausted |= error.attempts[i].os_error == EXHAUSTED; /* qemu-user's answer to mremap */
    }
    bool allocation = strcmp(error.culprit, "calloc") == 0 || strcmp(error.culprit, "malloc") == 0;
    CHECK(status == (exhausted || allocation ? EXECBUF_E_NO_MEMORY : EXECBUF_E_DENIED));
    CHECK(allocation || error.os_error != 0);
}

/* Runs a scenario with one fault. Returns whether the fault was reached. */
static inline bool run(const scenario *tested, long number, bool all_after, bool cold) {
    if (cold) {
        forget();
    }
    maps maps_before = look();
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
    if (!same(maps_before, look()) || open_fds() != fds_before) {
        (void)fprintf(
            stderr, "leak: %s, fault %ld%s%s: %zu maps, %zu bytes, %d descriptors; were %zu, %zu, %d\n",
            tested->name, number, all_after ? " and all after" : "", cold ? ", cold" : "", look().count,
            look().bytes, open_fds(), maps_before.count, maps_before.bytes, fds_before);
        exit(1);
    }
    return reached;
}

/* How many variants run_all goes through: three codes, warm and cold, one fault and all from it on. */
static int variants = 12;

static inline long run_all(const scenario *tested) {
    static const int32_t codes[] = {EXHAUSTED, REFUSED, INVALID};
    long faults = 0;
    for (int variant = 0; variant < (tested->costly ? 2 : variants); variant++) {
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
