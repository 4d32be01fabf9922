/* Numbers and ids of spans.
 *
 * The arena is locked, for xb_index_remove alone; but by xb_index_grow, which locks it itself: memory is
 * allocated without the lock, because fork handlers of malloc could otherwise wait for us while we wait for
 * them. */

#include "index.h"

#include <stdlib.h>
#include <string.h>

#include "../base/fault.h"

/* The size of the array when it is first allocated. Then it doubles. */
#define FIRST_PLACES 16U

void xb_index_add(xb_arena *arena, xb_span *span) {
    span->number = arena->unused_place;
    xb_span_place *place = &arena->places[span->number];
    arena->unused_place = place->u.next_unused;
    place->span = span;
    XB_STORE_RELEASE(place->start, span->start);
    place->distance = span->region->distance;
    place->slot_size = span->slot_size;
    XB_STORE_RELEASE(place->reciprocal, span->reciprocal);
    place->u.entries = span->entries;
    uint64_t id = (uint64_t)arena->number << XB_SPAN_BITS | span->number;
    id = id << XB_SERIAL_BITS | place->serial++;
    id <<= XB_TAG_BITS;
    arena->serials = place->serial > arena->serials ? place->serial : arena->serials;
    span->id = XB_ID_POOL_BIT | id;
    XB_STORE_RELEASE(place->slots, span->slots); /* last: guests may look at the place with an old handle */
}

void xb_index_remove(xb_arena *arena, const xb_span *span) {
    xb_span_place *place = &arena->places[span->number];
    place->slots = 0;
    if (place->serial < XB_MAX_SERIALS) { /* else the number is retired */
        place->u.next_unused = arena->unused_place;
        arena->unused_place = span->number;
    }
}

bool xb_index_grow(xb_arena *arena, uint32_t place_count) {
    uint32_t after = place_count == 0 ? FIRST_PLACES : 2 * place_count;
    bool fails = after > XB_MAX_SPANS || XB_FAULT("calloc") != 0;
    xb_span_place *places = fails ? NULL : (xb_span_place *)calloc(after, sizeof *places);
    if (places == NULL) {
        return false;
    }
    for (uint32_t i = place_count; i < after; i++) {
        places[i].u.next_unused = i + 1;
    }
    xb_arena_lock_alone(arena);              /* guests read the places */
    if (arena->place_count == place_count) { /* else another thread has added places */
        xb_span_place *old = arena->places;
        if (place_count > 0) {
            memcpy(places, old, place_count * sizeof *places);
        }
        for (uint32_t i = place_count; i < after; i++) {
            places[i].serial = arena->first_serial;
        }
        /* The list of unused places ended with the old place_count, where the new ones begin. */
        arena->places = places;
        arena->place_count = after;
        arena->bookkeeping += (after - place_count) * sizeof *places;
        places = old;
    }
    xb_arena_unlock(arena);
    free(places);
    return true;
}
