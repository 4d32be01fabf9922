/* Code in a pool's slots: publishing, changing and freeing it. */

#include <string.h>

#include "../exec/ladder.h"
#include "../base/error.h"
#include "../thunk/x86_64/stub.h"
#include "slot.h"
#include "alloc.h"

static const execbuf no_buffer = {NULL, 0, 0};

/* A buffer that a handle names. */
typedef struct slot_place {
    execbuf_pool *pool;
    execbuf_region *region;
    execbuf_span *span;
    uint32_t slot;
    uint8_t *entry;
} slot_place;

/* The pool of the number in a handle's id, or NULL. */
EXECBUF_INLINE execbuf_pool *pool_of(const execbuf *buffer) {
    return execbuf_registry[buffer->id >> (EXECBUF_SPAN_BITS + EXECBUF_SPAN_SHIFT) &
                            (EXECBUF_MOST_POOLS - 1)];
}

/* Finds what a handle names in its pool, which is locked. False: nothing. */
EXECBUF_INLINE bool find(execbuf_pool *pool, const execbuf *buffer, slot_place *place) {
    uint32_t number = (uint32_t)(buffer->id >> EXECBUF_SPAN_SHIFT) & (EXECBUF_MOST_SPANS - 1);
    if (EXECBUF_RARE(number >= pool->span_places)) {
        return false;
    }
    const execbuf_span_place *known = &pool->spans[number];
    uint32_t slot = execbuf_slot_at((uintptr_t)buffer->entry - (uintptr_t)known->start, known->reciprocal);
    if (EXECBUF_RARE(slot >= known->slots ||
                     known->start + (size_t)slot * known->slot_size != buffer->entry)) {
        return false;
    }
    execbuf_span *span = known->span;
    uint8_t *entry = known->u.entries + (size_t)slot * EXECBUF_ENTRY_SIZE;
    EXECBUF_PREFETCH_TO_WRITE(known->start + (size_t)slot * known->slot_size + known->distance);
    place->pool = pool;
    place->region = span->region;
    place->span = span;
    place->slot = slot;
    place->entry = entry;
    /* A tag that is odd is that of a slot that is taken. */
    return execbuf_slot_id(span, execbuf_entry_tag(entry)) == buffer->id && (buffer->id & 1) != 0;
}

/* Finds what a handle names, and locks its pool. False, and nothing locked: it names nothing. */
static bool find_and_lock(const execbuf *buffer, slot_place *place) {
    execbuf_pool *pool = pool_of(buffer);
    if (pool == NULL) {
        return false;
    }
    execbuf_pool_lock(pool);
    bool found = find(pool, buffer, place);
    if (!found) {
        execbuf_pool_unlock(pool);
    }
    return found;
}

/* ---- Publishing ---- */

/* Copies code to a slot, to be written at rw. The slot is its taker's alone, so this needs no lock. */
static void write_code(uint8_t *rw, const void *entry, const void *code, size_t length) {
    execbuf_prim_begin_write();
    memcpy(rw, code, length);
    execbuf_prim_end_write();
    execbuf_sync((const uint8_t *)entry, rw, length);
}

/* Fills a slot with traps. */
static void write_traps(uint8_t *rw, const void *entry, size_t size) {
    execbuf_prim_begin_write();
    execbuf_fill_trap(rw, size);
    execbuf_prim_end_write();
    execbuf_sync((const uint8_t *)entry, rw, size);
}

/* The smallest slots and nearly all stubs are written without a call. */
static bool fits_two_words(size_t length) {
    return !EXECBUF_ONE_VIEW && length - 8 <= EXECBUF_GRANULE - 8;
}

/* As write_code, for such a length. The two words may overlap. */
EXECBUF_INLINE void write_two_words(uint8_t *rw, const void *entry, const void *code, size_t length) {
    uint64_t words[2];
    memcpy(&words[0], code, 8);
    memcpy(&words[1], (const uint8_t *)code + length - 8, 8);
    memcpy(rw, &words[0], 8);
    memcpy(rw + length - 8, &words[1], 8);
    execbuf_sync((const uint8_t *)entry, rw, length);
}

/* Whether code of this length has pages of its own; 0 is none's. */
static bool is_large(const execbuf_pool *pool, size_t length) {
    return length - 1 >= pool->largest;
}

/* Publishes one piece of code, all but what is frequent; without the barrier. */
static execbuf_status publish_one(execbuf_pool *pool, execbuf *out, const execbuf_code *code,
                                  execbuf_error *error) {
    uint8_t *rw = is_large(pool, code->length) ? NULL
                                               : execbuf_room_take(pool, execbuf_class_of(code->length),
                                                                   code->length, EXECBUF_USE_CODE, out);
    if (rw == NULL) {
        return execbuf_pool_make_own(pool, out, code->bytes, code->length, NULL, error);
    }
    write_code(rw, out->entry, code->bytes, code->length);
    return EXECBUF_OK;
}

