/* Pools: which span a piece of code goes to, what its handle means, and when memory is given back. */

#include "pool.h"

#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "error.h"
#include "fork.h"
#include "pages.h"
#include "prim/fault.h"
#include "registry.h"
#include "span.h"

/* An id is, from the highest bit on: EXECBUF_ID_OF_POOL, the pool's number, the region's number in the pool, the span's
 * serial number, and the slot's tag. The address says which slot. */
#define REGION_BITS 20
#define SERIAL_BITS 11
#define TAG_BITS 16
#define MOST_REGIONS ((uint32_t)1 << REGION_BITS)

/* An empty region that took no more than this is kept for the next piece of code. */
#define KEPT_SIZE ((size_t)1 << 20)

/* Slots stay in limbo until so many bytes have come together, or this part of what is committed: the price of a
 * barrier is that of publishing hundreds of pieces of code while other threads run. */
#define LIMBO_SIZE ((size_t)64 << 10)
#define LIMBO_PART 64

/* A new span has this part of what its class has already, so that what it leaves unused is a small part, too. */
#define SPAN_PART 16

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
} slot_place;

static uint64_t make_id(const execbuf_pool *pool, const execbuf_span *span, uint32_t slot) {
    uint64_t id = (uint64_t)pool->number << REGION_BITS | span->region->index;
    id = id << SERIAL_BITS | span->serial;
    return EXECBUF_ID_OF_POOL | id << TAG_BITS | span->tags[slot];
}

static void lock(execbuf_pool *pool) {
    execbuf_fork_look();
    execbuf_prim_mutex_lock(&pool->mutex);
}

static void unlock(execbuf_pool *pool) {
    execbuf_prim_mutex_unlock(&pool->mutex);
}

