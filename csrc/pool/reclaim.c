/* Reclaiming memory of arenas. The functions here work on a locked arena; they collect what is to be freed in
 * lists, and it is freed after the arena is unlocked. */

#include "reclaim.h"

#include <stdlib.h>

#include "../base/list.h"
#include "placement.h"
#include "readers.h"
#include "registry.h"

/* Empty spans are kept for their class while it has no more than this. */
#define KEPT_CLASS_SIZE ((size_t)256 << 10)

/* The least guests_shift. */
#define LEAST_GUESTS_SHIFT 14U

/* ---- Spans ---- */

void xb_reclaim_leave_class(xb_arena *arena, xb_span *span) {
    if (span->class_ != XB_NO_CLASS) {
        xb_span_unlist(&arena->classes[span->class_], span);
        arena->class_bytes[span->class_] -= xb_span_size(span);
    }
}

/* Returns the pages of a span, which is empty and in no index. In a shared region they serve nobody yet. */
static void return_pages(xb_arena *arena, const xb_span *span) {
    xb_span_detach(span);
    if (!span->region->is_shared) {
        xb_region_open(&arena->open, span->region);
    }
}

void xb_reclaim_span(xb_arena *arena, xb_span *span, xb_span **removed) {
    xb_index_remove(arena, span);
    arena->bookkeeping -= xb_span_bookkeeping(span);
    if (span->tables != NULL) {
        span->is_leaving = true;
        span->region->pins++;
    } else {
        return_pages(arena, span);
    }
    span->next = *removed;
    *removed = span;
}

/* ---- Quarantine ---- */

/* Whether a span that was in quarantine stays even if it is empty. A span whose slots are all retired is of
 * no use. */
static bool is_kept(const xb_arena *arena, const xb_span *span) {
    return span->class_ != XB_NO_CLASS && arena->class_bytes[span->class_] <= KEPT_CLASS_SIZE &&
           span->free_words != 0;
}

/* How many bytes are in quarantine, with those that guests have freed. */
static size_t quarantine_size(const xb_arena *arena) {
    return arena->quarantine_size + xb_guests_sum(&arena->lock);
}

bool xb_reclaim_is_worthwhile(const xb_arena *arena) {
    size_t size = quarantine_size(arena);
    return size >= arena->quarantine_wait && xb_sizes_are_worth_barrier(size, arena->resident);
}

bool xb_reclaim_replaces_region(const xb_arena *arena) {
    return xb_sizes_replace_region(quarantine_size(arena), arena->resident);
}

bool xb_reclaim_quarantine(xb_arena *arena, xb_span **empty) {
    if (arena->quarantine == NULL) {
        return false;
    }
    if (!xb_prim_barrier()) {
        arena->quarantine_wait = 2 * arena->quarantine_size;
        return false;
    }
    arena->quarantine_wait = 0;
    while (arena->quarantine != NULL) {
        xb_span *span = arena->quarantine;
        arena->quarantine = span->next_quarantine;
        xb_span_end_quarantine(span);
        if (!is_kept(arena, span) && xb_span_is_empty(span)) {
            xb_reclaim_leave_class(arena, span);
            xb_reclaim_span(arena, span, empty);
        } else if (span->class_ != XB_NO_CLASS) {
            xb_span_list(&arena->classes[span->class_], span);
        }
    }
    arena->quarantine_size = 0;
    return true;
}

/* ---- Regions ---- */

bool xb_reclaim_is_due(const xb_arena *arena, const xb_region *region) {
    return xb_region_is_unused(region) && (region->is_shared || arena->is_freed || !region->is_kept);
}

bool xb_reclaim_choose_kept(xb_arena *arena) {
    xb_region *newest = arena->regions;
    bool any_due = false;
    for (xb_region *region = arena->regions; region != NULL; region = region->next) {
        bool was_kept = region->is_kept;
        region->is_kept = region == newest && !region->is_shared && region->resident <= XB_KEPT_REGION_SIZE;
        xb_region_mark(region);
        any_due |= was_kept && xb_reclaim_is_due(arena, region);
    }
    return any_due;
}

/* Takes the spans of a region from the list of those with slots in quarantine. */
static void leave_quarantine(xb_arena *arena, const xb_region *region) {
    xb_span **link = &arena->quarantine;
    while (*link != NULL) {
        if ((*link)->region == region) {
            *link = (*link)->next_quarantine;
        } else {
            link = &(*link)->next_quarantine;
        }
    }
}

/* Removes a region that is not in use, with all its spans, which are still attached. The arena is locked
 * alone, and what guests have freed was taken over. */
