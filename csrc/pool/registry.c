/* The list of all pools. */

#include "registry.h"

#include <stdlib.h>
#include <string.h>

#include "../base/fault.h"
#include "../prim/lock.h"

execbuf_pool *xb_registry[XB_MAX_POOLS];
static uint32_t pool_count;
/* Pools that are not in use. The mutex of each keeps its owner, since that thread may just be taking it, for
 * a stale handle. So if this thread can own none of them, it had better have a new one, as long as there are
 * few. */
static execbuf_pool *unused_pools;
static uint32_t unused_count;
#define FEW_UNUSED 64U

uint32_t xb_registry_count(void) {
    return pool_count;
}

/* Takes a pool that is not in use, and that this thread can own, if not just any will do. NULL: there is
 * none. */
static execbuf_pool *take_unused(bool any) {
    xb_prim_lock();
    xb_prim_arm_fork_mark();
    any |= unused_count >= FEW_UNUSED;
    execbuf_pool **link = &unused_pools;
    while (*link != NULL && !any && !xb_may_bias(&(*link)->mutex)) {
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

/* Makes a pool that has no number yet; NULL: there is no memory. Without the lock, as in the table of
 * buffers. */
static execbuf_pool *make_pool(void) {
    execbuf_pool *pool = XB_FAULT("calloc") != 0 ? NULL : (execbuf_pool *)calloc(1, sizeof *pool);
    if (pool != NULL) {
        xb_biased_lock_init(&pool->mutex);
    }
    return pool;
}

execbuf_pool *xb_registry_add(void) {
    execbuf_pool *pool = take_unused(false);
    if (pool != NULL) {
        return pool;
    }
    pool = make_pool();
    if (pool != NULL) {
        xb_prim_lock();
        if (pool_count + 1 < XB_MAX_POOLS) {
            pool->number = pool_count + 1;
            xb_registry[pool->number] = pool;
            pool_count++; /* last, for the child of a raw clone, which can't wait for the lock */
        }
        xb_prim_unlock();
        if (pool->number != 0) {
            return pool;
        }
        free(pool);
    }
    return take_unused(true);
}

void xb_registry_remove(execbuf_pool *pool) {
    xb_lock(&pool->mutex);
    xb_span_place *spans = pool->spans;
    const xb_pool_links *links = pool->links;
    void *links_data = pool->links_data;
    /* Handles of the old pool are not to be those of the new one; until no serial is left. */
    uint32_t serial = pool->serials < XB_MAX_SERIALS ? pool->serials : 0;
    memset(&pool->next_unused, 0, sizeof *pool - offsetof(execbuf_pool, next_unused));
    pool->first_serial = serial;
    pool->serials = serial;
    xb_unlock(&pool->mutex);
    free(spans);
    if (links != NULL) {
        links->end(links_data);
    }
    xb_prim_lock();
    pool->next_unused = unused_pools;
    unused_pools = pool;
    unused_count++;
    xb_prim_unlock();
}
