/* Pools: making, asking and giving them up, and forks. */

#include "slot.h"

#include <string.h>

#include "../api/process.h"
#include "../exec/ladder.h"
#include "../base/error.h"
#include "alloc.h"

/* Code that is larger than this part of a region gets a dedicated mapping: of runs of so many pages, regions
 * could hold few, and would waste much. */
#define LARGEST_PART 32

execbuf_status execbuf_pool_new(execbuf_pool **out, const execbuf_pool_options *options,
                                execbuf_error *error) {
    static const execbuf_pool_options usual = {NULL, NULL};
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = NULL;
    if (options == NULL) {
        options = &usual;
    }
    const char *name = options->name != NULL ? options->name : "execbuf";
    size_t length = strlen(name);
    if (length > EXECBUF_POOL_NAME_MAX) {
        return xb_error_set(error, EXECBUF_E_TOO_LARGE, "name", 0);
    }
    xb_prim_check_fork();
    execbuf_status status = xb_process_ready(error);
    if (status == EXECBUF_OK) {
        status = xb_ladder_check(error);
    }
    if (status != EXECBUF_OK) {
        return status;
    }
    execbuf_pool *pool = xb_registry_add();
    if (pool == NULL) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    xb_prim_info info = xb_prim_query();
    xb_pool_lock(pool);
    pool->near_to = options->near_to;
    memcpy(pool->name, name, length);
    pool->largest = info.region_size / LARGEST_PART;
    pool->bookkeeping = sizeof *pool;
    pool->backend = EXECBUF_BACKEND_NONE;
    (void)xb_error_set(&pool->why, EXECBUF_OK, NULL, 0);
    xb_pool_unlock(pool);
    *out = pool;
    return xb_error_ok(error);
}

void execbuf_pool_free(execbuf_pool *pool) {
    if (pool == NULL) {
        return;
    }
    xb_pool_lock(pool);
    pool->given_up = true;
    xb_region *empty = NULL;
    for (xb_region *region = pool->regions; region != NULL;) {
        xb_region *next = region->next;
        region->is_active = false;
        if (xb_reclaim_is_due(pool, region)) {
            xb_reclaim_detach(pool, region);
            region->next = empty;
            empty = region;
        }
        region = next;
    }
    xb_reclaim_unlock(pool, empty, NULL);
}

/* Finds the published code at an address in a region of the pool, which is locked. */
static bool find_address(const execbuf_pool *pool, const void *address, execbuf_place *place) {
    const xb_region *region = pool->regions;
    while (region != NULL && (uintptr_t)address - (uintptr_t)region->views.rx >= region->size) {
        region = region->next;
    }
    if (region == NULL) {
        return false;
    }
    uintptr_t offset = (uintptr_t)address - (uintptr_t)region->views.rx;
    const xb_span *span = region->spans[offset >> region->page_shift];
    if (span == NULL) {
        return false;
    }
    uint32_t slot = xb_slot_at((uintptr_t)address - (uintptr_t)span->start, span->reciprocal);
    if (slot >= span->slots) { /* behind the last one */
        return false;
    }
    const uint8_t *entry = xb_span_entry(span, slot);
    place->entry = xb_span_address(span, slot);
    place->length = xb_span_length(span, slot, entry);
    return (xb_slot_tag(entry) & 1) != 0 && !xb_span_is_reserved(span, slot, entry) &&
           (uintptr_t)address - (uintptr_t)place->entry < place->length;
}

int execbuf_pool_lookup(const execbuf_pool *pool, const void *address, execbuf_place *place) {
    static const execbuf_place nowhere = {NULL, 0};
    bool found = false;
    execbuf_place there = nowhere;
    if (pool != NULL) {
        xb_pool_lock((execbuf_pool *)pool); /* only its mutex changes */
        found = find_address(pool, address, &there);
        size_t own = pool->large_count;
        xb_pool_unlock((execbuf_pool *)pool);
        xb_record record;
        if (!found && own > 0 && xb_handles_search(pool->number, address, &record)) {
            there.entry = record.entry;
            there.length = record.length;
            found = true;
        }
    }
    if (place != NULL) {
        *place = found ? there : nowhere;
    }
    return found;
}

const char *execbuf_pool_name(const execbuf_pool *pool) {
    return pool != NULL ? pool->name : "";
}

void execbuf_pool_get_stats(const execbuf_pool *pool, execbuf_pool_stats *stats) {
    if (stats == NULL) {
        return;
    }
    memset(stats, 0, sizeof *stats);
    stats->backend = EXECBUF_BACKEND_NONE;
    if (pool == NULL) {
        (void)xb_error_set(&stats->why, EXECBUF_OK, NULL, 0);
        return;
    }
    xb_pool_lock((execbuf_pool *)pool); /* only its mutex changes */
    stats->live = pool->large_count;
    stats->bytes = pool->large_bytes;
    stats->reserved = pool->large_size;
    stats->committed = pool->large_size + pool->committed;
    stats->bookkeeping = pool->bookkeeping;
    for (const xb_region *region = pool->regions; region != NULL; region = region->next) {
        stats->live += region->live;
        stats->bytes += xb_span_sum(region);
        stats->reserved += region->size;
        stats->regions++;
        stats->frozen += region->frozen;
    }
    stats->own_pages = pool->large_count;
    stats->backend = pool->backend;
    stats->why = pool->why;
    xb_pool_unlock((execbuf_pool *)pool);
}

/* ---- fork ---- */

/* How many pools there were before the fork. Fork handlers of the program may make more meanwhile. */
static uint32_t locked;

/* Freezes already now: the program's fork handlers may use pools between this and the fork. */
void xb_pools_before_fork(void) {
    locked = xb_registry_count();
    for (uint32_t number = 1; number <= locked; number++) {
        xb_lock_slow(&xb_registry[number]->mutex);
        xb_pool_freeze(xb_registry[number], false);
    }
}

void xb_pools_after_fork(bool in_child) {
    for (uint32_t number = xb_registry_count(); number >= 1; number--) {
        execbuf_pool *pool = xb_registry[number];
        xb_pool_freeze(pool, in_child);
        if (number <= locked) {
            xb_unlock(&pool->mutex);
        }
        if (in_child) {
            /* Its owner may be a thread that is not in this process, and was just about to take it. */
            xb_biased_lock_init(&pool->mutex);
        }
    }
}

void xb_pools_in_clone(void) {
    for (uint32_t number = 1; number <= xb_registry_count(); number++) {
        execbuf_pool *pool = xb_registry[number];
        xb_biased_lock_init(&pool->mutex);
        xb_pool_freeze(pool, true);
    }
}
