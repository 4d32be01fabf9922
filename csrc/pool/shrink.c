/* Memory that a peak has left: regions give back what no live code needs. */

#include "shrink.h"

#include <string.h>

#include "own.h"
#include "pool.h"
#include "reclaim.h"

/* A copy gives back at least this much memory. */
#define LEAST_SIZE ((size_t)64 << 10)

/* ---- Pages in use ---- */

/* The pages that stay. */
typedef struct needed_pages {
    xb_prim_pages kept; /* with slots that are taken */
    xb_prim_pages all;  /* these, page 0, and those that end where code begins: 16 bytes before an entry can
                           be read */
    uint32_t count;     /* of all */
} needed_pages;

static void need_page(needed_pages *needed, uint32_t page, bool keeps) {
    needed->count += !xb_prim_has_page(&needed->all, page);
    xb_prim_add_page(&needed->all, page);
    if (keeps) {
        xb_prim_add_page(&needed->kept, page);
    }
}

/* Adds all pages of a span. */
static void need_span(const xb_span *span, needed_pages *needed) {
    need_page(needed, span->page - 1, false);
    for (uint32_t page = span->page; page < span->page + span->pages; page++) {
        need_page(needed, page, true);
    }
}

/* Adds the pages of a span that it needs, until there are more than most. */
static void need_some(const xb_region *region, const xb_span *span, uint32_t most, needed_pages *needed) {
    const uint64_t page_size = (uint64_t)1 << region->page_shift;
    const uint32_t start = (uint32_t)((span->start - region->views.rx) >> region->page_shift);
    const uint32_t end = span->page + span->pages;
    if (span->page == start && xb_span_has_taken(span, 0, 0)) {
        need_page(needed, start - 1, false);
    }
    for (uint32_t page = span->page; page < end && needed->count <= most; page++) {
        uint64_t from = (page - start) * page_size;
        uint64_t to = from + page_size;
        uint32_t next = (uint32_t)(to / span->slot_size); /* the first slot that begins behind the page, */
        uint32_t last = next - (to % span->slot_size == 0);
        if (xb_span_has_taken(span, (uint32_t)(from / span->slot_size), last)) {
            need_page(needed, page, true);
        } else if (next != last && xb_span_has_taken(span, next, next)) { /* at once behind it */
            need_page(needed, page, false);
        }
    }
}

/* Finds the pages that a region needs, until there are more than most. Spans of adapters, and those with
 * described code, stay whole, since unwind tables belong to all of a span. */
static void find_needed(const xb_region *region, uint32_t most, needed_pages *needed) {
    uint32_t page = 1;
    const xb_span *span;
    memset(needed, 0, sizeof *needed);
    need_page(needed, 0, true);
    while (needed->count <= most && (span = xb_span_next(region, &page)) != NULL) {
        if (span->is_leaving || !xb_span_has_taken(span, 0, span->slots)) {
            continue;
        }
        if (xb_is_adapter_class(span->class_) || span->stays_whole) {
            need_span(span, needed);
        } else {
            need_some(region, span, most, needed);
        }
    }
}

/* Whether a region needs so little of its memory that it is copied: at most 3/10 of its pages, and half of
 * its memory, or 3/4 of it if that is little. */
static bool is_worthwhile(const xb_region *region, needed_pages *needed) {
    const uint32_t most = region->page_count * 3 / 10;
    find_needed(region, most, needed);
    size_t size = (size_t)needed->count << region->page_shift;
    size_t most_left =
        needed->count <= region->page_count / 8 ? region->resident / 4 * 3 : region->resident / 2;
    return needed->count <= most && size <= most_left && size + LEAST_SIZE <= region->resident;
}

/* ---- Copying ---- */

/* Takes the pages that were not copied from the spans of a region. Spans without pages end. */
static void cut_spans(xb_arena *arena, xb_region *region, const needed_pages *needed, xb_span **removed) {
    uint32_t page = 1;
    xb_span *span;
    while ((span = xb_span_next(region, &page)) != NULL) {
        if (span->is_leaving) {
            continue;
        }
        arena->places[span->number].distance = region->distance;
        bool stays = false;
        for (uint32_t i = span->page; i < span->page + span->pages; i++) {
            stays |= region->owners[i] == span && xb_prim_has_page(&needed->kept, i);
        }
        xb_reclaim_leave_class(arena, span);
        if (!stays) {
            xb_reclaim_span(arena, span, removed);
            continue;
        }
        xb_span_cut(span, &needed->all);
        if (span->class_ != XB_NO_CLASS) {
            arena->class_bytes[span->class_] += xb_span_size(span);
            if (span->free_words != 0) {
                xb_span_list(&arena->classes[span->class_], span);
            }
        }
    }
}

