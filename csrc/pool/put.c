/* Putting code into an arena, but for the fast path in put.h: chooses between a slot and a dedicated mapping.
 *
 * Code is written to a slot before the arena is unlocked, so that a fork finds no code half written. */

#include "put.h"

#include "../base/handle.h"
#include "free.h"
#include "large.h"

/* Whether code of this length gets a dedicated mapping at once. True for 0, which the mapping refuses. */
static bool is_large(const xb_arena *arena, size_t length) {
    return length - 1 >= arena->largest;
}

/* Publishes one piece of code, without the barrier. The arena is not locked. */
static execbuf_status put_one(xb_arena *arena, execbuf *out, const void *code, size_t length,
                              execbuf_error *error) {
    uint8_t *rw = NULL;
    if (!is_large(arena, length)) {
        rw = xb_alloc_slot(arena, xb_size_class(length), length, XB_USE_CODE, out);
    }
    if (rw == NULL) {
        return xb_large_new(arena, out, code, length, NULL, error);
    }
    xb_slot_write(arena->key, rw, out->entry, code, length);
    xb_arena_unlock(arena);
    return EXECBUF_OK;
}

execbuf_status xb_arena_put(xb_arena *arena, execbuf *out, const void *code, size_t length,
                            execbuf_error *error) {
    *out = xb_no_buffer;
    execbuf_status status = put_one(arena, out, code, length, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    xb_fresh_barrier();
    return xb_error_ok(error);
}

execbuf_status xb_put_slowly(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                             execbuf_error *error) {
    xb_arena *arena;
    *out = xb_no_buffer;
    execbuf_status status = xb_pool_claim(pool, &arena, error);
    return status == EXECBUF_OK ? xb_arena_put(arena, out, code, length, error) : status;
}

execbuf_status xb_put_finish(xb_arena *arena, uint8_t *rw, const execbuf *out, const void *code,
                             size_t length, execbuf_error *error) {
    xb_slot_write(XB_PRIM_NO_KEY, rw, out->entry, code, length); /* see xb_pool_put */
    xb_unlock_biased(&arena->lock);
    xb_fresh_barrier();
    return xb_error_ok(error);
}

/* Locks an arena and begins to write to its slots; the other function ends both. */
static void lock_to_write(xb_arena *arena) {
    xb_arena_lock(arena);
    xb_prim_begin_write(arena->key);
}

static void unlock_written(xb_arena *arena) {
    xb_prim_end_write(arena->key);
    xb_arena_unlock(arena);
}

/* Frees what a batch has made before one of its elements failed, and reports which one. */
static void drop_batch(execbuf *out, size_t count, size_t at_fault, execbuf_error *error) {
    if (error != NULL) {
        error->position = (uint32_t)at_fault;
    }
    for (size_t i = 0; i < count && out[i].id != 0; i++) {
        xb_pool_drop(&out[i]);
    }
}

execbuf_status xb_pool_put_batch(execbuf_pool *pool, execbuf *out, const execbuf_code *codes, size_t count,
                                 execbuf_error *error) {
    xb_arena *arena;
    execbuf_status status = xb_pool_claim(pool, &arena, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    lock_to_write(arena);
    size_t at_fault = 0;
    for (size_t i = 0; i < count && status == EXECBUF_OK; i++) {
        uint32_t class_ = xb_size_class(codes[i].length);
        uint8_t *rw = NULL;
        if (class_ != XB_NO_CLASS) {
            rw = xb_alloc_listed(arena, class_, codes[i].length, XB_USE_CODE, &out[i]);
        }
        if (rw != NULL) {
            xb_slot_copy(rw, out[i].entry, codes[i].bytes, codes[i].length);
        } else {
            unlock_written(arena);
            status = put_one(arena, &out[i], codes[i].bytes, codes[i].length, error);
            lock_to_write(arena);
        }
        at_fault = i;
    }
    unlock_written(arena);
    if (status == EXECBUF_OK) {
        xb_fresh_barrier();
        return xb_error_ok(error);
    }
    drop_batch(out, count, at_fault, error);
    return status;
}

/* Makes one reservation. The arena is not locked. */
static execbuf_status reserve_one(xb_arena *arena, execbuf *out, size_t capacity, execbuf_error *error) {
    if (is_large(arena, capacity) ||
        xb_alloc_slot(arena, xb_size_class(capacity), capacity, XB_USE_RESERVED, out) == NULL) {
        return xb_large_new(arena, out, NULL, capacity, NULL, error);
    }
    xb_arena_unlock(arena);
    return EXECBUF_OK;
}

execbuf_status xb_pool_reserve(execbuf_pool *pool, execbuf *out, size_t capacity, execbuf_error *error) {
    xb_arena *arena;
    execbuf_status status = xb_pool_claim(pool, &arena, error);
    if (status == EXECBUF_OK) {
        status = reserve_one(arena, out, capacity, error);
    }
    return status == EXECBUF_OK ? xb_error_ok(error) : status;
}

execbuf_status xb_pool_stage(execbuf_pool *pool, execbuf *out, size_t capacity, execbuf_error *error) {
    xb_arena *arena;
    execbuf_status status = xb_pool_claim(pool, &arena, error);
    return status == EXECBUF_OK ? xb_large_stage(arena, out, capacity, error) : status;
}

execbuf_status xb_pool_reserve_batch(execbuf_pool *pool, execbuf *out, const execbuf_room *rooms,
                                     size_t count, execbuf_error *error) {
    xb_arena *arena;
    execbuf_status status = xb_pool_claim(pool, &arena, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    xb_arena_lock(arena);
    for (size_t i = 0; i < count; i++) {
        uint32_t class_ = xb_size_class(rooms[i].capacity);
        if (class_ == XB_NO_CLASS ||
            xb_alloc_listed(arena, class_, rooms[i].capacity, XB_USE_RESERVED, &out[i]) == NULL) {
            xb_arena_unlock(arena);
            status = reserve_one(arena, &out[i], rooms[i].capacity, error);
            if (status != EXECBUF_OK) {
                drop_batch(out, count, i, error);
                return status;
            }
            xb_arena_lock(arena);
        }
    }
    xb_arena_unlock(arena);
    return xb_error_ok(error);
}

execbuf_status xb_arena_put_hidden(xb_arena *arena, execbuf *out, const void *code, size_t length,
                                   execbuf_error *error) {
    *out = xb_no_buffer;
    uint8_t *rw = NULL;
    if (!is_large(arena, length)) {
        rw = xb_alloc_slot(arena, xb_adapter_class(length), length, XB_USE_RESERVED, out);
    }
    if (rw == NULL) {
        return xb_large_new_shared(arena, out, code, length, error);
    }
    out->length = length;
    xb_slot_write(arena->key, rw, out->entry, code, length);
    xb_arena_unlock(arena);
    xb_fresh_barrier();
    return EXECBUF_OK;
}

void xb_pool_drop(execbuf *buffer) {
    if ((buffer->id & XB_ID_POOL_BIT) != 0) {
        (void)xb_slot_free(buffer);
    } else {
        xb_large_free(buffer);
    }
}
