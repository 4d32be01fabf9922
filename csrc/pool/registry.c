/* All arenas of the process.
 *
 * The process's lock guards the list of unused arenas and the growth of xb_registry. It is not held during
 * allocations: fork handlers of malloc could otherwise wait for us while we wait for them. */

#include "registry.h"

#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../base/fault.h"

xb_arena *xb_registry[XB_MAX_ARENAS];

/* How many elements of xb_registry are used, but for element 0. */
static uint32_t number_count;

/* Arenas that are over. Such an arena keeps its owner: that thread may be taking the lock right now, for a
 * stale handle. So only its owner uses it again, or any thread when the owner has ended. */
static xb_arena *unused_arenas;

uint32_t xb_registry_count(void) {
    return number_count;
}

/* Takes an arena from the list of unused ones that this thread can own; NULL: there is none. */
static xb_arena *take_unused(void) {
    xb_prim_lock();
    xb_prim_arm_fork_mark();
    xb_arena **link = &unused_arenas;
    while (*link != NULL && xb_has_owner(&(*link)->lock) && !xb_is_owner(&(*link)->lock)) {
        link = &(*link)->next_unused;
    }
    xb_arena *arena = *link;
    if (arena != NULL) {
        *link = arena->next_unused;
    }
    xb_prim_unlock();
    return arena;
}

/* Gives a new arena a number and enters it in xb_registry. False: there is no number left. */
static bool number_arena(xb_arena *arena) {
    bool has_number = false;
    xb_prim_lock();
    if (number_count + 1 < XB_MAX_ARENAS) {
        arena->number = number_count + 1;
        xb_registry[arena->number] = arena;
        number_count++; /* last: the child of a raw clone(2) may read this without the lock */
        has_number = true;
    }
    xb_prim_unlock();
    return has_number;
}

/* Allocates an arena and gives it a number. */
static xb_registry_added new_arena(xb_arena **out) {
    xb_arena *arena = XB_FAULT("calloc") != 0 ? NULL : (xb_arena *)calloc(1, sizeof *arena);
    if (arena == NULL) {
        return XB_REGISTRY_NO_MEMORY;
    }
    xb_biased_lock_init(&arena->lock);
    if (!number_arena(arena)) {
        free(arena);
        return XB_REGISTRY_NO_NUMBER;
    }
    *out = arena;
    return XB_REGISTRY_ADDED;
}

/* Sets an arena up whose members are zero, but for the lock and what outlives it. Handles of the last arena
 * with this memory may be checked meanwhile. */
static void set_up(xb_arena *arena, const xb_pool_options *options) {
    size_t region_size = xb_prim_query().largest_region;
    xb_arena_lock(arena);
    arena->largest = region_size / XB_LARGEST_PART;
    arena->key = options->key;
    arena->fast_limit = options->key == XB_PRIM_NO_KEY ? XB_MAX_SLOT_SIZE : 0;
    arena->bookkeeping = sizeof *arena;
    arena->backend = EXECBUF_BACKEND_NONE;
    (void)xb_error_set(&arena->why, EXECBUF_OK, NULL, 0);
    xb_arena_unlock(arena);
}

xb_registry_added xb_registry_add(xb_arena **out, const xb_pool_options *options) {
    xb_registry_added added = XB_REGISTRY_ADDED;
    xb_arena *arena = take_unused();
    if (arena == NULL) {
        added = new_arena(&arena);
    }
    if (arena != NULL) {
        set_up(arena, options);
    }
    *out = arena;
    return added;
}

void xb_registry_remove(xb_arena *arena) {
    xb_pool_remove(arena);
    xb_lock_slow(&arena->lock); /* alone: guests with stale handles read the places */
    struct xb_span_place *places = arena->places;
    const xb_arena_links *links = arena->links;
    void *links_data = arena->links_data;
    /* The next arena's handles get other serials than this one's, until none are left. */
    uint32_t serial = arena->serials < XB_MAX_SERIALS ? arena->serials : 0;
    memset((char *)arena + offsetof(xb_arena, next_unused), 0,
           sizeof *arena - offsetof(xb_arena, next_unused));
    arena->first_serial = serial;
    arena->serials = serial;
    xb_unlock(&arena->lock);
    free(places);
    if (links != NULL) {
        links->end(links_data);
    }
    xb_prim_lock();
    arena->next_unused = unused_arenas;
    unused_arenas = arena;
    xb_prim_unlock();
}
