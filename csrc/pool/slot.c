/* Code in a pool's slots: publishing, changing and freeing it. */

#include <string.h>

#include "../exec/ladder.h"
#include "../base/error.h"
#include "../prim/icache.h"
#include "slot.h"
#include "alloc.h"

/* A buffer that a handle names. */
typedef struct slot_place {
    execbuf_pool *pool;
    xb_region *region;
    xb_span *span;
    uint32_t slot;
    uint8_t *entry;
} slot_place;

/* The pool of the number in a handle's id, or NULL. */
XB_INLINE execbuf_pool *pool_of(const execbuf *buffer) {
    return xb_registry[buffer->id >> (XB_SPAN_BITS + XB_SPAN_SHIFT) & (XB_MAX_POOLS - 1)];
}

/* Finds what a handle names in its pool, which is locked. False: nothing. */
XB_INLINE bool find_slot(execbuf_pool *pool, const execbuf *buffer, slot_place *place) {
    uint32_t number = (uint32_t)(buffer->id >> XB_SPAN_SHIFT) & (XB_MAX_SPANS - 1);
    if (XB_UNLIKELY(number >= pool->span_places)) {
        return false;
    }
    const xb_span_place *known = &pool->spans[number];
    uint32_t slot = xb_slot_at((uintptr_t)buffer->entry - (uintptr_t)known->start, known->reciprocal);
    if (XB_UNLIKELY(slot >= known->slots ||
                    known->start + (size_t)slot * known->slot_size != buffer->entry)) {
        return false;
    }
    xb_span *span = known->span;
    uint8_t *entry = known->u.entries + (size_t)slot * XB_ENTRY_SIZE;
    XB_PREFETCH_WRITE(known->start + (size_t)slot * known->slot_size + known->distance);
    place->pool = pool;
    place->region = span->region;
    place->span = span;
    place->slot = slot;
    place->entry = entry;
    /* A tag that is odd is that of a slot that is taken. */
    return xb_slot_id(span, xb_slot_tag(entry)) == buffer->id && (buffer->id & 1) != 0;
}

/* Finds what a handle names, and locks its pool. False, and nothing locked: it names nothing. */
static bool find_and_lock(const execbuf *buffer, slot_place *place) {
    execbuf_pool *pool = pool_of(buffer);
    if (pool == NULL) {
        return false;
    }
    xb_pool_lock(pool);
    bool found = find_slot(pool, buffer, place);
    if (!found) {
        xb_pool_unlock(pool);
    }
    return found;
}

/* ---- Publishing ---- */

/* Copies code to a slot, to be written at rw. The slot is its taker's alone, so this needs no lock. */
static void write_code(uint8_t *rw, const void *entry, const void *code, size_t length) {
    xb_prim_begin_write();
    memcpy(rw, code, length);
    xb_prim_end_write();
    xb_sync((const uint8_t *)entry, rw, length);
}

/* Fills a slot with traps. */
static void write_traps(uint8_t *rw, const void *entry, size_t size) {
    xb_prim_begin_write();
    xb_fill_traps(rw, size);
    xb_prim_end_write();
    xb_sync((const uint8_t *)entry, rw, size);
}

/* The smallest slots and nearly all stubs are written without a call. */
static bool fits_two_words(size_t length) {
    return !XB_ONE_VIEW && length - 8 <= XB_GRANULE - 8;
}

/* As write_code, for such a length. The two words may overlap. */
XB_INLINE void write_two_words(uint8_t *rw, const void *entry, const void *code, size_t length) {
    uint64_t words[2];
    memcpy(&words[0], code, 8);
    memcpy(&words[1], (const uint8_t *)code + length - 8, 8);
    memcpy(rw, &words[0], 8);
    memcpy(rw + length - 8, &words[1], 8);
    xb_sync((const uint8_t *)entry, rw, length);
}

/* Whether code of this length has a dedicated mapping; 0 is none's. */
static bool is_large(const execbuf_pool *pool, size_t length) {
    return length - 1 >= pool->largest;
}

/* Publishes one piece of code, all but what is frequent; without the barrier. */
static execbuf_status publish_one(execbuf_pool *pool, execbuf *out, const execbuf_code *code,
                                  execbuf_error *error) {
    uint8_t *rw = is_large(pool, code->length)
                      ? NULL
                      : xb_alloc_slot(pool, xb_size_class(code->length), code->length, XB_USE_CODE, out);
    if (rw == NULL) {
        return xb_large_new(pool, out, code->bytes, code->length, NULL, error);
    }
    write_code(rw, out->entry, code->bytes, code->length);
    return EXECBUF_OK;
}

