/* How a region that a fork has shared becomes this process's own again.
 *
 * After a fork both processes run the code of a region, and neither writes to it. Who has to change it first
 * owns it in one of two ways:
 *
 *     adopting   no other process with the memory lives (see fork.h), and this one has the writable view:
 *                nothing is copied, and the region is as it was before the fork
 *     copying    the spans with live code are copied to new memory, which replaces the old one at the same
 *                addresses, while other threads run the code
 *
 * Rewriting and filling reserved slots own the region of their slot. Freeing adopts it if it can. Publishing
 * adopts a region, or copies one with little code in it, before it makes a new one.
 *
 * The arena is locked alone while a region becomes this process's own: guests read whether it is shared, and
 * where it is written. */
#ifndef XB_POOL_OWN_H
#define XB_POOL_OWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "arena.h"

XB_PRIVATE_BEGIN

/* What a copy leaves to be freed after the arena is unlocked. All zero: nothing. */
typedef struct xb_own_rest {
    xb_span *spans; /* a list of empty ones, by next */
    void *old_rw;   /* the writable view of the old memory, or NULL */
    size_t size;    /* of that view */
} xb_own_rest;

/* Adopts a shared region.
 *
 * Preconditions: the arena is locked, and alone if the region is shared.
 * Returns: whether the region is not shared now. */
bool xb_own_adopt(xb_arena *arena, xb_region *region);

/* Makes a region this process's own: adopts it or copies it.
 *
 * Preconditions: as above. The region is not lost.
 * Returns: success, also if the region was not shared; else the call that failed, and nothing has changed.
 * In/out: rest: all zero; for xb_own_unlock. */
xb_result xb_own_region(xb_arena *arena, xb_region *region, xb_own_rest *rest);

/* Whether the arena, which is locked, has shared regions. */
bool xb_own_is_any_shared(const xb_arena *arena);

/* Adopts one region for new code.
 *
 * Preconditions: no lock is held.
 * Returns: whether there was one that can be adopted. */
bool xb_own_adopt_one(xb_arena *arena);

/* Copies the shared region with the least code of those that may have room for a slot, if one is small
 * enough.
 *
 * Preconditions: no lock is held.
 * Returns: whether a region was copied.
 * In: class_: the class of the slot.
 *     pages:  how many pages a new span for it needs. */
bool xb_own_copy_one(xb_arena *arena, uint32_t class_, uint32_t pages);

/* Unlocks the arena, and frees what copies have left. */
void xb_own_unlock(xb_arena *arena, const xb_own_rest *rest);

XB_PRIVATE_END

#endif
