/* The chunks of pools: taking blocks in them and giving blocks back; what a fork and the end of a pool mean.
 *
 * The memory is private to the process: the system copies a page when a process writes to it after a fork. So
 * a fork needs nothing but what xb_chunks_in_child does. */
#ifndef XB_POOL_CHUNKS_H
#define XB_POOL_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "chunk.h"
#include "pool.h"

XB_PRIVATE_BEGIN

/* What a block is for. staged constants have a chunk of their own. */
typedef enum xb_block_kind { XB_BLOCK_DATA, XB_BLOCK_CONSTANTS, XB_BLOCK_STAGED } xb_block_kind;

/* A block that was taken. */
typedef struct xb_taken_block {
    xb_chunk *chunk;
    uint32_t block;
    bool is_new; /* the chunk is new, so its pages are zero and can be written */
} xb_taken_block;

/* Takes a block, in a new chunk if no other one has room. A chunk of constants is busy then. No lock is held.
 *
 * Returns: EXECBUF_OK, or why there is none, with the report.
 * In: size, align: checked. */
execbuf_status xb_chunks_take(execbuf_pool *pool, xb_block_kind kind, size_t size, size_t align,
                              xb_taken_block *taken, execbuf_error *error);

/* Gives a live block back. The process's lock is held.
 *
 * Returns: the chunk if it is to be released, without the lock; otherwise NULL. Whoever gets it also looks
 *          whether the pool is over. */
xb_chunk *xb_chunks_give_back(xb_chunk *chunk, uint32_t block);

/* Finds a chunk by its number. The process's lock is held.
 *
 * Returns: NULL: there is none. */
xb_chunk *xb_chunks_find(uint32_t number);

/* Takes the chunks without live blocks from a pool that its user has freed. The process's lock is held.
 *
 * Returns: a list, by next, for xb_chunks_release. */
xb_chunk *xb_chunks_detach(execbuf_pool *pool);

/* Unmaps the chunks of a list, and frees their book-keeping. No lock is held. */
void xb_chunks_release(xb_chunk *list);

/* The hook of a child. The process's lock is held. */
void xb_chunks_in_child(void);

/* The hook unload: live data stay mapped; nothing else stays. */
void xb_chunks_unload(void);

XB_PRIVATE_END

#endif
