/* The cells of closures. */

#include "cell.h"

#include "../base/list.h"
#include "../pool/data.h"

/* The pages of blocks, whatever those of the system are: not larger. */
#define CELL_PAGE ((size_t)4096)

/* A new block is as large as all of the arena, within these limits. */
#define LARGEST_BLOCK ((size_t)8 << 20)

/* How many bytes of a page come before its cells: a multiple of the size of a cell. */
#define FIRST_CELL ((sizeof(xb_cell_block) + sizeof(xb_cell) - 1) / sizeof(xb_cell) * sizeof(xb_cell))
#define CELL_OF_PAGE sizeof(xb_cell)

/* The word with which the page of a cell begins. */
static xb_cell_block **page_of(xb_cell *cell) {
    return (xb_cell_block **)(void *)((char *)cell - (uintptr_t)cell % CELL_PAGE);
}

static bool has_room(const xb_cell_block *block) {
    return block->free != NULL || block->fresh < block->data.length;
}

/* ---- Blocks ---- */

/* Less memory is asked for if there is not enough. */
execbuf_status xb_cells_grow(xb_arena *arena, xb_cells *cells, execbuf_error *error) {
    execbuf_data data;
    execbuf_status status;
    xb_arena_lock(arena);
    size_t size = cells->bytes;
    xb_arena_unlock(arena);
    size = size < CELL_PAGE ? CELL_PAGE : size > LARGEST_BLOCK ? LARGEST_BLOCK : size;
    do {
        status = xb_data_new(arena->pool, &data, XB_BLOCK_DATA, NULL, size, CELL_PAGE, error);
        size = size / 2 & ~(CELL_PAGE - 1);
    } while ((status == EXECBUF_E_NO_MEMORY || status == EXECBUF_E_TOO_FAR) && size >= CELL_PAGE);
    if (status != EXECBUF_OK) {
        return status;
    }
    xb_cell_block *block = (xb_cell_block *)data.address;
    block->self = block;
    block->data = data;
    block->free = NULL;
    block->fresh = FIRST_CELL;
    block->live = 0;
    xb_arena_lock(arena);
    XB_LIST_PUSH(cells->roomy, block, next, previous);
    cells->bytes += data.length;
    cells->empty_blocks++;
    xb_arena_unlock(arena);
    return EXECBUF_OK;
}

void xb_cells_release(xb_cell_block *block) {
    if (block != NULL) {
        execbuf_data data = block->data;
        (void)xb_data_free(&data);
    }
}

void xb_cells_end(xb_cells *cells) {
    while (cells->roomy != NULL) {
        xb_cell_block *block = cells->roomy;
        cells->roomy = block->next;
        xb_cells_release(block);
    }
}

/* ---- Cells ---- */

xb_cell *xb_cells_next(const xb_cells *cells) {
    xb_cell_block *block = cells->roomy;
    if (block == NULL || block->free != NULL) {
        return block != NULL ? block->free : NULL;
    }
    size_t offset = block->fresh + (block->fresh % CELL_PAGE == 0 ? CELL_OF_PAGE : 0);
    return (xb_cell *)(void *)((char *)block + offset);
}

xb_cell *xb_cells_take(xb_cells *cells, execbuf_function function, void *context) {
    xb_cell *cell = xb_cells_next(cells);
    if (cell == NULL) {
        return NULL;
    }
    xb_cell_block *block = cells->roomy;
    if (cell == block->free) {
        block->free = (xb_cell *)cell->context;
    } else {
        *page_of(cell) = block;
        block->fresh = (size_t)((char *)(cell + 1) - (char *)block);
    }
    cells->empty_blocks -= block->live++ == 0;
    if (!has_room(block)) {
        XB_LIST_REMOVE(cells->roomy, block, next, previous);
    }
    cell->function = function;
    cell->context = context;
    return cell;
}

bool xb_cells_keep_all(const xb_cells *cells, xb_cell *cell) {
    return cells->empty_blocks == 0 || (*page_of(cell))->live > 1;
}

xb_cell_block *xb_cells_give(xb_cells *cells, xb_cell *cell) {
    xb_cell_block *block = *page_of(cell);
    if (!has_room(block)) {
        XB_LIST_PUSH(cells->roomy, block, next, previous);
    }
    cell->function = NULL;
    cell->context = block->free;
    block->free = cell;
    if (--block->live > 0) {
        return NULL;
    }
    if (cells->empty_blocks == 0) {
        cells->empty_blocks = 1;
        return NULL;
    }
    XB_LIST_REMOVE(cells->roomy, block, next, previous);
    cells->bytes -= block->data.length;
    return block;
}
