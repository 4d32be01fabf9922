/* Reclaiming memory of pools. The functions here work on a locked pool; they collect what is to be freed in
 * lists, and it is freed after the pool is unlocked. */

#include "reclaim.h"

#include <stdlib.h>

#include "../base/list.h"
#include "registry.h"

/* Empty spans are kept for their class while it has no more than this. */
#define KEPT_CLASS_SIZE ((size_t)128 << 10)

/* A barrier is worthwhile if this many bytes are in quarantine, and also this part of the pool's memory:
 * then, at worst, this part stays unused. */
#define QUARANTINE_SIZE ((size_t)64 << 10)
#define QUARANTINE_PART 1024

/* ---- Spans ---- */

/* Takes a span that is not in a frozen region from its class, if it has one. */
static void leave_class(execbuf_pool *pool, xb_span *span) {
    if (span->class_ != XB_NO_CLASS) {
        xb_span_unlist(&pool->classes[span->class_], span);
        pool->class_bytes[span->class_] -= (size_t)span->pages << span->region->page_shift;
    }
}

/* Returns the pages of a span, which is empty and in no index. In a frozen region they serve nobody. */
static void return_pages(execbuf_pool *pool, const xb_span *span) {
    xb_span_detach(span);
    if (!span->region->frozen) {
        xb_region_open(&pool->open, span->region);
    }
}

/* Removes an empty span from its pool, and from its region, which is not frozen. A span with unwind tables
 * keeps its pages for now, and pins the region. */
static void remove_span(execbuf_pool *pool, xb_span *span) {
    leave_class(pool, span);
    xb_index_remove(pool, span);
    pool->bookkeeping -= xb_span_bookkeeping(span);
    if (span->tables != NULL) {
        span->is_leaving = true;
        span->region->pins++;
    } else {
        return_pages(pool, span);
    }
}

/* ---- Quarantine ---- */

/* Whether a span that was in quarantine stays even if it is empty. A span whose slots are all retired is of
 * no use. */
static bool is_kept(const execbuf_pool *pool, const xb_span *span) {
    return span->class_ != XB_NO_CLASS && pool->class_bytes[span->class_] <= KEPT_CLASS_SIZE &&
           span->free_words != 0;
}

bool xb_reclaim_is_worthwhile(const execbuf_pool *pool) {
    return pool->quarantine_size >= QUARANTINE_SIZE && pool->quarantine_size >= pool->quarantine_wait &&
           pool->quarantine_size >= pool->resident / QUARANTINE_PART;
}

bool xb_reclaim_quarantine(execbuf_pool *pool, xb_span **empty) {
    if (pool->quarantine == NULL) {
        return false;
    }
    if (!xb_prim_barrier()) {
        pool->quarantine_wait = 2 * pool->quarantine_size;
        return false;
    }
    pool->quarantine_wait = 0;
    while (pool->quarantine != NULL) {
        xb_span *span = pool->quarantine;
        pool->quarantine = span->next_quarantine;
        xb_span_end_quarantine(span);
        if (!is_kept(pool, span) && xb_span_is_empty(span)) {
            remove_span(pool, span);
            span->next = *empty;
            *empty = span;
        } else if (span->class_ != XB_NO_CLASS) {
            xb_span_list(&pool->classes[span->class_], span);
        }
    }
    pool->quarantine_size = 0;
    return true;
}

/* ---- Regions ---- */

bool xb_reclaim_is_due(const execbuf_pool *pool, const xb_region *region) {
    return xb_region_is_unused(region) && (region->frozen || pool->is_freed || !region->is_kept);
}

xb_region *xb_reclaim_choose_kept(execbuf_pool *pool) {
    xb_region *newest = pool->regions;
    xb_region *due = NULL;
    for (xb_region *region = pool->regions; region != NULL; region = region->next) {
        bool was_kept = region->is_kept;
        region->is_kept = region == newest && !region->frozen && region->resident <= XB_KEPT_REGION_SIZE;
        if (was_kept && xb_reclaim_is_due(pool, region)) {
            due = region;
        }
    }
    return due;
}

/* Takes the spans of a region from the list of those with slots in quarantine. */
static void leave_quarantine(execbuf_pool *pool, const xb_region *region) {
    xb_span **link = &pool->quarantine;
    while (*link != NULL) {
        if ((*link)->region == region) {
            *link = (*link)->next_quarantine;
        } else {
            link = &(*link)->next_quarantine;
        }
    }
}