/* The rest of execbuf_pool_publish. */
XB_COLD execbuf_status publish_slowly(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                                      execbuf_error *error) {
    execbuf_code piece = {NULL, 0};
    piece.bytes = code;
    piece.length = length;
    *out = xb_no_buffer;
    execbuf_status status = publish_one(pool, out, &piece, error);
    if (status == EXECBUF_OK) {
        xb_fresh_barrier();
        (void)xb_error_ok(error);
    }
    return status;
}

/* What is left to do when a slot was taken. */
XB_NOINLINE execbuf_status finish_publish(uint8_t *rw, const execbuf *out, const void *code, size_t length,
                                          execbuf_error *error) {
    write_code(rw, out->entry, code, length);
    xb_fresh_barrier();
    return xb_error_ok(error);
}

/* What is frequent is done without a call before the last: the thread owns the mutex, and there is a slot. */
execbuf_status execbuf_pool_publish(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                                    execbuf_error *error) {
    if (XB_UNLIKELY(pool == NULL || out == NULL || code == NULL)) {
        if (out != NULL) {
            *out = xb_no_buffer;
        }
        const char *culprit = pool == NULL ? "pool" : out == NULL ? "out" : "code";
        return xb_error_set(error, EXECBUF_E_NULL, culprit, 0);
    }
    if (XB_UNLIKELY(length - 1 >= XB_MAX_SLOT_SIZE || *xb_prim_fork_mark == 0 ||
                    !xb_try_lock_biased(&pool->mutex))) {
        return publish_slowly(pool, out, code, length, error);
    }
    uint8_t *rw = xb_alloc_listed(pool, xb_size_class(length), length, XB_USE_CODE, out);
    xb_unlock_biased(&pool->mutex);
    if (XB_UNLIKELY(rw == NULL)) {
        return publish_slowly(pool, out, code, length, error);
    }
    if (!fits_two_words(length)) {
        return finish_publish(rw, out, code, length, error);
    }
    write_two_words(rw, out->entry, code, length);
    xb_fresh_barrier();
    return xb_error_ok(error);
}

/* The checks of a batch. */
static execbuf_status check_batch(const execbuf_pool *pool, execbuf *out, const execbuf_code *codes,
                                  size_t count, execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = xb_no_buffer;
    }
    if (pool == NULL || codes == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, pool == NULL ? "pool" : "codes", 0);
    }
    for (size_t i = 0; i < count; i++) {
        if (codes[i].bytes == NULL) {
            return xb_error_set(error, EXECBUF_E_NULL, "code", 0);
        }
        if (codes[i].length == 0) {
            return xb_error_set(error, EXECBUF_E_EMPTY, "length", 0);
        }
    }
    return EXECBUF_OK;
}

execbuf_status execbuf_pool_publish_batch(execbuf_pool *pool, execbuf *out, const execbuf_code *codes,
                                          size_t count, execbuf_error *error) {
    execbuf_status status = count == 0 ? EXECBUF_OK : check_batch(pool, out, codes, count, error);
    if (status != EXECBUF_OK || count == 0) {
        return status == EXECBUF_OK ? xb_error_ok(error) : status;
    }
    xb_pool_lock(pool);
    for (size_t i = 0; i < count && status == EXECBUF_OK; i++) {
        uint32_t class_ = xb_size_class(codes[i].length);
        uint8_t *rw = NULL;
        if (class_ != XB_NO_CLASS) {
            rw = xb_alloc_listed(pool, class_, codes[i].length, XB_USE_CODE, &out[i]);
        }
        if (rw != NULL) {
            write_code(rw, out[i].entry, codes[i].bytes, codes[i].length);
        } else {
            xb_pool_unlock(pool);
            status = publish_one(pool, &out[i], &codes[i], error);
            xb_pool_lock(pool);
        }
    }
    xb_pool_unlock(pool);
    if (status != EXECBUF_OK) {
        for (size_t i = 0; i < count; i++) {
            (void)execbuf_free(&out[i]); /* those that were not published are no buffers, which is fine */
        }
        return status;
    }
    xb_fresh_barrier();
    return xb_error_ok(error);
}

