/* Which parts of a chunk are taken: a search for a run of free bits that begins where the last one ended. */

#include "chunk.h"

#include <stdlib.h>

#include "../base/bits.h"
#include "../base/fault.h"

xb_chunk *xb_chunk_new(size_t size, size_t granule) {
    size_t granules = size / granule;
    size_t words = (granules + 63) / 64;
    size_t bytes = sizeof(xb_chunk) + words * sizeof(uint64_t) + granules * sizeof(uint32_t);
    xb_chunk *chunk = XB_FAULT("calloc") != 0 ? NULL : (xb_chunk *)calloc(1, bytes);
    if (chunk != NULL) {
        chunk->size = size;
        chunk->granule = granule;
        chunk->granules = (uint32_t)granules;
        chunk->free_count = chunk->granules;
        chunk->too_many = UINT32_MAX;
        chunk->serials = (uint32_t *)(void *)&chunk->taken[words];
    }
    return chunk;
}

static bool is_taken(const xb_chunk *chunk, uint32_t granule) {
    return (chunk->taken[granule / 64] >> granule % 64 & 1) != 0;
}

/* The first granule from one on that is taken, or is free; the number of granules if there is none. */
static uint32_t find_first(const xb_chunk *chunk, uint32_t from, bool taken) {
    uint32_t at = from;
    while (at < chunk->granules) {
        uint64_t word = chunk->taken[at / 64];
        uint64_t bits = (taken ? word : ~word) >> at % 64;
        if (bits != 0) {
            at += xb_lowest_bit(bits);
            break;
        }
        at = (at / 64 + 1) * 64;
    }
    return at < chunk->granules ? at : chunk->granules;
}

/* Finds a run of free granules that begins at a multiple of step between two granules.
 *
 * Returns: its first granule; the number of granules if there is none. */
static uint32_t find_run(const xb_chunk *chunk, uint32_t from, uint32_t to, uint32_t count, uint32_t step) {
    uint32_t at = from;
    for (;;) {
        at = find_first(chunk, at, false);
        at = (at + (step - 1)) / step * step;
        if (at >= to || count > chunk->granules - at) {
            return chunk->granules;
        }
        uint32_t end = find_first(chunk, at, true);
        if (end - at >= count) {
            return at;
        }
        at = end;
    }
}

/* Marks granules as taken or as free. */
static void mark(xb_chunk *chunk, uint32_t first, uint32_t count, bool taken) {
    for (uint32_t at = first; at < first + count;) {
        uint32_t bit = at % 64;
        uint32_t length = 64 - bit < first + count - at ? 64 - bit : first + count - at;
        uint64_t bits = (length == 64 ? ~(uint64_t)0 : ((uint64_t)1 << length) - 1) << bit;
        chunk->taken[at / 64] = taken ? chunk->taken[at / 64] | bits : chunk->taken[at / 64] & ~bits;
        at += length;
    }
}

/* How many granules a block of this size has, which fits a chunk. */
static uint32_t granules_of(const xb_chunk *chunk, size_t size) {
    return (uint32_t)((size + (chunk->granule - 1)) / chunk->granule);
}

bool xb_chunk_take(xb_chunk *chunk, size_t size, size_t align, uint32_t *block) {
    uint32_t count = granules_of(chunk, size);
    if (count > chunk->free_count || chunk->last_serial == UINT32_MAX) {
        return false;
    }
    if (count >= chunk->too_many) {
        return false;
    }
    uint32_t step = align > chunk->granule ? (uint32_t)(align / chunk->granule) : 1;
    uint32_t start = chunk->next_fit;
    uint32_t found = find_run(chunk, start, chunk->granules, count, step);
    if (found == chunk->granules) {
        found = find_run(chunk, 0, start, count, step);
    }
    if (found == chunk->granules) {
        chunk->too_many = step == 1 ? count : chunk->too_many;
        return false;
    }
    mark(chunk, found, count, true);
    chunk->free_count -= count;
    chunk->next_fit = found + count < chunk->granules ? found + count : 0;
    chunk->serials[found] = ++chunk->last_serial;
    *block = found;
    return true;
}

/* The granule behind a live block. */
static uint32_t end_of(const xb_chunk *chunk, uint32_t block) {
    uint32_t end = block + 1;
    while (end < chunk->granules && chunk->serials[end] == 0 && is_taken(chunk, end)) {
        end++;
    }
    return end;
}

bool xb_chunk_has(const xb_chunk *chunk, uint32_t block, size_t size) {
    return size > 0 && size <= chunk->size && chunk->serials[block] != 0 &&
           end_of(chunk, block) - block == granules_of(chunk, size);
}

void xb_chunk_give_back(xb_chunk *chunk, uint32_t block) {
    uint32_t count = end_of(chunk, block) - block;
    mark(chunk, block, count, false);
    chunk->free_count += count;
    chunk->serials[block] = 0;
    chunk->too_many = UINT32_MAX;
}
