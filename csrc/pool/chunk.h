/* A chunk: pages for constants or for writable data of a pool, and which parts of them are taken. Nothing
 * here makes a system call, takes a lock or touches the pages. The process's lock guards all members that are
 * not constants.
 *
 *     base    │ block │ block     │ free │ block │ free            │     each is a number of granules
 *     taken     1       1   1   1   0      1       0   0   0   0   0     a bit for each granule
 *     serials   7       9   0   0   -      4       -                     of the first granule of each block
 */
#ifndef XB_POOL_CHUNK_H
#define XB_POOL_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../exec/park.h"

XB_PRIVATE_BEGIN

/* The unit of blocks in a chunk that several share. */
#define XB_CHUNK_GRANULE 16U

typedef struct xb_chunk {
    /* Constants. */
    struct execbuf_pool *pool;
    uint8_t *base;
    size_t size;
    size_t granule;    /* XB_CHUNK_GRANULE; or size: the chunk is one block */
    uint32_t granules; /* how many there are */
    uint32_t number;   /* no other chunk ever has it */
    bool is_constant;  /* the pages are read-only but while a constant is written */

    bool is_staged;       /* constants that their user still writes; the chunk is one block */
    bool is_busy;         /* a thread is writing a constant: nobody else takes a block here */
    bool is_open;         /* pages may still be writable, because the system has refused to change that */
    bool is_lost;         /* this process is a child that did not get the memory, */
    bool is_gone;         /* and other memory may be at its addresses */
    bool is_listed;       /* in the list of chunks with room */
    uint32_t free_count;  /* granules */
    uint32_t next_fit;    /* where the next search begins */
    uint32_t too_many;    /* no run of so many free granules was found, and nothing was freed since */
    uint32_t last_serial; /* of the newest block */

    struct xb_chunk *next; /* in the list of the pool's chunks */
    struct xb_chunk *previous;
    struct xb_chunk *next_room; /* in the list of those with room */
    struct xb_chunk *previous_room;
    struct xb_chunk *next_same; /* in the list of those with the same hash */
    struct xb_chunk *previous_same;
    xb_parked parked;

    uint32_t *serials;
    uint64_t taken[];
} xb_chunk;

/* Allocates the book-keeping of a chunk in which nothing is taken. Its pool, base and number are not set.
 *
 * Returns: NULL: no memory. Free it with free.
 * In: size, granule: as in xb_chunk; size is a multiple of granule. */
xb_chunk *xb_chunk_new(size_t size, size_t granule);

/* Takes a block.
 *
 * Returns: whether there was room.
 * In:  size:  in bytes, not 0.
 *      align: a power of two; at most a page, or any if the chunk is one block.
 * Out: block: its first granule; its serial is not 0. */
bool xb_chunk_take(xb_chunk *chunk, size_t size, size_t align, uint32_t *block);

/* Whether a live block begins at a granule and has this size, but for less than a granule. */
bool xb_chunk_has(const xb_chunk *chunk, uint32_t block, size_t size);

/* Makes the granules of a live block free. */
void xb_chunk_give_back(xb_chunk *chunk, uint32_t block);

static inline bool xb_chunk_is_empty(const xb_chunk *chunk) {
    return chunk->free_count == chunk->granules;
}

XB_PRIVATE_END

#endif
