/*
 * The list of all pools: finds a pool by the number that is in its handles' ids.
 *
 * A pool's memory is never given back, but used for another pool: so what a stale handle names can always be
 * locked, and looked at.
 */
#ifndef XB_POOL_REGISTRY_H
#define XB_POOL_REGISTRY_H

#include "pool.h"

/* A pool with a number and a mutex, the rest zero but for first_serial; NULL if there is no memory, or no
 * number left. */
execbuf_pool *xb_registry_add(void);

/* Keeps the memory of a pool that has nothing any more for another one. */
void xb_registry_remove(execbuf_pool *pool);

/* The pools by number; number 0 is none's. An entry is NULL until its number is given out, and then never
 * changes, so that whoever has a pool's number reads its entry without a lock. It may be that of a pool that
 * was given up, or is not in use. Other entries are guarded by the process's lock. */
extern execbuf_pool *xb_registry[XB_MAX_POOLS];

/* How many numbers are in use: those from 1 on. With the process's lock. */
uint32_t xb_registry_count(void);

#endif
