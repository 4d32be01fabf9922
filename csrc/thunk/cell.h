/* The cells of closures: a function and a context, in data memory of the pool. A closure is a stub with the
 * address of its cell; its adapter reads both from there.
 *
 * Cells of an arena lie in blocks, which are data of the pool: private to a process after a fork, and never
 * executable. So a cell costs 16 bytes and no book-keeping of its own.
 *
 *     block      page 0                                  page 1
 *                │ xb_cell_block │ cell │ cell │ ... │   │ block │ cell │ cell │ ...
 *
 * Each page begins with the address of the block, so that a cell finds it. A free cell has the next free one
 * of its block as its context, and no function. Cells behind `fresh` have never been used, and their pages
 * may not have memory yet.
 *
 * The lock of the arena guards all of this. */
#ifndef XB_THUNK_CELL_H
#define XB_THUNK_CELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"
#include "../pool/arena.h"

/* What an adapter reads. */
typedef struct xb_cell {
    execbuf_function function;
    void *context;
} xb_cell;

XB_STATIC_ASSERT(sizeof(xb_cell) == 2 * sizeof(void *), "adapters know the offset of the context");

typedef struct xb_cell_block {
    struct xb_cell_block *self; /* first: what each page begins with */
    struct xb_cell_block *next; /* in the list of blocks with room */
    struct xb_cell_block *previous;
    execbuf_data data; /* its memory */
    xb_cell *free;     /* the list of cells that were freed, or NULL */
    size_t fresh;      /* where the cells begin that were never used; data.length: there are none */
    size_t live;       /* cells that are taken */
} xb_cell_block;

/* The cells of an arena. All zero: there are none. */
typedef struct xb_cells {
    xb_cell_block *roomy; /* the list of blocks with room */
    size_t bytes;         /* of all blocks */
    size_t empty_blocks;  /* how many blocks have no live cell */
} xb_cells;

XB_PRIVATE_BEGIN

/* Adds a block. No lock is held.
 *
 * Returns: EXECBUF_OK, and error is untouched; or what execbuf_pool_data returns, with its report. */
execbuf_status xb_cells_grow(xb_arena *arena, xb_cells *cells, execbuf_error *error);

/* The cell that xb_cells_take will take, or NULL if none is free. The arena is locked. */
xb_cell *xb_cells_next(const xb_cells *cells);

/* Takes a cell, and fills it. The arena is locked.
 *
 * Returns: NULL if none is free. */
xb_cell *xb_cells_take(xb_cells *cells, execbuf_function function, void *context);

/* Whether xb_cells_give would return NULL. The arena is locked, and the cell is taken. */
bool xb_cells_keep_all(const xb_cells *cells, xb_cell *cell);

/* Gives a cell back that is taken. The arena is locked. One block without live cells stays.
 *
 * Returns: a block that the caller releases when the arena is unlocked, or NULL. */
xb_cell_block *xb_cells_give(xb_cells *cells, xb_cell *cell);

/* Frees a block; NULL is fine. No lock is held. */
void xb_cells_release(xb_cell_block *block);

/* Frees what is left when the arena ends: all cells are free. No lock is held. */
void xb_cells_end(xb_cells *cells);

XB_PRIVATE_END

#endif
