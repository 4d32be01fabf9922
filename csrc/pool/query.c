/* What pools contain. Publishing and freeing keep few counters, to be fast; so statistics walk over all
 * slots. */

#include "query.h"

#include <string.h>

#include "../mapping/handles.h"
#include "index.h"
#include "registry.h"

/* Finds the published code at an address in the regions of a pool, which is locked.
 *
 * Out: out: its handle; unchanged if there is none. */
static bool find_in_regions(execbuf_pool *pool, const void *address, execbuf *out) {
    xb_slot_ref ref;
    if (!xb_index_find_address(pool, address, &ref) || xb_span_is_reserved(ref.span, ref.slot, ref.entry)) {
        return false;
    }
    const uint8_t *entry = xb_span_address(ref.span, ref.slot);
    size_t length = xb_span_length(ref.span, ref.slot, ref.entry);
    bool contains = (uintptr_t)address - (uintptr_t)entry < length;
    if (contains) {
        out->entry = entry;
        out->length = length;
        out->id = xb_slot_id(ref.span, xb_slot_tag(ref.entry));
    }
    return contains;
}

bool xb_pool_find(execbuf_pool *pool, const void *address, execbuf_place *place) {
    execbuf found;
    xb_pool_lock(pool);
    bool in_region = find_in_regions(pool, address, &found);
    size_t large_count = pool->large_count;
    xb_pool_unlock(pool);
    if (in_region) {
        place->entry = found.entry;
        place->length = found.length;
        return true;
    }
    xb_record record;
    if (large_count > 0 && xb_handles_search(pool->number, address, &record)) {
        place->entry = record.entry;
        place->length = record.length;
        return true;
    }
    return false;
}

/* Whether code in a region of a pool, which is locked, is an adapter: the pool's own, and not a buffer of its
 * user. */
static bool is_link_target(const execbuf_pool *pool, const void *entry) {
    return pool->links != NULL && pool->links->is_target(pool->links_data, entry);
}

/* xb_find_handle for the regions of all pools. Sets *is_found if there is published code, whether or not it
 * is a buffer. */
static bool find_in_pools(const void *address, execbuf *out, bool *is_found) {
    bool is_buffer = false;
    xb_prim_lock();
    uint32_t count = xb_registry_count();
    xb_prim_unlock();
    for (uint32_t number = 1; number <= count && !*is_found; number++) {
        execbuf_pool *pool = xb_registry[number];
        execbuf found;
        xb_pool_lock(pool);
        *is_found = find_in_regions(pool, address, &found);
        is_buffer = *is_found && !is_link_target(pool, found.entry);
        xb_pool_unlock(pool);
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

xb_span *xb_pool_span_of(execbuf_pool *pool, const execbuf *buffer) {
    xb_slot_ref ref;
    bool is_found = false;
    if ((buffer->id & XB_ID_POOL_BIT) != 0) {
        xb_pool_lock(pool);
        is_found = xb_index_find(pool, buffer, &ref);
        xb_pool_unlock(pool);
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
            const uint8_t *entry = xb_span_entry(span, slot);
            sum += xb_tag_is_taken(xb_slot_tag(entry)) ? xb_span_length(span, slot, entry) : 0;
        }
    }
    return sum;
}

void xb_pool_stats(execbuf_pool *pool, execbuf_pool_stats *stats) {
    memset(stats, 0, sizeof *stats);
    xb_pool_lock(pool);
    stats->live = pool->large_count;
    stats->bytes = pool->large_bytes;
    stats->mapped = pool->large_size;
    stats->resident = pool->large_size + pool->resident;
    stats->bookkeeping = pool->bookkeeping;
    for (const xb_region *region = pool->regions; region != NULL; region = region->next) {
        stats->live += region->live;
        stats->bytes += bytes_in(region);
        stats->mapped += region->size;
        stats->regions++;
        stats->frozen += region->frozen;
    }
    stats->dedicated = pool->large_count;
    stats->backend = pool->backend;
    stats->why = pool->why;
    xb_pool_unlock(pool);
}
