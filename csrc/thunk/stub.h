/* Makes thunks in an arena: a stub, and its adapter if there is none yet. */
#ifndef XB_THUNK_STUB_H
#define XB_THUNK_STUB_H

#include <string.h>

#include "../base/compiler.h"
#include "../call/signature.h"
#include "../pool/alloc.h"
#include "../prim/icache.h"
#include "adapter.h"
#include "machine.h"

XB_PRIVATE_BEGIN

/* Makes a thunk from one convention to the other, or a function that drops an argument. The arena is not
 * locked.
 *
 * Returns: EXECBUF_OK; else the status of xb_arena_put, or EXECBUF_E_NO_MEMORY.
 * Out: out:        the thunk; as it was on failure.
 * In:  signature:  has passed xb_signature_check and xb_machine_can.
 *      caller_abi: the convention by which the thunk is called: EXECBUF_ABI_SYSV64 or EXECBUF_ABI_WIN64. The
 *                  target's is the other one. Or an edit that drops an argument (see edit.h).
 *      target:     the function that it calls.
 * Out: error:      the report; may be NULL. */
execbuf_status xb_stub_new(xb_arena *arena, execbuf *out, const xb_signature *signature,
                           execbuf_abi caller_abi, const void *target, execbuf_error *error);

/* Publishes the stub of an adapter, as the last part of xb_stub_new. The caller is a user of the adapter; on
 * success, the stub is in its place.
 *
 * In: target:  as for xb_stub_make.
 *     adapter: its address. */
execbuf_status xb_stub_publish(xb_arena *arena, execbuf *out, const void *target, const uint8_t *adapter,
                               execbuf_error *error);

/* Makes a thunk between functions of the same convention: a jump, whatever the signature. Otherwise as
 * xb_stub_new. */
execbuf_status xb_stub_new_jump(xb_arena *arena, execbuf *out, const void *target, execbuf_error *error);

XB_PRIVATE_END

/* Writes a stub to a slot that was taken for it. The arena is locked. The caller makes the barrier for new
 * code (xb_fresh_barrier) afterwards.
 *
 * In: rw:  the slot's address in the writable view.
 *     out: the slot's handle.
 *     length, target, adapter: as for xb_stub_make.
 *     key: the arena's protection key, or XB_PRIM_NO_KEY. */
XB_INLINE void xb_stub_write(uint8_t *rw, const execbuf *out, size_t length, const void *target,
                             const void *adapter, uint32_t key) {
    xb_stub stub = xb_stub_make(length, out->entry, target, adapter);
    if (XB_ONE_VIEW || key != XB_PRIM_NO_KEY) {
        xb_prim_begin_write(key);
    }
    memcpy(rw, &stub.words[0], 8);
    memcpy(rw + 8, &stub.words[1], 8);
    if (length > XB_STUB_NEAR) { /* then the slot has 32 bytes */
        memcpy(rw + 16, &stub.words[2], 8);
        memcpy(rw + 24, &stub.words[3], 8);
    }
    if (XB_ONE_VIEW || key != XB_PRIM_NO_KEY) {
        xb_prim_end_write(key);
    }
    xb_sync((const uint8_t *)out->entry, rw, length);
}

/* Takes a slot of the first span with free ones and writes a stub of this length there. The arena is locked.
 * The caller makes the barrier for new code (xb_fresh_barrier) when it has unlocked the arena.
 *
 * Returns: false if there is no free slot, or the span is too far from the target or the adapter. */
XB_INLINE bool xb_stub_publish_fast(xb_arena *arena, execbuf *out, size_t length, const void *target,
                                    xb_adapter *adapter) {
    uint8_t *rw = NULL;
    const void *entry = adapter->code.entry;
    uint32_t class_ = xb_size_class(length);
    const xb_span *span = arena->classes[class_];
    if (span != NULL && xb_stub_fits(length, span->start, target, entry)) {
        rw = xb_alloc_listed(arena, class_, length, XB_USE_LINKED, out);
    }
    adapter->users += rw != NULL;
    if (rw != NULL) {
        xb_stub_write(rw, out, length, target, entry, XB_PRIM_NO_KEY);
    }
    return rw != NULL;
}

/* The fast path of xb_stub_new, which takes the arena's lock once: the adapter exists, a slot that fits is
 * free, and the arena has no protection key. Inline, since a call would cost more than any of its steps.
 *
 * Returns: true if the thunk has been made; false if nothing has been done, and xb_stub_new is to be called.
 * Others as for xb_stub_new. */
XB_INLINE bool xb_stub_new_fast(xb_arena *arena, execbuf *out, const xb_signature *signature,
                                execbuf_abi caller_abi, const void *target) {
    if (XB_UNLIKELY(xb_has_owner(&arena->lock) && !xb_is_owner(&arena->lock))) {
        return false;
    }
    xb_arena_lock(arena);
    xb_adapter *adapter = xb_adapter_find_recent(arena, signature, caller_abi);
    if (XB_UNLIKELY(adapter == NULL)) {
        adapter = xb_adapter_find(arena, signature, caller_abi);
    }
    if (XB_UNLIKELY(adapter == NULL)) {
        xb_arena_unlock(arena);
        return false;
    }
    bool made = xb_stub_reaches(adapter->code.entry, target)
                    ? xb_stub_publish_fast(arena, out, XB_STUB_NEAR, target, adapter)
                    : xb_stub_publish_fast(arena, out, XB_STUB_TARGET_FAR, target, adapter);
    xb_arena_unlock(arena);
    xb_fresh_barrier();
    return made;
}

#endif
