/* Where the pieces of a pool may lie. A piece is a region or a dedicated mapping. */
#ifndef XB_POOL_PLACEMENT_H
#define XB_POOL_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "pool.h"

XB_PRIVATE_BEGIN

/* The window for a new piece: the pool's own, less what is too far from its other pieces.
 *
 * Preconditions: the pool is not locked.
 * Returns: storage; NULL: the piece may lie anywhere. */
const xb_prim_window *xb_placement_window(execbuf_pool *pool, xb_prim_window *storage);

/* Whether a piece of this size can be within the reach of the pool at all. */
bool xb_placement_allows(const execbuf_pool *pool, size_t size);

/* Adds a piece to the range that the pool's pieces cover. The caller adds it to the pool while it still has
 * the lock.
 *
 * Preconditions: the pool is locked. xb_placement_allows the size.
 * Returns: false if the piece is too far from another one, which a thread has added since the window was
 *          computed. */
bool xb_placement_add(execbuf_pool *pool, const void *base, size_t size);

XB_PRIVATE_END

#endif
