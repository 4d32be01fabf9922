/* The public functions that make closures, or change the list of arguments of a function otherwise: argument
 * checks, then one call down. */

#include <string.h>

#include "../base/error.h"
#include "../call/abi.h"
#include "../call/packed.h"
#include "../mapping/handles.h"
#include "../pool/pool.h"
#include "../prim/prim.h"
#include "../thunk/bind.h"
#include "../thunk/edit.h"
#include "../thunk/machine.h"
#include "buffer.h"
#include "common_pool.h"
#include "signature.h"

/* The position that a user means; one that is too large stays so. */
static uint32_t resolve_position(uint32_t position, size_t count) {
    return position == EXECBUF_LAST ? (uint32_t)count - 1 : position;
}

/* Whether an argument at a position can be inserted. The signature has passed no check. */
static bool can_insert(const xb_signature *signature, uint32_t position) {
    return position < signature->count && signature->arguments[position] == EXECBUF_TYPE_POINTER;
}

/* The checks that depend on the signature.
 *
 * Returns: EXECBUF_OK, and error is untouched; else what is wrong.
 * Out: compact: borrows shapes, of which there are XB_MAX_SHAPES.
 *      abi:     becomes the edit.
 * In:  abi: resolved, and callable. */
static execbuf_status check_edit(xb_signature *compact, xb_shape *shapes, const execbuf_signature *signature,
                                 execbuf_abi *abi, xb_edit edit, uint32_t position, execbuf_error *error) {
    execbuf_status status = xb_signature_read(compact, shapes, signature, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    position = resolve_position(position, compact->count);
    if (position >= compact->count) {
        return xb_error_set(error, EXECBUF_E_ARGUMENTS, "position", 0);
    }
    if (edit == XB_EDIT_INSERT && !can_insert(compact, position)) {
        return xb_error_set_at(error, EXECBUF_E_TYPE, "the context of a closure is a pointer", position + 1);
    }
    *abi = xb_edit_abi(*abi, edit, position);
    if (!xb_machine_can(compact, *abi)) {
        return xb_error_set_at(error, EXECBUF_E_TYPE,
                               "the function would need more than a page of stack, or of code, to copy the "
                               "values",
                               xb_signature_largest(compact));
    }
    return EXECBUF_OK;
}

/* What all of them do before that.
 *
 * Out: abi: becomes resolved.
 * In:  has_target: whether the argument with this name is not NULL. */
static execbuf_status check_arguments(execbuf *out, execbuf_abi *abi, bool has_target, const char *name,
                                      execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = xb_no_buffer;
    if (!has_target) {
        return xb_error_set(error, EXECBUF_E_NULL, name, 0);
    }
    *abi = xb_abi_resolve(*abi);
    return xb_abi_is_callable(*abi) ? EXECBUF_OK : xb_error_set(error, EXECBUF_E_ABI, "abi", 0);
}

/* The arena in which the calling thread publishes.
 *
 * In: pool: NULL: the common one. */
static execbuf_status claim_arena(execbuf_pool *pool, xb_arena **arena, execbuf_error *error) {
    execbuf_status status = xb_api_common_pool(&pool, error);
    return status == EXECBUF_OK ? xb_pool_claim(pool, arena, error) : status;
}

/* ---- Closures ---- */

/* execbuf_bind where its fast path does not apply; nothing is checked. */
XB_COLD execbuf_status bind_slowly(execbuf_pool *pool, execbuf *out, const execbuf_signature *signature,
                                   execbuf_abi abi, execbuf_function function, void *context,
                                   uint32_t position, execbuf_error *error) {
    xb_signature compact;
    xb_shape shapes[XB_MAX_SHAPES];
    xb_arena *arena;
    execbuf_status status = check_arguments(out, &abi, function != NULL, "function", error);
    if (status == EXECBUF_OK) {
        status = check_edit(&compact, shapes, signature, &abi, XB_EDIT_INSERT, position, error);
    }
    if (status == EXECBUF_OK) {
        status = claim_arena(pool, &arena, error);
    }
    return status == EXECBUF_OK ? xb_bind_new(arena, out, &compact, abi, function, context, error) : status;
}

/* Fast path: the arguments are valid, the pool exists, and xb_bind_new_fast applies. */
execbuf_status execbuf_bind(execbuf_pool *pool, execbuf *out, const execbuf_signature *signature,
                            execbuf_abi abi, execbuf_function function, void *context, uint32_t position,
                            execbuf_error *error) {
    xb_signature_words compact;
    execbuf_abi resolved = xb_abi_resolve(abi);
    const execbuf_pool *used = pool != NULL ? pool : XB_LOAD_ACQUIRE(xb_common_pool);
    xb_arena *arena = used != NULL ? xb_pool_arena(used) : NULL;
    if (XB_UNLIKELY(out == NULL || arena == NULL || signature == NULL || function == NULL ||
                    !xb_abi_is_callable(resolved)) ||
        !xb_signature_read_fast(&compact, signature)) {
        return bind_slowly(pool, out, signature, abi, function, context, position, error);
    }
    uint32_t place = resolve_position(position, compact.signature.count);
    if (XB_UNLIKELY(!can_insert(&compact.signature, place)) ||
        !xb_bind_new_fast(arena, out, &compact.signature, xb_edit_abi(resolved, XB_EDIT_INSERT, place),
                          function, context)) {
        return bind_slowly(pool, out, signature, abi, function, context, position, error);
    }
    return xb_error_ok(error);
}

execbuf_status execbuf_rebind(const execbuf *closure, void *context) {
    xb_prim_check_fork();
    return closure == NULL ? EXECBUF_E_NULL : xb_api_counted(xb_bind_set(closure, context));
}

/* ---- Closures for run-time signatures ---- */

/* The checks of execbuf_closure_new that depend on the signature, as check_edit.
 *
 * Out: abi: becomes one of xb_handler_abi. */
static execbuf_status check_handler(xb_signature *compact, xb_shape *shapes,
                                    const execbuf_signature *signature, execbuf_abi *abi,
                                    execbuf_error *error) {
    execbuf_status status = xb_signature_read(compact, shapes, signature, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    *abi = xb_handler_abi(*abi, xb_prim_abi);
    if (!xb_machine_can(compact, *abi)) {
        return xb_error_set_at(error, EXECBUF_E_TYPE,
                               "the closure would need more than a page of stack, or of code, for the values",
                               xb_signature_largest(compact));
    }
    return EXECBUF_OK;
}

/* execbuf_closure_new where its fast path does not apply; nothing is checked. */
XB_COLD execbuf_status closure_new_slowly(execbuf_pool *pool, execbuf *out,
                                          const execbuf_signature *signature, execbuf_abi abi,
                                          execbuf_handler handler, void *context, execbuf_error *error) {
    xb_signature compact;
    xb_shape shapes[XB_MAX_SHAPES];
    xb_arena *arena;
    execbuf_status status = check_arguments(out, &abi, handler != NULL, "handler", error);
    if (status == EXECBUF_OK) {
        status = check_handler(&compact, shapes, signature, &abi, error);
    }
    if (status == EXECBUF_OK) {
        status = claim_arena(pool, &arena, error);
    }
    return status == EXECBUF_OK
               ? xb_bind_new(arena, out, &compact, abi, (execbuf_function)handler, context, error)
               : status;
}

/* Fast path: as that of execbuf_bind. */
execbuf_status execbuf_closure_new(execbuf_pool *pool, execbuf *out, const execbuf_signature *signature,
                                   execbuf_abi abi, execbuf_handler handler, void *context,
                                   execbuf_error *error) {
    xb_signature_words compact;
    execbuf_abi resolved = xb_abi_resolve(abi);
    const execbuf_pool *used = pool != NULL ? pool : XB_LOAD_ACQUIRE(xb_common_pool);
    xb_arena *arena = used != NULL ? xb_pool_arena(used) : NULL;
    if (XB_UNLIKELY(out == NULL || arena == NULL || signature == NULL || handler == NULL ||
                    !xb_abi_is_callable(resolved)) ||
        !xb_signature_read_fast(&compact, signature) ||
        !xb_bind_new_fast(arena, out, &compact.signature, xb_handler_abi(resolved, xb_prim_abi),
                          (execbuf_function)handler, context)) {
        return closure_new_slowly(pool, out, signature, abi, handler, context, error);
    }
    return xb_error_ok(error);
}

/* ---- Functions without one of the arguments ---- */

execbuf_status execbuf_drop_argument(execbuf_pool *pool, execbuf *out, const execbuf_signature *signature,
                                     execbuf_abi abi, execbuf_function function, uint32_t position,
                                     execbuf_error *error) {
    xb_signature compact;
    xb_shape shapes[XB_MAX_SHAPES];
    xb_arena *arena;
    const void *target;
    execbuf_status status = check_arguments(out, &abi, function != NULL, "function", error);
    if (status == EXECBUF_OK) {
        status = check_edit(&compact, shapes, signature, &abi, XB_EDIT_DROP, position, error);
    }
    if (status == EXECBUF_OK) {
        status = claim_arena(pool, &arena, error);
    }
    memcpy((void *)&target, (const void *)&function, sizeof target); /* ISO C has no cast for this */
    return status == EXECBUF_OK ? xb_stub_new(arena, out, &compact, abi, target, error) : status;
}
