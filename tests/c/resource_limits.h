/* Limits of resources (setrlimit). A test sets them back at its end, because a program that measures coverage
 * writes a file then. */
#ifndef RESOURCE_LIMITS_H
#define RESOURCE_LIMITS_H

#include <sys/resource.h>

#include "check.h"

/* What setrlimit limits. */
#if defined(__GLIBC__)
typedef __rlimit_resource_t limited;
#else
typedef int limited;
#endif

/* Sets a limit, and returns what it was. */
static inline rlim_t limit(limited resource, rlim_t most) {
    struct rlimit limits;
    CHECK(getrlimit(resource, &limits) == 0);
    const rlim_t before = limits.rlim_cur;
    limits.rlim_cur = most;
    CHECK(setrlimit(resource, &limits) == 0);
    return before;
}

#endif
