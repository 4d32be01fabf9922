/* Reclaiming memory: quarantine of freed slots, removing spans and regions, and the end of an arena.
 *
 * A slot that is freed stays in quarantine until a barrier has made every processor discard the instructions
 * that it may have fetched from there. One barrier serves many slots, because it costs as much as publishing
 * hundreds of pieces of code. Spans that are empty after it may be removed. A region is removed with its last
 * slot, but a small one is kept for the next code.
 *
 * Heap memory and mappings are freed without the lock: the functions that find them return lists, and
 * xb_reclaim_unlock unlocks the arena and frees what is in them. The unwind tables of a span also end without
 * the lock; its pages become free afterwards. */
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

/* Counts a slot as freed, and puts it into quarantine. The arena is locked.
 *
 * In: tag:    the slot's new one.
 *     is_shared: whether its region is shared. Then its quarantine begins when the region is this process's
 *                own. */
XB_INLINE void xb_reclaim_count(xb_arena *arena, xb_span *span, uint32_t slot, uint16_t tag, bool is_shared) {
    arena->live--;
    span->region->above--;
    if (XB_UNLIKELY(tag == 0)) {
        span->has_retired = true;
    }
    if (is_shared) {
        span->lacks_traps = true;
    } else {
        if (XB_UNLIKELY(span->quarantine_words == 0)) {
            span->next_quarantine = arena->quarantine;
            arena->quarantine = span;
        }
        arena->quarantine_size += span->slot_size;
    }
    xb_span_quarantine(span, slot);
}

/* Frees a taken slot: it goes into quarantine, and handles of its buffer become stale. Its bytes are still to
 * be filled with traps before the arena is unlocked, unless its region is shared. The arena is locked. */
XB_INLINE void xb_reclaim_slot(const xb_slot_ref *ref, bool is_shared) {
    /* A guest may have freed it just now. Then this stores what the tag is already. */
    uint16_t tag = (uint16_t)(ref->tag + 1U);
    XB_STORE_RELEASE(*xb_slot_tag(ref->span->entries, ref->slot), tag);
    xb_reclaim_count(ref->arena, ref->span, ref->slot, tag, is_shared);
}

/* Puts a slot that a guest has freed, whose tag it has changed, where xb_reclaim finds it. The calling thread
 * is a guest of the arena. */
void xb_reclaim_guest_slot(const xb_slot_ref *ref);

/* Whether enough was freed to be worth a barrier. The arena is locked. */
bool xb_reclaim_is_worthwhile(const xb_arena *arena);

/* Whether enough was freed for a barrier to be better than a new region. The arena is locked. */
bool xb_reclaim_replaces_region(const xb_arena *arena);

/* Whether guests have freed so much that this one should call xb_reclaim, if the owner does not: one each
 * time that the sum crosses a multiple of the limit, since those that leave before it has locked the arena
 * find an even greater sum. After a peak, when much memory has little live code, the limit is lower than
 * usual, so that the memory is given back.
 *
 * In: sum:   from xb_leave_as_guest.
 *     added: what this guest has added to it. */
static inline bool xb_reclaim_is_overdue(const xb_arena *arena, uint32_t sum, uint32_t added) {
    uint32_t shift = XB_LOAD_RELAXED(arena->guests_shift);
    return sum >> shift != (sum - added) >> shift;
}

/* Takes over what guests have freed; if a barrier is worthwhile or is_needed, makes one and ends quarantine:
 * then all slots in quarantine are free. Removes all regions and spans that are not to be kept. Frees what
 * was removed.
 *
 * Preconditions: no lock is held.
 * Returns: whether anything was in quarantine and is not any more, or was removed. */
bool xb_reclaim(xb_arena *arena, bool is_needed);

/* Ends quarantine: makes a barrier, then all slots in quarantine are free. The arena is locked alone.
 *
 * Returns: false if nothing is in quarantine, or if the barrier was refused and the processor needs it.
 * In/out: empty: the list (by next) of spans that were removed because they are empty now; those are added.
 * The pages of spans with unwind tables become free in xb_reclaim_unlock. */
bool xb_reclaim_quarantine(xb_arena *arena, xb_span **empty);

/* Takes over what guests have freed: it goes into quarantine. Regions may be due then. The arena is locked
 * alone, or the process has no other threads. */
void xb_reclaim_guests(xb_arena *arena);

/* Chooses the region that stays when it is empty: the newest one, unless it is too large or shared.
 *
 * Preconditions: the arena is locked.
 * Returns: whether the one that stayed until now is empty, and therefore due. */
bool xb_reclaim_choose_kept(xb_arena *arena);

/* Whether a region should be removed: it is not in use, and is not to be kept. Then xb_reclaim does so, which
 * the caller calls after it has unlocked the arena. The arena is locked. */
bool xb_reclaim_is_due(const xb_arena *arena, const xb_region *region);

/* Takes a span that is not in a shared region from its class, if it has one. */
void xb_reclaim_leave_class(xb_arena *arena, xb_span *span);

/* Removes a span without taken slots from its arena, and from its region. It is in no list. If it has unwind
 * tables, it keeps its pages for now, and pins the region. The arena is locked alone.
 *
 * In/out: removed: a list, by next, to which the span is added. */
void xb_reclaim_span(xb_arena *arena, xb_span *span, xb_span **removed);

/* Unlocks an arena that is locked and frees what was removed. If the arena has ended, its memory goes to
 * another arena: the caller does not use it any more unless it knows of something alive in it.
 *
 * In: regions: a list, by next.
 *     spans:   a list, by next. */
void xb_reclaim_unlock(xb_arena *arena, xb_region *regions, xb_span *spans);

/* What a thread that ends leaves to be freed. All zero: nothing. */
typedef struct xb_reclaim_rest {
    xb_region *regions; /* a list, by next */
    xb_arena *over;     /* the arenas that have ended: a list, by next_unused */
} xb_reclaim_rest;

/* Gives up an arena, which the calling thread has locked alone by xb_lock_await, as its owner or not: takes
 * over what guests have freed, which they leave to the owner, and unlocks it. The process's lock is held.
 *
 * In/out: rest: what this removes is added. */
void xb_reclaim_leave(xb_arena *arena, xb_reclaim_rest *rest);

/* Frees what is left. No lock is held. */
void xb_reclaim_free_rest(const xb_reclaim_rest *rest);

/* Ends the use of an arena by the user of its pool. Its memory is reclaimed as its last buffers are freed.
 *
 * Preconditions: no lock is held. No other thread uses the arena, but to free its buffers. */
void xb_reclaim_arena(xb_arena *arena);

/* Frees all arenas, and the memory of those in which nothing is alive. Of the others, live code stays, and
 * what unwinders know of it, but writable views go. Nothing in pool/ may be called afterwards.
 *
 * Preconditions: no other thread is in the library, and no lock is held. */
void xb_reclaim_all(void);

XB_PRIVATE_END

#endif
