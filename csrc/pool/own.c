/* How a region that a fork has shared becomes this process's own again. */

#include "own.h"

#include <string.h>

#include "../base/trap.h"
#include "../exec/park.h"
#include "fork.h"
#include "index.h"
#include "pool.h"
#include "reclaim.h"

/* Publishing copies no region in which spans with live code have more than this: a new region costs as much
 * as to copy this many bytes. So the number of regions is bounded by the size of the live code, whatever the
 * number of forks. */
#define MOST_COPIED ((size_t)64 << 10)

/* If pages cannot be hidden, a copy also has traps where freed code was. Publishing copies no region that
 * needs more of them than MOST_COPIED and than 1/TRAPS_PART of the arena's memory. The arena gets larger with
 * each new region, so they become rare. */
#define TRAPS_PART 4

/* ---- Books ---- */

/* Fills slots with traps: those in quarantine, or all that are not taken. Slots whose pages the span has
 * given back are not touched. */
static void fill_slots(const xb_span *span, bool all) {
    const xb_region *region = span->region;
    for (uint32_t slot = 0; slot < span->slots; slot++) {
        bool is_quarantined = (xb_span_bits(span)[slot / 64].quarantine >> slot % 64 & 1) != 0;
        if (is_quarantined ||
            (all && !xb_tag_is_taken(xb_span_tag(span, slot)) && xb_span_owns_slot(span, slot))) {
            const uint8_t *address = xb_span_address(span, slot);
            uint8_t *rw = xb_region_writable(region, address);
            xb_fill_traps(rw, span->slot_size);
            xb_prim_sync(address, rw, span->slot_size);
        }
    }
}

/* Enters a span of a region that is no longer shared in the lists of its arena, as it was before the fork. */
static void enter_span(xb_arena *arena, xb_span *span) {
    span->listed = false; /* the fork has emptied the list */
    if (span->class_ != XB_NO_CLASS) {
        arena->class_bytes[span->class_] += xb_span_size(span);
        if (span->free_words != 0) {
            xb_span_list(&arena->classes[span->class_], span);
        }
    }
    if (span->quarantine_words != 0) {
        span->next_quarantine = arena->quarantine;
        arena->quarantine = span;
        arena->quarantine_size += (size_t)xb_span_quarantined(span) * span->slot_size;
    }
}

/* Ends the sharing of a region whose memory is this process's own.
 *
 * In: is_copy: the memory is new. Then all slots that are not taken are filled with traps, since a parent
 * that does not know of this process may have written to them. */
static void end_sharing(xb_arena *arena, xb_region *region, bool is_copy) {
    uint32_t page = 1;
    xb_span *span;
    arena->shared_count[region->family]--;
    region->is_shared = false;
    region->is_stuck = false;
    region->family = XB_NO_FAMILY;
    region->is_active = arena->key == XB_PRIM_NO_KEY && !arena->is_freed;
    xb_prim_begin_write(region->views.key);
    while ((span = xb_span_next(region, &page)) != NULL) {
        if (!span->is_leaving) {
            if (is_copy || span->lacks_traps) {
                fill_slots(span, is_copy);
                span->lacks_traps = false;
            }
            arena->places[span->number].distance = region->distance;
            enter_span(arena, span);
        }
    }
    xb_prim_end_write(region->views.key);
    if (region->free_orders != 0) {
        xb_region_open(&arena->open, region);
    }
}

/* ---- Adopting ---- */

bool xb_own_adopt(xb_arena *arena, xb_region *region) {
    bool adopts = region->is_shared && region->views.rw != NULL && xb_family_is_alone(region->family);
    if (adopts) {
        end_sharing(arena, region, false);
    }
    return !region->is_shared;
}

bool xb_own_is_any_shared(const xb_arena *arena) {
    const xb_region *region = arena->regions;
    while (region != NULL && !region->is_shared) {
        region = region->next;
    }
    return region != NULL;
}

/* The kernel is asked once for each family. */
bool xb_own_adopt_one(xb_arena *arena) {
    uint32_t asked = 0;
    bool adopted = false;
    xb_arena_lock_alone(arena);
    for (xb_region *region = arena->regions; region != NULL && !adopted; region = region->next) {
        if (region->is_shared && (asked >> region->family & 1) == 0) {
            adopted = xb_own_adopt(arena, region);
            asked |= region->views.rw != NULL ? (uint32_t)1 << region->family : 0;
        }
    }
    xb_arena_unlock(arena);
    return adopted;
}

/* ---- Copying ---- */

/* Finds the pages of spans with live code, and page 0. Returns how many there are without page 0. */
static uint32_t find_pages_in_use(const xb_region *region, xb_prim_pages *pages) {
    uint32_t count = 0;
    uint32_t page = 1;
    const xb_span *span;
    memset(pages, 0, sizeof *pages);
    xb_prim_add_page(pages, 0);
    while ((span = xb_span_next(region, &page)) != NULL) {
        if (!span->is_leaving && xb_span_has_taken(span, 0, span->slots)) {
            count += span->own_pages;
            for (uint32_t i = span->page; i < span->page + span->pages; i++) {
                if (region->owners[i] == span) {
                    xb_prim_add_page(pages, i);
                }
            }
        }
    }
    return count;
}

/* Adds a page to a set, unless it is hidden. Then it cannot be read, and stays hidden. */
static void add_visible(const xb_region *region, xb_prim_pages *pages, uint32_t page) {
    if (page < region->page_count && !xb_region_is_hidden(region, page)) {
        xb_prim_add_page(pages, page);
    }
}