/* Finds what a handle names, and locks the pool. False, and nothing locked: it names nothing. */
static bool find(const execbuf *buffer, slot_place *place) {
    execbuf_pool *pool = execbuf_registry_pool((uint32_t)(buffer->id >> (REGION_BITS + SERIAL_BITS + TAG_BITS)) &
                                               (EXECBUF_MOST_POOLS - 1));
    if (pool == NULL) {
        return false;
    }
    lock(pool);
    uint32_t number = (uint32_t)(buffer->id >> (SERIAL_BITS + TAG_BITS)) & (MOST_REGIONS - 1);
    execbuf_region *region = number < pool->region_places ? pool->regions[number] : NULL;
    if (region != NULL) {
        uintptr_t offset = (uintptr_t)buffer->entry - (uintptr_t)region->views.rx;
        execbuf_span *span = offset < region->size ? region->spans[offset >> region->page_shift] : NULL;
        if (span != NULL) {
            uint32_t slot = execbuf_span_slot(span, (uint32_t)offset);
            if (slot < span->slots && make_id(pool, span, slot) == buffer->id &&
                execbuf_span_is_taken(span, slot)) {
                place->pool = pool;
                place->region = region;
                place->span = span;
                place->slot = slot;
                return true;
            }
        }
    }
    unlock(pool);
    return false;
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

/* ---- Giving memory back ---- */

/* Takes a span out of its region. The caller frees it when the pool is unlocked. */
static void take_out_span(execbuf_pool *pool, execbuf_span *span) {
    execbuf_region *region = span->region;
    size_t size = (size_t)span->pages << region->page_shift;
    unlist_span(pool, span);
    for (uint32_t page = span->page; page < span->page + span->pages; page++) {
        region->spans[page] = NULL;
    }
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
            pool->bookkeeping -= execbuf_span_bookkeeping(span);
        }
        if (span != NULL && !region->frozen) {
            unlist_span(pool, span);
            pool->limbo_size -= (size_t)span->limbo * span->slot_size;
            in_limbo |= span->limbo > 0;
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
    pool->regions[region->index] = NULL;
    pool->region_count--;
    pool->frozen_count -= region->frozen;
    pool->reserved -= region->size;
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

/* Unlocks the pool, frees what was taken out, and if the pool was given up and is empty, the pool. */
static void unlock_and_free(execbuf_pool *pool, execbuf_region *region, execbuf_span *spans) {
    bool last = pool->given_up && pool->live == 0;
    unlock(pool);
    if (region != NULL) {
        execbuf_region_free(region);
    }
    free_spans(spans);
    if (last) {
        execbuf_registry_remove(pool);
    }
}

/* Ends limbo: one barrier, and all slots are free again. Returns spans that are empty now and were taken out. */
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
        /* One empty span of a class is kept for the next piece of code. */
        if (span->taken == 0 && (span->class_ == EXECBUF_NO_CLASS || pool->classes[span->class_] != NULL)) {
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
static void take_slot(execbuf_pool *pool, execbuf_span *span, size_t length, bool reserve, execbuf *out) {
    uint32_t slot = execbuf_span_take(span);
    execbuf_span_set_length(span, slot, length, reserve);
    span->region->live++;
    pool->live++;
    pool->bytes += length;
    out->entry = span->region->views.rx + execbuf_span_offset(span, slot);
    out->length = reserve ? 0 : length;
    out->id = make_id(pool, span, slot);
}

/* Takes a free slot of a class. Returns its region, or NULL if there is none. */
static inline execbuf_region *take_listed(execbuf_pool *pool, uint32_t class_, size_t length, bool reserve,
                                          execbuf *out) {
    execbuf_span *span = class_ < EXECBUF_CLASSES ? pool->classes[class_] : NULL;
    if (span == NULL) {
        return NULL;
    }
    take_slot(pool, span, length, reserve, out);
    if (span->free_words == 0) {
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

/* How a new span for code of this class and length should be: the size and number of slots. Returns its pages. */
static uint32_t design_span(const execbuf_pool *pool, uint32_t class_, size_t length, size_t page_size,
                            uint32_t *slot_size, uint32_t *slots) {
    if (class_ == EXECBUF_NO_CLASS) {
        size_t pages = (length + page_size - 1) / page_size;
        *slot_size = (uint32_t)(pages * page_size);
        *slots = 1;
        return (uint32_t)pages;
    }
    size_t size = execbuf_class_size(class_);
    size_t wanted = pool->class_bytes[class_] / SPAN_PART;
    wanted = wanted > EXECBUF_SPAN_SIZE ? EXECBUF_SPAN_SIZE : wanted;
    wanted = wanted < page_size ? page_size : wanted;
    size_t count = wanted / size > 0 ? wanted / size : 1;
    size_t pages = (count * size + page_size - 1) / page_size;
    count = pages * page_size / size;
    *slot_size = (uint32_t)size;
    *slots = (uint32_t)(count < EXECBUF_SPAN_SLOTS ? count : EXECBUF_SPAN_SLOTS);
    return (uint32_t)pages;
}

/* Makes a span of pages that were taken from a region, and takes a slot of it. The region is pinned: it counts one
 * live slot more than it has. *out stays as it is if a fork froze the region meanwhile. */
static execbuf_region *add_span(execbuf_pool *pool, execbuf_region *region, uint32_t page, uint32_t pages,
                                execbuf_span *span, size_t length, bool reserve, execbuf *out) {
    execbuf_region *used = NULL;
    if (span != NULL) {
        execbuf_span_place(span, region, page, pages);
    }
    lock(pool);
    region->live--;
    if (span != NULL && !region->frozen) {
        span->serial = (uint16_t)(pool->serial++ & (((uint32_t)1 << SERIAL_BITS) - 1));
        for (uint32_t i = page; i < page + pages; i++) {
            region->spans[i] = span;
        }
        pool->bookkeeping += execbuf_span_bookkeeping(span);
        take_slot(pool, span, length, reserve, out);
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

/* The first number that no region of the pool has; pool->region_places if there is no room for one more. */
static uint32_t unused_place(const execbuf_pool *pool) {
    uint32_t place = 0;
    while (place < pool->region_places && pool->regions[place] != NULL) {
        place++;
    }
    return place;
}

/* Locks the pool when there is a place for a region. False, and nothing locked: there is no memory for one. */
static bool lock_with_place(execbuf_pool *pool, uint32_t *place) {
    for (;;) {
        lock(pool);
        uint32_t places = pool->region_places;
        *place = unused_place(pool);
        if (*place < places) {
            return true;
        }
        unlock(pool);
        uint32_t more = places == 0 ? 4 : 2 * places;
        bool fails = more > MOST_REGIONS || EXECBUF_FAULT("calloc") != 0;
        execbuf_region **regions = fails ? NULL : (execbuf_region **)calloc(more, sizeof *regions);
        if (regions == NULL) {
            return false;
        }
        lock(pool);
        if (pool->region_places == places) { /* no other thread was faster */
            if (places > 0) {
                memcpy((void *)regions, (void *)pool->regions, places * sizeof *regions);
            }
            execbuf_region **old = pool->regions;
            pool->regions = regions;
            pool->region_places = more;
            pool->bookkeeping += (more - places) * sizeof *regions;
            regions = old;
        }
        unlock(pool);
        free((void *)regions);
    }
}

/* Adds a region to the pool, or says why not in pool->why. */
static bool add_region(execbuf_pool *pool) {
    execbuf_region *region;
    execbuf_error report;
    execbuf_status status = execbuf_region_new(&region, pool->near_to, pool->name, &report);
    uint32_t place = 0;
    if (status == EXECBUF_OK && !lock_with_place(pool, &place)) {
        execbuf_region_free(region);
        status = execbuf_error_set(&report, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    if (status == EXECBUF_OK) {
        region->index = place;
        pool->regions[place] = region;
        pool->region_count++;
        pool->reserved += region->size;
        pool->bookkeeping += region->bookkeeping;
        pool->backend = region->backend;
        pool->pause = FIRST_PAUSE;
        open_region(pool, region);
    } else {
        lock(pool);
        pool->paused = pool->pause;
        pool->pause = pool->pause < LONGEST_PAUSE ? 2 * pool->pause : LONGEST_PAUSE;
    }
    pool->why = report;
    unlock(pool);
    return status == EXECBUF_OK;
}

/* Takes out a frozen region that nothing lives in any more, if there is one. */
static execbuf_region *sweep(execbuf_pool *pool) {
    for (uint32_t i = 0; pool->must_sweep && i < pool->region_places; i++) {
        execbuf_region *region = pool->regions[i];
        if (region != NULL && region->frozen && region->live == 0) {
            take_out_region(pool, region);
            return region;
        }
    }
    pool->must_sweep = false;
    return NULL;
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
        *used = take_listed(pool, class_, length, reserve, out);
        if (*used != NULL || swept != NULL || pool->paused > 0) {
            bool pause = *used == NULL && swept == NULL;
            pool->paused -= pause;
            unlock_and_free(pool, swept, empty);
            if (pause) {
                return false;
            }
            continue;
        }
        uint32_t slot_size;
        uint32_t slots;
        uint32_t pages = design_span(pool, class_, length, page_size, &slot_size, &slots);
        uint32_t page = 0;
        execbuf_region *region = pool->open;
        while (region != NULL && (page = take_pages(pool, region, pages)) == 0) {
            region = region->next_open;
        }
        if (region != NULL) {
            region->live++; /* so that it stays */
            unlock_and_free(pool, NULL, empty);
            execbuf_span *span = execbuf_span_new(class_, slot_size, slots);
            *used = add_span(pool, region, page, pages, span, length, reserve, out);
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
static void write_code(const execbuf_region *region, const void *entry, const void *code, size_t length) {
    const uint8_t *rx = (const uint8_t *)entry;
    uint8_t *rw = region->views.rw + (rx - region->views.rx);
    if (region->views.rw == region->views.rx) {
        execbuf_prim_begin_write();
        memcpy(rw, code, length);
        execbuf_prim_end_write();
    } else {
        memcpy(rw, code, length);
    }
    execbuf_prim_sync(rx, rw, length);
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
        pool->live++;
        pool->bytes += length;
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

execbuf_status execbuf_pool_publish(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                                    execbuf_error *error) {
    if (out == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = no_buffer;
    if (pool == NULL || code == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NULL, pool == NULL ? "pool" : "code", 0);
    }
    if (is_large(pool, length)) {
        return make_own(pool, out, code, length, error);
    }
    uint32_t class_ = execbuf_class_of(length);
    lock(pool);
    execbuf_region *region = take_listed(pool, class_, length, false, out);
    unlock(pool);
    if (region == NULL && !take_slowly(pool, class_, length, false, out, &region)) {
        return make_own(pool, out, code, length, error);
    }
    write_code(region, out->entry, code, length);
    if (pool->fresh_needs_barrier) {
        execbuf_prim_barrier();
    }
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
        execbuf_region *region = take_listed(pool, class_, code->length, false, &out[i]);
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
    if (pool->fresh_needs_barrier) {
        execbuf_prim_barrier();
    }
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
    if (!find(buffer, &place)) {
        return execbuf_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    size_t capacity = execbuf_span_length(place.span, place.slot);
    execbuf_status status = EXECBUF_OK;
    if (!execbuf_span_reserved(place.span, place.slot)) {
        status = execbuf_error_set(error, EXECBUF_E_PUBLISHED, "buffer", 0);
    } else if (length > capacity) {
        status = execbuf_error_set(error, EXECBUF_E_CAPACITY, "length", 0);
    } else if (place.region->views.rw == NULL) {
        status = execbuf_error_set(error, EXECBUF_E_FROZEN, "buffer", 0);
    } else {
        execbuf_span_set_length(place.span, place.slot, length, false);
        place.pool->bytes -= capacity - length;
    }
    unlock(place.pool);
    if (status != EXECBUF_OK) {
        return status;
    }
    /* In a frozen region, too: the child of the fork has the room, but no code in it. */
    write_code(place.region, buffer->entry, code, length);
    if (place.pool->fresh_needs_barrier) {
        execbuf_prim_barrier();
    }
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
    if (!find(buffer, &place)) {
        return execbuf_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    size_t published = execbuf_span_length(place.span, place.slot);
    execbuf_status status = EXECBUF_OK;
    if (execbuf_span_reserved(place.span, place.slot)) {
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

execbuf_status execbuf_pool_release(const execbuf *buffer) {
    slot_place place;
    if (!find(buffer, &place)) {
        return EXECBUF_E_STALE;
    }
    execbuf_pool *pool = place.pool;
    execbuf_region *region = place.region;
    execbuf_span *span = place.span;
    pool->live--;
    pool->bytes -= execbuf_span_length(span, place.slot);
    region->live--;
    span->tags[place.slot]++;
    if (!region->frozen) {
        uint32_t offset = execbuf_span_offset(span, place.slot);
        execbuf_prim_begin_write();
        execbuf_fill_trap(region->views.rw + offset, span->slot_size);
        execbuf_prim_end_write();
        execbuf_prim_sync(region->views.rx + offset, region->views.rw + offset, span->slot_size);
        if (span->limbo == 0) {
            span->next_limbo = pool->limbo;
            pool->limbo = span;
        }
        pool->limbo_size += span->slot_size;
    }
    execbuf_span_give_up(span, place.slot);
    if (region->live > 0 && pool->live > 0) {
        unlock(pool);
        return EXECBUF_OK;
    }
    execbuf_region *gone = should_go(pool, region) ? region : NULL;
    if (gone != NULL) {
        take_out_region(pool, gone);
    }
    unlock_and_free(pool, gone, NULL);
    return EXECBUF_OK;
}

/* The size of the mapping of a buffer with pages of its own for so many bytes. */
static size_t own_size(size_t capacity) {
    size_t page = execbuf_prim_query().page_size;
    return (EXECBUF_HEADER + capacity + page - 1) & ~(page - 1);
}

void execbuf_pool_own_published(const execbuf_record *record) {
    execbuf_pool *pool = execbuf_registry_pool(record->owner);
    lock(pool);
    pool->bytes -= record->capacity - record->length;
    pool->own_size -= own_size(record->capacity) - record->size;
    unlock(pool);
}

void execbuf_pool_own_freed(const execbuf_record *record) {
    execbuf_pool *pool = execbuf_registry_pool(record->owner);
    lock(pool);
    pool->live--;
    pool->bytes -= record->length > 0 ? record->length : record->capacity;
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
    pool->fresh_needs_barrier = info.fresh_needs_barrier;
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
        for (uint32_t i = 0; i < pool->region_places && region == NULL; i++) {
            if (pool->regions[i] != NULL && should_go(pool, pool->regions[i])) {
                region = pool->regions[i];
                take_out_region(pool, region);
            }
        }
        if (region != NULL) {
            unlock(pool);
            execbuf_region_free(region);
        }
    } while (region != NULL);
    unlock_and_free(pool, NULL, NULL);
}

/* Finds the published code at an address in a region of the pool, which is locked. */
static bool find_address(const execbuf_pool *pool, const void *address, execbuf_place *place) {
    for (uint32_t i = 0; i < pool->region_places; i++) {
        const execbuf_region *region = pool->regions[i];
        uintptr_t offset = region != NULL ? (uintptr_t)address - (uintptr_t)region->views.rx : UINTPTR_MAX;
        if (region == NULL || offset >= region->size) {
            continue;
        }
        const execbuf_span *span = region->spans[offset >> region->page_shift];
        uint32_t slot = span != NULL ? ((uint32_t)offset - span->offset) / span->slot_size : 0;
        if (span == NULL || slot >= span->slots || !execbuf_span_is_taken(span, slot) ||
            execbuf_span_reserved(span, slot)) {
            return false;
        }
        uint32_t start = execbuf_span_offset(span, slot);
        place->entry = region->views.rx + start;
        place->length = execbuf_span_length(span, slot);
        return offset - start < place->length;
    }
    return false;
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
    stats->live = pool->live;
    stats->bytes = pool->bytes;
    stats->reserved = pool->reserved + pool->own_size;
    stats->committed = pool->committed + pool->own_size;
    stats->bookkeeping = pool->bookkeeping;
    stats->regions = pool->region_count;
    stats->frozen = pool->frozen_count;
    stats->own_pages = pool->own_count;
    stats->backend = pool->backend;
    stats->why = pool->why;
    unlock((execbuf_pool *)(uintptr_t)pool);
}

/* ---- fork ---- */

/* From now on nothing in the regions changes, and new code goes to new ones. */
static void freeze(execbuf_pool *pool, bool in_child) {
    for (uint32_t i = 0; i < pool->region_places; i++) {
        execbuf_region *region = pool->regions[i];
        if (region != NULL) {
            region->frozen = true;
            region->is_open = false;
            if (in_child && region->views.rw != region->views.rx) {
                region->views.rw = NULL; /* it was not inherited */
            }
            pool->must_sweep |= region->live == 0;
        }
    }
    memset((void *)pool->classes, 0, sizeof pool->classes);
    memset(pool->class_bytes, 0, sizeof pool->class_bytes);
    pool->frozen_count = pool->region_count;
    pool->limbo = NULL;
    pool->limbo_size = 0;
    pool->open = NULL;
}

void execbuf_pools_before_fork(void) {
    for (uint32_t number = 1; number <= execbuf_registry_count(); number++) {
        execbuf_prim_mutex_lock(&execbuf_registry_pool(number)->mutex);
    }
}

void execbuf_pools_after_fork(bool in_child) {
    for (uint32_t number = execbuf_registry_count(); number >= 1; number--) {
        execbuf_pool *pool = execbuf_registry_pool(number);
        freeze(pool, in_child);
        execbuf_prim_mutex_unlock(&pool->mutex);
    }
}

void execbuf_pools_in_clone(void) {
    for (uint32_t number = 1; number <= execbuf_registry_count(); number++) {
        execbuf_pool *pool = execbuf_registry_pool(number);
        execbuf_prim_mutex_init(&pool->mutex);
        freeze(pool, true);
    }
}
