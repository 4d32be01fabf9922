/* The index of an arena's spans: the ids of buffers, and finding the slot of a handle.
 *
 * The id of a buffer in a slot:
 *
 *     bit  63  62          48 47               30 29          16 15         0
 *         ┌───┬──────────────┬───────────────────┬──────────────┬────────────┐
 *         │ 1 │ arena number │ span number       │ serial       │ tag        │
 *         └───┴──────────────┴───────────────────┴──────────────┴────────────┘
 *
 * - The span number is the place of a span in the arena's array, and is used for one span after the other.
 * - The serial tells these spans apart. A number that had all 2^14 serials is not used again.
 * - The tag tells apart the buffers that had this slot, and is odd. A slot that had all tags is retired.
 * - Which slot of the span it is follows from the handle's address, which has to be exactly the slot's.
 *
 * So as long as an arena lives, a handle that was freed never matches again. When the arena's memory serves
 * the next arena, serials go on where the last arena stopped, until none are left.
 *
 * The arena is locked in all functions but xb_index_grow. Guests may call xb_index_find. */
#ifndef XB_POOL_INDEX_H
#define XB_POOL_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../base/handle.h"
#include "arena.h"
#include "span.h"

XB_PRIVATE_BEGIN

#define XB_TAG_BITS 16
#define XB_SERIAL_BITS 14
#define XB_SPAN_BITS 18
#define XB_SPAN_SHIFT (XB_SERIAL_BITS + XB_TAG_BITS)
#define XB_ARENA_SHIFT (XB_SPAN_BITS + XB_SPAN_SHIFT)
#define XB_MAX_SERIALS ((uint32_t)1 << XB_SERIAL_BITS)
#define XB_MAX_SPANS ((uint32_t)1 << XB_SPAN_BITS)
/* Arena numbers are less than this. */
#define XB_MAX_ARENAS 32768U

/* A span by its number, with copies of all that finding a slot takes. In a large arena the spans themselves
 * are not in the processor's caches, but this array mostly is; so the memory of span, entry and slot can be
 * loaded at the same time. */
typedef struct xb_span_place {
    xb_span *span;
    const uint8_t *start;
    ptrdiff_t distance; /* of the region */
    uint32_t slot_size;
    uint32_t slots; /* 0: no span has this number */
    uint32_t reciprocal;
    uint32_t serial; /* of the next span with this number */
    union {
        uint8_t *entries;
        uint32_t next_unused; /* if there is no span: the next place without one */
    } u;
} xb_span_place;

/* A taken slot. */
typedef struct xb_slot_ref {
    xb_arena *arena;
    xb_region *region;
    xb_span *span;
    uint32_t slot;
    uint16_t tag;
} xb_slot_ref;

/* Gives a span a number and an id. It is attached to a region, and unused_place is less than place_count. */
void xb_index_add(xb_arena *arena, xb_span *span);

/* Takes the number from a span: handles of its buffers become stale. The arena is locked alone. */
void xb_index_remove(xb_arena *arena, const xb_span *span);

/* Doubles the number of places for spans. The arena is not locked.
 *
 * Returns: whether there are more places than before; false: no memory, or no more numbers.
 * In: place_count: the arena's place_count when all places were in use. If it has changed since, nothing is
 * done. */
bool xb_index_grow(xb_arena *arena, uint32_t place_count);

/* Finds the slot that a handle names, and starts to load its writable memory.
 *
 * Returns: whether the handle is that of a live buffer.
 * In:  buffer: any handle whose id has this arena's number.
 * Out: ref:    the slot; undefined if there is none. */
XB_INLINE bool xb_index_find(xb_arena *arena, const execbuf *buffer, xb_slot_ref *ref) {
    uint32_t number = (uint32_t)(buffer->id >> XB_SPAN_SHIFT) & (XB_MAX_SPANS - 1);
    if (XB_UNLIKELY(number >= arena->place_count)) {
        return false;
    }
    const xb_span_place *place = &arena->places[number];
    uint32_t slots = XB_LOAD_ACQUIRE(place->slots); /* first: see xb_index_add */
    /* If slots is 0, xb_index_add may be writing the next two. */
    const uint8_t *start = XB_LOAD_RELAXED(place->start);
    uint32_t reciprocal = XB_LOAD_RELAXED(place->reciprocal);
    uint32_t slot = xb_slot_at((uintptr_t)buffer->entry - (uintptr_t)start, reciprocal);
    if (XB_UNLIKELY(slot >= slots || start + (size_t)slot * place->slot_size != buffer->entry)) {
        return false;
    }
    xb_span *span = place->span;
    uint16_t tag = XB_LOAD_ACQUIRE(*xb_slot_tag(place->u.entries, slot));
    XB_PREFETCH_WRITE(start + (size_t)slot * place->slot_size + place->distance);
    ref->arena = arena;
    ref->region = span->region;
    ref->span = span;
    ref->slot = slot;
    ref->tag = tag;
    /* An even tag is that of a slot which is not taken, so no buffer has it. */
    return xb_slot_id(span, tag) == buffer->id && xb_tag_is_taken(tag);
}

XB_PRIVATE_END

#endif
