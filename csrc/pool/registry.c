/* All pools of the process.
 *
 * The process's lock guards the list of unused pools and the growth of xb_registry. It is not held during
 * allocations: fork handlers of malloc could otherwise wait for us while we wait for them. */

#include "registry.h"

#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../base/fault.h"

execbuf_pool *xb_registry[XB_MAX_POOLS];

/* How many elements of xb_registry are used, but for element 0. */
static uint32_t number_count;

/* Pools that are over. Their locks stay biased to the threads that they were biased to: such a thread may be
 * taking the lock right now, for a stale handle. A thread prefers an unused pool whose lock can be biased to
 * it, or else a new pool; but if there are FEW_UNUSED, it takes any. */
static execbuf_pool *unused_pools;
static uint32_t unused_count;
#define FEW_UNUSED 64U

uint32_t xb_registry_count(void) {
    return number_count;
}

/* Takes a pool from the list of unused ones.
 *
 * Returns: the pool, or NULL.
 * In: any: whether one will do whose lock cannot be biased to this thread. */
static execbuf_pool *take_unused(bool any) {
    xb_prim_lock();
    xb_prim_arm_fork_mark();
    any |= unused_count >= FEW_UNUSED;
    execbuf_pool **link = &unused_pools;
    while (*link != NULL && !any && !xb_may_bias(&(*link)->lock)) {
        link = &(*link)->next_unused;
    }
    execbuf_pool *pool = *link;
    if (pool != NULL) {
        *link = pool->next_unused;
        unused_count--;
    }
    xb_prim_unlock();
    return pool;
}

/* Gives a new pool a number and enters it in xb_registry. False: there is no number left. */
static bool number_pool(execbuf_pool *pool) {
    bool has_number = false;
    xb_prim_lock();
    if (number_count + 1 < XB_MAX_POOLS) {
        pool->number = number_count + 1;
        xb_registry[pool->number] = pool;
        number_count++; /* last: the child of a raw clone(2) may read this without the lock */
        has_number = true;
    }
    xb_prim_unlock();
    return has_number;
}

/* Allocates a pool and gives it a number. */
static xb_registry_added new_pool(execbuf_pool **out) {
    execbuf_pool *pool = XB_FAULT("calloc") != 0 ? NULL : (execbuf_pool *)calloc(1, sizeof *pool);
    if (pool == NULL) {
        return XB_REGISTRY_NO_MEMORY;
    }
    xb_biased_lock_init(&pool->lock);
    if (!number_pool(pool)) {
        free(pool);
        return XB_REGISTRY_NO_NUMBER;
    }
    *out = pool;
    return XB_REGISTRY_ADDED;
}

/* Sets a pool up whose members are zero, but for the lock and what outlives it. Handles of the last pool with
 * this memory may be checked meanwhile. */
static void set_up(execbuf_pool *pool, const xb_pool_options *options) {
    size_t region_size = xb_prim_query().largest_region;
    xb_pool_lock(pool);
    pool->window = options->window;
    pool->reach = options->reach;
    pool->backends = options->backends;
    memcpy(pool->name, options->name, strlen(options->name));
    pool->largest = region_size / XB_LARGEST_PART;
    pool->key = options->key;
    pool->fast_limit = options->key == XB_PRIM_NO_KEY ? XB_MAX_SLOT_SIZE : 0;
    pool->bookkeeping = sizeof *pool;
    pool->backend = EXECBUF_BACKEND_NONE;
    (void)xb_error_set(&pool->why, EXECBUF_OK, NULL, 0);
    xb_pool_unlock(pool);
}

xb_registry_added xb_registry_add(execbuf_pool **out, const xb_pool_options *options) {
    xb_registry_added added = XB_REGISTRY_ADDED;
    execbuf_pool *pool = take_unused(false);
    if (pool == NULL) {
        added = new_pool(&pool);
    }
    if (pool == NULL) {
        pool = take_unused(true);
    }
    if (pool == NULL) {
        return added;
    }
    set_up(pool, options);
    *out = pool;
    return XB_REGISTRY_ADDED;
}

void xb_registry_remove(execbuf_pool *pool) {
    xb_lock(&pool->lock);
    struct xb_span_place *places = pool->places;
    const xb_pool_links *links = pool->links;
    void *links_data = pool->links_data;
    /* The next pool's handles get other serials than this one's, until none are left. */
    uint32_t serial = pool->serials < XB_MAX_SERIALS ? pool->serials : 0;
    memset((char *)pool + offsetof(execbuf_pool, next_unused), 0,
           sizeof *pool - offsetof(execbuf_pool, next_unused));
    pool->first_serial = serial;
    pool->serials = serial;
    xb_unlock(&pool->lock);
    free(places);
    if (links != NULL) {
        links->end(links_data);
    }
    xb_prim_lock();
    pool->next_unused = unused_pools;
    unused_pools = pool;
    unused_count++;
    xb_prim_unlock();
}