/* The rest of execbuf_pool_publish. */
EXECBUF_OUTLINE execbuf_status publish_slowly(execbuf_pool *pool, execbuf *out, const void *code,
                                              size_t length, execbuf_error *error) {
    execbuf_code piece = {NULL, 0};
    piece.bytes = code;
    piece.length = length;
    *out = no_buffer;
    execbuf_status status = publish_one(pool, out, &piece, error);
    if (status == EXECBUF_OK) {
        execbuf_fresh_barrier();
        (void)execbuf_error_none(error);
    }
    return status;
}

/* What is left to do when a slot was taken. */
EXECBUF_LAST execbuf_status finish_publish(uint8_t *rw, const execbuf *out, const void *code, size_t length,
                                           execbuf_error *error) {
    write_code(rw, out->entry, code, length);
    execbuf_fresh_barrier();
    return execbuf_error_none(error);
}

/* What is frequent is done without a call before the last: the thread owns the mutex, and there is a slot. */
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
    uint8_t *rw = execbuf_room_take_listed(pool, execbuf_class_of(length), length, EXECBUF_USE_CODE, out);
    execbuf_unlock_owned(&pool->mutex);
    if (EXECBUF_RARE(rw == NULL)) {
        return publish_slowly(pool, out, code, length, error);
    }
    if (!fits_two_words(length)) {
        return finish_publish(rw, out, code, length, error);
    }
    write_two_words(rw, out->entry, code, length);
    execbuf_fresh_barrier();
    return execbuf_error_none(error);
}

/* The checks of a batch. */
static execbuf_status check_batch(const execbuf_pool *pool, execbuf *out, const execbuf_code *codes,
                                  size_t count, execbuf_error *error) {
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
    return EXECBUF_OK;
}

execbuf_status execbuf_pool_publish_batch(execbuf_pool *pool, execbuf *out, const execbuf_code *codes,
                                          size_t count, execbuf_error *error) {
    execbuf_status status = count == 0 ? EXECBUF_OK : check_batch(pool, out, codes, count, error);
    if (status != EXECBUF_OK || count == 0) {
        return status == EXECBUF_OK ? execbuf_error_none(error) : status;
    }
    execbuf_pool_lock(pool);
    for (size_t i = 0; i < count && status == EXECBUF_OK; i++) {
        uint32_t class_ = execbuf_class_of(codes[i].length);
        uint8_t *rw = NULL;
        if (class_ != EXECBUF_NO_CLASS) {
            rw = execbuf_room_take_listed(pool, class_, codes[i].length, EXECBUF_USE_CODE, &out[i]);
        }
        if (rw != NULL) {
            write_code(rw, out[i].entry, codes[i].bytes, codes[i].length);
        } else {
            execbuf_pool_unlock(pool);
            status = publish_one(pool, &out[i], &codes[i], error);
            execbuf_pool_lock(pool);
        }
    }
    execbuf_pool_unlock(pool);
    if (status != EXECBUF_OK) {
        for (size_t i = 0; i < count; i++) {
            (void)execbuf_free(&out[i]); /* those that were not published are no buffers, which is fine */
        }
        return status;
    }
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
    if (is_large(pool, capacity) ||
        execbuf_room_take(pool, execbuf_class_of(capacity), capacity, EXECBUF_USE_RESERVED, out) == NULL) {
        return execbuf_pool_make_own(pool, out, NULL, capacity, NULL, error);
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
        execbuf_span_set_length(place.span, place.slot, place.entry, length, EXECBUF_USE_CODE);
    }
    execbuf_pool_unlock(place.pool);
    if (status != EXECBUF_OK) {
        return status;
    }
    /* In a frozen region, too: the child of the fork has the room, but no code in it. */
    write_code(execbuf_room_writable(place.region, buffer->entry), buffer->entry, code, length);
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
    } else if (execbuf_span_is_leaf(place.span, place.entry)) {
        status = execbuf_error_set(error, EXECBUF_E_THUNK, "buffer", 0);
    } else if (place.region->frozen) {
        status = execbuf_error_set(error, EXECBUF_E_FROZEN, "buffer", 0);
    } else {
        overwrite(place.region, (const uint8_t *)buffer->entry + offset, code, length);
    }
    execbuf_pool_unlock(place.pool);
    if (status == EXECBUF_OK) {
        execbuf_prim_barrier();
        status = execbuf_error_none(error);
    }
    return status;
}

