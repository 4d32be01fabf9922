/* Makes thunks in an arena, where the fast path in stub.h does not apply: the adapter is new, no slot is free
 * that is close enough, or the arena has a protection key. The arena's lock is not held in any function; what
 * is called takes it. */

#include "stub.h"

#include "../base/error.h"
#include "../pool/alloc.h"
#include "../pool/large.h"
#include "../pool/put.h"

/* Tries the kind that should fit, since slots of an arena are mostly close to its adapters;
 * if the slot is too far away, the kind that fits anywhere; and without a slot, a dedicated mapping with that
 * kind.
 *
 * A slot that does not fit is freed unwritten. Its bytes are traps then, which xb_stub_adapter reads as a
 * link to an address that is no multiple of 16: so to no adapter, and the users of none are changed. */
execbuf_status xb_stub_publish(xb_arena *arena, execbuf *out, const void *target, const uint8_t *adapter,
                               execbuf_error *error) {
    size_t length = xb_stub_reaches(adapter, target) ? XB_STUB_NEAR : XB_STUB_TARGET_FAR;
    uint8_t *rw;
    while ((rw = xb_alloc_slot(arena, xb_size_class(length), length, XB_USE_LINKED, out)) != NULL) {
        if (xb_stub_fits(length, out->entry, target, adapter)) {
            xb_stub_write(rw, out, length, target, adapter, arena->key);
            xb_arena_unlock(arena);
            xb_fresh_barrier();
            return xb_error_ok(error);
        }
        xb_arena_unlock(arena);
        (void)xb_pool_drop(out);
        length = XB_STUB_FAR; /* fits, so the loop ends */
    }
    xb_stub stub = xb_stub_make(XB_STUB_FAR, NULL, target, adapter);
    const xb_link link = {adapter, target};
    return xb_large_new(arena, out, stub.words, XB_STUB_FAR, &link, error);
}

execbuf_status xb_stub_new(xb_arena *arena, execbuf *out, const xb_signature *signature,
                           execbuf_abi caller_abi, const void *target, execbuf_error *error) {
    xb_adapter *adapter;
    execbuf_status status = xb_adapter_get(arena, &adapter, signature, caller_abi, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    const uint8_t *entry = (const uint8_t *)adapter->code.entry;
    status = xb_stub_publish(arena, out, target, entry, error);
    if (status != EXECBUF_OK) {
        xb_adapter_release(arena, entry);
    }
    return status;
}

execbuf_status xb_stub_new_jump(xb_arena *arena, execbuf *out, const void *target, execbuf_error *error) {
    xb_stub stub = xb_stub_make(XB_STUB_JUMP, NULL, target, NULL);
    return xb_arena_put(arena, out, stub.words, XB_STUB_JUMP, error);
}
