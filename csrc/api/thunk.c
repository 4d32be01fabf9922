/* The public functions on thunks: argument checks, then one call down. */

#include <string.h>

#include "../base/error.h"
#include "../call/abi.h"
#include "../mapping/handles.h"
#include "../pool/pool.h"
#include "../prim/prim.h"
#include "../thunk/machine.h"
#include "../thunk/stub.h"
#include "common_pool.h"
#include "signature.h"

/* ---- Thunks as bytes ---- */

/* The checks of execbuf_thunk_emit and execbuf_thunk_new that depend on neither memory nor machine; resolves
 * the conventions and converts the signature.
 *
 * Returns: EXECBUF_OK, and error is untouched; else what is wrong.
 * Out: compact: borrows shapes, of which there are XB_MAX_SHAPES. */
static execbuf_status check_thunk(xb_signature *compact, xb_shape *shapes, const execbuf_signature *signature,
                                  execbuf_abi *caller_abi, execbuf_abi *callee_abi, const void *target,
                                  execbuf_error *error) {
    if (signature == NULL || target == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, signature == NULL ? "signature" : "target", 0);
    }
    *caller_abi = xb_abi_resolve(*caller_abi);
    *callee_abi = xb_abi_resolve(*callee_abi);
    if (!xb_abi_is_known(*caller_abi)) {
        return xb_error_set(error, EXECBUF_E_ABI, "caller_abi", 0);
    }
    if (!xb_abi_is_known(*callee_abi)) {
        return xb_error_set(error, EXECBUF_E_ABI, "callee_abi", 0);
    }
    execbuf_status status = xb_signature_read(compact, shapes, signature, error);
    if (status == EXECBUF_OK && *caller_abi != *callee_abi && !xb_machine_can(compact, *caller_abi)) {
        return xb_error_set_at(error, EXECBUF_E_TYPE,
                               "a thunk would need more than a page of stack, or of code, to copy the values",
                               xb_signature_largest(compact));
    }
    return status;
}

/* Writes to a buffer of its own first, so that nothing is written that does not fit. */
execbuf_status execbuf_thunk_emit(const execbuf_signature *signature, void *out, size_t capacity,
                                  size_t *length, execbuf_abi caller_abi, execbuf_abi callee_abi,
                                  const void *target, execbuf_error *error) {
    if (length == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "length", 0);
    }
    *length = 0;
    if (out == NULL && capacity > 0) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    xb_signature compact;
    xb_shape shapes[XB_MAX_SHAPES];
    execbuf_status status = check_thunk(&compact, shapes, signature, &caller_abi, &callee_abi, target, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    uint8_t code[XB_MAX_THUNK_SIZE];
    *length = xb_machine_thunk(code, &compact, caller_abi, callee_abi, target);
    if (out == NULL || *length > capacity) {
        return xb_error_set(error, EXECBUF_E_CAPACITY, "capacity", 0);
    }
    memcpy(out, code, *length);
    return xb_error_ok(error);
}

/* ---- Thunks in a pool ---- */

/* Whether this machine can call both conventions, and they differ. Both are resolved. */
static bool converts(execbuf_abi caller_abi, execbuf_abi callee_abi) {
    return xb_prim_abi != EXECBUF_ABI_NATIVE && caller_abi != callee_abi && xb_abi_is_known(caller_abi) &&
           xb_abi_is_known(callee_abi);
}

/* execbuf_thunk_new where its fast path does not apply; nothing is checked. */
XB_COLD execbuf_status thunk_new_slowly(execbuf_pool *pool, execbuf *out, const execbuf_signature *signature,
                                        execbuf_abi caller_abi, execbuf_abi callee_abi, const void *target,
                                        execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = xb_no_buffer;
    xb_signature compact;
    xb_shape shapes[XB_MAX_SHAPES];
    execbuf_status status = check_thunk(&compact, shapes, signature, &caller_abi, &callee_abi, target, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    if (xb_prim_abi == EXECBUF_ABI_NATIVE) { /* not x86-64 */
        return xb_error_set(error, EXECBUF_E_ABI, "caller_abi", 0);
    }
    xb_arena *arena;
    status = xb_api_common_pool(&pool, error);
    if (status == EXECBUF_OK) {
        status = xb_pool_claim(pool, &arena, error);
    }
    if (status != EXECBUF_OK) {
        return status;
    }
    return converts(caller_abi, callee_abi) ? xb_stub_new(arena, out, &compact, caller_abi, target, error)
                                            : xb_stub_new_jump(arena, out, target, error);
}

/* Fast path: the arguments are valid, the pool exists, and xb_stub_new_fast applies. */
execbuf_status execbuf_thunk_new(execbuf_pool *pool, execbuf *out, const execbuf_signature *signature,
                                 execbuf_abi caller_abi, execbuf_abi callee_abi, const void *target,
                                 execbuf_error *error) {
    xb_signature_words compact;
    execbuf_abi caller = xb_abi_resolve(caller_abi);
    pool = pool != NULL ? pool : XB_LOAD_ACQUIRE(xb_common_pool);
    xb_arena *arena = pool != NULL ? xb_pool_arena(pool) : NULL;
    if (XB_UNLIKELY(out == NULL || arena == NULL || signature == NULL || target == NULL ||
                    !converts(caller, xb_abi_resolve(callee_abi))) ||
        !xb_signature_read_fast(&compact, signature) ||
        !xb_stub_new_fast(arena, out, &compact.signature, caller, target)) {
        return thunk_new_slowly(pool, out, signature, caller_abi, callee_abi, target, error);
    }
    return xb_error_ok(error);
}
