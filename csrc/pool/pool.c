/* Pools, and which arena of a pool a thread uses.
 *
 * The process's lock guards the list of arenas, and the writing of tables; it is taken before the locks of
 * arenas. It is not held during allocations: fork handlers of malloc could otherwise wait for us while we
 * wait for them. */

#include "pool.h"

#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../base/fault.h"
#include "chunks.h"
#include "reclaim.h"
#include "registry.h"

/* ---- The table of threads ---- */

/* An entry is at the index of its thread, or up to MAP_DISTANCE - 1 places behind it. Only xb_pool_claim
 * looks there, so a table grows up to MAP_ROOMY entries until each is at its index. */
#define MAP_DISTANCE 4U
#define MAP_ROOMY 256U
#define MAP_FIRST_SHIFT 29U
#define MAP_LAST_SHIFT 12U

static uint32_t map_places(uint32_t shift) {
    return ((uint32_t)1 << (32 - shift)) + MAP_DISTANCE - 1;
}

static size_t map_size(uint32_t shift) {
    return sizeof(xb_arena_map) + map_places(shift) * sizeof(((xb_arena_map *)0)->entries[0]);
}

/* Allocates an empty table; NULL: no memory. */
static xb_arena_map *new_map(uint32_t shift) {
    xb_arena_map *map = XB_FAULT("calloc") != 0 ? NULL : (xb_arena_map *)calloc(1, map_size(shift));
    if (map != NULL) {
        map->shift = shift;
    }
    return map;
}

/* Whether the entry is that of a thread that has its arena still. */
static bool is_current(const xb_arena_map *map, uint32_t i) {
    const xb_arena *arena = map->entries[i].arena;
    return arena != NULL && XB_LOAD_RELAXED(arena->lock.owner) == map->entries[i].thread;
}

/* Enters a thread. False if there is no place near enough. */
static bool map_put(xb_arena_map *map, uintptr_t thread, xb_arena *arena) {
    bool is_roomy = map_places(map->shift) > MAP_ROOMY;
    uint32_t index = xb_arena_map_index(map, thread);
    for (uint32_t i = index; i < index + (is_roomy ? MAP_DISTANCE : 1); i++) {
        if (map->entries[i].thread == thread || !is_current(map, i)) {
            XB_STORE_RELEASE(map->entries[i].arena, arena);
            XB_STORE_RELEASE(map->entries[i].thread, thread);
            return true;
        }
    }
    return false;
}

/* The arena of the calling thread, wherever its entry is; NULL: it has none. */
static xb_arena *map_find(const execbuf_pool *pool) {
    const xb_arena_map *map = XB_LOAD_ACQUIRE(pool->map);
    uintptr_t self = xb_this_thread();
    uint32_t index = xb_arena_map_index(map, self);
    for (uint32_t i = index; i < index + MAP_DISTANCE; i++) {
        if (XB_LOAD_ACQUIRE(map->entries[i].thread) == self) {
            xb_arena *arena = XB_LOAD_ACQUIRE(map->entries[i].arena);
            /* Where locks have no owners, every thread has the number 0, which an empty entry has, too. */
            if (arena != NULL && xb_is_owner(&arena->lock)) {
                return arena;
            }
        }
    }
    return NULL;
}

/* Copies the entries of threads that have their arenas still. One that finds no place is left out: its thread
 * enters itself again. */
static void copy_map(xb_arena_map *to, const xb_arena_map *from) {
    for (uint32_t i = 0; i < map_places(from->shift); i++) {
        if (is_current(from, i)) {
            (void)map_put(to, from->entries[i].thread, from->entries[i].arena);
        }
    }
}

/* Enters the calling thread in the pool's table, which grows if there is no place. Without memory there is no
 * entry, which only makes the thread slower. No lock is held. */
