/* Allocation in an arena, but for the fast path in alloc.h.
 *
 * A slot comes from the first of these sources that has one:
 *
 *     1. spans with free slots of the class, or of one that is little larger; if enough is in quarantine, a
 *        barrier frees that first
 *     2. a region that a fork has shared, if no other process with it lives
 *     3. a new span in a region that has free pages
 *     4. what is in quarantine, after a barrier, if it is enough to do without a new region
 *     5. a copy of a region that a fork has shared, if it has little code
 *     6. a new region
 *     7. if there can be none, whatever is in quarantine, after a barrier
 *
 * Book-keeping is allocated, and regions are mapped, while the arena is not locked. Other threads or a fork
 * may change the arena meanwhile: add_span and add_region check what they rely on after they have locked it
 * again. A region where a thread makes a span is pinned, so that it is not unmapped. */

#include "alloc.h"

#include <stdlib.h>

#include "../base/list.h"
#include "../exec/park.h"
#include "../prim/report.h"
#include "index.h"
#include "own.h"
#include "placement.h"
#include "readers.h"
#include "reclaim.h"
#include "shrink.h"

/* After a region could not be made, or there was no memory for pages of a new one, this many buffers get
 * dedicated mappings before it is tried again. The number doubles up to a limit as long as it fails. */
#define FIRST_INTERVAL 64U
#define LONGEST_INTERVAL 65536U

/* One call adds at most this many regions: others may take the pages of a new region. */
#define MOST_REGIONS 3

/* What a slot is needed for. */
typedef struct alloc_request {
    uint32_t class_;
    size_t length;
    xb_use use;
    execbuf *out;
} alloc_request;

/* ---- Slots of existing spans ---- */

/* Takes a slot from a span with free ones, of the class or of a larger one where that wastes little. Full
 * spans leave their lists. The arena is locked. */
static uint8_t *take_slot(xb_arena *arena, const alloc_request *request) {
    uint8_t *rw = NULL;
    uint32_t class_ = request->class_;
    while (rw == NULL && xb_sizes_may_use(class_, request->class_, request->length)) {
        xb_span **list = &arena->classes[class_];
        while (*list != NULL && (*list)->free_words == 0) {
            xb_span_unlist(list, *list);
        }
        rw = xb_alloc_listed(arena, class_, request->length, request->use, request->out);
        class_++;
    }
    return rw;
}

/* ---- New spans ---- */

/* Pages for a span that is not made yet. */
typedef struct span_pages {
    xb_region *region; /* pinned; NULL: no region has the pages */
    uint32_t page;
    uint32_t copies; /* of the region, when the pages were allocated */
    bool no_memory;  /* for pages that are free in a region */
    xb_span_design design;
} span_pages;

/* Allocates the run of a plan's design in a region, and surrounds it with traps. Its page becomes 0 if there
 * is none, or no memory for it; then arena->why says so. */
static bool take_pages(xb_arena *arena, xb_region *region, span_pages *plan) {
    size_t before = region->resident;
    uint32_t pages = plan->design.pages;
    uint32_t page = xb_region_alloc(region, pages);
    if (page != 0) {
        xb_result result = xb_region_start(region, page, pages);
        if (result.call != NULL) {
            (void)xb_error_from_system(&arena->why, result);
            xb_region_free_pages(region, page, pages);
            page = 0;
            plan->no_memory = true;
        }
    }
    arena->resident += region->resident - before;
    region->is_kept &= region->resident <= XB_KEPT_REGION_SIZE;
    xb_region_mark(region);
    if (region->free_orders == 0) {
        xb_region_close(&arena->open, region);
    }
    plan->page = page;
    return page != 0;
}

/* Allocates the pages of a plan's design. Returns their region; NULL: no region has them. */
static xb_region *find_pages(xb_arena *arena, span_pages *plan) {
    xb_region *region = arena->open;
    while (region != NULL && !take_pages(arena, region, plan)) {
        region = plan->no_memory ? NULL : region->next_open;
    }
    return region;
}

/* As find_pages for a span of adapters. A smaller one is made if a new region would be needed otherwise. A
 * much smaller one would be one more list for unwinders to search, so it is made only while regions cannot
 * be made. */
