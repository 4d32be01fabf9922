/* Helpers for the tests of the memory of pools. */
#ifndef POOL_MEMORY_H
#define POOL_MEMORY_H

#include "pool_helpers.h"

enum { MEBIBYTE = 1 << 20 };

/* Chooses how much a test does: many if pools have regions; few if every buffer takes system calls. */
static inline uint32_t some(uint32_t many, uint32_t few) {
    static int regions = -1;
    if (regions < 0) {
        code one = returning(1);
        execbuf buffer;
        execbuf_pool *pool = new_pool();
        CHECK(execbuf_pool_publish(pool, &buffer, one.bytes, one.length, NULL) == EXECBUF_OK);
        regions = stats_of(pool).regions > 0;
        if (!regions) {
            (void)fprintf(stderr, "SKIP: regions of pools: there are none here\n");
        }
        release(&buffer);
        execbuf_pool_free(pool);
    }
    return regions ? many : few;
}

/* A function that returns the value, followed by bytes that depend on the value. */
static inline const uint8_t *code_of(uint32_t value, size_t size) {
    static uint8_t bytes[3 * MEBIBYTE];
    code made = returning(value);
    CHECK(size <= sizeof bytes);
    for (size_t at = 0; at < size; at++) {
        bytes[at] = (uint8_t)(at * 31 + at / 256 + value);
    }
    memcpy(bytes, made.bytes, made.length < size ? made.length : size);
    return bytes;
}

/* Checks the content of a buffer that code_of filled, and the bytes around it. */
static inline void check_content(const execbuf *buffer, uint32_t value, size_t size) {
    CHECK(buffer->length == size && (uintptr_t)buffer->entry % 16 == 0);
    CHECK(memcmp(buffer->entry, code_of(value, size), size) == 0);
    if (size >= returning(value).length) {
        CHECK(call(buffer, 0) == (int)value);
    }
    /* Traps fill the rest of the last 16 bytes. */
    const uint8_t *end = (const uint8_t *)buffer->entry + size;
    CHECK(holds_traps(end, (16 - (uintptr_t)end % 16) % 16));
    /* The bytes before code are readable: sanitizers read them before they call a function. */
    volatile uint8_t before = *((const volatile uint8_t *)buffer->entry - 16);
    (void)before;
}

static inline void publish_of_size(execbuf_pool *pool, execbuf *buffer, uint32_t value, size_t size) {
    CHECK(execbuf_pool_publish(pool, buffer, code_of(value, size), size, NULL) == EXECBUF_OK);
    check_content(buffer, value, size);
}

#endif
