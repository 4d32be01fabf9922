/* Pools: which span a piece of code goes to, what its handle means, and when memory is given back. */

#include "pool.h"

#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "error.h"
#include "fork.h"
#include "pages.h"
#include "prim/fault.h"
#include "prim/inline.h"
#include "registry.h"
#include "span.h"

/* An id is, from the highest bit on: EXECBUF_ID_OF_POOL, the pool's number, the span's number in the pool, a
 * part of a serial number that each span has, and the slot's tag. The address says which slot. */
#define SPAN_BITS 20
#define SERIAL_BITS 13
#define TAG_BITS 16
#define MOST_SPANS ((uint32_t)1 << SPAN_BITS)

/* An empty region that took no more than this is kept for the next piece of code. */
#define KEPT_SIZE ((size_t)1 << 20)

/* Empty spans are kept for their class while it has no more than this. */
#define KEPT_PART ((size_t)128 << 10)

/* Slots stay in limbo until so many bytes have come together, or this part of what is committed: the price of
 * a barrier is that of publishing hundreds of pieces of code while other threads run. */
#define LIMBO_SIZE ((size_t)64 << 10)
#define LIMBO_PART 128

/* A new span has this part of what its class has already, so that what it leaves unused is a small part, too.
 */
#define SPAN_PART 32

/* After a region could not be made, so many buffers get pages of their own before the next try; at most. */
#define FIRST_PAUSE 64U
#define LONGEST_PAUSE 65536U

static const execbuf no_buffer = {NULL, 0, 0};

/* A buffer that a handle names. */
typedef struct slot_place {
    execbuf_pool *pool;
    execbuf_region *region;
    execbuf_span *span;
    uint32_t slot;
    uint8_t *entry;
} slot_place;

static inline void lock(execbuf_pool *pool) {
    execbuf_fork_look();
    execbuf_lock(&pool->mutex);
}

static inline void unlock(execbuf_pool *pool) {
    execbuf_unlock(&pool->mutex);
}

/* The pool of the number in a handle's id, or NULL. */
EXECBUF_INLINE execbuf_pool *pool_of(const execbuf *buffer) {
    return execbuf_registry[buffer->id >> (SPAN_BITS + SERIAL_BITS + TAG_BITS) & (EXECBUF_MOST_POOLS - 1)];
}

/* Finds what a handle names in its pool, which is locked. False: nothing. */
EXECBUF_INLINE bool find(execbuf_pool *pool, const execbuf *buffer, slot_place *place) {
    uint32_t number = (uint32_t)(buffer->id >> (SERIAL_BITS + TAG_BITS)) & (MOST_SPANS - 1);
    execbuf_span *span = number < pool->span_places ? pool->spans[number].span : NULL;
    if (span == NULL) {
        return false;
    }
    uint32_t slot = execbuf_span_slot(span, buffer->entry);
    if (slot >= span->slots) {
        return false;
    }
    uint8_t *entry = execbuf_span_entry(span, slot);
    place->pool = pool;
    place->region = span->region;
    place->span = span;
    place->slot = slot;
    place->entry = entry;
    /* A tag that is odd is that of a slot that is taken. */
    return (span->id | execbuf_entry_tag(entry)) == buffer->id && (buffer->id & 1) != 0 &&
           execbuf_span_address(span, slot) == buffer->entry;
}

/* Finds what a handle names, and locks its pool. False, and nothing locked: it names nothing. */
static bool find_and_lock(const execbuf *buffer, slot_place *place) {
    execbuf_pool *pool = pool_of(buffer);
    if (pool == NULL) {
        return false;
    }
    lock(pool);
    bool found = find(pool, buffer, place);
    if (!found) {
        unlock(pool);
    }
    return found;
}

/* ---- Lists ---- */

static void list_span(execbuf_pool *pool, execbuf_span *span) {
    execbuf_span **head = &pool->classes[span->class_];
    span->next = *head;
    span->previous = NULL;
    if (*head != NULL) {
        (*head)->previous = span;
    }
    *head = span;
    span->listed = true;
}