execbuf_status execbuf_pool_reserve(execbuf_pool *pool, execbuf *out, size_t capacity, execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = xb_no_buffer;
    if (pool == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "pool", 0);
    }
    if (is_large(pool, capacity) ||
        xb_alloc_slot(pool, xb_size_class(capacity), capacity, XB_USE_RESERVED, out) == NULL) {
        return xb_large_new(pool, out, NULL, capacity, NULL, error);
    }
    return xb_error_ok(error);
}

execbuf_status xb_slot_publish(execbuf *buffer, const void *code, size_t length, execbuf_error *error) {
    slot_place place;
    if (!find_and_lock(buffer, &place)) {
        return xb_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    size_t capacity = xb_span_length(place.span, place.slot, place.entry);
    execbuf_status status = EXECBUF_OK;
    if (xb_span_is_linked(place.span, place.entry)) {
        status = xb_error_set(error, EXECBUF_E_THUNK, "buffer", 0);
    } else if (!xb_span_is_reserved(place.span, place.slot, place.entry)) {
        status = xb_error_set(error, EXECBUF_E_PUBLISHED, "buffer", 0);
    } else if (length > capacity) {
        status = xb_error_set(error, EXECBUF_E_CAPACITY, "length", 0);
    } else if (place.region->views.rw == NULL) {
        status = xb_error_set(error, EXECBUF_E_FROZEN, "buffer", 0);
    } else {
        xb_span_set_length(place.span, place.slot, place.entry, length, XB_USE_CODE);
    }
    xb_pool_unlock(place.pool);
    if (status != EXECBUF_OK) {
        return status;
    }
    /* In a frozen region, too: the child of the fork has the room, but no code in it. */
    write_code(xb_region_writable(place.region, buffer->entry), buffer->entry, code, length);
    xb_fresh_barrier();
    buffer->length = length;
    return xb_error_ok(error);
}

/* ---- Changing and freeing ---- */

/* Overwrites published code that is not frozen. */
static void overwrite(const xb_region *region, const uint8_t *rx, const void *code, size_t length) {
    const xb_prim_views *views = &region->views;
    const uint8_t *source = (const uint8_t *)code;
    uint8_t *rw = views->rw + (rx - views->rx);
    /* Code of the same region has two addresses; by this one memmove sees where the two overlap. */
    if ((uintptr_t)source - (uintptr_t)views->rx < region->size) {
        source = views->rw + (source - views->rx);
    }
    xb_prim_begin_write();
    memmove(rw, source, length);
    xb_prim_end_write();
    xb_prim_sync(rx, rw, length);
}

execbuf_status xb_slot_rewrite(const execbuf *buffer, size_t offset, const void *code, size_t length,
                               execbuf_error *error) {
    slot_place place;
    if (!find_and_lock(buffer, &place)) {
        return xb_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    size_t published = xb_span_length(place.span, place.slot, place.entry);
    execbuf_status status = EXECBUF_OK;
    if (xb_span_is_reserved(place.span, place.slot, place.entry)) {
        status = xb_error_set(error, EXECBUF_E_NOT_PUBLISHED, "buffer", 0);
    } else if (offset > published || length > published - offset) {
        const char *culprit = offset > published ? "offset" : "length";
        status = xb_error_set(error, EXECBUF_E_OUT_OF_BOUNDS, culprit, 0);
    } else if (xb_span_is_linked(place.span, place.entry)) {
        status = xb_error_set(error, EXECBUF_E_THUNK, "buffer", 0);
    } else if (place.region->frozen) {
        status = xb_error_set(error, EXECBUF_E_FROZEN, "buffer", 0);
    } else {
        overwrite(place.region, (const uint8_t *)buffer->entry + offset, code, length);
    }
    xb_pool_unlock(place.pool);
    if (status == EXECBUF_OK) {
        xb_prim_barrier();
        status = xb_error_ok(error);
    }
    return status;
}

/* Gives up the slot at a place, all but writing traps, if it is not frozen. */
XB_INLINE void quarantine_slot(const slot_place *place, bool frozen) {
    execbuf_pool *pool = place->pool;
    xb_span *span = place->span;
    place->region->live--;
    if (XB_UNLIKELY(xb_slot_next_tag(place->entry) == 0)) {
        span->has_retired = true;
    }
    if (!frozen) {
        if (XB_UNLIKELY(span->quarantine_words == 0)) {
            span->next_quarantine = pool->quarantine;
            pool->quarantine = span;
        }
        pool->quarantine_size += span->slot_size;
    }
    xb_span_quarantine(span, place->slot);
}

/* Where to read the bytes of a stub. Processors find them sooner by the address by which they were written.
 */
XB_INLINE const uint8_t *readable_stub(const xb_region *region, const execbuf *buffer) {
    return region->views.rw != NULL ? xb_region_writable(region, buffer->entry)
                                    : (const uint8_t *)buffer->entry;
}

/* The link in the slot with this entry; NULL: it is not linked. */
static const uint8_t *link_of(const execbuf_pool *pool, const xb_region *region, const xb_span *span,
                              const uint8_t *entry, const execbuf *buffer) {
    if (!xb_span_is_linked(span, entry)) {
        return NULL;
    }
    size_t length = xb_span_length(span, 0, entry); /* such spans have no lengths by slot */
    return pool->links->target(readable_stub(region, buffer), length, buffer->entry);
}

/* The whole of xb_slot_free. */
XB_COLD execbuf_status release_slowly(execbuf *buffer) {
    slot_place place;
    if (!find_and_lock(buffer, &place)) {
        xb_handles_count_stale();
        return EXECBUF_E_STALE;
    }
    const uint8_t *link = link_of(place.pool, place.region, place.span, place.entry, buffer);
    if (!place.region->frozen) {
        uint8_t *rw = xb_region_writable(place.region, buffer->entry);
        write_traps(rw, buffer->entry, place.span->slot_size);
    }
    quarantine_slot(&place, place.region->frozen);
    if (xb_reclaim_is_due(place.pool, place.region)) {
        xb_reclaim_detach(place.pool, place.region);
        xb_reclaim_unlock(place.pool, place.region, NULL);
    } else {
        xb_pool_unlock(place.pool);
    }
    if (link != NULL) {
        place.pool->links->release(place.pool, link); /* the pool lives: what is linked is code of it */
    }
    *buffer = xb_no_buffer;
    return EXECBUF_OK;
}

/* Releases the link of a slot, if it has one. False, and nothing changed: it is the last with this link.
 * Takes parts of the place, not the place, so that they can stay in registers where nothing is linked. */
XB_NOINLINE bool release_link(execbuf_pool *pool, const xb_region *region, const xb_span *span,
                              const uint8_t *entry, const execbuf *buffer) {
    if (!xb_span_is_linked(span, entry)) {
        return true;
    }
    size_t length = xb_span_length(span, 0, entry); /* such spans have no lengths by slot */
    return pool->links->release_shared(pool->links_data, readable_stub(region, buffer), length,
                                       buffer->entry);
}

/* What is left to do when a slot was given up: its pool is locked by its owner, so nobody takes it yet. */
XB_NOINLINE execbuf_status finish_release(execbuf_pool *pool, uint8_t *rw, size_t size, execbuf *buffer) {
    write_traps(rw, buffer->entry, size);
    xb_unlock_biased(&pool->mutex);
    *buffer = xb_no_buffer;
    return EXECBUF_OK;
}

/* What is frequent is done without a call before the last: the thread owns the mutex, the code is not frozen,
 * and other code of its region is live. */
execbuf_status xb_slot_free(execbuf *buffer) {
    execbuf_pool *pool = pool_of(buffer);
    if (XB_UNLIKELY(pool == NULL || *xb_prim_fork_mark == 0 || !xb_try_lock_biased(&pool->mutex))) {
        return release_slowly(buffer);
    }
    slot_place place;
    if (XB_UNLIKELY(!find_slot(pool, buffer, &place) || !place.region->is_active ||
                    (place.region->live == 1 && place.region->committed > XB_KEPT_REGION_SIZE))) {
        xb_unlock_biased(&pool->mutex);
        return release_slowly(buffer);
    }
    if (XB_UNLIKELY(xb_span_may_be_linked(place.entry)) &&
        !release_link(pool, place.region, place.span, place.entry, buffer)) {
        xb_unlock_biased(&pool->mutex);
        return release_slowly(buffer);
    }
    quarantine_slot(&place, false);
    uint8_t *rw = xb_region_writable(place.region, buffer->entry);
    if (!fits_two_words(place.span->slot_size)) {
        return finish_release(pool, rw, place.span->slot_size, buffer);
    }
    write_two_words(rw, buffer->entry, xb_traps, XB_GRANULE);
    xb_unlock_biased(&pool->mutex);
    *buffer = xb_no_buffer;
    return EXECBUF_OK;
}

execbuf_status xb_pool_put(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                           execbuf_error *error) {
    return publish_slowly(pool, out, code, length, error);
}

execbuf_status xb_pool_drop(execbuf *buffer) {
    return execbuf_free(buffer);
}
