/* The list of all pools. */

#include "registry.h"

#include <stdlib.h>
#include <string.h>

#include "../base/fault.h"
#include "../prim/lock.h"

execbuf_pool *execbuf_registry[EXECBUF_MOST_POOLS];
static uint32_t count;
/* Pools that are not in use. The mutex of each keeps its owner, since that thread may just be taking it, for
 * a stale handle. So if this thread can own none of them, it had better have a new one, as long as there are
 * few. */
static execbuf_pool *unused;
static uint32_t unused_count;
#define FEW_UNUSED 64U

uint32_t execbuf_registry_count(void) {
    return count;
}

/* Takes a pool that is not in use, and that this thread can own, if not just any will do. NULL: there is
 * none. */
static execbuf_pool *take_unused(bool any) {
    execbuf_prim_lock();
    execbuf_prim_arm_canary();
    any |= unused_count >= FEW_UNUSED;
    execbuf_pool **link = &unused;
    while (*link != NULL && !any && !execbuf_may_own(&(*link)->mutex)) {
        link = &(*link)->next_unused;
    }
    execbuf_pool *pool = *link;
    if (pool != NULL) {
        *link = pool->next_unused;
        unused_count--;
    }
    execbuf_prim_unlock();
    return pool;
}

/* Makes a pool that has no number yet; NULL: there is no memory. Without the lock, as in the table of
 * buffers. */
static execbuf_pool *make(void) {
    execbuf_pool *pool = EXECBUF_FAULT("calloc") != 0 ? NULL : (execbuf_pool *)calloc(1, sizeof *pool);
    if (pool != NULL) {
        execbuf_prim_mutex_init(&pool->mutex);
    }
    return pool;
}

execbuf_pool *execbuf_registry_add(void) {
    execbuf_pool *pool = take_unused(false);
    if (pool != NULL) {
        return pool;
    }
    pool = make();
    if (pool != NULL) {
        execbuf_prim_lock();
        if (count + 1 < EXECBUF_MOST_POOLS) {
            pool->number = count + 1;
            execbuf_registry[pool->number] = pool;
            count++; /* last, for the child of a raw clone, which can't wait for the lock */
        }
        execbuf_prim_unlock();
        if (pool->number != 0) {
            return pool;
        }
        free(pool);
    }
    return take_unused(true);
}

void execbuf_registry_remove(execbuf_pool *pool) {
    execbuf_lock(&pool->mutex);
    execbuf_span_place *spans = pool->spans;
    /* Handles of the old pool are not to be those of the new one; until no serial is left. */
    uint32_t serial = pool->serials < EXECBUF_MOST_SERIALS ? pool->serials : 0;
    memset(&pool->next_unused, 0, sizeof *pool - offsetof(execbuf_pool, next_unused));
    pool->first_serial = serial;
    pool->serials = serial;
    execbuf_unlock(&pool->mutex);
    free(spans);
    execbuf_prim_lock();
    pool->next_unused = unused;
    unused = pool;
    unused_count++;
    execbuf_prim_unlock();
}
