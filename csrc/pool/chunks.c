/* The chunks of pools: their lists, blocks in them, and their pages.
 *
 * The process's lock guards all data here. It is not held during system calls and allocations. */

#include "chunks.h"

#include <stdlib.h>

#include "../base/error.h"
#include "../base/list.h"
#include "../prim/prim.h"
#include "../prim/report.h"
#include "placement.h"

/* The sizes of chunks that several blocks share: a new one is as large as all of its kind in the pool. */
#define SMALLEST_CHUNK ((size_t)64 << 10)
#define LARGEST_CHUNK ((size_t)1 << 20)
/* Larger blocks have a chunk of their own. */
#define LARGEST_SHARING ((size_t)32 << 10)
/* A chunk is in the list of those with room if at least 1 / ROOM_PART of it is free. */
#define ROOM_PART 16U

/* All chunks, by a hash of the number. */
#define TABLE_SIZE 256U
static xb_chunk *chunk_table[TABLE_SIZE];
static uint32_t last_number;

static size_t round_to(size_t value, size_t unit) {
    return (value + unit - 1) & ~(unit - 1);
}

/* ---- Lists ---- */

/* Enters a chunk in the list of those with room, or takes it out. */
static void list_room(xb_chunk *chunk) {
    bool has_room = chunk->free_count > 0 && chunk->free_count >= chunk->granules / ROOM_PART &&
                    chunk->last_serial != UINT32_MAX && !chunk->is_lost;
    if (has_room != chunk->is_listed) {
        xb_chunk **head = &chunk->pool->roomy[chunk->is_constant];
        if (has_room) {
            XB_LIST_PUSH(*head, chunk, next_room, previous_room);
        } else {
            XB_LIST_REMOVE(*head, chunk, next_room, previous_room);
        }
        chunk->is_listed = has_room;
    }
}

/* Takes a chunk without live blocks out of all lists. Its pool may end afterwards. */
static void forget(xb_chunk *chunk) {
    execbuf_pool *pool = chunk->pool;
    chunk->parked.not_inherited = pool->options.not_inherited && !chunk->is_lost;
    if (chunk->is_listed) {
        XB_LIST_REMOVE(pool->roomy[chunk->is_constant], chunk, next_room, previous_room);
    }
    XB_LIST_REMOVE(chunk_table[chunk->number % TABLE_SIZE], chunk, next_same, previous_same);
    XB_LIST_REMOVE(pool->chunks, chunk, next, previous);
    pool->chunk_bytes[chunk->is_constant] -= chunk->size;
}

/* ---- Blocks ---- */

/* Takes a block in a chunk with room. */
static bool take_in(xb_chunk *chunk, size_t size, size_t align, xb_taken_block *taken) {
    bool was_empty = xb_chunk_is_empty(chunk);
    if (chunk->is_busy || !xb_chunk_take(chunk, size, align, &taken->block)) {
        return false;
    }
    chunk->pool->empty_chunks[chunk->is_constant] -= was_empty;
    chunk->is_busy = chunk->is_constant;
    taken->chunk = chunk;
    list_room(chunk);
    return true;
}

/* Takes a block in a chunk of the pool with room. */
static bool take_block(execbuf_pool *pool, bool is_constant, size_t size, size_t align,
                       xb_taken_block *taken) {
    bool found = false;
    xb_prim_lock();
    xb_chunk *chunk = pool->roomy[is_constant];
    for (xb_chunk *next; chunk != NULL && !found; chunk = next) {
        next = chunk->next_room;
        found = take_in(chunk, size, align, taken);
    }
    xb_prim_unlock();
    taken->is_new = false;
    return found;
}

/* One chunk of each kind stays when it is empty, for the next block. */
xb_chunk *xb_chunks_give_back(xb_chunk *chunk, uint32_t block) {
    execbuf_pool *pool = chunk->pool;
    xb_chunk_give_back(chunk, block);
    if (!xb_chunk_is_empty(chunk)) {
        list_room(chunk);
        return NULL;
    }
    bool stays = !pool->is_freed && !chunk->is_lost && chunk->granules > 1 &&
                 chunk->last_serial != UINT32_MAX && pool->empty_chunks[chunk->is_constant] == 0;
    if (stays) {
        pool->empty_chunks[chunk->is_constant]++;
        list_room(chunk);
        return NULL;
    }
    forget(chunk);
    chunk->next = NULL;
    return chunk;
}

