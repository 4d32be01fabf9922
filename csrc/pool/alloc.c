/* Room for code in a pool. */

#include "alloc.h"

#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../mapping/mapping.h"
#include "../base/fault.h"

/* Empty spans are kept for their class while it has no more than this. */
#define KEPT_PART ((size_t)128 << 10)

/* Slots stay in quarantine until so many bytes have come together, or this part of what is committed: the
 * price of a barrier is that of publishing hundreds of pieces of code while other threads run. */
#define QUARANTINE_SIZE ((size_t)64 << 10)
#define QUARANTINE_PART 1024

/* A new span has this part of what its class has already, so that what it stubs unused is a small part, too.
 */
#define SPAN_PART 32

/* After a region could not be made, so many buffers get dedicated mappings before the next try; at most. */
#define FIRST_PAUSE 64U
#define LONGEST_PAUSE 65536U

/* ---- Lists ---- */

static void list_span(execbuf_pool *pool, xb_span *span) {
    xb_span **head = &pool->classes[span->class_];
    span->next = *head;
    span->previous = NULL;
    if (*head != NULL) {
        (*head)->previous = span;
    }
    *head = span;
    span->listed = true;
}

static void unlist_span(execbuf_pool *pool, xb_span *span) {
    if (!span->listed) {
        return;
    }
    if (span->previous != NULL) {
        span->previous->next = span->next;
    } else {
        pool->classes[span->class_] = span->next;
    }
    if (span->next != NULL) {
        span->next->previous = span->previous;
    }
    span->listed = false;
}

static void open_region(execbuf_pool *pool, xb_region *region) {
    if (region->is_open) {
        return;
    }
    region->next_open = pool->open;
    region->previous_open = NULL;
    if (pool->open != NULL) {
        pool->open->previous_open = region;
    }
    pool->open = region;
    region->is_open = true;
}

static void close_region(execbuf_pool *pool, xb_region *region) {
    if (!region->is_open) {
        return;
    }
    if (region->previous_open != NULL) {
        region->previous_open->next_open = region->next_open;
    } else {
        pool->open = region->next_open;
    }
    if (region->next_open != NULL) {
        region->next_open->previous_open = region->previous_open;
    }
    region->is_open = false;
}

/* Gives a span a number and an id. There is room for it. */
static void number_span(execbuf_pool *pool, xb_span *span) {
    span->number = pool->unused_place;
    xb_span_place *place = &pool->spans[span->number];
    pool->unused_place = place->u.next_unused;
    place->span = span;
    place->start = span->start;
    place->distance = span->region->distance;
    place->slot_size = span->slot_size;
    place->slots = span->slots;
    place->reciprocal = span->reciprocal;
    place->u.entries = span->entries;
    uint64_t id = (uint64_t)pool->number << XB_SPAN_BITS | span->number;
    id = id << XB_SERIAL_BITS | place->serial++;
    id <<= XB_TAG_BITS;
    pool->serials = place->serial > pool->serials ? place->serial : pool->serials;
    span->id = XB_ID_POOL_BIT | id;
}

static void unnumber_span(execbuf_pool *pool, const xb_span *span) {
    xb_span_place *place = &pool->spans[span->number];
    place->slots = 0;
    if (place->serial < XB_MAX_SERIALS) {
        place->u.next_unused = pool->unused_place;
        pool->unused_place = span->number;
    }
}

/* ---- Giving memory back ---- */

/* Takes a span out of its region. The caller frees it when the pool is unlocked. */
static void take_out_span(execbuf_pool *pool, xb_span *span) {
    xb_region *region = span->region;
    size_t size = (size_t)span->pages << region->page_shift;
    unlist_span(pool, span);
    for (uint32_t page = span->page; page < span->page + span->pages; page++) {
        region->spans[page] = NULL;
    }
    unnumber_span(pool, span);
    if (span->class_ != XB_NO_CLASS) {
        pool->class_bytes[span->class_] -= size;
    }
    pool->bookkeeping -= xb_span_bookkeeping(span);
    xb_region_free_pages(region, span->page, span->pages);
    open_region(pool, region);
}

