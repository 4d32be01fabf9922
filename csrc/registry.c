/* The list of all pools. */

#include "registry.h"

#include <stdlib.h>
#include <string.h>

#include "prim/fault.h"
#include "prim/inline.h"

execbuf_pool *execbuf_registry[EXECBUF_MOST_POOLS];
static uint32_t count;
static execbuf_pool *unused;

uint32_t execbuf_registry_count(void) {
    return count;
}

execbuf_pool *execbuf_registry_add(void) {
    execbuf_prim_lock();
    execbuf_prim_arm_canary();
    execbuf_pool *pool = unused;
    if (pool != NULL) {
        unused = pool->next_unused;
    }
    execbuf_prim_unlock();
    if (pool != NULL) {
        return pool; /* its mutex keeps its owner: that thread may just be taking it, for a stale handle */
    }
    if (EXECBUF_FAULT("calloc") != 0) {
        return NULL;
    }
    /* Without the lock, as in the table of buffers. */
    pool = (execbuf_pool *)calloc(1, sizeof *pool);
    if (pool == NULL) {
        return NULL;
    }
    execbuf_prim_mutex_init(&pool->mutex);
    execbuf_prim_lock();
    if (count + 1 < EXECBUF_MOST_POOLS) {
        pool->number = ++count;
        execbuf_registry[pool->number] = pool;
    }
    execbuf_prim_unlock();
    if (pool->number == 0) {
        free(pool);
        pool = NULL;
    }
    return pool;
}

void execbuf_registry_remove(execbuf_pool *pool) {
    execbuf_lock(&pool->mutex);
    execbuf_span_place *spans = pool->spans;
    uint32_t serial = pool->serial;
    memset(&pool->next_unused, 0, sizeof *pool - offsetof(execbuf_pool, next_unused));
    pool->serial = serial; /* goes on, so that handles of the old pool are not those of the new one */
    execbuf_unlock(&pool->mutex);
    free(spans);
    execbuf_prim_lock();
    pool->next_unused = unused;
    unused = pool;
    execbuf_prim_unlock();
}