static xb_region *find_adapter_pages(xb_arena *arena, span_pages *plan) {
    uint32_t least = arena->retry_after > 0 ? 1 : (plan->design.pages + 7) / 8;
    xb_region *region = find_pages(arena, plan);
    while (region == NULL && plan->design.pages / 2 >= least) {
        plan->no_memory = false;
        plan->design.pages /= 2;
        plan->design.slots /= 2;
        region = find_pages(arena, plan);
    }
    return region;
}

/* Allocates the pages of a new span: preferably a small block that is left between other spans, if the class
 * has use for it, else as many as the design wants. The arena is locked. */
static span_pages plan_span(xb_arena *arena, const alloc_request *request) {
    size_t page_size = xb_prim_query().page_size;
    uint32_t class_ = request->class_;
    span_pages plan = {NULL, 0, 0, false, {0, 0, 0}};
    size_t class_bytes = class_ != XB_NO_CLASS ? arena->class_bytes[class_] : 0;
    plan.design = xb_sizes_design(class_, request->length, class_bytes, page_size);
    xb_region *region = class_ < XB_SIZE_CLASSES ? arena->open : NULL;
    while (region != NULL && !xb_sizes_use_remains(&plan.design, class_, region->free_orders, page_size)) {
        region = region->next_open;
    }
    if (region != NULL) {
        region = take_pages(arena, region, &plan) ? region : NULL;
    } else if (xb_is_adapter_class(class_)) {
        region = find_adapter_pages(arena, &plan);
    } else {
        region = find_pages(arena, &plan);
    }
    if (region != NULL) {
        region->pins++;
        plan.copies = region->copies;
    }
    plan.region = region;
    return plan;
}

/* Makes a span in planned pages, and takes a slot from it. The arena is not locked.
 *
 * Returns: as xb_alloc_slot; NULL if there is no memory for its book-keeping, if another thread used up the
 *          room in the index, or if a fork shared the region meanwhile, or it was copied.
 * Out: has_memory: whether there was memory for the book-keeping. */
static uint8_t *add_span(xb_arena *arena, const span_pages *plan, const alloc_request *request,
                         bool *has_memory) {
    xb_region *region = plan->region;
    uint32_t pages = plan->design.pages;
    xb_span *span = xb_span_new(request->class_, plan->design.slot_size, plan->design.slots);
    *has_memory = span != NULL;
    xb_arena_lock(arena);
    region->pins--;
    bool is_intact = !region->is_shared && region->copies == plan->copies;
    if (is_intact) {
        xb_region_fill(region, plan->page, pages);
    }
    if (span != NULL && is_intact && arena->unused_place < arena->place_count) {
        xb_span_attach(span, region, plan->page, pages);
        xb_index_add(arena, span);
        arena->bookkeeping += xb_span_bookkeeping(span);
        xb_shrink_earn(arena, span);
        arena->live++;
        uint8_t *rw = xb_alloc_from_span(span, request->length, request->use, request->out);
        if (span->class_ != XB_NO_CLASS) {
            arena->class_bytes[span->class_] += (size_t)pages << region->page_shift;
        }
        if (span->free_words != 0) {
            xb_span_list(&arena->classes[span->class_], span);
        }
        return rw;
    }
    xb_region_free_pages(region, plan->page, pages);
    if (!region->is_shared) {
        xb_region_open(&arena->open, region);
    }
    bool is_due = xb_reclaim_is_due(arena, region);
    xb_reclaim_unlock(arena, NULL, span);
    if (is_due) {
        (void)xb_reclaim(arena, false);
    }
    return NULL;
}

/* ---- New regions ---- */

/* A region has about this many times the size of all that the arena has, within the platform's limits: so
 * small arenas need little address space and locked memory, and large ones have few regions. */
#define REGION_GROWTH 4U