/* Adds to a set of pages those that lie beside its pages. */
static xb_prim_pages with_neighbours(const xb_region *region, const xb_prim_pages *kept) {
    xb_prim_pages all = *kept;
    for (uint32_t page = 1; page < region->page_count; page++) {
        if (xb_prim_has_page(kept, page)) {
            add_visible(region, &all, page - 1);
            add_visible(region, &all, page + 1);
        }
    }
    return all;
}

/* Adds to a set of pages all others that may have had code. Returns how many. */
static uint32_t add_others(const xb_region *region, xb_prim_pages *pages) {
    uint32_t count = 0;
    for (uint32_t page = 1; page < region->page_count; page++) {
        if (!xb_prim_has_page(pages, page) && xb_region_may_be_stale(region, page)) {
            xb_prim_add_page(pages, page);
            count++;
        }
    }
    return count;
}

/* Copies the pages of a region that have live code. The others must not become zeros where freed code was:
 * zeros are instructions on x86. They are hidden, or full of traps if the system cannot hide them. */
static xb_result copy_pages(xb_region *region, const char *name, const xb_prim_pages *kept, void **old_rw) {
    const xb_prim_pages least = with_neighbours(region, kept);
    xb_prim_pages all = least;
    uint32_t others = add_others(region, &all);
    if (others > 0 && xb_prim_hides_pages()) {
        xb_result result = xb_region_copy(region, name, kept, &least, true, old_rw);
        if (result.call == NULL || xb_prim_hides_pages()) {
            return result;
        }
    }
    return xb_region_copy(region, name, kept, &all, false, old_rw);
}

/* Copies a region. Its spans without live code end. */
static xb_result copy_region(xb_arena *arena, xb_region *region, xb_own_rest *rest) {
    xb_prim_pages pages;
    (void)find_pages_in_use(region, &pages);
    const size_t resident = region->resident;
    void *old_rw = NULL;
    xb_result result = copy_pages(region, arena->pool->name, &pages, &old_rw);
    if (result.call != NULL) {
        region->is_stuck = true;
        return result;
    }
    rest->old_rw = old_rw;
    rest->size = region->size;
    arena->resident += region->resident - resident;
    uint32_t page = 1;
    xb_span *span;
    while ((span = xb_span_next(region, &page)) != NULL) {
        if (!span->is_leaving && !xb_prim_has_page(&pages, span->page)) {
            xb_reclaim_span(arena, span, &rest->spans);
        }
    }
    end_sharing(arena, region, true);
    xb_region_mark(region);
    return result;
}

xb_result xb_own_region(xb_arena *arena, xb_region *region, xb_own_rest *rest) {
    if (!region->is_shared || xb_own_adopt(arena, region)) {
        return xb_ok();
    }
    return copy_region(arena, region, rest);
}

/* Whether a region has a span of a class with slots that are not taken. */
static bool has_slots(const xb_region *region, uint32_t class_) {
    uint32_t page = 1;
    const xb_span *span;
    while ((span = xb_span_next(region, &page)) != NULL) {
        if (span->class_ == class_ && class_ != XB_NO_CLASS && !span->is_leaving &&
            (span->free_words | span->quarantine_words) != 0) {
            return true;
        }
    }
    return false;
}

/* Whether publishing may write the traps that a copy of a region needs, besides pages with live code. */
static bool has_few_traps(const xb_arena *arena, const xb_region *region, xb_prim_pages *in_use) {
    const size_t most = arena->resident / TRAPS_PART;
    size_t size = xb_prim_hides_pages() ? 0 : (size_t)add_others(region, in_use) << region->page_shift;
    return size <= (most > MOST_COPIED ? most : MOST_COPIED);
}

/* Finds the region for xb_own_copy_one, or NULL. */
static xb_region *find_one_with_room(const xb_arena *arena, uint32_t class_, uint32_t pages) {
    xb_region *best = NULL;
    size_t least = MOST_COPIED + 1;
    for (xb_region *region = arena->regions; region != NULL; region = region->next) {
        /* Each taken slot has at least a granule, which spares a look at the spans of large regions. */
        if (region->is_shared && !region->is_stuck && !region->is_lost &&
            (size_t)xb_region_live(region) * XB_GRANULE < least) {
            xb_prim_pages in_use;
            uint32_t count = find_pages_in_use(region, &in_use);
            size_t size = (size_t)count << region->page_shift;
            if (size < least && (region->page_count - 1 - count >= pages || has_slots(region, class_)) &&
                has_few_traps(arena, region, &in_use)) {
                best = region;
                least = size;
            }
        }
    }
    return best;
}

bool xb_own_copy_one(xb_arena *arena, uint32_t class_, uint32_t pages) {
    xb_own_rest rest = {NULL, NULL, 0};
    xb_arena_lock_alone(arena);
    xb_region *region = find_one_with_room(arena, class_, pages);
    bool copied = region != NULL && copy_region(arena, region, &rest).call == NULL;
    xb_own_unlock(arena, &rest);
    return copied;
}

void xb_own_unlock(xb_arena *arena, const xb_own_rest *rest) {
    xb_reclaim_unlock(arena, NULL, rest->spans);
    if (rest->old_rw != NULL) {
        xb_unmap_temporary(NULL, rest->old_rw, rest->size); /* as a writable view, which no child inherits */
    }
}