static void enter_thread(execbuf_pool *pool, xb_arena *arena) {
    uintptr_t self = xb_this_thread();
    bool is_done = false;
    xb_arena_map *larger = NULL;
    for (;;) {
        xb_prim_lock();
        xb_arena_map *map = (xb_arena_map *)pool->map;
        uint32_t shift = map->shift;
        if (larger != NULL && larger->shift < shift) {
            copy_map(larger, map);
            larger->older = map;
            XB_STORE_RELEASE(pool->map, larger);
            map = larger;
            shift = map->shift;
            larger = NULL;
        }
        is_done = map_put(map, self, arena) || shift == MAP_LAST_SHIFT;
        xb_prim_unlock();
        free(larger); /* another thread was faster */
        larger = is_done ? NULL : new_map(shift - 1);
        if (larger == NULL) {
            return;
        }
    }
}

/* ---- Claiming an arena ---- */

/* Makes the calling thread the owner of an arena that no other thread owns. If it cannot be, the arena
 * becomes the one that all threads share. The process's lock is held. */
static void own_or_share(execbuf_pool *pool, xb_arena *arena, bool can_own) {
    bool may_own = can_own && arena->reserved_for == XB_NO_OWNER;
    if (!xb_is_owner(&arena->lock) && !(may_own && xb_lock_own(&arena->lock))) {
        XB_STORE_RELEASE(pool->shared, arena);
    }
}

/* Finds an arena of the pool that is the calling thread's already, or becomes it: one that has no owner. If
 * the thread cannot own any, that becomes the one that all share. The process's lock is held.
 *
 * Returns: the arena; NULL: there is none. */
static xb_arena *take_over(execbuf_pool *pool, bool can_own) {
    xb_arena *found = NULL;
    for (xb_arena *arena = pool->arenas; arena != NULL; arena = arena->next) {
        if (xb_is_owner(&arena->lock)) {
            return arena;
        }
        found = xb_has_owner(&arena->lock) ? found : arena;
    }
    if (found != NULL) {
        own_or_share(pool, found, can_own);
    }
    return found;
}

/* Adds a new arena for the calling thread. The process's lock is held. */
static void add_arena(execbuf_pool *pool, xb_arena *arena, bool can_own) {
    arena->pool = pool;
    arena->next = pool->arenas;
    own_or_share(pool, arena, can_own);
    XB_STORE_RELEASE(pool->arenas, arena);
}

/* Removes what forks have left in arenas without owner. No lock is held. */
static void sweep(const execbuf_pool *pool) {
    for (xb_arena *arena = XB_LOAD_ACQUIRE(pool->arenas); arena != NULL; arena = arena->next) {
        if (!xb_has_owner(&arena->lock)) {
            (void)xb_reclaim(arena, false);
        }
    }
}

/* Makes an arena for the calling thread; if that fails and there is another one, that serves, too. */
static xb_registry_added make_arena(execbuf_pool *pool, bool can_own, xb_arena **out) {
    xb_arena *arena = NULL;
    xb_registry_added added = xb_registry_add(&arena, &pool->options);
    xb_prim_lock();
    if (arena != NULL) {
        add_arena(pool, arena, can_own);
    } else if (pool->arenas != NULL) {
        arena = pool->arenas;
        added = XB_REGISTRY_ADDED;
    }
    xb_prim_unlock();
    *out = arena;
    return added;
}

execbuf_status xb_pool_claim(execbuf_pool *pool, xb_arena **out, execbuf_error *error) {
    xb_prim_check_fork();
    xb_arena *arena = map_find(pool);
    arena = arena != NULL ? arena : XB_LOAD_ACQUIRE(pool->shared);
    if (arena == NULL) {
        xb_registry_added added = XB_REGISTRY_ADDED;
        bool can_own = xb_prim_watch_thread();
        xb_prim_lock();
        arena = take_over(pool, can_own);
        xb_prim_unlock();
        if (arena == NULL) {
            added = make_arena(pool, can_own, &arena);
        }
        if (added == XB_REGISTRY_NO_NUMBER) {
            return xb_error_set(error, EXECBUF_E_TOO_MANY_POOLS, NULL, 0);
        }
        if (added == XB_REGISTRY_NO_MEMORY) {
            return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
        }
        enter_thread(pool, arena);
        sweep(pool);
    }
    *out = arena;
    return EXECBUF_OK;
}

