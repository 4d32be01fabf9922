/*
 * Room for code in a pool: slots of its spans, spans of its regions, and what becomes of them when code goes.
 *
 * Functions that are called with the pool locked say so; others lock it themselves.
 */
#ifndef EXECBUF_ROOM_H
#define EXECBUF_ROOM_H

#include "../api/process.h"
#include "../prim/lock.h"
#include "registry.h"
#include "../mapping/handles.h"

/* An empty region that took no more than this is kept for the next piece of code. */
#define EXECBUF_KEPT_SIZE ((size_t)1 << 20)

static inline void execbuf_pool_lock(execbuf_pool *pool) {
    execbuf_fork_look();
    execbuf_lock(&pool->mutex);
}

static inline void execbuf_pool_unlock(execbuf_pool *pool) {
    execbuf_unlock(&pool->mutex);
}

/* The id of the buffer in a slot that has this tag. */
static inline uint64_t execbuf_slot_id(const execbuf_span *span, uint16_t tag) {
    return span->id ^ tag;
}

/* Where the code at an address is written; the region is not frozen. */
EXECBUF_INLINE uint8_t *execbuf_room_writable(const execbuf_region *region, const void *entry) {
    return (uint8_t *)((uintptr_t)entry + (uintptr_t)region->distance); /* NOLINT */
}

/* Takes a slot for length bytes from a span, and fills the handle. Returns where the code is written. */
EXECBUF_INLINE uint8_t *execbuf_room_take_slot(execbuf_span *span, size_t length, execbuf_use use,
                                               execbuf *out) {
    execbuf_region *region = span->region;
    uint32_t slot = execbuf_span_take(span);
    uint8_t *entry = execbuf_span_entry(span, slot);
    uint8_t *address = execbuf_span_address(span, slot);
    uint8_t *rw = execbuf_room_writable(region, address);
    execbuf_span_set_length(span, slot, entry, length, use);
    region->live++;
    out->entry = address;
    out->length = use == EXECBUF_USE_RESERVED ? 0 : length;
    out->id = execbuf_slot_id(span, execbuf_entry_next_tag(entry));
    return rw;
}

/* Takes a free slot of the first span of a class. Returns where the code is written, or NULL if there is
 * none. */
EXECBUF_INLINE uint8_t *execbuf_room_take_listed(execbuf_pool *pool, uint32_t class_, size_t length,
                                                 execbuf_use use, execbuf *out) {
    execbuf_span *span = pool->classes[class_];
    if (EXECBUF_RARE(span == NULL || span->free_words == 0)) {
        return NULL;
    }
    return execbuf_room_take_slot(span, length, use, out);
}

/* Takes a slot where there is none free at the moment.
 *
 * Returns: where the code is written; NULL, and *out is as it was, if there is no room.
 * In:  class_:  the class of length, or EXECBUF_NO_CLASS.
 *      length:  how many bytes.
 *      use:     what for.
 * Out: out:     the handle. */
uint8_t *execbuf_room_take(execbuf_pool *pool, uint32_t class_, size_t length, execbuf_use use, execbuf *out);

/* Whether a region without live slots should go. With the pool locked. */
bool execbuf_room_should_go(const execbuf_pool *pool, const execbuf_region *region);

/* Takes an empty region out of its pool, which is locked; the caller frees it when it is unlocked. */
void execbuf_room_take_out(execbuf_pool *pool, execbuf_region *region);

/* Unlocks the pool, frees the lists of regions and spans that were taken out, and if the pool was given up
 * and nothing is left, the pool. */
void execbuf_room_unlock(execbuf_pool *pool, execbuf_region *regions, execbuf_span *spans);

/* From now on nothing in the regions changes, and new code goes to new ones. With the pool locked. */
void execbuf_room_freeze(execbuf_pool *pool, bool in_child);

#endif
