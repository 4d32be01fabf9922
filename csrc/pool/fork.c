/* What a fork does to pools.
 *
 * The process's lock is held in all functions. It is taken before the locks of pools. */

#include "fork.h"

#include <string.h>

#include "pool.h"
#include "registry.h"

/* How many pools were locked before the fork. Other fork handlers, which run between ours, may make more. */
static uint32_t locked_count;

/* Freezes all regions of a pool, and forgets free slots, quarantine and free pages: nothing is allocated in a
 * frozen region. The pool is locked, or the process has no other threads.
 *
 * Regions without taken slots cannot be unmapped here; must_sweep says that there are some. */
static void freeze_pool(execbuf_pool *pool, bool in_child) {
    for (xb_region *region = pool->regions; region != NULL; region = region->next) {
        region->frozen = true;
        region->is_active = false;
        region->is_kept = false;
        region->is_open = false;
        if (in_child && region->views.rw != region->views.rx) {
            region->views.rw = NULL; /* not inherited */
        }
        region->pins = in_child ? 0 : region->pins; /* the child does not have the threads that pinned it */
        pool->must_sweep |= xb_region_is_unused(region);
    }
    memset((void *)pool->classes, 0, sizeof pool->classes);
    memset(pool->class_bytes, 0, sizeof pool->class_bytes);
    pool->quarantine = NULL;
    pool->quarantine_size = 0;
    pool->open = NULL;
}

/* Freezes already before the fork: fork handlers that run between this and the fork may use pools, and what
 * they publish in the old regions would be shared, too. */
void xb_pools_before_fork(void) {
    locked_count = xb_registry_count();
    for (uint32_t number = 1; number <= locked_count; number++) {
        xb_lock_slow(&xb_registry[number]->lock);
        freeze_pool(xb_registry[number], false);
    }
}

void xb_pools_after_fork(bool in_child) {
    for (uint32_t number = xb_registry_count(); number >= 1; number--) {
        execbuf_pool *pool = xb_registry[number];
        freeze_pool(pool, in_child);
        if (number <= locked_count) {
            xb_unlock_slow(&pool->lock);
        }
        if (in_child) {
            /* The lock may be biased to a thread that is not in this process, and was just taking it. */
            xb_biased_lock_init(&pool->lock);
        }
    }
}

void xb_pools_in_clone(void) {
    for (uint32_t number = 1; number <= xb_registry_count(); number++) {
        execbuf_pool *pool = xb_registry[number];
        xb_biased_lock_init(&pool->lock);
        freeze_pool(pool, true);
    }
}