/* The size of a new region, at least that of least. The arena is not locked. */
static size_t next_region_size(xb_arena *arena, size_t least) {
    size_t largest = xb_prim_query().largest_region;
    size_t sum = 0;
    xb_arena_lock(arena);
    for (const xb_region *region = arena->regions; region != NULL && sum < largest; region = region->next) {
        sum += region->is_shared ? region->resident : region->size;
    }
    xb_arena_unlock(arena);
    size_t size = least;
    while (size < largest && size < REGION_GROWTH * sum) {
        size *= 2;
    }
    return size;
}

/* Maps a region with room for a run of pages: a smaller one if there is no room for a larger one. The
 * region is within the pool's reach. No lock is held. */
static execbuf_status map_region(xb_arena *arena, uint32_t pages, xb_region **region, execbuf_error *report) {
    execbuf_pool *pool = arena->pool;
    size_t least = xb_region_size_for(pages);
    size_t size = next_region_size(arena, least);
    for (;;) {
        xb_prim_window window;
        execbuf_status status =
            xb_placement_allows(pool, size)
                ? xb_region_new(region, size, xb_placement_window(pool, &window), pool->name,
                                pool->options.backends, arena->key, pool->options.not_inherited, report)
                : xb_error_from_system(report, xb_failed(XB_PRIM_TOO_FAR, 0));
        if (status == EXECBUF_OK) {
            if (xb_placement_add_region(pool, *region)) {
                (*region)->pool = pool;
                xb_readers_add(*region);
                return EXECBUF_OK;
            }
            xb_region_free(*region, free);
        } else if (size > least && (status == EXECBUF_E_NO_MEMORY || status == EXECBUF_E_TOO_FAR)) {
            size /= 2;
        } else {
            return status;
        }
    }
}

/* Lets buffers have dedicated mappings for a while. The arena is locked. */
static void postpone_regions(xb_arena *arena) {
    uint32_t interval = arena->retry_interval == 0 ? FIRST_INTERVAL : 2 * arena->retry_interval;
    arena->retry_interval = interval < LONGEST_INTERVAL ? interval : LONGEST_INTERVAL;
    arena->retry_after = arena->retry_interval;
}

/* Adds a region with room for a run of pages; if that fails, arena->why says why. The arena is not locked. */
static bool add_region(xb_arena *arena, uint32_t pages) {
    xb_region *region = NULL;
    bool is_due = false; /* whether an older one is */
    execbuf_error report;
    xb_unmap_parked();
    execbuf_status status = map_region(arena, pages, &region, &report);
    xb_arena_lock(arena);
    if (status == EXECBUF_OK) {
        XB_LIST_PUSH(arena->regions, region, next, previous);
        arena->bookkeeping += region->bookkeeping;
        arena->resident += region->resident;
        arena->mapped += region->size;
        arena->region_count++;
        arena->backend = region->backend;
        xb_region_open(&arena->open, region);
        is_due = xb_reclaim_choose_kept(arena);
    } else {
        postpone_regions(arena);
    }
    arena->why = report;
    xb_arena_unlock(arena);
    if (is_due) {
        (void)xb_reclaim(arena, false);
    }
    return status == EXECBUF_OK;
}

/* ---- All of it ---- */

/* What an attempt to take a slot found to do next, without the lock. */
typedef enum alloc_step {
    ALLOC_GIVE_UP = -1,
    ALLOC_DONE,        /* a slot is taken, and the arena is locked */
    ALLOC_RECLAIM,     /* enough was freed to be worth a barrier, or a fork has left something */
    ALLOC_RECLAIM_ALL, /* there are no pages, but something was freed */
    ALLOC_ADOPT,       /* a fork has shared regions, which may be adopted */
    ALLOC_COPY,        /* there are no pages, but shared regions, one of which may be copied */
    ALLOC_ADD_SPAN,    /* pages are planned */
    ALLOC_ADD_REGION,  /* there are no pages */
    ALLOC_GROW_INDEX   /* no number is left for a span */
} alloc_step;

/* What may be tried, since it was of use when it was tried last; and whether a region was added. */
typedef struct alloc_means {
    bool has_added;
    bool may_reclaim;
    bool may_adopt;
    bool may_copy;
} alloc_means;

