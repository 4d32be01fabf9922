/* Putting code into a pool: in a slot of the calling thread's arena, or in a dedicated mapping if it is large
 * or the pool has no regions.
 *
 * These functions serve api/ and the modules between. They do not check for NULL. No lock is held. */
#ifndef XB_POOL_PUT_H
#define XB_POOL_PUT_H

#include <stddef.h>

#include "../base/compiler.h"
#include "../base/error.h"
#include "../prim/icache.h"
#include "../prim/lock.h"
#include "alloc.h"
#include "pool.h"
#include "slot.h"

XB_PRIVATE_BEGIN

/* xb_pool_put in all cases. */
XB_EXTERNAL_COLD execbuf_status xb_put_slowly(execbuf_pool *pool, execbuf *out, const void *code,
                                              size_t length, execbuf_error *error);

/* The end of the fast path for code that xb_slot_write_two_words cannot write. The slot at out is taken. The
 * arena is locked on entry, by the fast path of its lock, and unlocked on return.
 *
 * Returns: EXECBUF_OK. */
XB_EXTERNAL_NOINLINE execbuf_status xb_put_finish(xb_arena *arena, uint8_t *rw, const execbuf *out,
                                                  const void *code, size_t length, execbuf_error *error);

/* Publishes code.
 *
 * This is the fast path: it applies if the thread owns an arena, a slot of the right class is free there, and
 * the pool has no protection key. Every call is a tail call, so that no registers are saved; this is also why
 * it is inline.
 *
 * Returns: the status of execbuf_pool_publish.
 * Out: out:    the new buffer; all zero on failure. Free it with xb_pool_drop.
 * In:  code:   the code, which is copied.
 *      length: its length; 0 gives EXECBUF_E_EMPTY.
 * Out: error:  the report, or NULL. */
XB_INLINE execbuf_status xb_pool_put(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                                     execbuf_error *error) {
    xb_arena *arena = xb_pool_arena(pool);
    if (XB_UNLIKELY(arena == NULL)) {
        return xb_put_slowly(pool, out, code, length, error);
    }
    /* From here on the pool is arena->pool, which leaves a register for something else. */
    if (XB_UNLIKELY(length - 1 >= arena->fast_limit || xb_prim_is_clone() ||
                    !xb_try_lock_biased(&arena->lock))) {
        return xb_put_slowly(arena->pool, out, code, length, error);
    }
    uint8_t *rw = xb_alloc_listed(arena, xb_size_class(length), length, XB_USE_CODE, out);
    if (XB_UNLIKELY(rw == NULL)) {
        xb_unlock_biased(&arena->lock);
        return xb_put_slowly(arena->pool, out, code, length, error);
    }
    if (!xb_slot_fits_two_words(length)) {
        return xb_put_finish(arena, rw, out, code, length, error);
    }
    xb_slot_write_two_words(rw, out->entry, code, length);
    xb_unlock_biased(&arena->lock);
    xb_fresh_barrier();
    return xb_error_ok(error);
}

/* As xb_pool_put, in this arena. */
execbuf_status xb_arena_put(xb_arena *arena, execbuf *out, const void *code, size_t length,
                            execbuf_error *error);

/* Publishes several pieces of code, all or none, with one barrier.
 *
 * Returns: the status of xb_pool_put for the first piece that failed, whose index is the report's position.
 * In/out: out: count handles, all zero; the new buffers in the order of codes. All zero on failure.
 * In:  codes: none is empty.
 * Out: error: the report, or NULL. */
execbuf_status xb_pool_put_batch(execbuf_pool *pool, execbuf *out, const execbuf_code *codes, size_t count,
                                 execbuf_error *error);

/* Reserves memory for code.
 *
 * Returns: the status of execbuf_pool_reserve.
 * In/out: out: all zero; the reserved buffer after a success.
 * In:  capacity: 0 gives EXECBUF_E_EMPTY.
 * Out: error: the report, or NULL. */
execbuf_status xb_pool_reserve(execbuf_pool *pool, execbuf *out, size_t capacity, execbuf_error *error);

/* As xb_pool_reserve, but the buffer is staged, and always has a dedicated mapping. */
execbuf_status xb_pool_stage(execbuf_pool *pool, execbuf *out, size_t capacity, execbuf_error *error);

/* Makes several reservations, all or none.
 *
 * Returns: the status of xb_pool_reserve for the first room that failed, whose index is the report's
 *          position.
 * In/out: out: count handles, all zero; the new buffers in the order of rooms. All zero on failure.
 * In:  rooms: none has the capacity 0.
 * Out: error: the report, or NULL. */
execbuf_status xb_pool_reserve_batch(execbuf_pool *pool, execbuf *out, const execbuf_room *rooms,
                                     size_t count, execbuf_error *error);

/* Publishes code that is to become an adapter, of at most XB_MAX_ADAPTER_SLOT bytes. In a slot it is hidden:
 * lookups do not find it until xb_slot_set_hidden shows it. The slot's span contains adapters only. A
 * dedicated mapping is never found as a buffer.
 *
 * Returns: EXECBUF_OK, and error may be untouched; else as xb_arena_put, as the arguments are. */
execbuf_status xb_arena_put_hidden(xb_arena *arena, execbuf *out, const void *code, size_t length,
                                   execbuf_error *error);

/* Frees a buffer of any arena, in a slot or in a dedicated mapping, and sets the handle to all zero. The
 * handle is that of a live buffer. */
void xb_pool_drop(execbuf *buffer);

XB_PRIVATE_END

#endif