/* ---- Chunks ---- */

static void free_chunk(void *owner) {
    free(owner);
}

void xb_chunks_release(xb_chunk *list) {
    while (list != NULL) {
        xb_chunk *next = list->next;
        void *base = list->is_gone ? NULL : list->base;
        xb_unmap_or_park(&list->parked, base, NULL, list->size, free_chunk, list);
        list = next;
    }
}

/* How large a new chunk for a block is: larger if the pool has many blocks. */
static size_t choose_size(const execbuf_pool *pool, xb_block_kind kind, size_t least) {
    bool is_constant = kind != XB_BLOCK_DATA;
    if (least > LARGEST_SHARING || kind == XB_BLOCK_STAGED) {
        return least;
    }
    xb_prim_lock();
    size_t size = pool->chunk_bytes[is_constant];
    xb_prim_unlock();
    size = size < SMALLEST_CHUNK ? SMALLEST_CHUNK : size > LARGEST_CHUNK ? LARGEST_CHUNK : size;
    return round_to(size, xb_prim_query().page_size);
}

/* Maps the pages of a chunk. The book-keeping exists. */
static xb_result map_pages(execbuf_pool *pool, xb_chunk *chunk) {
    xb_prim_window window;
    void *base = NULL;
    xb_result result = xb_prim_map_data(chunk->size, xb_placement_window(pool, &window), &base);
    chunk->base = (uint8_t *)base;
    if (result.call == NULL && pool->options.not_inherited) { /* before there is anything in it */
        xb_prim_lock();
        xb_prim_arm_fork_mark(); /* a child that lacks the memory has to notice */
        xb_prim_unlock();
        result = xb_prim_keep_from_children(base, chunk->size);
        if (result.call != NULL) {
            xb_unmap_temporary(base, NULL, chunk->size);
        }
    }
    return result;
}

/* A number for a new chunk, or 0: all have been used. */
static uint32_t next_number(void) {
    xb_prim_lock();
    last_number += last_number < UINT32_MAX ? 1 : 0;
    uint32_t number = last_number < UINT32_MAX ? last_number : 0;
    xb_prim_unlock();
    return number;
}

/* Enters a new chunk with its first block in all lists.
 *
 * Returns: false: it is too far from another piece of the pool, which a thread has added since it was
 *          mapped. */
static bool enter_chunk(execbuf_pool *pool, xb_chunk *chunk) {
    if (!xb_placement_add_chunk(pool, chunk)) {
        return false;
    }
    xb_prim_lock();
    XB_LIST_PUSH(chunk_table[chunk->number % TABLE_SIZE], chunk, next_same, previous_same);
    pool->chunk_bytes[chunk->is_constant] += chunk->size;
    list_room(chunk);
    xb_prim_unlock();
    return true;
}

