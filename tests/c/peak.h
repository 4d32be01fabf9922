/* Helpers for the tests of memory after a peak. */
#ifndef PEAK_H
#define PEAK_H

#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool_memory.h"
#include "smaps.h"
#include "stale.h"

enum { MOST = 1000000, PART = 1000 };

static execbuf_pool *pool;
static execbuf buffers[MOST];
static const void *entries[MOST]; /* of all buffers, freed or not */
static uint32_t order[MOST];      /* in which they are freed */

/* Whether this process runs so slowly that a test does less. */
static inline bool is_slow(void) {
    return is_emulated() || hides_maps();
}

/* Publishes a function of this length that returns value % 2048. */
static inline execbuf_status publish_long(execbuf *out, uint32_t value, size_t length) {
    static uint8_t bytes[1 << 18];
    code made = returning(value % 2048);
    memset(bytes, 0x5a, length);
    memcpy(bytes, made.bytes, made.length);
    return execbuf_pool_publish(pool, out, bytes, length, NULL);
}

/* Makes a pool with a name. False, with a SKIP: it cannot give memory back. */
static inline bool make_pool(void) {
    execbuf_pool_options options = options_of(NULL, "peak");
    CHECK(execbuf_pool_new(&pool, &options, NULL) == EXECBUF_OK);
    execbuf made;
    CHECK(publish_long(&made, 1, 16) == EXECBUF_OK);
    bool has_regions = stats_of(pool).regions == 1;
    bool done = has_regions && can_hide();
    CHECK(execbuf_free(&made) == EXECBUF_OK);
    if (!done) {
        (void)fprintf(stderr, "SKIP: memory after a peak: %s\n",
                      has_regions ? "the kernel cannot hide pages" : "there are no regions here");
        execbuf_pool_free(pool);
    }
    return done;
}

/* How many functions are published at once. On AArch64 each publishing is a barrier, which takes a
 * millisecond in a virtual machine. */
#if defined(__aarch64__)
enum { AT_ONCE = 64 };
#else
enum { AT_ONCE = 1 };
#endif

/* Publishes the functions of these numbers. */
static inline void publish_some(const uint32_t *numbers, uint32_t count, size_t length) {
    static uint8_t bytes[AT_ONCE << 12];
    execbuf made[AT_ONCE];
    execbuf_code codes[AT_ONCE] = {{NULL, 0, NULL}};
    CHECK(count * length <= sizeof bytes);
    memset(bytes, 0x5a, count * length);
    for (uint32_t i = 0; i < count; i++) {
        code function = returning(numbers[i] % 2048);
        memcpy(bytes + i * length, function.bytes, function.length);
        codes[i] = (execbuf_code){bytes + i * length, length, NULL};
    }
    CHECK(execbuf_pool_publish_batch(pool, made, codes, count, NULL) == EXECBUF_OK);
    for (uint32_t i = 0; i < count; i++) {
        buffers[numbers[i]] = made[i];
        entries[numbers[i]] = made[i].entry;
        volatile uint8_t before = *((const volatile uint8_t *)made[i].entry - 16);
        (void)before;
    }
}

/* Publishes all functions that are not published. */
static inline void publish_all(uint32_t count, size_t length) {
    uint32_t numbers[AT_ONCE];
    uint32_t some = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (buffers[i].id == 0) {
            numbers[some++] = i;
        }
        if (some == AT_ONCE || (i + 1 == count && some > 0)) {
            publish_some(numbers, some, length);
            some = 0;
        }
    }
}

/* One in PART survives. */
static inline bool survives(uint32_t i) {
    return i % PART == 7;
}

static inline void put_in_order(uint32_t count, bool is_random) {
    uint32_t random = 1;
    for (uint32_t i = 0; i < count; i++) {
        order[i] = i;
    }
    for (uint32_t i = count - 1; i > 0 && is_random; i--) {
        random = random * 1664525U + 1013904223U; /* Numerical Recipes */
        uint32_t other = (uint32_t)((uint64_t)random * (i + 1) >> 32);
        uint32_t taken = order[i];
        order[i] = order[other];
        order[other] = taken;
    }
}

/* Frees all but the survivors. */
static inline void free_most(uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (!survives(order[i])) {
            CHECK(execbuf_free(&buffers[order[i]]) == EXECBUF_OK);
        }
    }
}

static inline void check_survivors(uint32_t count) {
    for (uint32_t i = 7; i < count; i += PART) {
        CHECK(call(&buffers[i], 0) == (int)(i % 2048));
        volatile uint8_t before = *((const volatile uint8_t *)buffers[i].entry - 16);
        (void)before;
    }
}

/* Frees all that is left, and the pool. */
static inline void end_pool(uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    CHECK(stats_of(pool).live == 0 && stats_of(pool).regions <= 1);
    execbuf_pool_free(pool);
}

#endif
