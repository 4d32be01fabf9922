/* Thunks: stubs of adapters, in a pool. */

#include "../base/error.h"
#include "../thunk/adapter.h"
#include "../thunk/x86_64/stub.h"
#include "../pool/slot.h"
#include "../prim/icache.h"
#include "../pool/alloc.h"
#include "../call/signature.h"

/* The pool for those who have none; it stays for ever. Written with the process's lock. */
static execbuf_pool *volatile common;

/* Makes the common pool. */
static execbuf_status make_common_pool(execbuf_error *error) {
    execbuf_pool *pool;
    execbuf_pool_options options = {NULL, "execbuf thunks"};
    execbuf_status status = execbuf_pool_new(&pool, &options, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    xb_prim_lock();
    bool is_first = XB_LOAD_ACQUIRE(common) == NULL;
    if (is_first) {
        XB_STORE_RELEASE(common, pool);
    }
    xb_prim_unlock();
    if (!is_first) {
        execbuf_pool_free(pool); /* another thread was faster */
    }
    return EXECBUF_OK;
}

/* Writes a stub of this length to its slot, all of it. */
XB_INLINE void write_stub(uint8_t *rw, const execbuf *out, size_t length, const void *target,
                          const void *adapter) {
    xb_stub stub = xb_stub_make(length, out->entry, target, adapter);
    if (XB_ONE_VIEW) {
        xb_prim_begin_write();
    }
    memcpy(rw, &stub.words[0], 8);
    memcpy(rw + 8, &stub.words[1], 8);
    if (length > XB_STUB_NEAR) {
        memcpy(rw + 16, &stub.words[2], 8);
        memcpy(rw + 24, &stub.words[3], 8);
    }
    if (XB_ONE_VIEW) {
        xb_prim_end_write();
    }
    xb_sync((const uint8_t *)out->entry, rw, length);
    xb_fresh_barrier();
}

/* Publishes a stub where no slot was free, or those that were are too far away. One with a dedicated mapping
 * is of the kind that can be anywhere. */
static execbuf_status publish_stub(execbuf_pool *pool, execbuf *out, const void *target,
                                   const uint8_t *adapter, execbuf_error *error) {
    size_t length = xb_stub_reaches(adapter, target) ? XB_STUB_NEAR : XB_STUB_TARGET_FAR;
    uint8_t *rw;
    while ((rw = xb_alloc_slot(pool, xb_size_class(length), length, XB_USE_LINKED, out)) != NULL) {
        if (xb_stub_fits(length, out->entry, target, adapter)) {
            write_stub(rw, out, length, target, adapter);
            return xb_error_ok(error);
        }
        (void)xb_slot_free(out);
        length = XB_STUB_FAR;
    }
    xb_stub stub = xb_stub_make(XB_STUB_FAR, NULL, target, adapter);
    return xb_large_new(pool, out, stub.words, XB_STUB_FAR, adapter, error);
}

/* A thunk that crosses, but for what is frequent: its adapter may be new. */
static execbuf_status new_crossing(execbuf_pool *pool, execbuf *out, const execbuf_signature *signature,
                                   execbuf_abi caller_abi, const void *target, execbuf_error *error) {
    xb_adapter *adapter;
    execbuf_status status = xb_adapter_get(pool, signature, caller_abi, &adapter, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    const uint8_t *entry = (const uint8_t *)adapter->code.entry;
    status = publish_stub(pool, out, target, entry, error);
    if (status != EXECBUF_OK) {
        xb_adapter_release(pool, entry);
    }
    return status;
}

/* A thunk that only jumps. */
static execbuf_status new_jump(execbuf_pool *pool, execbuf *out, const execbuf_signature *signature,
                               const void *target, execbuf_error *error) {
    execbuf_status status = xb_signature_check(signature, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    xb_stub stub = xb_stub_make(XB_STUB_JUMP, NULL, target, NULL);
    return execbuf_pool_publish(pool, out, stub.words, XB_STUB_JUMP, error);
}

/* Whether a thunk between two conventions, by name, crosses on this machine. */
static bool is_crossing(execbuf_abi caller_abi, execbuf_abi abi) {
    return xb_prim_abi != EXECBUF_ABI_NATIVE && caller_abi != abi && xb_abi_is_known(caller_abi) &&
           xb_abi_is_known(abi);
}

/* The whole of execbuf_thunk_new, with the conventions by name. */
XB_COLD execbuf_status new_slowly(execbuf *out, execbuf_pool *pool, const execbuf_signature *signature,
                                  execbuf_abi caller_abi, execbuf_abi abi, const void *target,
                                  execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = xb_no_buffer;
    if (target == NULL || signature == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, target == NULL ? "target" : "signature", 0);
    }
    if (!xb_abi_is_known(caller_abi) || !xb_abi_is_known(abi) ||
        xb_prim_abi == EXECBUF_ABI_NATIVE) { /* not on x86-64 */
        return xb_error_set(error, EXECBUF_E_ABI, xb_abi_is_known(caller_abi) ? "abi" : "entered", 0);
    }
    if (pool == NULL) {
        execbuf_status status = make_common_pool(error);
        if (status != EXECBUF_OK) {
            return status;
        }
        pool = XB_LOAD_ACQUIRE(common);
    }
    return caller_abi != abi ? new_crossing(pool, out, signature, caller_abi, target, error)
                             : new_jump(pool, out, signature, target, error);
}

/* Publishes a stub of this length, and unlocks the pool. False: no slot is free where it fits. */
XB_INLINE bool publish_quickly(execbuf_pool *pool, execbuf *out, size_t length, const void *target,
                               xb_adapter *adapter) {
    uint8_t *rw = NULL;
    const void *entry = adapter->code.entry;
    uint32_t class_ = xb_size_class(length);
    const xb_span *span = pool->classes[class_];
    if (span != NULL && xb_stub_fits(length, span->start, target, entry)) {
        rw = xb_alloc_listed(pool, class_, length, XB_USE_LINKED, out);
    }
    adapter->users += rw != NULL;
    xb_pool_unlock(pool);
    if (rw != NULL) {
        write_stub(rw, out, length, target, entry);
    }
    return rw != NULL;
}

/* What is frequent takes the lock once: the fingerprint was used before, and a slot is free. */
execbuf_status execbuf_thunk_new(execbuf *out, execbuf_pool *pool, const execbuf_signature *signature,
                                 execbuf_abi caller_abi, execbuf_abi abi, const void *target,
                                 execbuf_error *error) {
    caller_abi = xb_abi_resolve(caller_abi);
    abi = xb_abi_resolve(abi);
    pool = pool != NULL ? pool : XB_LOAD_ACQUIRE(common);
    if (XB_UNLIKELY(out == NULL || pool == NULL || signature == NULL || target == NULL ||
                    !is_crossing(caller_abi, abi))) {
        return new_slowly(out, pool, signature, caller_abi, abi, target, error);
    }
    xb_pool_lock(pool);
    xb_adapter *adapter = xb_adapter_recall(xb_adapters_of(pool), signature, caller_abi);
    if (XB_UNLIKELY(adapter == NULL)) {
        adapter = xb_adapter_find(xb_adapters_of(pool), signature, caller_abi);
    }
    bool done = false;
    if (XB_UNLIKELY(adapter == NULL)) {
        xb_pool_unlock(pool);
    } else if (xb_stub_reaches(adapter->code.entry, target)) {
        done = publish_quickly(pool, out, XB_STUB_NEAR, target, adapter);
    } else {
        done = publish_quickly(pool, out, XB_STUB_TARGET_FAR, target, adapter);
    }
    return done ? xb_error_ok(error) : new_slowly(out, pool, signature, caller_abi, abi, target, error);
}
