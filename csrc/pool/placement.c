/* The range that the pieces of a pool cover only grows, until a region is the only piece, or there is none:
 * otherwise, each freed piece would require a look at all others. A region may stay when all code is freed.
 */

#include "placement.h"

/* Whether the pool has no pieces. */
static bool is_empty(const execbuf_pool *pool) {
    return pool->regions == NULL && pool->large_count == 0;
}

/* Shrinks the range if a region is the only piece. */
static void shrink_range(execbuf_pool *pool) {
    const xb_region *region = pool->regions;
    if (region != NULL && region->next == NULL && pool->large_count == 0) {
        pool->first_byte = (uintptr_t)region->views.rx;
        pool->last_byte = pool->first_byte + (region->size - 1);
    }
}

const xb_prim_window *xb_placement_window(execbuf_pool *pool, xb_prim_window *storage) {
    *storage = pool->window;
    if (pool->reach != 0) {
        xb_pool_lock(pool);
        if (!is_empty(pool)) {
            shrink_range(pool);
            uintptr_t first = pool->first_byte;
            uintptr_t last = pool->last_byte;
            uintptr_t room = pool->reach - 1 - (last - first); /* xb_placement_add has checked it */
            uintptr_t lowest = first > room ? first - room : 0;
            uintptr_t highest = last < UINTPTR_MAX - room ? last + room : UINTPTR_MAX;
            storage->lowest = storage->lowest > lowest ? storage->lowest : lowest;
            storage->highest = storage->highest < highest ? storage->highest : highest;
            storage->near_to = storage->near_to != 0 ? storage->near_to : first;
        }
        xb_pool_unlock(pool);
    }
    return storage->lowest != 0 || storage->highest != UINTPTR_MAX ? storage : NULL;
}

bool xb_placement_allows(const execbuf_pool *pool, size_t size) {
    return pool->reach == 0 || size <= pool->reach;
}

bool xb_placement_add(execbuf_pool *pool, const void *base, size_t size) {
    uintptr_t first = (uintptr_t)base;
    uintptr_t last = first + (size - 1);
    if (!is_empty(pool)) {
        shrink_range(pool);
        first = first < pool->first_byte ? first : pool->first_byte;
        last = last > pool->last_byte ? last : pool->last_byte;
    }
    if (pool->reach != 0 && last - first >= pool->reach) {
        return false;
    }
    pool->first_byte = first;
    pool->last_byte = last;
    return true;
}
