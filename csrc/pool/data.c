/* Constants and data of pools: how they are written, and what their handles say.
 *
 * Constants are read-only. To write one, its pages are made writable and read-only again, which readers of
 * the constants around it do not notice, because the pages stay readable. Meanwhile the chunk is busy: other
 * threads take other chunks, so no lock is held during system calls, and no thread waits.
 *
 * The id of a handle:
 *
 *     bit 63 ... 32           31 ... 0
 *     number of the chunk     serial of the block
 *
 * Neither is ever used again: a chunk whose serials are used up takes no more blocks. So a stale handle is
 * refused for ever. */

#include "data.h"

#include <stdbool.h>
#include <string.h>

#include "../base/error.h"
#include "../exec/park.h"
#include "../prim/prim.h"
#include "../prim/report.h"

static size_t round_to_pages(size_t value, size_t page) {
    return (value + page - 1) & ~(page - 1);
}

static uint8_t *address_of(const xb_taken_block *taken) {
    return taken->chunk->base + taken->block * taken->chunk->granule;
}

/* Writes constants to their block. If the system has refused before to make pages of the chunk read-only,
 * this is made up for. The chunk is busy, so no other thread uses is_open. */
static xb_result write_constants(const xb_taken_block *taken, const void *bytes, size_t size) {
    xb_chunk *chunk = taken->chunk;
    uint8_t *to = address_of(taken);
    size_t page = xb_prim_query().page_size;
    size_t first = (size_t)(to - chunk->base) & ~(page - 1);
    size_t end = round_to_pages((size_t)(to - chunk->base) + size, page);
    if (chunk->is_open) {
        first = 0;
        end = chunk->size;
    }
    xb_result result = xb_ok();
    if (!taken->is_new) {
        result = xb_prim_protect_data(chunk->base + first, end - first, true);
    }
    if (result.call == NULL) {
        memcpy(to, bytes, size);
        chunk->is_open = true; /* if the process forks now, or the next call fails */
        result = xb_prim_protect_data(chunk->base + first, end - first, false);
        chunk->is_open = result.call != NULL;
    }
    return result;
}

/* Ends what take began. Returns the chunk if it is to be released, otherwise NULL. */
static xb_chunk *finish(const xb_taken_block *taken, bool succeeded) {
    xb_prim_lock();
    taken->chunk->is_busy = false;
    xb_chunk *released = succeeded ? NULL : xb_chunks_give_back(taken->chunk, taken->block);
    xb_prim_unlock();
    return released;
}

execbuf_status xb_data_new(execbuf_pool *pool, execbuf_data *out, xb_block_kind kind, const void *bytes,
                           size_t size, size_t align, execbuf_error *error) {
    xb_prim_check_fork();
    xb_taken_block taken = {NULL, 0, false};
    if (size > (size_t)PTRDIFF_MAX - xb_prim_query().page_size) {
        return xb_error_set(error, EXECBUF_E_TOO_LARGE, bytes != NULL ? "length" : "size", 0);
    }
    execbuf_status status = xb_chunks_take(pool, kind, size, align, &taken, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    uint64_t id = (uint64_t)taken.chunk->number << 32 | taken.chunk->serials[taken.block];
    uint8_t *address = address_of(&taken);
    if (bytes != NULL) {
        xb_result result = write_constants(&taken, bytes, size);
        xb_chunks_release(finish(&taken, result.call == NULL));
        if (result.call != NULL) {
            return xb_error_from_system(error, result);
        }
    } else if (!taken.is_new) {
        memset(address, 0, size); /* what was there before */
    }
    out->address = address;
    out->length = size;
    out->id = id;
    return xb_error_ok(error);
}

/* Finds the live block of a handle. False: it names none. */
static bool find_block(const execbuf_data *data, xb_chunk **chunk, uint32_t *block) {
    xb_chunk *found = xb_chunks_find((uint32_t)(data->id >> 32));
    uintptr_t offset = found != NULL ? (uintptr_t)data->address - (uintptr_t)found->base : 0;
    if (found == NULL || offset >= found->size || offset % found->granule != 0) {
        return false;
    }
    *chunk = found;
    *block = (uint32_t)(offset / found->granule);
    return xb_chunk_has(found, *block, data->length) && found->serials[*block] == (uint32_t)data->id;
}

execbuf_status xb_data_publish(const execbuf_data *data, execbuf_error *error) {
    xb_chunk *chunk = NULL;
    uint32_t block;
    xb_prim_check_fork();
    xb_prim_lock();
    bool is_live = find_block(data, &chunk, &block);
    bool is_lost = is_live && chunk->is_lost;
    bool is_staged = is_live && chunk->is_staged;
    xb_prim_unlock();
    if (!is_live || is_lost || !is_staged) {
        execbuf_status status = is_lost ? EXECBUF_E_NOT_INHERITED : EXECBUF_E_PUBLISHED;
        return xb_error_set(error, is_live ? status : EXECBUF_E_STALE, "data", 0);
    }
    xb_result result = xb_prim_protect_data(chunk->base, chunk->size, false);
    if (result.call != NULL) {
        return xb_error_from_system(error, result);
    }
    xb_prim_lock();
    chunk->is_staged = false;
    xb_prim_unlock();
    return xb_error_ok(error);
}

execbuf_status xb_data_free(execbuf_data *data) {
    xb_prim_check_fork();
    xb_unmap_parked();
    xb_chunk *chunk;
    uint32_t block;
    execbuf_pool *over = NULL;
    xb_chunk *released = NULL;
    xb_prim_lock();
    bool is_live = find_block(data, &chunk, &block);
    if (is_live) {
        execbuf_pool *pool = chunk->pool;
        released = xb_chunks_give_back(chunk, block);
        over = xb_pool_is_over(pool) ? pool : NULL;
    }
    xb_prim_unlock();
    if (!is_live) {
        return EXECBUF_E_STALE;
    }
    xb_chunks_release(released);
    if (over != NULL) {
        xb_pool_end(over);
    }
    data->address = NULL;
    data->length = 0;
    data->id = 0;
    return EXECBUF_OK;
}
