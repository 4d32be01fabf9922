/* What arenas contain. Publishing and freeing keep few counters, to be fast; so statistics walk over all
 * slots. */

#include "query.h"

#include <string.h>

#include "../base/error.h"
#include "../mapping/handles.h"
#include "fork.h"
#include "index.h"
#include "reclaim.h"
#include "registry.h"

/* Finds the published code at an address in the regions of an arena, which is locked.
 *
 * Out: out: its handle; unchanged if there is none. */
static bool find_in_regions(xb_arena *arena, const void *address, execbuf *out) {
    xb_slot_ref ref;
    if (!xb_index_find_address(arena, address, &ref) || xb_span_is_reserved(ref.span, ref.slot)) {
        return false;
    }
    const uint8_t *entry = xb_span_address(ref.span, ref.slot);
    size_t length = xb_span_length(ref.span, ref.slot);
    bool contains = (uintptr_t)address - (uintptr_t)entry < length;
    if (contains) {
        out->entry = entry;
        out->length = length;
        out->id = xb_slot_id(ref.span, ref.tag);
    }
    return contains;
}

/* Finds the published code of an arena at an address. */
static bool find_in_arena(xb_arena *arena, const void *address, execbuf_place *place) {
    execbuf found;
    xb_arena_lock(arena);
    bool in_region = find_in_regions(arena, address, &found);
    size_t large_count = arena->large_count;
    xb_arena_unlock(arena);
    if (in_region) {
        place->entry = found.entry;
        place->length = found.length;
        return true;
    }
    xb_record record;
    if (large_count > 0 && xb_handles_search(arena->number, address, &record)) {
        place->entry = record.entry;
        place->length = record.length;
        return true;
    }
    return false;
}

bool xb_pool_find(execbuf_pool *pool, const void *address, execbuf_place *place) {
    bool is_found = false;
    xb_arena *arena = XB_LOAD_ACQUIRE(pool->arenas);
    for (; arena != NULL && !is_found; arena = arena->next) {
        is_found = find_in_arena(arena, address, place);
    }
    return is_found;
}

/* Whether code in a region of an arena, which is locked, is an adapter: the arena's own, and not a buffer of
 * its user. */
static bool is_link_target(const xb_arena *arena, const void *entry) {
    return arena->links != NULL && arena->links->is_target(arena->links_data, entry);
}

/* xb_find_handle for the regions of all arenas. Sets *is_found if there is published code, whether or not it
 * is a buffer. */
static bool find_in_pools(const void *address, execbuf *out, bool *is_found) {
    bool is_buffer = false;
    xb_prim_lock();
    uint32_t count = xb_registry_count();
    xb_prim_unlock();
    for (uint32_t number = 1; number <= count && !*is_found; number++) {
        xb_arena *arena = xb_registry[number];
        execbuf found;
        xb_arena_lock(arena);
        *is_found = find_in_regions(arena, address, &found);
        is_buffer = *is_found && !is_link_target(arena, found.entry);
        xb_arena_unlock(arena);
        if (is_buffer) {
            *out = found;
        }
    }
    return is_buffer;
}

/* xb_find_handle for dedicated mappings. */
static bool find_in_mappings(const void *address, execbuf *out) {
    execbuf found;
    xb_record record;
    bool is_buffer = xb_handles_search_all(address, &found, &record) && !record.is_shared;
    if (is_buffer) {
        *out = found;
    }
    return is_buffer;
}

bool xb_find_handle(const void *address, execbuf *out) {
    bool is_found = false;
    return find_in_pools(address, out, &is_found) || (!is_found && find_in_mappings(address, out));
}

xb_span *xb_arena_span_of(xb_arena *arena, const execbuf *buffer) {
    xb_slot_ref ref;
    bool is_found = false;
    if ((buffer->id & XB_ID_POOL_BIT) != 0) {
        xb_arena_lock(arena);
        is_found = xb_index_find(arena, buffer, &ref);
        xb_arena_unlock(arena);
    }
    return is_found ? ref.span : NULL;
}

/* The sum of lengths and capacities of all taken slots of a region. */
static size_t bytes_in(const xb_region *region) {
    size_t sum = 0;
    uint32_t page = 1;
    const xb_span *span;
    while ((span = xb_span_next(region, &page)) != NULL) {
        for (uint32_t slot = 0; slot < span->slots; slot++) {
            sum += xb_tag_is_taken(xb_span_tag(span, slot)) ? xb_span_length(span, slot) : 0;
        }
    }
    return sum;
}

/* Adds what an arena has. */
static void add_stats(xb_arena *arena, execbuf_pool_stats *stats) {
    xb_arena_lock_alone(arena);
    xb_reclaim_guests(arena); /* what they have freed is not live any more */
    stats->live += arena->large_count;
    stats->bytes += arena->large_bytes;
    stats->mapped += arena->large_size;
    stats->resident += arena->large_size + arena->resident;
    stats->bookkeeping += arena->bookkeeping;
    for (const xb_region *region = arena->regions; region != NULL; region = region->next) {
        stats->live += region->live;
        stats->bytes += bytes_in(region);
        stats->mapped += region->size;
        stats->regions++;
        stats->frozen += region->is_shared && !xb_family_is_alone(region->family);
    }
    stats->dedicated += arena->large_count;
    if (stats->backend == EXECBUF_BACKEND_NONE) {
        stats->backend = arena->backend;
        stats->why = arena->why;
    }
    xb_arena_unlock(arena);
}

void xb_pool_stats(execbuf_pool *pool, execbuf_pool_stats *stats) {
    memset(stats, 0, sizeof *stats);
    stats->backend = EXECBUF_BACKEND_NONE;
    (void)xb_error_set(&stats->why, EXECBUF_OK, NULL, 0);
    stats->bookkeeping = xb_pool_bookkeeping(pool);
    for (xb_arena *arena = XB_LOAD_ACQUIRE(pool->arenas); arena != NULL; arena = arena->next) {
        add_stats(arena, stats);
    }
}
