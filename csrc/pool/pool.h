/* A pool: its options, its arenas, and which arena a thread uses. */
#ifndef XB_POOL_POOL_H
#define XB_POOL_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../prim/lock.h"
#include "../prim/prim.h"
#include "arena.h"

XB_PRIVATE_BEGIN

/* The options of a pool, checked. */
typedef struct xb_pool_options {
    xb_prim_window window; /* where its code may lie */
    size_t reach;          /* its pieces together cover at most this many bytes; 0: any number */
    const char *name;      /* at most EXECBUF_POOL_NAME_MAX bytes */
    uint32_t backends;     /* the set of those that may be used; 0: all */
    bool has_key;          /* whether a protection key guards its writable views: */
    uint32_t key;          /* this one, or XB_PRIM_NO_KEY */
    bool not_inherited;    /* children of a fork do not get its code */
} xb_pool_options;

/* Which arena a thread uses: a hash table, in which no two threads have the same place. Threads read it
 * without a lock. A thread only changes or uses the entry with its own number. */
typedef struct xb_arena_map {
    struct xb_arena_map *older; /* the tables that it replaced: threads may still read them */
    uint32_t shift;             /* the table has 2^(32 - shift) entries */
    struct {
        uintptr_t thread; /* xb_this_thread of a thread, or 0 */
        xb_arena *arena;
    } entries[];
} xb_arena_map;

struct execbuf_pool {
    const xb_arena_map *map;
    xb_arena *arenas; /* the list of all; arenas are only added, until the pool is freed */
    xb_arena *shared; /* the arena of all threads that cannot have one of their own, or NULL */
    bool is_freed;    /* by its user; some arenas may still have live code */

    /* Constants. */
    xb_pool_options options;
    char name[EXECBUF_POOL_NAME_MAX + 1];

    /* With a reach: the range that all pieces cover (see placement.h). */
    xb_region *pieces;  /* the list of all regions */
    size_t large_count; /* dedicated mappings */
    uintptr_t first_byte;
    uintptr_t last_byte;

    /* Constants and data (see chunks.c). Those with an index: of data [false], of constants [true]. */
    struct xb_chunk *chunks;   /* the list of all chunks */
    struct xb_chunk *roomy[2]; /* the lists of those with room */
    size_t chunk_bytes[2];     /* their sizes together */
    size_t empty_chunks[2];    /* how many have no live block */
};

/* Makes a pool without arenas.
 *
 * Returns: the pool; NULL: no memory.
 * In: options: they are copied. */
execbuf_pool *xb_pool_new(const xb_pool_options *options);

/* Ends the use of a pool by its user. Its memory is reclaimed as its last buffers are freed.
 *
 * Preconditions: no lock is held. No other thread uses the pool, but to free its buffers. */
void xb_pool_free(execbuf_pool *pool);

/* Finds the arena of the calling thread, or makes one; or gives it another one of the pool, if it cannot own
 * any.
 *
 * Preconditions: no lock is held.
 * Returns: EXECBUF_OK, and error is untouched; EXECBUF_E_NO_MEMORY, EXECBUF_E_TOO_MANY_POOLS.
 * Out: out:   the arena; unchanged on failure.
 *      error: why there is none, or NULL. */
execbuf_status xb_pool_claim(execbuf_pool *pool, xb_arena **out, execbuf_error *error);

/* How many bytes of heap memory the pool takes, without its arenas. No lock is held. */
size_t xb_pool_bookkeeping(const execbuf_pool *pool);

/* Takes an arena that is over out of its pool, which ends if its user has freed it and this was the last.
 *
 * Preconditions: no lock is held. No other thread does the same. */
void xb_pool_remove(xb_arena *arena);

/* Whether a pool is over: its user has freed it, and nothing in it is alive. The process's lock is held.
 * Whoever removed what was last there then calls xb_pool_end, without the lock. */
bool xb_pool_is_over(const execbuf_pool *pool);
void xb_pool_end(execbuf_pool *pool);

/* Gives up all arenas that the calling thread owns: the hook thread_ends. No lock is held. */
void xb_pools_thread_ends(void);

/* A number whose upper bits tell threads apart. */
static inline uint32_t xb_hash_thread(uintptr_t thread) {
    /* Thread pointers are the same distances apart, and the lowest bits differ least. The upper half of the
     * product depends on all others: stacks may be terabytes apart. The factor is 2^64 / the golden ratio. */
    return (uint32_t)((uint64_t)(thread >> 6) * 0x9e3779b97f4a7c15U >> 32);
}

/* The index of a thread in a table. */
static inline uint32_t xb_arena_map_index(const xb_arena_map *map, uintptr_t thread) {
    return xb_hash_thread(thread) >> map->shift;
}

/* The arena of the calling thread, or of another thread of this pool, or NULL: then xb_pool_claim knows more.
 * So a fast path checks that the thread owns it, unless no lock can have an owner. */
static inline xb_arena *xb_pool_arena(const execbuf_pool *pool) {
    const xb_arena_map *map = XB_LOAD_ACQUIRE(pool->map);
    uint32_t index = xb_arena_map_index(map, xb_this_thread());
    return XB_LOAD_ACQUIRE(map->entries[index].arena);
}

XB_PRIVATE_END

#endif
