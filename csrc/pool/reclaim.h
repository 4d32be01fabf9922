/* Reclaiming memory: quarantine of freed slots, removing spans and regions, and the end of an arena.
 *
 * A slot that is freed stays in quarantine until a barrier has made every processor discard the instructions
 * that it may have fetched from there. One barrier serves many slots, because it costs as much as publishing
 * hundreds of pieces of code. Spans that are empty after it may be removed. A region is removed with its last
 * slot, but a small one is kept for the next code.
 *
 * Heap memory and mappings are freed without the lock: the functions that find them return lists, and
 * xb_reclaim_unlock unlocks the arena and frees what is in them. The unwind tables of a span also end without
 * the lock; its pages become free afterwards. The arena is locked in all functions but xb_reclaim_arena and
 * xb_reclaim_all. */
#ifndef XB_POOL_RECLAIM_H
#define XB_POOL_RECLAIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "index.h"
#include "arena.h"

XB_PRIVATE_BEGIN

/* A region that took more memory than this is not kept when it is empty. */
#define XB_KEPT_REGION_SIZE ((size_t)1 << 20)

/* Frees a taken slot: it goes into quarantine, and handles of its buffer become stale. Its bytes are still to
 * be filled with traps before the arena is unlocked, unless its region is frozen.
 *
 * In: ref:    the slot.
 *     frozen: whether its region is frozen. Then it is only counted and stays in quarantine for ever. */
XB_INLINE void xb_reclaim_slot(const xb_slot_ref *ref, bool frozen) {
    xb_arena *arena = ref->arena;
    xb_span *span = ref->span;
    ref->region->live--;
    if (XB_UNLIKELY(xb_slot_next_tag(ref->entry) == 0)) {
        span->has_retired = true;
    }
    if (!frozen) {
        if (XB_UNLIKELY(span->quarantine_words == 0)) {
            span->next_quarantine = arena->quarantine;
            arena->quarantine = span;
        }
        arena->quarantine_size += span->slot_size;
    }
    xb_span_quarantine(span, ref->slot);
}

/* Whether enough is in quarantine to be worth a barrier. */
bool xb_reclaim_is_worthwhile(const xb_arena *arena);

/* Ends quarantine: makes a barrier, then all slots in quarantine are free.
 *
 * Returns: false if nothing is in quarantine, or if the barrier was refused and the processor needs it.
 * In/out: empty: the list (by next) of spans that were removed because they are empty now; those are added.
 * The pages of spans with unwind tables become free in xb_reclaim_unlock. */
bool xb_reclaim_quarantine(xb_arena *arena, xb_span **empty);

/* Chooses the region that stays when it is empty: the newest one, unless it is too large or frozen.
 *
 * Returns: the one that stayed until now, if it is empty and therefore to be removed; or NULL. */
xb_region *xb_reclaim_choose_kept(xb_arena *arena);

/* Whether a region should be removed: it is not in use, and is not to be kept. */
bool xb_reclaim_is_due(const xb_arena *arena, const xb_region *region);

/* Removes a region that is not in use, with all its spans, which are still attached. */
void xb_reclaim_region(xb_arena *arena, xb_region *region);

/* Removes a frozen region that is not in use. A fork leaves such regions, since it can't unmap them.
 *
 * Returns: the region; NULL: there is none. */
xb_region *xb_reclaim_frozen(xb_arena *arena);

/* Removes all such regions. The arena is not locked. */
void xb_reclaim_all_frozen(xb_arena *arena);

/* Unlocks the arena and frees what was removed. If the arena has ended, its memory goes to another arena: the
 * caller does not use it any more unless it knows of something alive in it.
 *
 * In: regions: a list, by next.
 *     spans:   a list, by next. */
void xb_reclaim_unlock(xb_arena *arena, xb_region *regions, xb_span *spans);

/* Ends the use of an arena by its user. Its memory is reclaimed as its last buffers are freed.
 *
 * Preconditions: no lock is held. No other thread uses the arena, but to free its buffers. */
void xb_reclaim_arena(xb_arena *arena);

/* Frees all arenas, and the memory of those in which nothing is alive. Of the others, live code stays, and
 * what unwinders know of it, but writable views go. Nothing in arena/ may be called afterwards.
 *
 * Preconditions: no other thread is in the library, and no lock is held. */
void xb_reclaim_all(void);

XB_PRIVATE_END

#endif