/* Whether what is in quarantine should be used before a region is made: it is enough, or regions cannot be
 * made. Adapters come and go rarely, and each of their spans is one more list for unwinders to search. The
 * arena is locked. */
static bool may_reclaim_all(const xb_arena *arena, uint32_t class_) {
    bool is_any = arena->quarantine != NULL || xb_guests_sum(&arena->lock) != 0;
    return is_any &&
           (arena->retry_after > 0 || xb_is_adapter_class(class_) || xb_reclaim_replaces_region(arena));
}

/* Takes a slot, or says what to do. The arena is not locked.
 *
 * In:  means:       what may be tried first.
 * Out: rw:          where the code is written, for ALLOC_DONE.
 *      plan:        the pages, for ALLOC_ADD_SPAN.
 *      place_count: the size of the index. */
static alloc_step try_alloc(xb_arena *arena, const alloc_request *request, alloc_means means, uint8_t **rw,
                            span_pages *plan, uint32_t *place_count) {
    alloc_step step = ALLOC_RECLAIM;
    xb_arena_lock(arena);
    *place_count = arena->place_count;
    if (means.may_reclaim && (arena->must_sweep || xb_reclaim_is_worthwhile(arena))) {
        step = ALLOC_RECLAIM;
    } else if ((*rw = take_slot(arena, request)) != NULL) {
        return ALLOC_DONE;
    } else if (means.may_adopt && xb_own_is_any_shared(arena)) {
        step = ALLOC_ADOPT;
    } else if (arena->unused_place == arena->place_count) {
        step = ALLOC_GROW_INDEX;
    } else {
        *plan = plan_span(arena, request);
        if (plan->region != NULL) {
            arena->retry_interval = means.has_added ? 0 : arena->retry_interval;
            step = ALLOC_ADD_SPAN;
        } else if (means.may_reclaim && may_reclaim_all(arena, request->class_)) {
            step = ALLOC_RECLAIM_ALL;
        } else if (means.may_copy && xb_own_is_any_shared(arena)) {
            step = ALLOC_COPY;
        } else if (arena->retry_after > 0) {
            arena->retry_after--;
            step = ALLOC_GIVE_UP;
        } else if (plan->no_memory && means.has_added) {
            postpone_regions(arena);
            step = ALLOC_GIVE_UP;
        } else {
            step = ALLOC_ADD_REGION;
        }
    }
    xb_arena_unlock(arena);
    return step;
}

uint8_t *xb_alloc_slot(xb_arena *arena, uint32_t class_, size_t length, xb_use use, execbuf *out) {
    alloc_request request = {class_, length, use, out};
    uint8_t *rw = NULL;
    bool goes_on = true;
    alloc_means means = {false, true, true, true};
    int regions = 0; /* how many were added */
    while (goes_on && rw == NULL) {
        span_pages plan = {NULL, 0, 0, false, {0, 0, 0}};
        uint32_t place_count = 0;
        switch (try_alloc(arena, &request, means, &rw, &plan, &place_count)) {
        case ALLOC_RECLAIM: means.may_reclaim = xb_reclaim(arena, false); break;
        case ALLOC_RECLAIM_ALL: means.may_reclaim = xb_reclaim(arena, true); break;
        case ALLOC_ADOPT: means.may_adopt = xb_own_adopt_one(arena); break;
        case ALLOC_COPY: means.may_copy = xb_own_copy_one(arena, class_, plan.design.pages); break;
        case ALLOC_ADD_SPAN: rw = add_span(arena, &plan, &request, &goes_on); break;
        case ALLOC_ADD_REGION:
            /* Without a new region, adapters look for fewer pages (find_adapter_pages), and what is in
             * quarantine is used. */
            means.has_added = regions++ < MOST_REGIONS && add_region(arena, plan.design.pages);
            goes_on = regions <= MOST_REGIONS &&
                      (means.has_added || means.may_reclaim || xb_is_adapter_class(class_));
            break;
        case ALLOC_GROW_INDEX: goes_on = xb_index_grow(arena, place_count); break;
        case ALLOC_GIVE_UP: goes_on = false; break;
        case ALLOC_DONE: break;
        }
    }
    return rw;
}