/* Takes an empty region out of its pool; the caller frees it when the pool is unlocked. */
void xb_reclaim_detach(execbuf_pool *pool, xb_region *region) {
    bool in_quarantine = false;
    for (uint32_t page = 1; page < region->page_count;) {
        xb_span *span = region->spans[page];
        page += span != NULL ? span->pages : 1;
        if (span != NULL) {
            unnumber_span(pool, span);
            pool->bookkeeping -= xb_span_bookkeeping(span);
        }
        if (span != NULL && !region->frozen) {
            unlist_span(pool, span);
            pool->quarantine_size -= (size_t)xb_span_quarantined(span) * span->slot_size;
            in_quarantine |= span->quarantine_words != 0;
            if (span->class_ != XB_NO_CLASS) {
                pool->class_bytes[span->class_] -= (size_t)span->pages << region->page_shift;
            }
        }
    }
    for (xb_span **link = &pool->quarantine; in_quarantine && *link != NULL;) {
        if ((*link)->region == region) {
            *link = (*link)->next_quarantine;
        } else {
            link = &(*link)->next_quarantine;
        }
    }
    close_region(pool, region);
    if (region->previous != NULL) {
        region->previous->next = region->next;
    } else {
        pool->regions = region->next;
    }
    if (region->next != NULL) {
        region->next->previous = region->previous;
    }
    region->next = NULL;
    pool->committed -= region->committed;
    pool->bookkeeping -= region->bookkeeping;
}

/* Whether nothing keeps a region. */
static bool is_unused(const xb_region *region) {
    return region->live == 0 && region->pins == 0;
}

bool xb_reclaim_is_due(const execbuf_pool *pool, const xb_region *region) {
    return is_unused(region) && (region->frozen || pool->given_up || region->committed > XB_KEPT_REGION_SIZE);
}

/* Frees a list of spans that were taken out. */
static void free_spans(xb_span *spans) {
    while (spans != NULL) {
        xb_span *next = spans->next;
        free(spans);
        spans = next;
    }
}

/* Whether nothing of a pool that was given up is left. */
static bool is_over(const execbuf_pool *pool) {
    return pool->given_up && pool->large_count == 0 && pool->regions == NULL;
}

/* Unlocks the pool, frees what was taken out, and if the pool was given up and nothing is left, the pool. */
void xb_reclaim_unlock(execbuf_pool *pool, xb_region *regions, xb_span *spans) {
    bool last = is_over(pool);
    xb_pool_unlock(pool);
    while (regions != NULL) {
        xb_region *next = regions->next;
        xb_region_free(regions);
        regions = next;
    }
    free_spans(spans);
    if (last) {
        xb_registry_remove(pool);
    }
}

/* Ends quarantine: one barrier, and all slots are free again. Returns spans that are empty now and were taken
 * out.
 */
static xb_span *end_quarantine(execbuf_pool *pool) {
    xb_span *empty = NULL;
    if (pool->quarantine == NULL) {
        return NULL;
    }
    xb_prim_barrier();
    while (pool->quarantine != NULL) {
        xb_span *span = pool->quarantine;
        pool->quarantine = span->next_quarantine;
        xb_span_end_quarantine(span);
        bool kept = span->class_ != XB_NO_CLASS && pool->class_bytes[span->class_] <= KEPT_PART &&
                    span->free_words != 0; /* else all is retired out */
        if (!kept && xb_span_is_empty(span)) {
            take_out_span(pool, span);
            span->next = empty;
            empty = span;
        } else if (!span->listed && span->class_ != XB_NO_CLASS) {
            list_span(pool, span);
        }
    }
    pool->quarantine_size = 0;
    return empty;
}

/* ---- Taking slots ---- */

/* Takes a run of pages from a region; 0: there is none. */
static uint32_t take_pages(execbuf_pool *pool, xb_region *region, uint32_t pages) {
    size_t before = region->committed;
    uint32_t page = xb_region_alloc(region, pages);
    if (page != 0) {
        xb_span_fill_ends(region, page, pages);
    }
    pool->committed += region->committed - before;
    if (region->free_orders == 0) {
        close_region(pool, region);
    }
    return page;
}

/* How a new span is to be. */
typedef struct span_design {
    uint32_t slot_size;
    uint32_t slots;
    uint32_t pages;
} span_design;

/* A span of so many pages, for slots of a class. */
static span_design cut(uint32_t class_, size_t pages, size_t page_size) {
    span_design design = {0, 0, 0};
    size_t size = xb_class_size(class_);
    size_t slots = pages * page_size / size;
    design.slot_size = (uint32_t)size;
    design.slots = (uint32_t)(slots < XB_SPAN_SLOTS ? slots : XB_SPAN_SLOTS);
    design.pages = (uint32_t)pages;
    return design;
}

/* The part of a span that is in no slot, in bytes for each MiB. */
static uint64_t left_over(span_design design, size_t page_size) {
    uint64_t size = (uint64_t)design.pages * page_size;
    return ((size - (uint64_t)design.slots * design.slot_size) << 20) / size;
}

/* A span for code of this class and length. Its size follows from what the class has already; of a few sizes
 * that one is chosen which stubs least over. */