/* Copies a region. */
static void shrink_region(xb_arena *arena, xb_region *region, const needed_pages *needed, xb_own_rest *rest) {
    const size_t resident = region->resident;
    xb_result result =
        xb_region_copy(region, arena->pool->name, &needed->kept, &needed->all, true, &rest->old_rw);
    if (result.call != NULL) {
        return;
    }
    region->shrinks_at = xb_prim_query().largest_region / 16;
    arena->shrink_credit -= XB_SHRINK_PRICE;
    rest->size = region->size;
    arena->resident -= resident - region->resident;
    cut_spans(arena, region, needed, &rest->spans);
    xb_region_open(&arena->open, region);
}

/* Whether the pages that a region needs lie here and there. If code is freed in its order, they are in one
 * piece until all is freed. */
static bool is_scattered(const xb_region *region, const needed_pages *needed) {
    uint32_t runs = 1; /* page 0 */
    for (uint32_t page = 1; page < region->page_count; page++) {
        runs += xb_prim_has_page(&needed->all, page) && !xb_prim_has_page(&needed->all, page - 1);
    }
    return runs >= needed->count / 4;
}

/* Whether no other region of the arena is shrinkable. */
static bool is_only(const xb_arena *arena, const xb_region *region) {
    const xb_region *other = arena->regions;
    while (other != NULL && (other == region || !xb_region_is_shrinkable(other))) {
        other = other->next;
    }
    return other == NULL;
}

/* Whether a copy need not wait for another region: what little the region needs is freed much later, or
 * never. If no other region is shrinkable, it is enough that it needs little, or that its code is scattered.
 */
static bool is_ripe(const xb_arena *arena, const xb_region *region, const needed_pages *needed) {
    bool is_little = (size_t)needed->count << region->page_shift <= region->resident / 8;
    if (is_only(arena, region)) {
        return is_little || is_scattered(region, needed);
    }
    return is_little && is_scattered(region, needed);
}

/* Whether a region may need little. Without a newest one, regions that are due were not looked at yet. */
static bool is_candidate(const xb_region *region, const xb_region *newest) {
    return region->may_shrink || (newest == NULL && xb_shrink_is_due(region));
}

/* Whether there is a candidate besides the newest one. */
static bool has_candidate(const xb_arena *arena, const xb_region *newest) {
    const xb_region *region = arena->regions;
    while (region != NULL && (region == newest || !is_candidate(region, newest))) {
        region = region->next;
    }
    return region != NULL;
}

bool xb_shrink_look(xb_arena *arena, xb_region *region) {
    needed_pages needed;
    xb_region_mark(region);
    region->may_shrink = is_worthwhile(region, &needed);
    return region->may_shrink && arena->shrink_credit >= XB_SHRINK_PRICE &&
           (is_ripe(arena, region, &needed) || has_candidate(arena, region));
}

/* Copies the first region where it is worth it, if the arena has credit. The quarantine ends before its
 * memory is given back; if the barrier is refused, the memory stays. The arena is locked alone.
 *
 * Returns: whether one was copied, and there is credit for another candidate. */
static bool shrink_one(xb_arena *arena, const xb_region *newest, xb_own_rest *rest) {
    needed_pages needed;
    if (arena->shrink_credit < XB_SHRINK_PRICE) {
        return false;
    }
    for (xb_region *region = arena->regions; region != NULL; region = region->next) {
        if (!is_candidate(region, newest)) {
            continue;
        }
        if (xb_shrink_is_due(region)) {
            xb_region_mark(region);
        }
        bool is_usable = xb_region_live(region) != 0 && !region->is_shared && xb_region_is_shrinkable(region);
        region->may_shrink = is_usable && is_worthwhile(region, &needed);
        if (region->may_shrink && (region != newest || is_ripe(arena, region, &needed)) &&
            (arena->quarantine == NULL || xb_reclaim_quarantine(arena, &rest->spans))) {
            region->may_shrink = false;
            shrink_region(arena, region, &needed, rest);
            xb_region_mark(region);
            return arena->shrink_credit >= XB_SHRINK_PRICE && has_candidate(arena, newest);
        }
    }
    return false;
}

void xb_shrink(xb_arena *arena, const xb_region *newest) {
    bool goes_on = true;
    while (goes_on) {
        xb_own_rest rest = {NULL, NULL, 0};
        xb_arena_lock_alone(arena);
        xb_reclaim_guests(arena);
        goes_on = shrink_one(arena, newest, &rest);
        xb_own_unlock(arena, &rest);
    }
}
