/* All pools of the process, by number.
 *
 * The memory of a pool is never freed, but serves the next pool. So any handle, however old or wrong, can be
 * checked safely: the pool that its id names can be locked and looked into.
 *
 * A pool counts as over when its user has freed it and nothing that it published is alive; then
 * xb_registry_remove makes its memory available. */
#ifndef XB_POOL_REGISTRY_H
#define XB_POOL_REGISTRY_H

#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "index.h"
#include "pool.h"

XB_PRIVATE_BEGIN

/* The pools by number; no pool has number 0. An element is NULL until its number is used for the first time,
 * and constant from then on, so it is read without a lock by those who have the number from a handle. The
 * pool may have been freed, and may be over. Loops over all elements hold the process's lock. */
extern execbuf_pool *xb_registry[XB_MAX_POOLS];

/* How xb_registry_add ended. */
typedef enum xb_registry_added {
    XB_REGISTRY_NO_NUMBER = -2, /* XB_MAX_POOLS - 1 pools exist */
    XB_REGISTRY_NO_MEMORY = -1,
    XB_REGISTRY_ADDED = 0
} xb_registry_added;

/* Makes an empty pool.
 *
 * Preconditions: no lock is held.
 * Returns: XB_REGISTRY_ADDED, or why there is no pool.
 * Out: out:     the pool; unchanged on failure.
 * In:  options: they are copied. */
xb_registry_added xb_registry_add(execbuf_pool **out, const xb_pool_options *options);

/* Makes the memory of a pool that has ended available for another pool.
 *
 * Preconditions: no lock is held. No other thread does the same. */
void xb_registry_remove(execbuf_pool *pool);

/* How many numbers have been used: 1 up to this. The process's lock is held. */
uint32_t xb_registry_count(void);

/* The pool that the id of a handle names.
 *
 * Returns: NULL if there was never a pool with this number.
 * In: buffer: any handle with XB_ID_POOL_BIT. */
XB_INLINE execbuf_pool *xb_registry_find(const execbuf *buffer) {
    return xb_registry[buffer->id >> XB_POOL_SHIFT & (XB_MAX_POOLS - 1)];
}

XB_PRIVATE_END

#endif
