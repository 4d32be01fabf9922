/* What arenas contain. Lookups and the count of bytes take no lock: see readers.h. */

#include "query.h"

#include <string.h>

#include "../base/error.h"
#include "../mapping/handles.h"
#include "fork.h"
#include "index.h"
#include "readers.h"
#include "reclaim.h"
#include "registry.h"

/* ---- Lookups ---- */

/* Published code that a lookup has found. */
typedef struct found_code {
    execbuf buffer;   /* the handle */
    const void *pool; /* NULL: none */
    bool is_adapter;  /* it is code that thunks share, and no buffer of a user */
} found_code;

/* Reads a slot that may be changed meanwhile. Whoever takes a slot again changes its tag before its length,
 * and no tag comes back; so if the tag is still the same, the length is of the same buffer.
 *
 * Returns: whether the slot holds published code.
 * Out: code: its handle, but for entry. */
static bool read_slot(const xb_span *span, uint32_t slot, execbuf *code) {
    uint16_t tag = xb_span_tag(span, slot);
    if (!xb_tag_is_taken(tag) || xb_span_is_reserved(span, slot)) {
        return false;
    }
    code->length = xb_span_length(span, slot);
    code->id = xb_slot_id(span, tag);
    return xb_span_tag(span, slot) == tag;
}

/* Finds published code in a region. The calling thread is a reader. */
static bool find_in_region(const xb_region *region, const void *address, found_code *found) {
    uintptr_t offset = (uintptr_t)address - (uintptr_t)region->views.rx;
    const xb_span *span = xb_span_at_page(region, offset >> region->page_shift);
    if (span == NULL || region->is_lost) {
        return false;
    }
    uint32_t slot = xb_slot_at((uintptr_t)address - (uintptr_t)span->start, span->reciprocal);
    if (slot >= span->slots) { /* in the rest of the last page, which is smaller than a slot */
        return false;
    }
    execbuf code = {span->start + (size_t)slot * XB_LOAD_RELAXED(span->slot_size), 0, 0};
    if (!read_slot(span, slot, &code) || (uintptr_t)address - (uintptr_t)code.entry >= code.length) {
        return false;
    }
    found->buffer = code;
    found->pool = region->pool;
    found->is_adapter = xb_is_adapter_class(span->class_);
    return true;
}

/* Finds published code in the regions of all pools. */
static bool find_in_regions(const void *address, found_code *found) {
    xb_readers_enter();
    const xb_region *region = XB_LOAD_ACQUIRE(xb_readable_regions);
    while (region != NULL && (uintptr_t)address - (uintptr_t)region->views.rx >= region->size) {
        region = XB_LOAD_ACQUIRE(region->next_readable);
    }
    bool is_found = region != NULL && find_in_region(region, address, found);
    xb_readers_leave();
    return is_found;
}

/* Finds published code. */
static bool find(const void *address, found_code *found) {
    xb_handles_found mapping;
    if (find_in_regions(address, found)) {
        return true;
    }
    bool is_found = xb_handles_search(address, &mapping);
    if (is_found) {
        found->buffer = mapping.buffer;
        found->pool = mapping.pool;
        found->is_adapter = mapping.is_shared;
    }
    return is_found;
}

bool xb_pool_find(const execbuf_pool *pool, const void *address, execbuf_place *place) {
    found_code found;
    bool is_found = find(address, &found) && found.pool == pool;
    if (is_found) {
        place->entry = found.buffer.entry;
        place->length = found.buffer.length;
    }
    return is_found;
}

bool xb_find_handle(const void *address, execbuf *out) {
    found_code found;
    bool is_found = find(address, &found) && !found.is_adapter;
    if (is_found) {
        *out = found.buffer;
    }
    return is_found;
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

/* ---- Statistics ---- */

/* The sum of lengths and capacities of all taken slots of a span. */
static size_t bytes_in_span(const xb_span *span) {
    size_t sum = 0;
    for (uint32_t slot = 0; slot < span->slots; slot++) {
        sum += xb_tag_is_taken(xb_span_tag(span, slot)) ? xb_span_length(span, slot) : 0;
    }
    return sum;
}

/* Not xb_span_next: a span may be replaced by a smaller one meanwhile. */
static size_t bytes_in_region(const xb_region *region) {
    size_t sum = 0;
    for (uint32_t page = 1; page < region->page_count; page++) {
        const xb_span *span = xb_span_at_page(region, page);
        if (span != NULL && XB_LOAD_RELAXED(span->page) == page) { /* its first one; others may lie between */
            sum += bytes_in_span(span);
        }
    }
    return sum;
}

size_t xb_pool_code_bytes(execbuf_pool *pool) {
    size_t sum = 0;
    xb_readers_enter();
    for (const xb_region *region = XB_LOAD_ACQUIRE(xb_readable_regions); region != NULL;
         region = XB_LOAD_ACQUIRE(region->next_readable)) {
        sum += region->pool == pool ? bytes_in_region(region) : 0;
    }
    xb_readers_leave();
    for (xb_arena *arena = XB_LOAD_ACQUIRE(pool->arenas); arena != NULL; arena = arena->next) {
        xb_arena_lock(arena);
        sum += arena->large_bytes;
        xb_arena_unlock(arena);
    }
    return sum;
}

/* How many regions of an arena, which is locked, other processes share. The kernel is asked once for each
 * family. */
static size_t count_frozen(const xb_arena *arena) {
    size_t sum = 0;
    for (uint8_t family = 0; family < XB_MOST_FAMILIES; family++) {
        bool is_shared = arena->shared_count[family] != 0 && !xb_family_is_alone(family);
        sum += is_shared ? arena->shared_count[family] : 0;
    }
    return sum;
}

/* Adds what an arena has. */
static void add_stats(xb_arena *arena, execbuf_pool_stats *stats) {
    xb_arena_lock_alone(arena);
    xb_reclaim_guests(arena); /* what they have freed is not live any more */
    stats->live += arena->live + arena->large_count;
    stats->mapped += arena->mapped + arena->large_size;
    stats->resident += arena->resident + arena->large_size;
    stats->bookkeeping += arena->bookkeeping;
    stats->regions += arena->region_count;
    stats->frozen += count_frozen(arena);
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
