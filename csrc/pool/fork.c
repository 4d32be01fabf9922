/* What a fork does to arenas.
 *
 * The process's lock is held in all functions. It is taken before the locks of arenas. */

#include "fork.h"

#include <string.h>

#include "reclaim.h"
#include "registry.h"

/* How many arenas were locked before the fork. Other fork handlers, which run between ours, may make more. */
static uint32_t locked_count;

/* Freezes all regions of an arena, and forgets free slots, quarantine and free pages: nothing is allocated in
 * a frozen region. The arena is locked, or the process has no other threads.
 *
 * Regions without taken slots cannot be unmapped here; must_sweep says that there are some. */
static void freeze_arena(xb_arena *arena, bool in_child) {
    xb_reclaim_guests(arena);
    for (xb_region *region = arena->regions; region != NULL; region = region->next) {
        region->frozen = true;
        region->is_active = false;
        region->is_kept = false;
        region->is_open = false;
        if (in_child && region->views.rw != region->views.rx) {
            region->views.rw = NULL; /* not inherited */
        }
        region->pins = in_child ? 0 : region->pins; /* the child does not have the threads that pinned it */
        arena->must_sweep |= xb_region_is_unused(region);
    }
    memset((void *)arena->classes, 0, sizeof arena->classes);
    memset(arena->class_bytes, 0, sizeof arena->class_bytes);
    arena->quarantine = NULL;
    arena->quarantine_size = 0;
    arena->open = NULL;
    arena->leaving = in_child ? 0 : arena->leaving;
}

/* Freezes already before the fork: fork handlers that run between this and the fork may use pools, and what
 * they publish in the old regions would be shared, too. All owners of arenas are asked with one fence. */
void xb_pools_before_fork(void) {
    bool has_owners = false;
    locked_count = xb_registry_count();
    for (uint32_t number = 1; number <= locked_count; number++) {
        xb_biased_lock *lock = &xb_registry[number]->lock;
        xb_lock_ask(lock);
        has_owners |= xb_has_owner(lock); /* also this thread: its arenas may have guests */
    }
    if (has_owners) {
        xb_lock_fence();
    }
    for (uint32_t number = 1; number <= locked_count; number++) {
        xb_lock_await(&xb_registry[number]->lock);
        freeze_arena(xb_registry[number], false);
    }
}

void xb_pools_after_fork(bool in_child) {
    for (uint32_t number = xb_registry_count(); number >= 1; number--) {
        xb_arena *arena = xb_registry[number];
        freeze_arena(arena, in_child);
        if (number <= locked_count) {
            xb_unlock_slow(&arena->lock);
        }
        if (in_child) {
            /* The lock may be that of a thread that is not in this process, and was just taking it. */
            xb_biased_lock_init(&arena->lock);
        }
    }
}

void xb_pools_in_clone(void) {
    for (uint32_t number = 1; number <= xb_registry_count(); number++) {
        xb_arena *arena = xb_registry[number];
        xb_biased_lock_init(&arena->lock);
        freeze_arena(arena, true);
    }
}