static void remove_region(xb_arena *arena, xb_region *region) {
    bool in_quarantine = false;
    uint32_t page = 1;
    xb_span *span;
    while ((span = xb_span_next(region, &page)) != NULL) {
        if (span->is_leaving) {
            continue; /* xb_reclaim_span did all this, and the fork that made this process came in between */
        }
        xb_index_remove(arena, span);
        arena->bookkeeping -= xb_span_bookkeeping(span);
        if (!region->is_shared) { /* a fork has emptied the lists already */
            xb_reclaim_leave_class(arena, span);
            arena->quarantine_size -= (size_t)xb_span_quarantined(span) * span->slot_size;
            in_quarantine |= span->quarantine_words != 0;
        }
    }
    if (in_quarantine) {
        leave_quarantine(arena, region);
    }
    xb_region_close(&arena->open, region);
    XB_LIST_REMOVE(arena->regions, region, next, previous);
    region->next = NULL;
    arena->resident -= region->resident;
    arena->mapped -= region->size;
    arena->region_count--;
    arena->shared_count[region->family] -= region->is_shared && !region->is_lost;
    arena->bookkeeping -= region->bookkeeping;
    if (region->is_kept) {
        (void)xb_reclaim_choose_kept(arena); /* none stayed before */
    }
}

/* Removes all regions that are due. Returns them in a list, by next. */
static xb_region *remove_due_regions(xb_arena *arena) {
    xb_region *due = NULL;
    xb_region *region = arena->regions;
    while (region != NULL) {
        xb_region *next = region->next;
        if (xb_reclaim_is_due(arena, region)) {
            remove_region(arena, region);
            region->next = due;
            due = region;
            next =
                arena->regions; /* another one may be due now: remove_region may choose which one is kept */
        }
        region = next;
    }
    arena->must_sweep = false;
    return due;
}

/* ---- Guests ---- */

void xb_reclaim_guest_slot(const xb_slot_ref *ref) {
    xb_span *span = ref->span;
    uint32_t word = ref->slot / 64;
    bool was_empty = XB_FETCH_OR(xb_span_bits(span)[word].guests, (uint64_t)1 << ref->slot % 64) == 0;
    if (was_empty && XB_FETCH_OR(span->guest_words, (uint64_t)1 << word) == 0) {
        xb_span *head = XB_LOAD_RELAXED(ref->arena->guest_spans);
        do {
            span->next_guest = head;
        } while (!XB_EXCHANGE_IF(ref->arena->guest_spans, head, span));
    }
}

/* Counts the slots of a word that guests have freed as freed. A slot that its owner freed at the same time is
 * in quarantine already. */
static void take_over_word(xb_arena *arena, xb_span *span, uint32_t word) {
    xb_slot_bits *bits = &xb_span_bits(span)[word];
    uint64_t freed = bits->guests & ~(bits->quarantine | bits->free);
    bits->guests = 0;
    for (; freed != 0; freed &= freed - 1) {
        uint32_t slot = word * 64 + xb_lowest_bit(freed);
        xb_reclaim_count(arena, span, slot, xb_span_tag(span, slot), span->region->is_shared);
    }
}

void xb_reclaim_guests(xb_arena *arena) {
    for (xb_span *span = arena->guest_spans; span != NULL; span = span->next_guest) {
        for (; span->guest_words != 0; span->guest_words &= span->guest_words - 1) {
            take_over_word(arena, span, xb_lowest_bit(span->guest_words));
        }
    }
    arena->guest_spans = NULL;
    xb_clear_guests_sum(&arena->lock);
}

/* Sets guests_shift. If the arena has more memory than the usual limit, the limit is a quarter of what its
 * live code takes at least, but not too little. The arena is locked. */
static void limit_guests(xb_arena *arena) {
    uint32_t shift = XB_GUESTS_SHIFT;
    if (arena->resident >> XB_GUESTS_SHIFT != 0) {
        uint32_t of_quarter = xb_highest_bit(((uint64_t)arena->live * (XB_GRANULE / 4)) | 1);
        shift = of_quarter < shift ? of_quarter : shift;
        shift = shift < LEAST_GUESTS_SHIFT ? LEAST_GUESTS_SHIFT : shift;
    }
    XB_STORE_RELEASE(arena->guests_shift, shift);
}

bool xb_reclaim(xb_arena *arena, bool is_needed) {
    xb_span *spans = NULL;
    xb_arena_lock_alone(arena);
    xb_reclaim_guests(arena);
    bool ended = (is_needed || xb_reclaim_is_worthwhile(arena)) && xb_reclaim_quarantine(arena, &spans);
    xb_region *regions = remove_due_regions(arena);
    bool done = ended || regions != NULL;
    limit_guests(arena);
    xb_reclaim_unlock(arena, regions, spans);
    return done;
}

/* Frees the regions of a list, and their spans. */
static void free_regions(xb_region *regions) {
    while (regions != NULL) {
        xb_region *next = regions->next;
        uint32_t page = 1;
        xb_span *span;
        xb_readers_remove(regions); /* before its addresses can be those of another region */
        while ((span = xb_span_next(regions, &page)) != NULL) {
            xb_span_forget(span);
            xb_span_free(span);
        }
        xb_region_free(regions, xb_retire);
        regions = next;
    }
}