/* Makes a chunk of a size, with a block. */
static execbuf_status new_chunk(execbuf_pool *pool, xb_block_kind kind, size_t chunk_size, size_t size,
                                size_t align, xb_taken_block *taken, execbuf_error *error) {
    if (!xb_placement_allows(pool, chunk_size)) {
        return xb_error_set(error, EXECBUF_E_TOO_FAR, XB_PRIM_TOO_FAR, 0);
    }
    xb_result result = xb_ok();
    execbuf_status status = xb_prim_check_process(&result);
    if (status != EXECBUF_OK) {
        return xb_error_set(error, status, result.call, result.code);
    }
    bool is_shared = size <= LARGEST_SHARING && kind != XB_BLOCK_STAGED;
    xb_chunk *chunk = xb_chunk_new(chunk_size, is_shared ? XB_CHUNK_GRANULE : chunk_size);
    uint32_t number = chunk != NULL ? next_number() : 0;
    if (number == 0) {
        free(chunk);
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    chunk->number = number;
    chunk->pool = pool;
    chunk->is_constant = kind != XB_BLOCK_DATA;
    chunk->is_staged = kind == XB_BLOCK_STAGED;
    chunk->is_busy = kind == XB_BLOCK_CONSTANTS;
    chunk->is_open = kind == XB_BLOCK_CONSTANTS;
    (void)xb_chunk_take(chunk, size, align, &taken->block);
    taken->chunk = chunk;
    taken->is_new = true;
    for (;;) {
        result = map_pages(pool, chunk);
        if (result.call != NULL) {
            free(chunk);
            return xb_error_from_system(error, result);
        }
        if (enter_chunk(pool, chunk)) {
            return EXECBUF_OK;
        }
        xb_unmap_temporary(chunk->base, NULL, chunk->size);
    }
}

/* A new chunk is smaller if there is no room for a larger one. */
execbuf_status xb_chunks_take(execbuf_pool *pool, xb_block_kind kind, size_t size, size_t align,
                              xb_taken_block *taken, execbuf_error *error) {
    if (size <= LARGEST_SHARING && kind != XB_BLOCK_STAGED &&
        take_block(pool, kind == XB_BLOCK_CONSTANTS, size, align, taken)) {
        return EXECBUF_OK;
    }
    xb_unmap_parked();
    size_t page = xb_prim_query().page_size;
    size_t least = round_to(size, page);
    size_t chunk_size = choose_size(pool, kind, least);
    for (;;) {
        execbuf_status status = new_chunk(pool, kind, chunk_size, size, align, taken, error);
        bool may_be_smaller = status == EXECBUF_E_NO_MEMORY || status == EXECBUF_E_TOO_FAR;
        if (chunk_size == least || !may_be_smaller) {
            return status;
        }
        chunk_size = round_to(chunk_size / 2, page);
        chunk_size = chunk_size > least ? chunk_size : least;
    }
}

xb_chunk *xb_chunks_find(uint32_t number) {
    xb_chunk *found = chunk_table[number % TABLE_SIZE];
    while (found != NULL && found->number != number) {
        found = found->next_same;
    }
    return found;
}

/* ---- Pools that end, forks, unloading ---- */

xb_chunk *xb_chunks_detach(execbuf_pool *pool) {
    xb_chunk *detached = NULL;
    for (xb_chunk *next, *chunk = pool->chunks; chunk != NULL; chunk = next) {
        next = chunk->next;
        if (xb_chunk_is_empty(chunk)) {
            forget(chunk);
            chunk->next = detached;
            detached = chunk;
        }
    }
    return detached;
}

/* Threads that were writing constants are not in the child. Their pages may be writable, which the next
 * writer corrects; their blocks stay taken. */
void xb_chunks_in_child(void) {
    for (uint32_t i = 0; i < TABLE_SIZE; i++) {
        for (xb_chunk *chunk = chunk_table[i]; chunk != NULL; chunk = chunk->next_same) {
            if (chunk->is_busy) {
                chunk->is_open = true;
                chunk->is_busy = false;
            }
            if (chunk->pool->options.not_inherited && !chunk->is_lost) {
                chunk->is_gone = xb_prim_take_addresses(chunk->base, chunk->size).call != NULL;
                chunk->is_lost = true;
                chunk->pool->empty_chunks[chunk->is_constant] -= xb_chunk_is_empty(chunk);
                list_room(chunk);
            }
        }
    }
}

void xb_chunks_unload(void) {
    for (uint32_t i = 0; i < TABLE_SIZE; i++) {
        while (chunk_table[i] != NULL) {
            xb_chunk *chunk = chunk_table[i];
            execbuf_pool *pool = chunk->pool;
            forget(chunk);
            if (xb_chunk_is_empty(chunk) && !chunk->is_gone) {
                (void)xb_prim_release(chunk->base, chunk->size);
            }
            free(chunk);
            if (xb_pool_is_over(pool)) {
                xb_pool_end(pool);
            }
        }
    }
}