static void unlist_span(execbuf_pool *pool, execbuf_span *span) {
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

static void open_region(execbuf_pool *pool, execbuf_region *region) {
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

static void close_region(execbuf_pool *pool, execbuf_region *region) {
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
static void number_span(execbuf_pool *pool, execbuf_span *span) {
    span->number = pool->unused_place;
    pool->unused_place = pool->spans[span->number].next_unused;
    pool->spans[span->number].span = span;
    uint64_t id = (uint64_t)pool->number << SPAN_BITS | span->number;
    id = id << SERIAL_BITS | (pool->serial++ & (((uint32_t)1 << SERIAL_BITS) - 1));
    span->id = EXECBUF_ID_OF_POOL | id << TAG_BITS;
}

static void unnumber_span(execbuf_pool *pool, const execbuf_span *span) {
    pool->spans[span->number].span = NULL;
    pool->spans[span->number].next_unused = pool->unused_place;
    pool->unused_place = span->number;
}

/* ---- Giving memory back ---- */

/* Takes a span out of its region. The caller frees it when the pool is unlocked. */
static void take_out_span(execbuf_pool *pool, execbuf_span *span) {
    execbuf_region *region = span->region;
    size_t size = (size_t)span->pages << region->page_shift;
    unlist_span(pool, span);
    for (uint32_t page = span->page; page < span->page + span->pages; page++) {
        region->spans[page] = NULL;
    }
    unnumber_span(pool, span);
    if (span->class_ != EXECBUF_NO_CLASS) {
        pool->class_bytes[span->class_] -= size;
    }
    pool->bookkeeping -= execbuf_span_bookkeeping(span);
    execbuf_region_give(region, span->page, span->pages);
    open_region(pool, region);
}

/* Takes an empty region out of its pool; the caller frees it when the pool is unlocked. */
static void take_out_region(execbuf_pool *pool, execbuf_region *region) {
    bool in_limbo = false;
    for (uint32_t page = 1; page < region->page_count;) {
        execbuf_span *span = region->spans[page];
        page += span != NULL ? span->pages : 1;
        if (span != NULL) {
            unnumber_span(pool, span);
            pool->bookkeeping -= execbuf_span_bookkeeping(span);
        }
        if (span != NULL && !region->frozen) {
            unlist_span(pool, span);
            pool->limbo_size -= (size_t)execbuf_span_in_limbo(span) * span->slot_size;
            in_limbo |= span->limbo_words != 0;
            if (span->class_ != EXECBUF_NO_CLASS) {
                pool->class_bytes[span->class_] -= (size_t)span->pages << region->page_shift;
            }
        }
    }
    for (execbuf_span **link = &pool->limbo; in_limbo && *link != NULL;) {
        if ((*link)->region == region) {
            *link = (*link)->next_limbo;
        } else {
            link = &(*link)->next_limbo;
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
    pool->committed -= region->committed;
    pool->bookkeeping -= region->bookkeeping;
}

/* Whether a region without live slots should go. */
static bool should_go(const execbuf_pool *pool, const execbuf_region *region) {
    return region->live == 0 && (region->frozen || pool->given_up || region->committed > KEPT_SIZE);
}

/* Frees a list of spans that were taken out. */
static void free_spans(execbuf_span *spans) {
    while (spans != NULL) {
        execbuf_span *next = spans->next;
        free(spans);
        spans = next;
    }
}

/* Whether nothing of a pool that was given up is left. */
static bool is_over(const execbuf_pool *pool) {
    return pool->given_up && pool->own_count == 0 && pool->regions == NULL;
}

/* Unlocks the pool, frees what was taken out, and if the pool was given up and nothing is left, the pool. */
static void unlock_and_free(execbuf_pool *pool, execbuf_region *region, execbuf_span *spans) {
    bool last = is_over(pool);
    unlock(pool);
    if (region != NULL) {
        execbuf_region_free(region);
    }
    free_spans(spans);
    if (last) {
        execbuf_registry_remove(pool);
    }
}

/* Ends limbo: one barrier, and all slots are free again. Returns spans that are empty now and were taken out.
 */
static execbuf_span *end_limbo(execbuf_pool *pool) {
    execbuf_span *empty = NULL;
    if (pool->limbo == NULL) {
        return NULL;
    }
    execbuf_prim_barrier();
    while (pool->limbo != NULL) {
        execbuf_span *span = pool->limbo;
        pool->limbo = span->next_limbo;
        execbuf_span_end_limbo(span);
        bool kept = span->class_ != EXECBUF_NO_CLASS && pool->class_bytes[span->class_] <= KEPT_PART;
        if (!kept && execbuf_span_is_empty(span)) {
            take_out_span(pool, span);
            span->next = empty;
            empty = span;
        } else if (!span->listed && span->class_ != EXECBUF_NO_CLASS) {
            list_span(pool, span);
        }
    }
    pool->limbo_size = 0;
    return empty;
}

/* ---- Taking slots ---- */

/* Takes a slot for length bytes from a span, and fills the handle. */
EXECBUF_INLINE void take_slot(execbuf_span *span, size_t length, bool reserve, execbuf *out) {
    execbuf_region *region = span->region;
    uint32_t slot = execbuf_span_take(span);
    uint8_t *entry = execbuf_span_entry(span, slot);
    execbuf_span_set_length(span, slot, entry, length, reserve);
    region->live++;
    out->entry = execbuf_span_address(span, slot);
    out->length = reserve ? 0 : length;
    out->id = span->id | execbuf_entry_next_tag(entry);
}

/* Takes a free slot of a class. Returns its region, or NULL if there is none. */
EXECBUF_INLINE execbuf_region *take_listed(execbuf_pool *pool, uint32_t class_, size_t length, bool reserve,
                                           execbuf *out) {
    execbuf_span *span = pool->classes[class_];
    if (EXECBUF_RARE(span == NULL)) {
        return NULL;
    }
    take_slot(span, length, reserve, out);
    if (EXECBUF_RARE(span->free_words == 0)) {
        unlist_span(pool, span);
    }
    return span->region;
}

/* Takes a run of pages from a region; 0: there is none. */
static uint32_t take_pages(execbuf_pool *pool, execbuf_region *region, uint32_t pages) {
    size_t before = region->committed;
    uint32_t page = execbuf_region_take(region, pages);
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
    size_t size = execbuf_class_size(class_);
    size_t slots = pages * page_size / size;
    design.slot_size = (uint32_t)size;
    design.slots = (uint32_t)(slots < EXECBUF_SPAN_SLOTS ? slots : EXECBUF_SPAN_SLOTS);
    design.pages = (uint32_t)pages;
    return design;
}

/* The part of a span that is in no slot, in bytes for each MiB. */
static size_t left_over(span_design design, size_t page_size) {
    size_t size = design.pages * page_size;
    return ((size - (size_t)design.slots * design.slot_size) << 20) / size;
}

/* A span for code of this class and length. Its size follows from what the class has already; of a few sizes
 * that one is chosen which leaves least over. */
static span_design design_span(const execbuf_pool *pool, uint32_t class_, size_t length, size_t page_size) {
    if (class_ == EXECBUF_NO_CLASS) {
        size_t pages = (length + page_size - 1) / page_size;
        span_design single = {(uint32_t)(pages * page_size), 1, (uint32_t)pages};
        return single;
    }
    size_t wanted = pool->class_bytes[class_] / SPAN_PART;
    wanted = wanted > EXECBUF_SPAN_SIZE ? EXECBUF_SPAN_SIZE : wanted;
    size_t least = execbuf_class_size(class_);
    size_t pages = ((wanted > least ? wanted : least) + page_size - 1) / page_size;
    span_design best = cut(class_, pages, page_size);
    for (size_t more = pages + 1; more <= pages + 3 && more * page_size <= EXECBUF_SPAN_SIZE; more++) {
        span_design other = cut(class_, more, page_size);
        if (left_over(other, page_size) < left_over(best, page_size)) {
            best = other;
        }
    }
    return best;
}

/* Makes the design smaller, and returns true, if the region has a free block of pages that a larger span has
 * no use for: what is left where spans were given back. */
static bool use_remains(const execbuf_region *region, uint32_t class_, size_t page_size,
                        span_design *design) {
    uint32_t order = execbuf_highest_bit(design->pages);
    uint32_t orders = region->free_orders & ((1U << order) - 1);
    while (orders != 0 && class_ != EXECBUF_NO_CLASS) {
        uint32_t largest = execbuf_highest_bit(orders);
        span_design smaller = cut(class_, (size_t)1 << largest, page_size);
        if (smaller.slots > 0 && left_over(smaller, page_size) < (1U << 20) / 8) {
            *design = smaller;
            return true;
        }
        orders &= ~(1U << largest);
    }
    return false;
}

/* Makes a span of pages that were taken from a region, and takes a slot of it. The region is pinned: it
 * counts one live slot more than it has. *out stays as it is if a fork froze the region meanwhile. */
static execbuf_region *add_span(execbuf_pool *pool, execbuf_region *region, uint32_t page, uint32_t pages,
                                execbuf_span *span, size_t length, bool reserve, execbuf *out) {
    execbuf_region *used = NULL;
    if (span != NULL) {
        execbuf_span_fill(region, page, pages);
    }
    lock(pool);
    region->live--;
    if (span != NULL && !region->frozen && pool->unused_place < pool->span_places) {
        execbuf_span_put(span, region, page, pages);
        number_span(pool, span);
        pool->bookkeeping += execbuf_span_bookkeeping(span);
        take_slot(span, length, reserve, out);
        if (span->class_ != EXECBUF_NO_CLASS) {
            pool->class_bytes[span->class_] += (size_t)pages << region->page_shift;
        }
        if (span->free_words != 0) {
            list_span(pool, span);
        }
        used = region;
        span = NULL;
    } else if (!region->frozen) {
        execbuf_region_give(region, page, pages);
        open_region(pool, region);
    }
    execbuf_region *gone = should_go(pool, region) ? region : NULL;
    if (gone != NULL) {
        take_out_region(pool, gone);
    }
    unlock_and_free(pool, gone, span);
    return used;
}

/* Makes room for more spans. False: there is no memory for it, or there are too many. */
static bool add_places(execbuf_pool *pool, uint32_t before) {
    uint32_t after = before == 0 ? 16 : 2 * before;
    bool fails = after > MOST_SPANS || EXECBUF_FAULT("calloc") != 0;
    execbuf_span_place *places = fails ? NULL : (execbuf_span_place *)calloc(after, sizeof *places);
    if (places == NULL) {
        return false;
    }
    for (uint32_t i = before; i < after; i++) {
        places[i].next_unused = i + 1;
    }
    lock(pool);
    if (pool->span_places == before) { /* no other thread was faster */
        execbuf_span_place *old = pool->spans;
        if (before > 0) {
            memcpy(places, old, before * sizeof *places);
        }
        /* The list of unused places goes on in the new ones, where it ended. */
        pool->spans = places;
        pool->span_places = after;
        pool->bookkeeping += (after - before) * sizeof *places;
        places = old;
    }
    unlock(pool);
    free(places);
    return true;
}

/* Adds a region to the pool, or says why not in pool->why. */
static bool add_region(execbuf_pool *pool) {
    execbuf_region *region;
    execbuf_error report;
    execbuf_status status = execbuf_region_new(&region, pool->near_to, pool->name, &report);
    lock(pool);
    if (status == EXECBUF_OK) {
        region->next = pool->regions;
        if (region->next != NULL) {
            region->next->previous = region;
        }
        pool->regions = region;
        pool->bookkeeping += region->bookkeeping;
        pool->backend = region->backend;
        pool->pause = FIRST_PAUSE;
        open_region(pool, region);
    } else {
        pool->paused = pool->pause;
        pool->pause = pool->pause < LONGEST_PAUSE ? 2 * pool->pause : LONGEST_PAUSE;
    }
    pool->why = report;
    unlock(pool);
    return status == EXECBUF_OK;
}

/* Takes out a frozen region that nothing lives in any more, if there is one. */
static execbuf_region *sweep(execbuf_pool *pool) {
    for (execbuf_region *region = pool->regions; pool->must_sweep && region != NULL; region = region->next) {
        if (region->frozen && region->live == 0) {
            take_out_region(pool, region);
            return region;
        }
    }
    pool->must_sweep = false;
    return NULL;
}

/* Whether code may go to a slot of a class that is larger than it needs, if there are free ones: where it
 * wastes little. Else memory would be kept for each class as its share once was at most. */
static bool may_use(uint32_t larger, size_t length, uint32_t class_) {
    return larger < EXECBUF_CLASSES &&
           (larger == class_ || execbuf_class_size(larger) - length <= length / 16);
}

/* Takes a slot where there is none free at the moment. False: there is no room, and *out is as it was. */
static bool take_slowly(execbuf_pool *pool, uint32_t class_, size_t length, bool reserve, execbuf *out,
                        execbuf_region **used) {
    size_t page_size = execbuf_prim_query().page_size;
    *used = NULL;
    while (*used == NULL) {
        lock(pool);
        execbuf_region *swept = sweep(pool);
        execbuf_span *empty = NULL;
        if (pool->limbo_size >= LIMBO_SIZE && pool->limbo_size >= pool->committed / LIMBO_PART) {
            empty = end_limbo(pool);
        }
        for (uint32_t larger = class_; *used == NULL && may_use(larger, length, class_); larger++) {
            *used = take_listed(pool, larger, length, reserve, out);
        }
        if (*used != NULL || swept != NULL || pool->paused > 0) {
            bool pause = *used == NULL && swept == NULL;
            pool->paused -= pause;
            unlock_and_free(pool, swept, empty);
            if (pause) {
                return false;
            }
            continue;
        }
        uint32_t places = pool->span_places;
        if (pool->unused_place == places) {
            unlock_and_free(pool, NULL, empty);
            if (!add_places(pool, places)) {
                return false;
            }
            continue;
        }
        span_design design = design_span(pool, class_, length, page_size);
        uint32_t page = 0;
        execbuf_region *region = pool->open;
        while (region != NULL && !use_remains(region, class_, page_size, &design)) {
            region = region->next_open;
        }
        region = region != NULL ? region : pool->open;
        while (region != NULL && (page = take_pages(pool, region, design.pages)) == 0) {
            region = region->next_open;
        }
        if (region != NULL) {
            region->live++; /* so that it stays */
            unlock_and_free(pool, NULL, empty);
            execbuf_span *span = execbuf_span_new(class_, design.slot_size, design.slots);
            *used = add_span(pool, region, page, design.pages, span, length, reserve, out);
            if (span == NULL) {
                return false;
            }
        } else if (pool->limbo != NULL) { /* what is in limbo may do instead of a new region */
            execbuf_span *more = end_limbo(pool);
            unlock_and_free(pool, NULL, empty);
            free_spans(more);
        } else {
            unlock_and_free(pool, NULL, empty);
            if (!add_region(pool)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- Publishing ---- */

/* Copies code to a slot. The slot is its taker's alone, so this needs no lock. */
EXECBUF_INLINE void write_code(const execbuf_region *region, const void *entry, const void *code,
                               size_t length) {
    uint8_t *rw = (uint8_t *)((uintptr_t)entry + (uintptr_t)region->distance); /* NOLINT */
    if (EXECBUF_ONE_VIEW) {
        execbuf_prim_begin_write();
        memcpy(rw, code, length);
        execbuf_prim_end_write();
    } else if (length - 8 <= 8) { /* 8 to 16: the smallest slots; the halves may overlap */
        uint64_t halves[2];
        memcpy(&halves[0], code, 8);
        memcpy(&halves[1], (const uint8_t *)code + length - 8, 8);
        memcpy(rw, &halves[0], 8);
        memcpy(rw + length - 8, &halves[1], 8);
    } else {
        memcpy(rw, code, length);
    }
    execbuf_sync((const uint8_t *)entry, rw, length);
}

/* Fills a slot with traps. */
EXECBUF_INLINE void write_traps(const execbuf_region *region, const void *entry, size_t size) {
    uint8_t *rw = (uint8_t *)((uintptr_t)entry + (uintptr_t)region->distance); /* NOLINT */
    if (EXECBUF_ONE_VIEW) {
        execbuf_prim_begin_write();
        execbuf_fill_trap(rw, size);
        execbuf_prim_end_write();
    } else if (size == EXECBUF_GRANULE) {
        memcpy(rw, execbuf_traps, EXECBUF_GRANULE);
    } else {
        execbuf_fill_trap(rw, size);
    }
    execbuf_sync((const uint8_t *)entry, rw, size);
}

/* A buffer with pages of its own: published, or reserved if code is NULL. */
static execbuf_status make_own(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                               execbuf_error *error) {
    execbuf_pages_options options = {0, NULL};
    options.owner = pool->number;
    options.near_to = pool->near_to;
    execbuf_record record;
    execbuf_status status = code != NULL ? execbuf_pages_new(out, code, length, &options, error)
                                         : execbuf_pages_reserve(out, length, &options, error);
    if (status == EXECBUF_OK && execbuf_table_find(out, &record)) {
        lock(pool);
        pool->own_bytes += length;
        pool->own_count++;
        pool->own_size += record.size;
        unlock(pool);
    }
    return status;
}

/* Whether code of this length has pages of its own; 0 is none's. */
static bool is_large(const execbuf_pool *pool, size_t length) {
    return length - 1 >= pool->largest;
}

/* The rest of execbuf_pool_publish: all but what is frequent. */
static execbuf_status publish_slowly(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                                     execbuf_error *error) {
    execbuf_region *region = NULL;
    *out = no_buffer;
    if (is_large(pool, length) || !take_slowly(pool, execbuf_class_of(length), length, false, out, &region)) {
        return make_own(pool, out, code, length, error);
    }
    write_code(region, out->entry, code, length);
    execbuf_fresh_barrier();
    return execbuf_error_none(error);
}

execbuf_status execbuf_pool_publish(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                                    execbuf_error *error) {
    if (EXECBUF_RARE(pool == NULL || out == NULL || code == NULL)) {
        if (out != NULL) {
            *out = no_buffer;
        }
        const char *culprit = pool == NULL ? "pool" : out == NULL ? "out" : "code";
        return execbuf_error_set(error, EXECBUF_E_NULL, culprit, 0);
    }
    if (EXECBUF_RARE(length - 1 >= EXECBUF_LARGEST_SLOT || *execbuf_prim_canary == 0 ||
                     !execbuf_try_lock(&pool->mutex))) {
        return publish_slowly(pool, out, code, length, error);
    }
    execbuf_region *region = take_listed(pool, execbuf_class_of(length), length, false, out);
    execbuf_unlock_owned(&pool->mutex);
    if (EXECBUF_RARE(region == NULL)) {
        return publish_slowly(pool, out, code, length, error);
    }
    write_code(region, out->entry, code, length);
    execbuf_fresh_barrier();
    return execbuf_error_none(error);
}

/* Frees what was published of a batch that can't be published as a whole. */
static execbuf_status undo_batch(execbuf *out, size_t count, execbuf_status status) {
    for (size_t i = 0; i < count; i++) {
        (void)execbuf_free(&out[i]);
        out[i] = no_buffer;
    }
    return status;
}

execbuf_status execbuf_pool_publish_batch(execbuf_pool *pool, execbuf *out, const execbuf_code *codes,
                                          size_t count, execbuf_error *error) {
    if (count == 0) {
        return execbuf_error_none(error);
    }
    if (out == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = no_buffer;
    }
    if (pool == NULL || codes == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NULL, pool == NULL ? "pool" : "codes", 0);
    }
    for (size_t i = 0; i < count; i++) {
        if (codes[i].bytes == NULL) {
            return execbuf_error_set(error, EXECBUF_E_NULL, "code", 0);
        }
        if (codes[i].length == 0) {
            return execbuf_error_set(error, EXECBUF_E_EMPTY, "length", 0);
        }
    }
    lock(pool);
    for (size_t i = 0; i < count; i++) {
        const execbuf_code *code = &codes[i];
        uint32_t class_ = execbuf_class_of(code->length);
        execbuf_region *region = NULL;
        if (class_ != EXECBUF_NO_CLASS) {
            region = take_listed(pool, class_, code->length, false, &out[i]);
        }
        if (region == NULL) {
            unlock(pool);
            if (is_large(pool, code->length) ||
                !take_slowly(pool, class_, code->length, false, &out[i], &region)) {
                execbuf_status status = make_own(pool, &out[i], code->bytes, code->length, error);
                if (status != EXECBUF_OK) {
                    return undo_batch(out, i, status);
                }
            }
            lock(pool);
        }
        if (region != NULL) {
            write_code(region, out[i].entry, code->bytes, code->length);
        }
    }
    unlock(pool);
    execbuf_fresh_barrier();
    return execbuf_error_none(error);
}

execbuf_status execbuf_pool_reserve(execbuf_pool *pool, execbuf *out, size_t capacity, execbuf_error *error) {
    if (out == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = no_buffer;
    if (pool == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NULL, "pool", 0);
    }
    execbuf_region *region = NULL;
    if (is_large(pool, capacity) ||
        !take_slowly(pool, execbuf_class_of(capacity), capacity, true, out, &region)) {
        return make_own(pool, out, NULL, capacity, error);
    }
    return execbuf_error_none(error);
}

execbuf_status execbuf_pool_fill(execbuf *buffer, const void *code, size_t length, execbuf_error *error) {
    slot_place place;
    if (!find_and_lock(buffer, &place)) {
        return execbuf_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    size_t capacity = execbuf_span_length(place.span, place.slot, place.entry);
    execbuf_status status = EXECBUF_OK;
    if (!execbuf_span_reserved(place.span, place.slot, place.entry)) {
        status = execbuf_error_set(error, EXECBUF_E_PUBLISHED, "buffer", 0);
    } else if (length > capacity) {
        status = execbuf_error_set(error, EXECBUF_E_CAPACITY, "length", 0);
    } else if (place.region->views.rw == NULL) {
        status = execbuf_error_set(error, EXECBUF_E_FROZEN, "buffer", 0);
    } else {
        execbuf_span_set_length(place.span, place.slot, place.entry, length, false);
    }
    unlock(place.pool);
    if (status != EXECBUF_OK) {
        return status;
    }
    /* In a frozen region, too: the child of the fork has the room, but no code in it. */
    write_code(place.region, buffer->entry, code, length);
    execbuf_fresh_barrier();
    buffer->length = length;
    return execbuf_error_none(error);
}

/* ---- Changing and freeing ---- */

/* Overwrites published code that is not frozen. */
static void overwrite(const execbuf_region *region, const uint8_t *rx, const void *code, size_t length) {
    const execbuf_prim_views *views = &region->views;
    const uint8_t *source = (const uint8_t *)code;
    uint8_t *rw = views->rw + (rx - views->rx);
    /* Code of the same region has two addresses; by this one memmove sees where the two overlap. */
    if ((uintptr_t)source - (uintptr_t)views->rx < region->size) {
        source = views->rw + (source - views->rx);
    }
    execbuf_prim_begin_write();
    memmove(rw, source, length);
    execbuf_prim_end_write();
    execbuf_prim_sync(rx, rw, length);
}

execbuf_status execbuf_pool_rewrite(const execbuf *buffer, size_t offset, const void *code, size_t length,
                                    execbuf_error *error) {
    slot_place place;
    if (!find_and_lock(buffer, &place)) {
        return execbuf_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    size_t published = execbuf_span_length(place.span, place.slot, place.entry);
    execbuf_status status = EXECBUF_OK;
    if (execbuf_span_reserved(place.span, place.slot, place.entry)) {
        status = execbuf_error_set(error, EXECBUF_E_NOT_PUBLISHED, "buffer", 0);
    } else if (offset > published || length > published - offset) {
        const char *culprit = offset > published ? "offset" : "length";
        status = execbuf_error_set(error, EXECBUF_E_OUT_OF_BOUNDS, culprit, 0);
    } else if (place.region->frozen) {
        status = execbuf_error_set(error, EXECBUF_E_FROZEN, "buffer", 0);
    } else {
        overwrite(place.region, (const uint8_t *)buffer->entry + offset, code, length);
    }
    unlock(place.pool);
    if (status == EXECBUF_OK) {
        execbuf_prim_barrier();
        status = execbuf_error_none(error);
    }
    return status;
}

/* Gives up the slot at a place. */
EXECBUF_INLINE void release(const slot_place *place, const void *code, bool frozen) {
    execbuf_region *region = place->region;
    execbuf_span *span = place->span;
    region->live--;
    (void)execbuf_entry_next_tag(place->entry);
    if (!frozen) {
        write_traps(region, code, span->slot_size);
        if (EXECBUF_RARE(span->limbo_words == 0)) {
            span->next_limbo = place->pool->limbo;
            place->pool->limbo = span;
        }
        place->pool->limbo_size += span->slot_size;
    }
    execbuf_span_give_up(span, place->slot);
}

/* The whole of execbuf_pool_release. */
static execbuf_status release_slowly(execbuf *buffer) {
    slot_place place;
    if (!find_and_lock(buffer, &place)) {
        execbuf_table_count_stale();
        return EXECBUF_E_STALE;
    }
    release(&place, buffer->entry, place.region->frozen);
    if (should_go(place.pool, place.region)) {
        take_out_region(place.pool, place.region);
        unlock_and_free(place.pool, place.region, NULL);
    } else {
        unlock(place.pool);
    }
    *buffer = no_buffer;
    return EXECBUF_OK;
}

/* What is frequent is done without a call: the thread owns the mutex, the slot is small, and others of its
 * region are live. */
execbuf_status execbuf_pool_release(execbuf *buffer) {
    execbuf_pool *pool = pool_of(buffer);
    if (EXECBUF_RARE(pool == NULL || *execbuf_prim_canary == 0 || !execbuf_try_lock(&pool->mutex))) {
        return release_slowly(buffer);
    }
    slot_place place;
    if (EXECBUF_RARE(!find(pool, buffer, &place) || !place.region->ordinary ||
                     (place.region->live == 1 && place.region->committed > KEPT_SIZE))) {
        execbuf_unlock_owned(&pool->mutex);
        return release_slowly(buffer);
    }
    release(&place, buffer->entry, false);
    execbuf_unlock_owned(&pool->mutex);
    *buffer = no_buffer;
    return EXECBUF_OK;
}

/* The size of the mapping of a buffer with pages of its own for so many bytes. */
static size_t own_size(size_t capacity) {
    size_t page = execbuf_prim_query().page_size;
    return (EXECBUF_HEADER + capacity + page - 1) & ~(page - 1);
}

void execbuf_pool_own_published(const execbuf_record *record) {
    execbuf_pool *pool = execbuf_registry[record->owner];
    lock(pool);
    pool->own_bytes -= record->capacity - record->length;
    pool->own_size -= own_size(record->capacity) - record->size;
    unlock(pool);
}

void execbuf_pool_own_freed(const execbuf_record *record) {
    execbuf_pool *pool = execbuf_registry[record->owner];
    lock(pool);
    pool->own_bytes -= record->length > 0 ? record->length : record->capacity;
    pool->own_count--;
    pool->own_size -= record->size;
    unlock_and_free(pool, NULL, NULL);
}

/* ---- Pools ---- */

execbuf_status execbuf_pool_new(execbuf_pool **out, const execbuf_pool_options *options,
                                execbuf_error *error) {
    static const execbuf_pool_options usual = {NULL, NULL};
    if (out == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = NULL;
    if (options == NULL) {
        options = &usual;
    }
    const char *name = options->name != NULL ? options->name : "execbuf";
    size_t length = strlen(name);
    if (length > EXECBUF_POOL_NAME_MAX) {
        return execbuf_error_set(error, EXECBUF_E_TOO_LARGE, "name", 0);
    }
    execbuf_status status = execbuf_backend_check(error);
    if (status != EXECBUF_OK) {
        return status;
    }
    execbuf_prim_arm_canary();
    execbuf_pool *pool = execbuf_registry_add();
    if (pool == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    execbuf_prim_info info = execbuf_prim_query();
    lock(pool);
    pool->near_to = options->near_to;
    memcpy(pool->name, name, length);
    pool->largest = info.region_size / 4;
    pool->pause = FIRST_PAUSE;
    pool->bookkeeping = sizeof *pool;
    pool->backend = EXECBUF_BACKEND_NONE;
    (void)execbuf_error_set(&pool->why, EXECBUF_OK, NULL, 0);
    unlock(pool);
    *out = pool;
    return execbuf_error_none(error);
}

void execbuf_pool_free(execbuf_pool *pool) {
    if (pool == NULL) {
        return;
    }
    execbuf_region *region;
    do {
        lock(pool);
        pool->given_up = true;
        region = NULL;
        for (execbuf_region *other = pool->regions; other != NULL && region == NULL; other = other->next) {
            other->ordinary = false;
            region = should_go(pool, other) ? other : NULL;
        }
        if (region != NULL) {
            take_out_region(pool, region);
            unlock(pool);
            execbuf_region_free(region);
        }
    } while (region != NULL);
    unlock_and_free(pool, NULL, NULL);
}

/* Finds the published code at an address in a region of the pool, which is locked. */
static bool find_address(const execbuf_pool *pool, const void *address, execbuf_place *place) {
    const execbuf_region *region = pool->regions;
    while (region != NULL && (uintptr_t)address - (uintptr_t)region->views.rx >= region->size) {
        region = region->next;
    }
    if (region == NULL) {
        return false;
    }
    uintptr_t offset = (uintptr_t)address - (uintptr_t)region->views.rx;
    const execbuf_span *span = region->spans[offset >> region->page_shift];
    uint32_t slot = span != NULL ? execbuf_span_slot(span, address) : 0;
    if (span == NULL || slot >= span->slots) {
        return false;
    }
    const uint8_t *entry = execbuf_span_entry(span, slot);
    place->entry = execbuf_span_address(span, slot);
    place->length = execbuf_span_length(span, slot, entry);
    return (execbuf_entry_tag(entry) & 1) != 0 && !execbuf_span_reserved(span, slot, entry) &&
           (uintptr_t)address - (uintptr_t)place->entry < place->length;
}

int execbuf_pool_lookup(const execbuf_pool *pool, const void *address, execbuf_place *place) {
    static const execbuf_place nowhere = {NULL, 0};
    bool found = false;
    execbuf_place there = nowhere;
    if (pool != NULL) {
        lock((execbuf_pool *)(uintptr_t)pool); /* only its mutex changes */
        found = find_address(pool, address, &there);
        size_t own = pool->own_count;
        unlock((execbuf_pool *)(uintptr_t)pool);
        execbuf_record record;
        if (!found && own > 0 && execbuf_table_search(pool->number, address, &record)) {
            there.entry = record.entry;
            there.length = record.length;
            found = true;
        }
    }
    if (place != NULL) {
        *place = found ? there : nowhere;
    }
    return found;
}

const char *execbuf_pool_name(const execbuf_pool *pool) {
    return pool != NULL ? pool->name : "";
}

void execbuf_pool_get_stats(const execbuf_pool *pool, execbuf_pool_stats *stats) {
    if (stats == NULL) {
        return;
    }
    memset(stats, 0, sizeof *stats);
    stats->backend = EXECBUF_BACKEND_NONE;
    if (pool == NULL) {
        (void)execbuf_error_set(&stats->why, EXECBUF_OK, NULL, 0);
        return;
    }
    lock((execbuf_pool *)(uintptr_t)pool); /* only its mutex changes */
    stats->live = pool->own_count;
    stats->bytes = pool->own_bytes;
    stats->reserved = pool->own_size;
    stats->committed = pool->own_size + pool->committed;
    stats->bookkeeping = pool->bookkeeping;
    for (const execbuf_region *region = pool->regions; region != NULL; region = region->next) {
        stats->live += region->live;
        stats->bytes += execbuf_span_sum(region);
        stats->reserved += region->size;
        stats->regions++;
        stats->frozen += region->frozen;
    }
    stats->own_pages = pool->own_count;
    stats->backend = pool->backend;
    stats->why = pool->why;
    unlock((execbuf_pool *)(uintptr_t)pool);
}

/* ---- fork ---- */

/* From now on nothing in the regions changes, and new code goes to new ones. */
static void freeze(execbuf_pool *pool, bool in_child) {
    for (execbuf_region *region = pool->regions; region != NULL; region = region->next) {
        region->frozen = true;
        region->ordinary = false;
        region->is_open = false;
        if (in_child && region->views.rw != region->views.rx) {
            region->views.rw = NULL; /* it was not inherited */
        }
        pool->must_sweep |= region->live == 0;
    }
    memset((void *)pool->classes, 0, sizeof pool->classes);
    memset(pool->class_bytes, 0, sizeof pool->class_bytes);
    pool->limbo = NULL;
    pool->limbo_size = 0;
    pool->open = NULL;
}

void execbuf_pools_before_fork(void) {
    for (uint32_t number = 1; number <= execbuf_registry_count(); number++) {
        execbuf_prim_mutex_lock(&execbuf_registry[number]->mutex);
    }
}

void execbuf_pools_after_fork(bool in_child) {
    for (uint32_t number = execbuf_registry_count(); number >= 1; number--) {
        execbuf_pool *pool = execbuf_registry[number];
        freeze(pool, in_child);
        execbuf_unlock(&pool->mutex);
    }
}

void execbuf_pools_in_clone(void) {
    for (uint32_t number = 1; number <= execbuf_registry_count(); number++) {
        execbuf_pool *pool = execbuf_registry[number];
        execbuf_prim_mutex_init(&pool->mutex);
        freeze(pool, true);
    }
}
