/* The range that the pieces of a pool cover is exact as long as there are no dedicated mappings. These are
 * in no list, so the range only grows while there are some. The process's lock guards both. */

#include "placement.h"

#include "../base/list.h"

/* Whether the pool has no pieces. */
static bool is_empty(const execbuf_pool *pool) {
    return pool->pieces == NULL && pool->chunks == NULL && pool->large_count == 0;
}

/* Extends a range, which is empty if first is greater than last, by a piece. */
static void extend(uintptr_t *first, uintptr_t *last, const void *base, size_t size) {
    uintptr_t from = (uintptr_t)base;
    uintptr_t to = from + (size - 1);
    *first = from < *first ? from : *first;
    *last = to > *last ? to : *last;
}

/* The range that all pieces cover. */
static void get_range(const execbuf_pool *pool, uintptr_t *first, uintptr_t *last) {
    *first = pool->first_byte;
    *last = pool->last_byte;
    if (pool->large_count == 0) {
        *first = UINTPTR_MAX;
        *last = 0;
        for (const xb_region *region = pool->pieces; region != NULL; region = region->next_piece) {
            extend(first, last, region->views.rx, region->size);
        }
        for (const xb_chunk *chunk = pool->chunks; chunk != NULL; chunk = chunk->next) {
            extend(first, last, chunk->base, chunk->size);
        }
    }
}

const xb_prim_window *xb_placement_window(const execbuf_pool *pool, xb_prim_window *storage) {
    *storage = pool->options.window;
    if (pool->options.reach != 0) {
        xb_prim_lock();
        if (!is_empty(pool)) {
            uintptr_t first;
            uintptr_t last;
            get_range(pool, &first, &last);
            uintptr_t room = pool->options.reach - 1 - (last - first); /* add has checked it */
            uintptr_t lowest = first > room ? first - room : 0;
            uintptr_t highest = last < UINTPTR_MAX - room ? last + room : UINTPTR_MAX;
            storage->lowest = storage->lowest > lowest ? storage->lowest : lowest;
            storage->highest = storage->highest < highest ? storage->highest : highest;
            storage->near_to = storage->near_to != 0 ? storage->near_to : first;
        }
        xb_prim_unlock();
    }
    return storage->lowest != 0 || storage->highest != UINTPTR_MAX ? storage : NULL;
}

bool xb_placement_allows(const execbuf_pool *pool, size_t size) {
    return pool->options.reach == 0 || size <= pool->options.reach;
}

/* Extends the range of all pieces by one. False if it would be too large. The process's lock is held. */
static bool add(execbuf_pool *pool, const void *base, size_t size) {
    uintptr_t first;
    uintptr_t last;
    get_range(pool, &first, &last);
    extend(&first, &last, base, size);
    bool is_near = last - first < pool->options.reach;
    if (is_near) {
        pool->first_byte = first;
        pool->last_byte = last;
    }
    return is_near;
}

bool xb_placement_add_region(execbuf_pool *pool, xb_region *region) {
    if (pool->options.reach == 0) {
        return true;
    }
    xb_prim_lock();
    bool is_near = add(pool, region->views.rx, region->size);
    if (is_near) {
        XB_LIST_PUSH(pool->pieces, region, next_piece, previous_piece);
    }
    xb_prim_unlock();
    return is_near;
}

bool xb_placement_add_large(execbuf_pool *pool, const void *base, size_t size) {
    if (pool->options.reach == 0) {
        return true;
    }
    xb_prim_lock();
    bool is_near = add(pool, base, size);
    pool->large_count += is_near;
    xb_prim_unlock();
    return is_near;
}

bool xb_placement_add_chunk(execbuf_pool *pool, xb_chunk *chunk) {
    xb_prim_lock();
    bool is_near = pool->options.reach == 0 || add(pool, chunk->base, chunk->size);
    if (is_near) {
        XB_LIST_PUSH(pool->chunks, chunk, next, previous);
    }
    xb_prim_unlock();
    return is_near;
}

void xb_placement_remove_regions(execbuf_pool *pool, xb_region *regions) {
    for (; regions != NULL && pool->options.reach != 0; regions = regions->next) {
        XB_LIST_REMOVE(pool->pieces, regions, next_piece, previous_piece);
    }
}

void xb_placement_remove_large(execbuf_pool *pool) {
    if (pool->options.reach != 0) {
        xb_prim_lock();
        pool->large_count--;
        xb_prim_unlock();
    }
}