static span_design design_span(const execbuf_pool *pool, uint32_t class_, size_t length, size_t page_size) {
    if (class_ == XB_NO_CLASS) {
        size_t pages = (length + page_size - 1) / page_size;
        span_design single = {(uint32_t)(pages * page_size), 1, (uint32_t)pages};
        return single;
    }
    size_t wanted = pool->class_bytes[class_] / SPAN_PART;
    wanted = wanted > XB_SPAN_SIZE ? XB_SPAN_SIZE : wanted;
    size_t least = xb_class_size(class_);
    size_t pages = ((wanted > least ? wanted : least) + page_size - 1) / page_size;
    span_design best = cut(class_, pages, page_size);
    for (size_t more = pages + 1; more <= pages + 3 && more * page_size <= XB_SPAN_SIZE; more++) {
        span_design other = cut(class_, more, page_size);
        if (left_over(other, page_size) < left_over(best, page_size)) {
            best = other;
        }
    }
    return best;
}

/* Makes the design for slots of a class smaller, and returns true, if the region has a free block of pages
 * that a larger span has no use for: what is left where spans were given back. */
static bool use_remains(const xb_region *region, uint32_t class_, size_t page_size, span_design *design) {
    uint32_t order = xb_highest_bit(design->pages);
    uint32_t orders = region->free_orders & ((1U << order) - 1);
    while (orders != 0) {
        uint32_t largest = xb_highest_bit(orders);
        span_design smaller = cut(class_, (size_t)1 << largest, page_size);
        if (smaller.slots > 0 && left_over(smaller, page_size) < (1U << 20) / 8) {
            *design = smaller;
            return true;
        }
        orders &= ~(1U << largest);
    }
    return false;
}

/* Makes a span of pages that were taken from a region, and takes a slot of it. The region is pinned. *out
 * stays as it is if a fork froze the region meanwhile. */
static uint8_t *add_span(execbuf_pool *pool, xb_region *region, uint32_t page, uint32_t pages, xb_span *span,
                         size_t length, xb_use use, execbuf *out) {
    uint8_t *used = NULL;
    xb_span_fill(region, page, pages);
    xb_pool_lock(pool);
    region->pins--;
    if (span != NULL && !region->frozen && pool->unused_place < pool->span_places) {
        xb_span_put(span, region, page, pages);
        number_span(pool, span);
        pool->bookkeeping += xb_span_bookkeeping(span);
        used = xb_alloc_from_span(span, length, use, out);
        if (span->class_ != XB_NO_CLASS) {
            pool->class_bytes[span->class_] += (size_t)pages << region->page_shift;
        }
        if (span->free_words != 0) {
            list_span(pool, span);
        }
        span = NULL;
    } else if (!region->frozen) {
        xb_region_free_pages(region, page, pages);
        open_region(pool, region);
    }
    xb_region *gone = xb_reclaim_is_due(pool, region) ? region : NULL;
    if (gone != NULL) {
        xb_reclaim_detach(pool, gone);
    }
    xb_reclaim_unlock(pool, gone, span);
    return used;
}

/* Makes room for more spans. False: there is no memory for it, or there are too many. */
static bool add_places(execbuf_pool *pool, uint32_t before) {
    uint32_t after = before == 0 ? 16 : 2 * before;
    bool fails = after > XB_MAX_SPANS || XB_FAULT("calloc") != 0;
    xb_span_place *places = fails ? NULL : (xb_span_place *)calloc(after, sizeof *places);
    if (places == NULL) {
        return false;
    }
    for (uint32_t i = before; i < after; i++) {
        places[i].u.next_unused = i + 1;
    }
    xb_pool_lock(pool);
    if (pool->span_places == before) { /* no other thread was faster */
        xb_span_place *old = pool->spans;
        if (before > 0) {
            memcpy(places, old, before * sizeof *places);
        }
        for (uint32_t i = before; i < after; i++) {
            places[i].serial = pool->first_serial;
        }
        /* The list of unused places goes on in the new ones, where it ended. */
        pool->spans = places;
        pool->span_places = after;
        pool->bookkeeping += (after - before) * sizeof *places;
        places = old;
    }
    xb_pool_unlock(pool);
    free(places);
    return true;
}

/* Adds a region to the pool, or says why not in pool->why. */
static bool add_region(execbuf_pool *pool) {
    xb_region *region;
    execbuf_error report;
    xb_unmap_parked();
    execbuf_status status = xb_region_new(&region, pool->near_to, pool->name, &report);
    xb_pool_lock(pool);
    if (status == EXECBUF_OK) {
        region->next = pool->regions;
        if (region->next != NULL) {
            region->next->previous = region;
        }
        pool->regions = region;
        pool->bookkeeping += region->bookkeeping;
        pool->backend = region->backend;
        pool->pause = 0;
        open_region(pool, region);
    } else {
        pool->pause = pool->pause == 0 ? FIRST_PAUSE : 2 * pool->pause;
        pool->pause = pool->pause < LONGEST_PAUSE ? pool->pause : LONGEST_PAUSE;
        pool->paused = pool->pause;
    }
    pool->why = report;
    xb_pool_unlock(pool);
    return status == EXECBUF_OK;
}

