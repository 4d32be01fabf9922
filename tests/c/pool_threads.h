/* Helpers for the tests with threads. */
#ifndef POOL_THREADS_H
#define POOL_THREADS_H

#include "pool_helpers.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

enum { THREADS = 4 };

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FEWER 10
#endif
#endif
#if !defined(FEWER)
#define FEWER 1
#endif

/* Tests do less under valgrind, which runs one thread at a time and where pools have no regions, and under
 * ThreadSanitizer, whose deadlock detector supports 63 locks for a thread: a fork takes the locks of all
 * pools. */
static int is_slow; /* under valgrind and under emulators; those of processes have no regions */

/* Sets is_slow. */
static inline void look_at_speed(void) {
    execbuf_pool *pool = new_pool();
    code zero = returning(0);
    execbuf buffer;
    CHECK(execbuf_pool_publish(pool, &buffer, zero.bytes, zero.length, NULL) == EXECBUF_OK);
    is_slow = under_valgrind() || is_emulated();
#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
    is_slow |= stats_of(pool).regions == 0;
#endif
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

/* Chooses how much a test does. */
static inline uint32_t some(uint32_t many) {
    return is_slow ? many / 20 + 1 : many / FEWER;
}

/* Checks that a buffer still contains the code that publish wrote. */
static inline void check(const execbuf *buffer, uint32_t value) {
    code made = returning(value % 2048);
    CHECK(call(buffer, 0) == (int)(value % 2048));
    CHECK(memcmp(buffer->entry, made.bytes, made.length) == 0);
}

/* Runs a function in some threads, with their numbers as arguments, and waits for them. */
static inline void in_threads(uint32_t count, void *(*function)(void *)) {
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < count; i++) {
        CHECK(pthread_create(&threads[i], NULL, function, (void *)i) == 0); /* NOLINT */
    }
    for (uint32_t i = 0; i < count; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* Checks that a pool is empty, and frees it. */
static inline void check_empty(execbuf_pool *pool) {
    execbuf_pool_stats stats = stats_of(pool);
    CHECK(stats.live == 0 && execbuf_pool_code_bytes(pool) == 0 &&
          stats.dedicated == 0); /* no update was lost */
    execbuf_pool_free(pool);
}

#endif
