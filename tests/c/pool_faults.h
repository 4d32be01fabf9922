/* Helpers for the tests of pools in which calls fail. */
#ifndef POOL_FAULTS_H
#define POOL_FAULTS_H

#include "faults.h"

#if defined(_WIN32)
#define NO_REGION "CreateFileMapping"
#elif defined(__FreeBSD__) || defined(__NetBSD__)
#define NO_REGION "minherit"
#else
/* Regions of either backend need this call; dedicated mappings by flip and memfd do not. */
#define NO_REGION "madvise"
#endif

static execbuf_pool *pool;
/* A buffer that was published before the fault, and others that the scenario needs. */
static execbuf old;
static execbuf others[20];
static size_t other_count;

static inline execbuf_pool_stats stats_of_pool(void) {
    return stats_of(pool);
}

static inline execbuf_status publish_size(execbuf *out, uint32_t value, size_t size) {
    static uint8_t bytes[5000];
    code made = returning(value);
    CHECK(made.length <= size && size <= sizeof bytes);
    memcpy(bytes, made.bytes, made.length);
    return execbuf_pool_publish(pool, out, bytes, size, &error);
}

static inline void make_pool(void) {
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    memset(&old, 0, sizeof old);
    other_count = 0;
}

static inline void make_pool_with_code(void) {
    make_pool();
    CHECK(publish_size(&old, 3, 16) == EXECBUF_OK);
}

/* A size of which a region that contains other code fits three, not four. */
static inline size_t quarter(void) {
    execbuf_pool_stats stats = stats_of_pool();
    return stats.regions > 0 ? stats.mapped / 4 : 10000;
}

/* Makes a pool with one buffer, in a region with so many resident pages that the region is not kept when the
 * buffer is freed. */
static inline void make_pool_with_one_large(void) {
    make_pool();
    CHECK(publish_size(&old, 3, 16) == EXECBUF_OK);
    size_t size = quarter();
    for (; other_count < 3; other_count++) {
        CHECK(execbuf_pool_reserve(pool, &others[other_count], size, NULL) == EXECBUF_OK);
    }
    buffer = others[0];
    CHECK(execbuf_free(&old) == EXECBUF_OK && execbuf_free(&others[1]) == EXECBUF_OK);
    CHECK(execbuf_free(&others[2]) == EXECBUF_OK);
    other_count = 0;
}

static inline execbuf_status publish_first(void) {
    return publish_size(&buffer, 1, 16);
}

/* Frees everything but the scenario's buffer, which the caller frees. */
static inline void clean_up(void) {
    if (old.id != 0) {
        CHECK(call(&old, 0) == 3);
    }
    execbuf_pool_free(pool);
    if (old.id != 0) {
        CHECK(call(&old, 0) == 3);
    }
    CHECK(execbuf_free(&old) == EXECBUF_OK);
    for (size_t i = 0; i < other_count; i++) {
        CHECK(execbuf_free(&others[i]) == EXECBUF_OK);
    }
}

#endif
