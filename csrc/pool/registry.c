/* All arenas of the process.
 *
 * The process's lock guards the lists of unused arenas and the growth of xb_registry. It is not held during
 * allocations: fork handlers of malloc could otherwise wait for us while we wait for them. */

#include "registry.h"

#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../base/fault.h"
#include "shrink.h"

xb_arena *xb_registry[XB_MAX_ARENAS];

/* How many elements of xb_registry are used, but for element 0. */
static uint32_t number_count;

uint32_t xb_registry_count(void) {
    return number_count;
}

/* ---- Arenas that are over ---- */

/* If the owner of an arena ends it, it gives the lock up, and any thread can own the next arena with this
 * memory. If another thread ends it, the owner may be taking the lock right now, for a stale handle: it has
 * seen that it is the owner, and stores busy next. If the lock had another owner then, both would hold it. So
 * only that thread can own the lock again, until it ends; others can use the arena without owning it, and do
 * so when there are no more numbers.
 *
 * The arenas that are reserved for one thread are a list by next_unused, and so are those for any thread. The
 * lists are in a hash table: those in the same place follow one another by next_list of their first arenas.
 * So taking an arena looks at one arena of each list there, however many there are. */
#define UNUSED_SHIFT 26U
static xb_arena *unused_arenas[1U << (32 - UNUSED_SHIFT)];

/* Finds the list of a thread, or of XB_NO_OWNER. Returns where its first arena is. */
static xb_arena **list_for(uintptr_t thread) {
    xb_arena **first = &unused_arenas[xb_hash_thread(thread) >> UNUSED_SHIFT];
    while (*first != NULL && (*first)->reserved_for != thread) {
        first = &(*first)->next_list;
    }
    return first;
}

static void push_arena(xb_arena *arena) {
    xb_arena **first = list_for(arena->reserved_for);
    arena->next_unused = *first;
    arena->next_list = *first != NULL ? (*first)->next_list : NULL;
    *first = arena;
}

/* Takes the first arena of a list; NULL: it is empty. */
static xb_arena *pop_arena(xb_arena **first) {
    xb_arena *arena = *first;
    if (arena != NULL) {
        xb_arena *second = arena->next_unused;
        *first = second != NULL ? second : arena->next_list;
        if (second != NULL) {
            second->next_list = arena->next_list;
        }
    }
    return arena;
}

/* Takes an unused arena that this thread can own; NULL: there is none. */
static xb_arena *take_unused(void) {
    xb_prim_lock();
    xb_prim_arm_fork_mark();
    xb_arena *arena = pop_arena(list_for(xb_this_thread()));
    arena = arena != NULL ? arena : pop_arena(list_for(XB_NO_OWNER));
    if (arena != NULL) {
        arena->reserved_for = XB_NO_OWNER; /* this thread is here, and not taking the lock */
    }
    xb_prim_unlock();
    return arena;
}

/* Takes any unused arena: one that this thread cannot own, and nobody else owns. NULL: there is none. */
static xb_arena *take_reserved(void) {
    xb_arena *arena = NULL;
    xb_prim_lock();
    for (uint32_t i = 0; i < 1U << (32 - UNUSED_SHIFT) && arena == NULL; i++) {
        arena = pop_arena(&unused_arenas[i]);
    }
    if (arena != NULL) {
        xb_lock_slow(&arena->lock); /* the process's lock comes before those of arenas */
        xb_lock_disown(&arena->lock);
        xb_unlock_slow(&arena->lock);
    }
    xb_prim_unlock();
    return arena;
}

void xb_registry_release(uintptr_t thread) {
    xb_arena *arena;
    while ((arena = pop_arena(list_for(thread))) != NULL) {
        arena->reserved_for = XB_NO_OWNER;
        push_arena(arena);
    }
    for (uint32_t number = 1; number <= number_count; number++) {
        arena = xb_registry[number];
        arena->reserved_for = arena->reserved_for == thread ? XB_NO_OWNER : arena->reserved_for;
    }
}

void xb_registry_release_all(void) {
    memset((void *)unused_arenas, 0, sizeof unused_arenas);
    for (uint32_t number = 1; number <= number_count; number++) {
        xb_arena *arena = xb_registry[number];
        arena->reserved_for = XB_NO_OWNER;
        if (arena->bookkeeping == 0) { /* else a thread of the parent has begun to end it or to set it up */
            push_arena(arena);
        }
    }
}

/* ---- Arenas that begin ---- */

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
    arena->reserved_for = XB_NO_OWNER;
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
    arena->guests_shift = XB_GUESTS_SHIFT;
    arena->shrink_credit = XB_SHRINK_PRICE;
    (void)xb_error_set(&arena->why, EXECBUF_OK, NULL, 0);
    xb_arena_unlock(arena);
}

xb_registry_added xb_registry_add(xb_arena **out, const xb_pool_options *options) {
    xb_registry_added added = XB_REGISTRY_ADDED;
    xb_arena *arena = take_unused();
    if (arena == NULL) {
        added = new_arena(&arena);
    }
    if (added == XB_REGISTRY_NO_NUMBER && (arena = take_reserved()) != NULL) {
        added = XB_REGISTRY_ADDED;
    }
    if (arena != NULL) {
        set_up(arena, options);
        (void)xb_index_grow(arena, 0); /* usually without owner yet, so without a fence */
    }
    *out = arena;
    return added;
}

/* ---- Arenas that end ---- */

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
    if (xb_is_owner(&arena->lock)) {
        xb_lock_disown(&arena->lock);
    }
    xb_unlock_slow(&arena->lock);
    free(places);
    if (links != NULL) {
        links->end(links_data);
    }
    xb_prim_lock();
    uintptr_t owner = XB_LOAD_RELAXED(arena->lock.owner);
    arena->reserved_for = owner != XB_NO_OWNER ? owner : arena->reserved_for;
    push_arena(arena);
    xb_prim_unlock();
}