/* ---- The end of a thread ---- */

/* Takes the inner lock of an arena if the calling thread is its owner. */
static bool ask_own(xb_arena *arena) {
    if (!xb_is_owner(&arena->lock)) {
        return false;
    }
    xb_lock_ask(&arena->lock);
    bool is_owner = xb_is_owner(&arena->lock);
    if (!is_owner) { /* a visitor that could not make a fence has taken the lock from this thread */
        xb_unlock_slow(&arena->lock);
    }
    return is_owner;
}

/* Other threads free what this one has published, and the next thread takes the arenas over. One fence shows
 * that no guest is in any of them. */
void xb_pools_thread_ends(void) {
    xb_reclaim_rest rest = {NULL, NULL};
    bool is_owner = false;
    xb_prim_lock();
    uint32_t count = xb_registry_count();
    for (uint32_t number = 1; number <= count; number++) {
        is_owner |= ask_own(xb_registry[number]);
    }
    if (is_owner) {
        xb_lock_fence();
    }
    for (uint32_t number = 1; number <= count && is_owner; number++) {
        xb_arena *arena = xb_registry[number];
        if (xb_is_owner(&arena->lock)) {
            xb_lock_await(&arena->lock);
            xb_reclaim_leave(arena, &rest);
        }
    }
    xb_registry_release(xb_this_thread());
    xb_prim_unlock();
    xb_reclaim_free_rest(&rest);
}

/* ---- Making and freeing pools ---- */

execbuf_pool *xb_pool_new(const xb_pool_options *options) {
    execbuf_pool *pool = XB_FAULT("calloc") != 0 ? NULL : (execbuf_pool *)calloc(1, sizeof *pool);
    xb_arena_map *map = pool != NULL ? new_map(MAP_FIRST_SHIFT) : NULL;
    if (map == NULL) {
        free(pool);
        return NULL;
    }
    pool->map = map;
    pool->options = *options;
    memcpy(pool->name, options->name, strlen(options->name));
    pool->options.name = pool->name;
    return pool;
}

size_t xb_pool_bookkeeping(const execbuf_pool *pool) {
    size_t sum = sizeof *pool;
    for (const xb_arena_map *map = XB_LOAD_ACQUIRE(pool->map); map != NULL; map = map->older) {
        sum += map_size(map->shift);
    }
    return sum;
}

void xb_pool_end(execbuf_pool *pool) {
    for (xb_arena_map *map = (xb_arena_map *)pool->map; map != NULL;) {
        xb_arena_map *older = map->older;
        free(map);
        map = older;
    }
    free(pool);
}

bool xb_pool_is_over(const execbuf_pool *pool) {
    return pool->is_freed && pool->arenas == NULL && pool->chunks == NULL;
}

void xb_pool_free(execbuf_pool *pool) {
    xb_arena *arena = pool->arenas;
    while (arena != NULL) {
        xb_arena *next = arena->next; /* it stays at least until it is freed itself */
        xb_reclaim_arena(arena);
        arena = next;
    }
    xb_prim_lock();
    pool->is_freed = true;
    xb_chunk *detached = xb_chunks_detach(pool);
    bool over = xb_pool_is_over(pool);
    xb_prim_unlock();
    xb_chunks_release(detached);
    if (over) {
        xb_pool_end(pool);
    }
}

void xb_pool_remove(xb_arena *arena) {
    xb_prim_lock();
    execbuf_pool *pool = arena->pool;
    xb_arena **link = &pool->arenas;
    while (*link != arena) {
        link = &(*link)->next;
    }
    *link = arena->next;
    arena->pool = NULL;
    bool over = xb_pool_is_over(pool);
    xb_prim_unlock();
    if (over) {
        xb_pool_end(pool);
    }
}
