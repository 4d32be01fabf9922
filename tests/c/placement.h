/* Helpers for the tests of placement. */
#ifndef PLACEMENT_H
#define PLACEMENT_H

#include "pool_memory.h"

#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
#include <sys/mman.h>
#endif

enum { PAGE = 65536 }; /* a multiple of any page size */

static inline const uint8_t *address_of_program(void) {
    int (*function)(const execbuf *, size_t) = call;
    const uint8_t *address;
    memcpy(&address, &function, sizeof address);
    return address;
}

static inline uintptr_t distance(const void *one, const void *other) {
    return one < other ? (uintptr_t)other - (uintptr_t)one : (uintptr_t)one - (uintptr_t)other;
}

/* Whether all of a buffer's bytes are nearer to an address than a distance. */
static inline int is_within(const execbuf *buffer, const void *address, size_t within) {
    const uint8_t *entry = (const uint8_t *)buffer->entry;
    return distance(entry, address) < within && distance(entry + buffer->length - 1, address) < within;
}

static inline execbuf_pool *pool_with(execbuf_placement placement, size_t reach) {
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    execbuf_pool *pool;
    options.placement = placement;
    options.reach = reach;
    CHECK(execbuf_pool_new(&pool, &options, NULL) == EXECBUF_OK);
    return pool;
}

static inline execbuf_placement near_program(size_t within) {
    execbuf_placement placement = EXECBUF_PLACEMENT_INIT;
    placement.near_to = address_of_program();
    placement.distance = within;
    return placement;
}

#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
static inline execbuf_placement between(const uint8_t *lowest, const uint8_t *end) {
    execbuf_placement placement = EXECBUF_PLACEMENT_INIT;
    placement.lowest = (uintptr_t)lowest;
    placement.highest = (uintptr_t)end - 1;
    return placement;
}

/* Takes address space without memory; NULL if it is not free. */
static inline uint8_t *take(uintptr_t address, size_t size) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *base = mmap((void *)address, size, PROT_NONE, flags, -1, 0); /* NOLINT(performance-no-int-to-ptr) */
    if (base != MAP_FAILED && address != 0 && base != (void *)address) { /* NOLINT */
        CHECK(munmap(base, size) == 0);
        return NULL;
    }
    return base == MAP_FAILED ? NULL : (uint8_t *)base;
}
#endif

#endif
