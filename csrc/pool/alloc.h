/* Allocation in an arena: finds a free slot, and adds spans and regions when there is none. */
#ifndef XB_POOL_ALLOC_H
#define XB_POOL_ALLOC_H

#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "arena.h"
#include "span.h"

XB_PRIVATE_BEGIN

/* Takes a slot from a span that has a free one, which the caller counts in arena->live, and fills the handle.
 * Its bytes are traps until the caller writes to them, before it unlocks the arena.
 *
 * Preconditions: the arena is locked. The region of the span is not shared.
 * Returns: where the code is written.
 * In:  length: of the code, or the capacity; at most the slot size.
 *      use:    what the slot is for.
 * Out: out:    the handle. */
XB_INLINE uint8_t *xb_alloc_from_span(xb_span *span, size_t length, xb_use use, execbuf *out) {
    uint32_t slot = xb_span_take(span);
    uint8_t *address = xb_span_address(span, slot);
    out->entry = address;
    out->length = use == XB_USE_RESERVED ? 0 : length;
    xb_span_set_length(span, slot, length, use);
    uint16_t *tag = xb_slot_tag(span->entries, slot);
    uint16_t taken = (uint16_t)(*tag + 1U); /* guests do not change the tag of a free slot */
    XB_STORE_RELEASE(*tag, taken);
    out->id = xb_slot_id(span, taken);
    xb_region *region = span->region;
    region->above++;
    return xb_region_writable(region, address);
}

/* Takes a slot from the first span of a class: two bit searches.
 *
 * Preconditions: the arena is locked.
 * Returns: as xb_alloc_from_span; NULL if that span is full, and *out is unchanged.
 * In: class_: not XB_NO_CLASS. */
XB_INLINE uint8_t *xb_alloc_listed(xb_arena *arena, uint32_t class_, size_t length, xb_use use,
                                   execbuf *out) {
    xb_span *span = arena->classes[class_];
    if (XB_UNLIKELY(span == NULL || span->free_words == 0)) {
        return NULL;
    }
    arena->live++;
    return xb_alloc_from_span(span, length, use, out);
}

/* Takes a slot. If none is free, ends quarantine, adds a span or a region.
 *
 * Preconditions: the arena is not locked.
 * Returns: as xb_alloc_from_span, and the arena is locked; NULL, and it is not locked, if there is no memory
 *          or the platform has no regions, and *out is unchanged. Then the code needs a dedicated mapping.
 * In:  class_: the size class or adapter class of length, or XB_NO_CLASS.
 *      length: >= 1 and at most arena->largest. */
uint8_t *xb_alloc_slot(xb_arena *arena, uint32_t class_, size_t length, xb_use use, execbuf *out);

XB_PRIVATE_END

#endif
