/* Where the pieces of a pool may lie. A piece is a region or a dedicated mapping, of any of its arenas, or a
 * chunk of constants or data. All that is done only if the pool has a reach. No lock is held in any of these
 * functions but xb_placement_remove_regions. */
#ifndef XB_POOL_PLACEMENT_H
#define XB_POOL_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "chunk.h"
#include "pool.h"

XB_PRIVATE_BEGIN

/* The window for a new piece: the pool's own, less what is too far from its other pieces.
 *
 * Returns: storage; NULL: the piece may lie anywhere. */
const xb_prim_window *xb_placement_window(const execbuf_pool *pool, xb_prim_window *storage);

/* Whether a piece of this size can be within the reach of the pool at all. */
bool xb_placement_allows(const execbuf_pool *pool, size_t size);

/* Adds a piece to the range that the pool's pieces cover.
 *
 * Preconditions: xb_placement_allows its size.
 * Returns: false if the piece is too far from another one, which a thread has added since the window was
 *          computed. */
bool xb_placement_add_region(execbuf_pool *pool, xb_region *region);
bool xb_placement_add_large(execbuf_pool *pool, const void *base, size_t size);

/* As xb_placement_add_region; the chunk is also entered in the list of the pool, with or without a reach. */
bool xb_placement_add_chunk(execbuf_pool *pool, xb_chunk *chunk);

/* Takes pieces away: a list of regions, by next, with the process's lock held; or one dedicated mapping. The
 * pool still has another piece, or an arena that is not over. */
void xb_placement_remove_regions(execbuf_pool *pool, xb_region *regions);
void xb_placement_remove_large(execbuf_pool *pool);

XB_PRIVATE_END

#endif
