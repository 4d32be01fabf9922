/* The list of all pools. */

#include "registry.h"

#include <stdlib.h>
#include <string.h>

#include "prim/fault.h"

#define CHUNK 256U

/* Guarded by the process's lock, but for reading the entry of a pool whose number one has: it was written before the
 * number was given out, and never changes. */
static execbuf_pool **chunks[EXECBUF_MOST_POOLS / CHUNK];
static uint32_t count;
static execbuf_pool *unused;

execbuf_pool *execbuf_registry_pool(uint32_t number) {
    execbuf_pool **chunk = chunks[number / CHUNK];
    return chunk != NULL ? chunk[number % CHUNK] : NULL;
}

uint32_t execbuf_registry_count(void) {
    return count;
}

/* Enters a new pool; false: there is no number left. */
static bool enter(execbuf_pool *pool, execbuf_pool ***chunk) {
    bool fits = count + 1 < EXECBUF_MOST_POOLS;
    if (fits) {
        pool->number = ++count;
        if (chunks[pool->number / CHUNK] == NULL) {
            chunks[pool->number / CHUNK] = *chunk;
            *chunk = NULL;
        }
        chunks[pool->number / CHUNK][pool->number % CHUNK] = pool;
    }
    return fits;
}

execbuf_pool *execbuf_registry_add(void) {
    execbuf_prim_lock();
    execbuf_pool *pool = unused;
    if (pool != NULL) {
        unused = pool->next_unused;
    }
    execbuf_prim_unlock();
    if (pool != NULL || EXECBUF_FAULT("calloc") != 0) {
        return pool;
    }
    /* A chunk as well, in case that one is needed; without the lock, as in the table of buffers. */
    pool = (execbuf_pool *)calloc(1, sizeof *pool);
    execbuf_pool **chunk = (execbuf_pool **)calloc(CHUNK, sizeof *chunk);
    bool entered = false;
    if (pool != NULL && chunk != NULL) {
        execbuf_prim_mutex_init(&pool->mutex);
        execbuf_prim_lock();
        entered = enter(pool, &chunk);
        execbuf_prim_unlock();
    }
    free((void *)chunk);
    if (!entered) {
        free(pool);
    }
    return entered ? pool : NULL;
}

void execbuf_registry_remove(execbuf_pool *pool) {
    execbuf_prim_mutex_lock(&pool->mutex);
    execbuf_region **regions = pool->regions;
    uint32_t serial = pool->serial;
    memset(&pool->next_unused, 0, sizeof *pool - offsetof(execbuf_pool, next_unused));
    pool->serial = serial; /* goes on, so that handles of the old pool are not those of the new one */
    execbuf_prim_mutex_unlock(&pool->mutex);
    free((void *)regions);
    execbuf_prim_lock();
    pool->next_unused = unused;
    unused = pool;
    execbuf_prim_unlock();
}
