/* What a fork does to arenas.
 *
 * The process's lock is held in all functions but xb_family_is_alone. It is taken before the locks of arenas.
 *
 * A region that is not shared yet gets a family that was begun before this fork, so all its processes are in
 * the family. The newest family serves for one fork after the other while no other process of it lives. If
 * one does, it says nothing of later children, and a new family is begun. So a child that lives for long
 * makes no region look shared that it never saw. */

#include "fork.h"

#include <string.h>

#include "readers.h"
#include "reclaim.h"
#include "registry.h"

/* How many arenas were locked before the fork. Other fork handlers, which run between ours, may make more. */
static uint32_t locked_count;

/* ---- Families ---- */

/* By number. They change in forks only, while all arenas are locked. */
static xb_prim_family families[XB_MOST_FAMILIES];
static uint8_t newest_family = XB_NO_FAMILY;
static uint32_t family_serial; /* of the next family */
static bool cannot_begin;      /* the system has refused a family */

bool xb_family_is_alone(uint8_t family) {
    return xb_prim_is_alone(&families[family]);
}

/* Which families regions have, as bits, and whether a region is not shared. */
typedef struct family_use {
    uint32_t used;
    bool wants_one;
} family_use;

static family_use look_at_regions(void) {
    family_use use = {0, false};
    for (uint32_t number = 1; number <= locked_count; number++) {
        const xb_region *region = xb_registry[number]->regions;
        for (; region != NULL; region = region->next) {
            use.used |= region->is_shared ? (uint32_t)1 << region->family : 0;
            use.wants_one |= !region->is_shared;
        }
    }
    return use;
}

/* Leaves a family that no region has, but not the newest one if it can serve again.
 *
 * Returns: whether there is room for another family at this number. */
static bool is_available(uint8_t family, uint32_t used) {
    if ((used >> family & 1) == 0) {
        xb_prim_leave_family(&families[family]);
        newest_family = family == newest_family ? XB_NO_FAMILY : newest_family;
    }
    return families[family].page == NULL;
}

/* Chooses the newest family, for the regions that this fork will share. If there is room for no other one, an
 * older family stays, which may count children that do not matter. */
static void choose_family(void) {
    family_use use = look_at_regions();
    if (!use.wants_one || (newest_family != XB_NO_FAMILY && xb_family_is_alone(newest_family))) {
        return;
    }
    uint8_t available = XB_NO_FAMILY;
    for (uint8_t family = 1; family < XB_MOST_FAMILIES; family++) {
        available = is_available(family, use.used) ? family : available;
    }
    if (available != XB_NO_FAMILY && !cannot_begin) {
        xb_result result = xb_prim_begin_family(&families[available], family_serial++);
        newest_family = result.call == NULL ? available : newest_family;
        cannot_begin = result.call != NULL && !xb_prim_is_exhaustion(result.code);
    }
}

void xb_pools_leave_families(void) {
    for (uint8_t family = 1; family < XB_MOST_FAMILIES; family++) {
        xb_prim_leave_family(&families[family]);
    }
}

/* ---- Regions ---- */

/* Shares a region. What has changed already is not written again: after a fork, the first write to a page of
 * the heap copies it. */
static void share_region(xb_arena *arena, xb_region *region, uint8_t family) {
    arena->shared_count[family]++;
    region->is_shared = true;
    region->is_stuck = false;
    region->is_active = false;
    region->is_open = false;
    region->family = family;
}

/* Shares all regions of an arena, and forgets free slots, quarantine and free pages: nothing is allocated in
 * a shared region. The arena is locked, or the process has no other threads.
 *
 * Regions without taken slots cannot be unmapped here; must_sweep says that there are some.
 *
 * In: family: of the regions that are not shared yet. */
static void share_arena(xb_arena *arena, uint8_t family) {
    if (arena->guest_spans != NULL) {
        xb_reclaim_guests(arena);
    }
    bool changes = false;
    bool must_sweep = arena->must_sweep;
    for (xb_region *region = arena->regions; region != NULL; region = region->next) {
        must_sweep |= xb_region_is_unused(region);
        if (!region->is_shared) {
            share_region(arena, region, family);
            changes = true;
        } else if (region->is_stuck) {
            region->is_stuck = false; /* a copy is tried again, but not each time that code is published */
        }
    }
    if (changes) {
        memset((void *)arena->classes, 0, sizeof arena->classes);
        memset(arena->class_bytes, 0, sizeof arena->class_bytes);
        arena->quarantine = NULL;
        arena->quarantine_size = 0;
        arena->open = NULL;
        arena->must_sweep = must_sweep;
    }
}

/* Whether children of a fork do not get the memory of an arena. */
static bool is_kept_from_children(const xb_arena *arena) {
    return arena->pool != NULL && arena->pool->options.not_inherited;
}

/* What a child does that did not get the memory: regions stay as shared ones that nobody can own, so that old
 * handles can be freed. Code that is published from now on goes to new regions, and new thunks get new
 * adapters. The book-keeping of the old adapters stays for ever: the unwinder may refer to it. */
static void lose_arena(xb_arena *arena) {
    share_arena(arena, XB_NO_FAMILY);
    for (xb_region *region = arena->regions; region != NULL; region = region->next) {
        region->pins = 0;
        if (!region->is_lost) {
            arena->shared_count[region->family]--;
            arena->resident -= region->resident;
            xb_region_lose(region);
        }
        arena->must_sweep |= xb_region_is_unused(region);
    }
    arena->leaving = 0;
    arena->links = NULL;
    arena->links_data = NULL;
}

/* What only the child does: it has no writable views, and none of the threads that pinned regions. */
static void inherit_arena(xb_arena *arena) {
    arena->leaving = 0;
    for (xb_region *region = arena->regions; region != NULL; region = region->next) {
        if (region->views.rw != region->views.rx) {
            region->views.rw = NULL;
        }
        region->pins = 0;
        arena->must_sweep |= xb_region_is_unused(region);
    }
}

/* Shares already before the fork: fork handlers that run between this and the fork may use pools. All
 * owners of arenas are asked with one fence. */
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
    }
    choose_family();
    for (uint32_t number = 1; number <= locked_count; number++) {
        if (!is_kept_from_children(xb_registry[number])) {
            share_arena(xb_registry[number], newest_family);
        }
    }
}

void xb_pools_after_fork(bool in_child) {
    if (in_child) {
        xb_readers_in_child();
    }
    for (uint32_t number = xb_registry_count(); number >= 1; number--) {
        xb_arena *arena = xb_registry[number];
        if (!is_kept_from_children(arena)) {
            share_arena(arena, newest_family);
            if (in_child) {
                inherit_arena(arena);
            }
        } else if (in_child) {
            lose_arena(arena);
        }
        if (number <= locked_count) {
            xb_unlock_slow(&arena->lock);
        }
        if (in_child) {
            /* The lock may be that of a thread that is not in this process, and was just taking it. */
            xb_biased_lock_init(&arena->lock);
        }
    }
    if (in_child) {
        xb_registry_release_all();
    }
}

/* The parent does not know that it shares its regions, so no family says when it is gone. */
void xb_pools_in_clone(void) {
    xb_readers_in_child();
    for (uint32_t number = 1; number <= xb_registry_count(); number++) {
        xb_arena *arena = xb_registry[number];
        xb_biased_lock_init(&arena->lock);
        if (is_kept_from_children(arena)) {
            lose_arena(arena);
        } else {
            share_arena(arena, XB_NO_FAMILY);
            inherit_arena(arena);
        }
    }
    xb_registry_release_all();
}