/* Takes out a frozen region that nothing lives in any more, if there is one. */
static xb_region *sweep(execbuf_pool *pool) {
    for (xb_region *region = pool->regions; pool->must_sweep && region != NULL; region = region->next) {
        if (region->frozen && is_unused(region)) {
            xb_reclaim_detach(pool, region);
            return region;
        }
    }
    pool->must_sweep = false;
    return NULL;
}

/* Whether code may go to a slot of a class that is larger than it needs, if there are free ones: where it
 * wastes little. Else memory would be kept for each class as its share once was at most. */
static bool may_use(uint32_t larger, size_t length, uint32_t class_) {
    return larger < XB_SIZE_CLASSES && (larger == class_ || xb_class_size(larger) - length <= length / 16);
}

/* Takes a slot that is free, or will be when quarantine ends, if that is worth a barrier. */
static uint8_t *take_again(execbuf_pool *pool, uint32_t class_, size_t length, xb_use use, execbuf *out,
                           xb_span **empty) {
    uint8_t *used = NULL;
    if (pool->quarantine_size >= QUARANTINE_SIZE &&
        pool->quarantine_size >= pool->committed / QUARANTINE_PART) {
        *empty = end_quarantine(pool);
    }
    for (uint32_t larger = class_; used == NULL && may_use(larger, length, class_); larger++) {
        while (pool->classes[larger] != NULL && pool->classes[larger]->free_words == 0) {
            unlist_span(pool, pool->classes[larger]);
        }
        used = xb_alloc_listed(pool, larger, length, use, out);
    }
    return used;
}

/* Takes pages for a new span from a region that has them, and pins the region. NULL: there are none. */
static xb_region *take_run(execbuf_pool *pool, uint32_t class_, size_t length, span_design *design,
                           uint32_t *page) {
    size_t page_size = xb_prim_query().page_size;
    *design = design_span(pool, class_, length, page_size);
    xb_region *region = class_ != XB_NO_CLASS ? pool->open : NULL;
    while (region != NULL && !use_remains(region, class_, page_size, design)) {
        region = region->next_open;
    }
    region = region != NULL ? region : pool->open;
    while (region != NULL && (*page = take_pages(pool, region, design->pages)) == 0) {
        region = region->next_open;
    }
    if (region != NULL) {
        region->pins++;
    }
    return region;
}

uint8_t *xb_alloc_slot(execbuf_pool *pool, uint32_t class_, size_t length, xb_use use, execbuf *out) {
    bool room = true;
    uint8_t *used = NULL;
    while (room && used == NULL) {
        span_design design;
        uint32_t page = 0;
        xb_region *region = NULL;
        xb_span *empty = NULL;
        bool again = false;
        xb_pool_lock(pool);
        xb_region *swept = sweep(pool);
        used = take_again(pool, class_, length, use, out, &empty);
        uint32_t places = pool->span_places;
        bool places_are_used = pool->unused_place == places;
        if (used != NULL || swept != NULL) {
            again = true;
        } else if (!places_are_used) {
            region = take_run(pool, class_, length, &design, &page);
            if (region == NULL && pool->quarantine != NULL && empty == NULL) {
                empty = end_quarantine(pool); /* what is in quarantine may do instead of a new region */
                again = true;
            } else if (region == NULL && pool->paused > 0) {
                pool->paused--;
                room = false;
            }
        }
        xb_reclaim_unlock(pool, swept, empty);
        if (region != NULL) {
            xb_span *span = xb_span_new(class_, design.slot_size, design.slots);
            room = span != NULL;
            used = add_span(pool, region, page, design.pages, span, length, use, out);
        } else if (room && !again) {
            room = places_are_used ? add_places(pool, places) : add_region(pool);
        }
    }
    return used;
}

/* ---- fork ---- */

/* From now on nothing in the regions changes, and new code goes to new ones. */
void xb_pool_freeze(execbuf_pool *pool, bool in_child) {
    for (xb_region *region = pool->regions; region != NULL; region = region->next) {
        region->frozen = true;
        region->is_active = false;
        region->is_open = false;
        if (in_child && region->views.rw != region->views.rx) {
            region->views.rw = NULL; /* it was not inherited */
        }
        region->pins = in_child ? 0 : region->pins; /* other threads are not in the child */
        pool->must_sweep |= is_unused(region);
    }
    memset((void *)pool->classes, 0, sizeof pool->classes);
    memset(pool->class_bytes, 0, sizeof pool->class_bytes);
    pool->quarantine = NULL;
    pool->quarantine_size = 0;
    pool->open = NULL;
}
