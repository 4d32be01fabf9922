/* The public functions on signatures and layouts, and the conversion between the public form of a signature,
 * which is a tree that may grow, and the compact one. */

#include "signature.h"

#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../base/fault.h"
#include "../base/sized.h"
#include "../call/abi.h"
#include "../call/layout.h"

/* ---- From the public form to the compact one ---- */

/* What is wrong with a type by itself; NULL: nothing. */
static const char *fault_of_type(const execbuf_type *type) {
    if ((uint32_t)type->kind >= XB_TYPE_COUNT) {
        return "not an execbuf_type_kind";
    }
    return type->count == 0 && type->members == NULL ? NULL : "a scalar has no members";
}

/* Converts the types of a signature, whose size, count and arguments are valid. */
static execbuf_status read_types(xb_signature *out, const execbuf_signature *known, execbuf_error *error) {
    const char *reason = fault_of_type(&known->result);
    if (reason != NULL) {
        return xb_error_set_at(error, EXECBUF_E_TYPE, reason, 0);
    }
    out->result = (uint8_t)known->result.kind;
    for (size_t i = 0; i < known->count; i++) {
        reason = fault_of_type(&known->arguments[i]);
        if (reason != NULL) {
            return xb_error_set_at(error, EXECBUF_E_TYPE, reason, i + 1);
        }
        out->arguments[i] = (uint8_t)known->arguments[i].kind;
    }
    return EXECBUF_OK;
}

execbuf_status xb_signature_read(xb_signature *out, const execbuf_signature *signature,
                                 execbuf_error *error) {
    if (signature == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "signature", 0);
    }
    execbuf_signature known = EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_VOID), NULL, 0);
    if (!xb_sized_read(&known, signature, sizeof known)) {
        return xb_error_set(error, EXECBUF_E_VERSION, "signature", 0);
    }
    if (known.count > EXECBUF_MAX_ARGUMENTS) {
        return xb_error_set(error, EXECBUF_E_ARGUMENTS, "count", 0);
    }
    if (known.arguments == NULL && known.count > 0) {
        return xb_error_set(error, EXECBUF_E_NULL, "arguments", 0);
    }
    bool is_variadic = known.fixed != EXECBUF_NOT_VARIADIC;
    if (is_variadic && known.fixed > known.count) {
        return xb_error_set(error, EXECBUF_E_ARGUMENTS, "fixed", 0);
    }
    memset(out, 0, sizeof *out);
    out->count = (uint8_t)known.count;
    out->variadic = is_variadic;
    out->fixed = is_variadic ? (uint8_t)known.fixed : 0;
    execbuf_status status = read_types(out, &known, error);
    return status == EXECBUF_OK ? xb_signature_check(out, error) : status;
}

/* ---- From text to the public form ---- */

/* A signature and its types, in one piece of memory. */
typedef struct owned_signature {
    execbuf_signature signature;
    execbuf_type arguments[1]; /* as many as there are, but at least one */
} owned_signature;

static execbuf_type scalar(uint8_t kind) {
    execbuf_type type = EXECBUF_SCALAR(EXECBUF_TYPE_VOID);
    type.kind = kind;
    return type;
}

/* The public form of a valid signature; NULL if there is no memory. */
static execbuf_signature *new_signature(const xb_signature *compact) {
    size_t size = offsetof(owned_signature, arguments) + (compact->count + 1U) * sizeof(execbuf_type);
    owned_signature *made = XB_FAULT("malloc") != 0 ? NULL : (owned_signature *)malloc(size);
    if (made == NULL) {
        return NULL;
    }
    execbuf_type *arguments = made->arguments;
    for (size_t i = 0; i < compact->count; i++) {
        arguments[i] = scalar(compact->arguments[i]);
    }
    made->signature.size = sizeof made->signature;
    made->signature.result = scalar(compact->result);
    made->signature.arguments = arguments;
    made->signature.count = compact->count;
    made->signature.fixed = compact->variadic != 0 ? compact->fixed : EXECBUF_NOT_VARIADIC;
    return &made->signature;
}

execbuf_status execbuf_signature_parse(execbuf_signature **out, const char *text, execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = NULL;
    if (text == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "text", 0);
    }
    xb_signature compact;
    execbuf_status status = xb_signature_parse(&compact, text, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    *out = new_signature(&compact);
    return *out != NULL ? xb_error_ok(error) : xb_error_set(error, EXECBUF_E_NO_MEMORY, "malloc", 0);
}

void execbuf_signature_free(execbuf_signature *signature) {
    free(signature); /* the first member of an owned_signature */
}

/* ---- Layouts ---- */

/* execbuf_layout_of without the size of out: all zero on failure. */
static execbuf_status layout_of(const execbuf_signature *signature, execbuf_layout *out, execbuf_abi abi,
                                execbuf_error *error) {
    xb_signature compact;
    memset(out, 0, sizeof *out);
    execbuf_status status = xb_signature_read(&compact, signature, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    execbuf_abi resolved = xb_abi_resolve(abi);
    if (!xb_abi_is_known(resolved)) {
        return xb_error_set(error, EXECBUF_E_ABI, "abi", 0);
    }
    xb_layout_of(out, &compact, resolved);
    return xb_error_ok(error);
}

execbuf_status execbuf_layout_of(const execbuf_signature *signature, execbuf_layout *out, execbuf_abi abi,
                                 execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    if (!xb_sized_is_valid(out)) {
        return xb_error_set(error, EXECBUF_E_VERSION, "out", 0);
    }
    execbuf_layout known;
    execbuf_status status = layout_of(signature, &known, abi, error);
    xb_sized_write(out, &known, sizeof known);
    return status;
}
