/*
 * Room for code in a pool: slots of its spans, spans of its regions, and what becomes of them when code goes.
 *
 * Functions that are called with the pool locked say so; others lock it themselves.
 */
#ifndef XB_POOL_ALLOC_H
#define XB_POOL_ALLOC_H

#include "registry.h"
#include "../mapping/handles.h"

/* An empty region that took no more than this is kept for the next piece of code. */
#define XB_KEPT_REGION_SIZE ((size_t)1 << 20)

/* The id of the buffer in a slot that has this tag. */
static inline uint64_t xb_slot_id(const xb_span *span, uint16_t tag) {
    return span->id ^ tag;
}

/* Where the code at an address is written; the region is not frozen. */
XB_INLINE uint8_t *xb_region_writable(const xb_region *region, const void *entry) {
    return (uint8_t *)((uintptr_t)entry + (uintptr_t)region->distance); /* NOLINT */
}

/* Takes a slot for length bytes from a span, and fills the handle. Returns where the code is written. */
XB_INLINE uint8_t *xb_alloc_from_span(xb_span *span, size_t length, xb_use use, execbuf *out) {
    xb_region *region = span->region;
    uint32_t slot = xb_span_take(span);
    uint8_t *entry = xb_span_entry(span, slot);
    uint8_t *address = xb_span_address(span, slot);
    uint8_t *rw = xb_region_writable(region, address);
    xb_span_set_length(span, slot, entry, length, use);
    region->live++;
    out->entry = address;
    out->length = use == XB_USE_RESERVED ? 0 : length;
    out->id = xb_slot_id(span, xb_slot_next_tag(entry));
    return rw;
}

/* Takes a free slot of the first span of a class. Returns where the code is written, or NULL if there is
 * none. */
XB_INLINE uint8_t *xb_alloc_listed(execbuf_pool *pool, uint32_t class_, size_t length, xb_use use,
                                   execbuf *out) {
    xb_span *span = pool->classes[class_];
    if (XB_UNLIKELY(span == NULL || span->free_words == 0)) {
        return NULL;
    }
    return xb_alloc_from_span(span, length, use, out);
}

/* Takes a slot where there is none free at the moment.
 *
 * Returns: where the code is written; NULL, and *out is as it was, if there is no room.
 * In:  class_:  the class of length, or XB_NO_CLASS.
 *      length:  how many bytes.
 *      use:     what for.
 * Out: out:     the handle. */
uint8_t *xb_alloc_slot(execbuf_pool *pool, uint32_t class_, size_t length, xb_use use, execbuf *out);

/* Whether a region without live slots should go. With the pool locked. */
bool xb_reclaim_is_due(const execbuf_pool *pool, const xb_region *region);

/* Takes an empty region out of its pool, which is locked; the caller frees it when it is unlocked. */
void xb_reclaim_detach(execbuf_pool *pool, xb_region *region);

/* Unlocks the pool, frees the lists of regions and spans that were taken out, and if the pool was given up
 * and nothing is left, the pool. */
void xb_reclaim_unlock(execbuf_pool *pool, xb_region *regions, xb_span *spans);

/* From now on nothing in the regions changes, and new code goes to new ones. With the pool locked. */
void xb_pool_freeze(execbuf_pool *pool, bool in_child);

#endif
