/* The public functions on dynamic calls. */

#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../base/fault.h"
#include "../call/abi.h"
#include "../call/packed.h"
#include "../pool/pool.h"
#include "../prim/prim.h"
#include "../thunk/adapter.h"
#include "../thunk/image.h"
#include "../thunk/machine.h"
#include "common_pool.h"
#include "signature.h"

/* Where an argument is. */
typedef struct caller_argument {
    uint32_t slot;
    uint32_t size;
} caller_argument;

/* An adapter of execbuf_call. */
typedef void (*caller_entry)(const execbuf_caller *caller, execbuf_function function,
                             const execbuf_slot *arguments, execbuf_slot *result);

struct execbuf_caller {
    caller_entry enter;  /* first: an adapter reads nothing else */
    xb_arena *arena;     /* that has the adapter, of which the caller is a user */
    xb_image_plan *plan; /* NULL, unless there is no adapter */
    uint32_t argument_slots;
    uint32_t result_slots;
    uint32_t count;
    caller_argument arguments[1]; /* as many as count */
};

/* The checks of execbuf_caller_new, and the conversion of the signature; resolves the convention.
 *
 * Returns: EXECBUF_OK, and error is untouched; else what is wrong.
 * Out: compact: borrows shapes, of which there are XB_MAX_SHAPES.
 *      abi:     one of xb_packed_abi. */
static execbuf_status check_caller(xb_signature *compact, xb_shape *shapes,
                                   const execbuf_signature *signature, execbuf_abi *abi,
                                   execbuf_error *error) {
    execbuf_status status = xb_signature_read(compact, shapes, signature, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    execbuf_abi callee = xb_abi_resolve(*abi);
    if (!xb_abi_is_callable(callee)) {
        return xb_error_set(error, EXECBUF_E_ABI, "abi", 0);
    }
    *abi = xb_packed_abi(xb_prim_abi, callee);
    if (!xb_machine_can(compact, *abi)) {
        return xb_error_set_at(error, EXECBUF_E_TYPE,
                               "a call would need more than a page of stack, or of code, to copy the values",
                               xb_signature_largest(compact));
    }
    return EXECBUF_OK;
}

/* Allocates a caller, which has no adapter yet; NULL: no memory. */
static execbuf_caller *allocate_caller(const xb_signature *signature) {
    size_t size = offsetof(execbuf_caller, arguments) + (signature->count + 1U) * sizeof(caller_argument);
    execbuf_caller *caller = XB_FAULT("malloc") != 0 ? NULL : (execbuf_caller *)malloc(size);
    if (caller != NULL) {
        xb_layout layout;
        xb_packed_layout(&layout, signature);
        caller->argument_slots = xb_packed_slots(layout.stack_size);
        caller->result_slots = xb_packed_slots(layout.result.size);
        caller->count = signature->count;
        caller->plan = NULL;
        for (uint32_t i = 0; i < caller->count; i++) {
            caller->arguments[i].slot = layout.arguments[i].offset / XB_SLOT_SIZE;
            caller->arguments[i].size = layout.arguments[i].size;
        }
    }
    return caller;
}

/* Finds or makes the adapter of a caller.
 *
 * In: abi: one of xb_packed_abi. */
static execbuf_status get_adapter(execbuf_caller *caller, const xb_signature *signature, execbuf_abi abi,
                                  execbuf_error *error) {
    execbuf_pool *pool = NULL;
    xb_adapter *adapter;
    execbuf_status status = xb_api_common_pool(&pool, error);
    if (status == EXECBUF_OK) {
        status = xb_pool_claim(pool, &caller->arena, error);
    }
    if (status == EXECBUF_OK) {
        status = xb_adapter_get(caller->arena, &adapter, signature, abi, error);
    }
    if (status == EXECBUF_OK) {
        memcpy((void *)&caller->enter, (const void *)&adapter->code.entry, sizeof caller->enter);
    }
    return status;
}

/* execbuf_call without an adapter. */
static void enter_slowly(const execbuf_caller *caller, execbuf_function function,
                         const execbuf_slot *arguments, execbuf_slot *result) {
    xb_image_call(caller->plan, function, arguments, result);
}

/* Whether calls can do without an adapter, which failed with this status: no memory can be made executable.
 */
static bool is_slow(execbuf_status status) {
    return xb_image_exists() && (status == EXECBUF_E_DENIED || status == EXECBUF_E_READ_IMPLIES_EXEC ||
                                 status == EXECBUF_E_UNSUPPORTED);
}

/* Prepares a caller to do without an adapter.
 *
 * Returns: false if there is no memory. */
static bool make_plan(execbuf_caller *caller, const xb_signature *signature, execbuf_abi abi) {
    size_t size = sizeof *caller->plan;
    caller->plan = XB_FAULT("malloc") != 0 ? NULL : (xb_image_plan *)malloc(size);
    if (caller->plan != NULL) {
        xb_image_plan_of(caller->plan, signature, abi);
        caller->enter = enter_slowly;
    }
    return caller->plan != NULL;
}

execbuf_status execbuf_caller_new(execbuf_caller **out, const execbuf_signature *signature, execbuf_abi abi,
                                  execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = NULL;
    xb_signature compact;
    xb_shape shapes[XB_MAX_SHAPES];
    execbuf_status status = check_caller(&compact, shapes, signature, &abi, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    execbuf_caller *caller = allocate_caller(&compact);
    if (caller == NULL) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "malloc", 0);
    }
    status = get_adapter(caller, &compact, abi, error);
    if (is_slow(status)) {
        if (make_plan(caller, &compact, abi)) {
            *out = caller;
            return EXECBUF_OK; /* the report says why there is no adapter */
        }
        status = xb_error_set(error, EXECBUF_E_NO_MEMORY, "malloc", 0);
    }
    if (status != EXECBUF_OK) {
        free(caller);
        return status;
    }
    *out = caller;
    return xb_error_ok(error);
}

void execbuf_caller_free(execbuf_caller *caller) {
    if (caller == NULL) {
        return;
    }
    if (caller->plan == NULL) {
        const uint8_t *entry;
        memcpy((void *)&entry, (const void *)&caller->enter, sizeof entry);
        xb_adapter_release(caller->arena, entry);
    }
    free(caller->plan);
    free(caller);
}

void execbuf_caller_slots(const execbuf_caller *caller, size_t *arguments, size_t *result) {
    *arguments = caller->argument_slots;
    *result = caller->result_slots;
}

size_t execbuf_caller_argument(const execbuf_caller *caller, size_t index, size_t *size) {
    bool exists = index < caller->count;
    *size = exists ? caller->arguments[index].size : 0;
    return exists ? caller->arguments[index].slot : caller->argument_slots;
}

/* One jump, to an adapter: it takes the same arguments. */
XB_UNCHECKED_CALLS void execbuf_call(const execbuf_caller *caller, execbuf_function function,
                                     const execbuf_slot *arguments, execbuf_slot *result) {
    caller->enter(caller, function, arguments, result);
}