void xb_reclaim_region(execbuf_pool *pool, xb_region *region) {
    bool in_quarantine = false;
    uint32_t page = 1;
    xb_span *span;
    while ((span = xb_span_next(region, &page)) != NULL) {
        if (span->is_leaving) {
            continue; /* remove_span did all this, and the fork that made this process came in between */
        }
        xb_index_remove(pool, span);
        pool->bookkeeping -= xb_span_bookkeeping(span);
        if (!region->frozen) { /* a fork has emptied the lists already */
            leave_class(pool, span);
            pool->quarantine_size -= (size_t)xb_span_quarantined(span) * span->slot_size;
            in_quarantine |= span->quarantine_words != 0;
        }
    }
    if (in_quarantine) {
        leave_quarantine(pool, region);
    }
    xb_region_close(&pool->open, region);
    XB_LIST_REMOVE(pool->regions, region, next, previous);
    region->next = NULL;
    pool->resident -= region->resident;
    pool->bookkeeping -= region->bookkeeping;
    if (region->is_kept) {
        (void)xb_reclaim_choose_kept(pool); /* none stayed before */
    }
}

xb_region *xb_reclaim_frozen(execbuf_pool *pool) {
    for (xb_region *region = pool->regions; pool->must_sweep && region != NULL; region = region->next) {
        if (region->frozen && xb_region_is_unused(region)) {
            xb_reclaim_region(pool, region);
            return region;
        }
    }
    pool->must_sweep = false;
    return NULL;
}

/* Frees the regions of a list, and their spans. */
static void free_regions(xb_region *regions) {
    while (regions != NULL) {
        xb_region *next = regions->next;
        uint32_t page = 1;
        xb_span *span;
        while ((span = xb_span_next(regions, &page)) != NULL) {
            xb_span_free(span);
        }
        xb_region_free(regions);
        regions = next;
    }
}

/* ---- Pools ---- */

/* Whether the user has freed the pool, and nothing in it is alive. */
static bool is_over(const execbuf_pool *pool) {
    return pool->is_freed && pool->large_count == 0 && pool->regions == NULL;
}

/* Unlocks a pool, frees the regions of a list, and ends the pool if nothing is left of it. */
static void unlock_and_free(execbuf_pool *pool, xb_region *regions) {
    bool over = is_over(pool);
    xb_pool_unlock(pool);
    free_regions(regions);
    if (over) {
        xb_registry_remove(pool);
    }
}

/* Completes remove_span for a span with unwind tables. The pool is not locked: the unwinder has locks of its
 * own. Other code may use the pages only when the unwinder has forgotten the tables. */
static void finish_leaving(execbuf_pool *pool, xb_span *span) {
    xb_region *region = span->region;
    xb_span_end_tables(span);
    xb_pool_lock(pool);
    return_pages(pool, span);
    region->pins--;
    xb_region *due = xb_reclaim_is_due(pool, region) ? region : NULL;
    if (due != NULL) {
        xb_reclaim_region(pool, due);
    }
    unlock_and_free(pool, due);
}

/* A pool with a span that is leaving has not ended: the span pins a region. */
void xb_reclaim_unlock(execbuf_pool *pool, xb_region *regions, xb_span *spans) {
    unlock_and_free(pool, regions);
    while (spans != NULL) {
        xb_span *next = spans->next;
        if (spans->is_leaving) {
            finish_leaving(pool, spans);
        }
        xb_span_free(spans);
        spans = next;
    }
}

void xb_reclaim_pool(execbuf_pool *pool) {
    xb_region *unused = NULL;
    xb_pool_lock(pool);
    pool->is_freed = true;
    for (xb_region *region = pool->regions; region != NULL;) {
        xb_region *next = region->next;
        region->is_active = false; /* the last free of each region has to notice that it is the last */
        if (xb_reclaim_is_due(pool, region)) {
            xb_reclaim_region(pool, region);
            region->next = unused;
            unused = region;
        }
        region = next;
    }
    xb_reclaim_unlock(pool, unused, NULL);
}

/* Whether the memory of a pool is in use: xb_registry_remove sets it to zero. */
static bool is_used(const execbuf_pool *pool) {
    return pool->bookkeeping != 0;
}

static void release_writable_views(const execbuf_pool *pool) {
    for (xb_region *region = pool->regions; region != NULL; region = region->next) {
        if (region->views.rw != NULL && region->views.rw != region->views.rx) {
            (void)xb_prim_release(region->views.rw, region->size);
        }
    }
}

void xb_reclaim_all(void) {
    for (uint32_t number = xb_registry_count(); number >= 1; number--) {
        execbuf_pool *pool = xb_registry[number];
        if (is_used(pool)) {
            xb_reclaim_pool(pool);
        }
        if (is_used(pool)) {
            release_writable_views(pool);
        } else {
            free(pool);
        }
    }
}