/* ---- Arenas ---- */

/* Whether the user has freed the arena, and nothing in it is alive. */
static bool is_over(const xb_arena *arena) {
    return arena->is_freed && arena->large_count == 0 && arena->regions == NULL && arena->leaving == 0;
}

/* Takes regions out of the pool's range of addresses. The arena is unlocked and locked again meanwhile. */
static void leave_range(xb_arena *arena, xb_region *regions) {
    arena->leaving++; /* it is not over, and neither is its pool */
    xb_arena_unlock(arena);
    xb_prim_lock();
    xb_placement_remove_regions(arena->pool, regions);
    xb_prim_unlock();
    xb_arena_lock(arena);
    arena->leaving--;
}

/* Unlocks an arena, frees the regions of a list, and ends the arena if nothing is left of it. */
static void unlock_and_free(xb_arena *arena, xb_region *regions) {
    if (regions != NULL && arena->pool->options.reach != 0) {
        leave_range(arena, regions);
    }
    bool over = is_over(arena);
    arena->is_freed &= !over; /* a thread that locks it next does not end it once more */
    xb_arena_unlock(arena);
    free_regions(regions);
    if (over) {
        xb_registry_remove(arena);
    }
}

void xb_reclaim_leave(xb_arena *arena, xb_reclaim_rest *rest) {
    xb_reclaim_guests(arena);
    xb_region *due = remove_due_regions(arena);
    if (due != NULL) {
        xb_placement_remove_regions(arena->pool, due);
    }
    while (due != NULL) {
        xb_region *next = due->next;
        due->next = rest->regions;
        rest->regions = due;
        due = next;
    }
    if (is_over(arena)) {
        arena->is_freed = false; /* as above */
        arena->next_unused = rest->over;
        rest->over = arena;
    }
    xb_lock_disown(&arena->lock);
    xb_unlock_slow(&arena->lock);
}

void xb_reclaim_free_rest(const xb_reclaim_rest *rest) {
    free_regions(rest->regions);
    for (xb_arena *arena = rest->over; arena != NULL;) {
        xb_arena *next = arena->next_unused;
        xb_registry_remove(arena);
        arena = next;
    }
}

/* Completes xb_reclaim_span for a span with unwind tables. The arena is not locked: the unwinder has locks of
 * its own. Other code may use the pages only when the unwinder has forgotten the tables. */
static void finish_leaving(xb_arena *arena, xb_span *span) {
    xb_region *region = span->region;
    xb_span_end_tables(span);
    xb_arena_lock(arena);
    return_pages(arena, span);
    region->pins--;
    bool is_due = xb_reclaim_is_due(arena, region);
    xb_arena_unlock(arena);
    if (is_due) { /* else the arena may be over already */
        (void)xb_reclaim(arena, false);
    }
}

/* An arena with a span that is leaving has not ended: the span pins a region. */
void xb_reclaim_unlock(xb_arena *arena, xb_region *regions, xb_span *spans) {
    unlock_and_free(arena, regions);
    while (spans != NULL) {
        xb_span *next = spans->next;
        if (spans->is_leaving) {
            finish_leaving(arena, spans);
        }
        xb_span_free(spans);
        spans = next;
    }
}

void xb_reclaim_arena(xb_arena *arena) {
    xb_arena_lock_alone(arena);
    xb_reclaim_guests(arena);
    arena->is_freed = true;
    for (xb_region *region = arena->regions; region != NULL; region = region->next) {
        region->is_active = false; /* the last free of each region has to notice that it is the last */
    }
    const xb_arena_links *links = arena->links;
    void *collected = links != NULL ? links->collect(arena->links_data) : NULL;
    xb_reclaim_unlock(arena, remove_due_regions(arena), NULL);
    if (collected != NULL) {
        links->drop(arena, collected);
    }
}

/* Whether the memory of an arena is in use: xb_registry_remove sets it to zero. */
static bool is_used(const xb_arena *arena) {
    return arena->bookkeeping != 0;
}

static void release_writable_views(const xb_arena *arena) {
    for (xb_region *region = arena->regions; region != NULL; region = region->next) {
        if (region->views.rw != NULL && region->views.rw != region->views.rx) {
            (void)xb_prim_release(region->views.rw, region->size);
        }
    }
}

void xb_reclaim_all(void) {
    for (uint32_t number = xb_registry_count(); number >= 1; number--) {
        xb_arena *arena = xb_registry[number];
        if (is_used(arena)) {
            arena->pool->is_freed = true; /* it goes with its last arena */
            xb_reclaim_arena(arena);
        }
    }
    for (uint32_t number = xb_registry_count(); number >= 1; number--) {
        xb_arena *arena = xb_registry[number];
        if (is_used(arena)) {
            release_writable_views(arena);
        } else {
            free(arena);
        }
    }
}