/* Gives up the slot at a place, all but writing traps, if it is not frozen. */
EXECBUF_INLINE void give_up(const slot_place *place, bool frozen) {
    execbuf_pool *pool = place->pool;
    execbuf_span *span = place->span;
    place->region->live--;
    if (EXECBUF_RARE(execbuf_entry_next_tag(place->entry) == 0)) {
        span->is_worn = true;
    }
    if (!frozen) {
        if (EXECBUF_RARE(span->limbo_words == 0)) {
            span->next_limbo = pool->limbo;
            pool->limbo = span;
        }
        pool->limbo_size += span->slot_size;
    }
    execbuf_span_give_up(span, place->slot);
}

/* The body of the thunk whose leaf is in a slot with this entry; NULL: none. */
EXECBUF_INLINE const uint8_t *body_of(const execbuf_region *region, const execbuf_span *span,
                                      const uint8_t *entry, const execbuf *buffer) {
    if (!execbuf_span_is_leaf(span, entry)) {
        return NULL;
    }
    size_t length = execbuf_span_length(span, 0, entry); /* such spans have no lengths by slot */
    /* By the address by which it was written, processors find it sooner. */
    const uint8_t *leaf = region->views.rw != NULL ? execbuf_room_writable(region, buffer->entry)
                                                   : (const uint8_t *)buffer->entry;
    return execbuf_leaf_body(leaf, length, buffer->entry);
}

/* The whole of execbuf_pool_release. */
EXECBUF_OUTLINE execbuf_status release_slowly(execbuf *buffer) {
    slot_place place;
    if (!find_and_lock(buffer, &place)) {
        execbuf_table_count_stale();
        return EXECBUF_E_STALE;
    }
    const uint8_t *body = body_of(place.region, place.span, place.entry, buffer);
    if (!place.region->frozen) {
        uint8_t *rw = execbuf_room_writable(place.region, buffer->entry);
        write_traps(rw, buffer->entry, place.span->slot_size);
    }
    give_up(&place, place.region->frozen);
    if (execbuf_room_should_go(place.pool, place.region)) {
        execbuf_room_take_out(place.pool, place.region);
        execbuf_room_unlock(place.pool, place.region, NULL);
    } else {
        execbuf_pool_unlock(place.pool);
    }
    if (body != NULL) {
        execbuf_body_leave(place.pool, body); /* the pool lives: the body is code of it */
    }
    *buffer = no_buffer;
    return EXECBUF_OK;
}

/* What is to be done before the slot of a thunk is given up, if it is one, and not the last of its body; else
 * false. It takes parts of the place, not the place, so that they can stay in registers where there is no
 * thunk. */
EXECBUF_LAST bool leave_body(execbuf_pool *pool, const execbuf_region *region, const execbuf_span *span,
                             const uint8_t *entry, const execbuf *buffer) {
    const uint8_t *body = body_of(region, span, entry, buffer);
    return body == NULL || execbuf_body_leave_others(&pool->bodies, body);
}

/* What is left to do when a slot was given up: its pool is locked by its owner, so nobody takes it yet. */
EXECBUF_LAST execbuf_status finish_release(execbuf_pool *pool, uint8_t *rw, size_t size, execbuf *buffer) {
    write_traps(rw, buffer->entry, size);
    execbuf_unlock_owned(&pool->mutex);
    *buffer = no_buffer;
    return EXECBUF_OK;
}

/* What is frequent is done without a call before the last: the thread owns the mutex, the code is not frozen,
 * and other code of its region is live. */
execbuf_status execbuf_pool_release(execbuf *buffer) {
    execbuf_pool *pool = pool_of(buffer);
    if (EXECBUF_RARE(pool == NULL || *execbuf_prim_canary == 0 || !execbuf_try_lock(&pool->mutex))) {
        return release_slowly(buffer);
    }
    slot_place place;
    if (EXECBUF_RARE(!find(pool, buffer, &place) || !place.region->ordinary ||
                     (place.region->live == 1 && place.region->committed > EXECBUF_KEPT_SIZE))) {
        execbuf_unlock_owned(&pool->mutex);
        return release_slowly(buffer);
    }
    if (EXECBUF_RARE(execbuf_span_may_be_leaf(place.entry)) &&
        !leave_body(pool, place.region, place.span, place.entry, buffer)) {
        execbuf_unlock_owned(&pool->mutex);
        return release_slowly(buffer);
    }
    give_up(&place, false);
    uint8_t *rw = execbuf_room_writable(place.region, buffer->entry);
    if (!fits_two_words(place.span->slot_size)) {
        return finish_release(pool, rw, place.span->slot_size, buffer);
    }
    write_two_words(rw, buffer->entry, execbuf_traps, EXECBUF_GRANULE);
    execbuf_unlock_owned(&pool->mutex);
    *buffer = no_buffer;
    return EXECBUF_OK;
}
