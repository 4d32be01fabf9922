/* Pools: making, asking and giving them up, and forks. */

#include "slot.h"

#include <string.h>

#include "../exec/ladder.h"
#include "../base/error.h"
#include "alloc.h"

/* Code that is larger than this part of a region gets pages of its own: of runs of so many pages, regions
 * could hold few, and would waste much. */
#define LARGEST_PART 32

execbuf_status execbuf_pool_new(execbuf_pool **out, const execbuf_pool_options *options,
                                execbuf_error *error) {
    static const execbuf_pool_options usual = {NULL, NULL};
    if (out == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = NULL;
    if (options == NULL) {
        options = &usual;
    }
    const char *name = options->name != NULL ? options->name : "execbuf";
    size_t length = strlen(name);
    if (length > EXECBUF_POOL_NAME_MAX) {
        return execbuf_error_set(error, EXECBUF_E_TOO_LARGE, "name", 0);
    }
    execbuf_fork_look();
    execbuf_status status = execbuf_backend_check(error);
    if (status != EXECBUF_OK) {
        return status;
    }
    execbuf_pool *pool = execbuf_registry_add();
    if (pool == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    execbuf_prim_info info = execbuf_prim_query();
    execbuf_pool_lock(pool);
    pool->near_to = options->near_to;
    memcpy(pool->name, name, length);
    pool->largest = info.region_size / LARGEST_PART;
    pool->bookkeeping = sizeof *pool;
    pool->backend = EXECBUF_BACKEND_NONE;
    (void)execbuf_error_set(&pool->why, EXECBUF_OK, NULL, 0);
    execbuf_pool_unlock(pool);
    *out = pool;
    return execbuf_error_none(error);
}

void execbuf_pool_free(execbuf_pool *pool) {
    if (pool == NULL) {
        return;
    }
    execbuf_pool_lock(pool);
    pool->given_up = true;
    execbuf_region *empty = NULL;
    for (execbuf_region *region = pool->regions; region != NULL;) {
        execbuf_region *next = region->next;
        region->ordinary = false;
        if (execbuf_room_should_go(pool, region)) {
            execbuf_room_take_out(pool, region);
            region->next = empty;
            empty = region;
        }
        region = next;
    }
    execbuf_room_unlock(pool, empty, NULL);
}

/* Finds the published code at an address in a region of the pool, which is locked. */
static bool find_address(const execbuf_pool *pool, const void *address, execbuf_place *place) {
    const execbuf_region *region = pool->regions;
    while (region != NULL && (uintptr_t)address - (uintptr_t)region->views.rx >= region->size) {
        region = region->next;
    }
    if (region == NULL) {
        return false;
    }
    uintptr_t offset = (uintptr_t)address - (uintptr_t)region->views.rx;
    const execbuf_span *span = region->spans[offset >> region->page_shift];
    if (span == NULL) {
        return false;
    }
    uint32_t slot = execbuf_slot_at((uintptr_t)address - (uintptr_t)span->start, span->reciprocal);
    if (slot >= span->slots) { /* behind the last one */
        return false;
    }
    const uint8_t *entry = execbuf_span_entry(span, slot);
    place->entry = execbuf_span_address(span, slot);
    place->length = execbuf_span_length(span, slot, entry);
    return (execbuf_entry_tag(entry) & 1) != 0 && !execbuf_span_reserved(span, slot, entry) &&
           (uintptr_t)address - (uintptr_t)place->entry < place->length;
}

int execbuf_pool_lookup(const execbuf_pool *pool, const void *address, execbuf_place *place) {
    static const execbuf_place nowhere = {NULL, 0};
    bool found = false;
    execbuf_place there = nowhere;
    if (pool != NULL) {
        execbuf_pool_lock((execbuf_pool *)pool); /* only its mutex changes */
        found = find_address(pool, address, &there);
        size_t own = pool->own_count;
        execbuf_pool_unlock((execbuf_pool *)pool);
        execbuf_record record;
        if (!found && own > 0 && execbuf_table_search(pool->number, address, &record)) {
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
        (void)execbuf_error_set(&stats->why, EXECBUF_OK, NULL, 0);
        return;
    }
    execbuf_pool_lock((execbuf_pool *)pool); /* only its mutex changes */
    stats->live = pool->own_count;
    stats->bytes = pool->own_bytes;
    stats->reserved = pool->own_size;
    stats->committed = pool->own_size + pool->committed;
    stats->bookkeeping = pool->bookkeeping;
    for (const execbuf_region *region = pool->regions; region != NULL; region = region->next) {
        stats->live += region->live;
        stats->bytes += execbuf_span_sum(region);
        stats->reserved += region->size;
        stats->regions++;
        stats->frozen += region->frozen;
    }
    stats->own_pages = pool->own_count;
    stats->backend = pool->backend;
    stats->why = pool->why;
    execbuf_pool_unlock((execbuf_pool *)pool);
}

/* ---- fork ---- */

/* How many pools there were before the fork. Fork handlers of the program may make more meanwhile. */
static uint32_t locked;

/* Freezes already now: the program's fork handlers may use pools between this and the fork. */
void execbuf_pools_before_fork(void) {
    locked = execbuf_registry_count();
    for (uint32_t number = 1; number <= locked; number++) {
        execbuf_prim_mutex_lock(&execbuf_registry[number]->mutex);
        execbuf_room_freeze(execbuf_registry[number], false);
    }
}

void execbuf_pools_after_fork(bool in_child) {
    for (uint32_t number = execbuf_registry_count(); number >= 1; number--) {
        execbuf_pool *pool = execbuf_registry[number];
        execbuf_room_freeze(pool, in_child);
        if (number <= locked) {
            execbuf_unlock(&pool->mutex);
        }
        if (in_child) {
            /* Its owner may be a thread that is not in this process, and was just about to take it. */
            execbuf_prim_mutex_init(&pool->mutex);
        }
    }
}

void execbuf_pools_in_clone(void) {
    for (uint32_t number = 1; number <= execbuf_registry_count(); number++) {
        execbuf_pool *pool = execbuf_registry[number];
        execbuf_prim_mutex_init(&pool->mutex);
        execbuf_room_freeze(pool, true);
    }
}
