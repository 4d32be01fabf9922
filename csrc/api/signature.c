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
#include "../call/parse.h"
#include "../call/tree.h"

/* ---- From the public form to the compact one ---- */

/* Fills the report of a type that is refused. number is that of the argument, from 1 on, or 0 for the result.
 */
static execbuf_status report_type(execbuf_error *error, const char *reason, size_t number,
                                  const xb_tree_reader *reader) {
    (void)xb_error_set_at(error, EXECBUF_E_TYPE, reason, number);
    if (error != NULL) {
        memcpy(error->path, reader->path, sizeof error->path);
    }
    return EXECBUF_E_TYPE;
}

/* Converts a type. The reader has no path before. */
static const char *read_type(xb_signature *signature, xb_tree_reader *reader, uint8_t *out,
                             const execbuf_type *type) {
    xb_shape shape;
    const char *reason = xb_tree_shape(reader, &shape, type);
    if (reason == NULL) {
        bool is_scalar = (uint32_t)type->kind < XB_TYPE_COUNT;
        *out = is_scalar ? (uint8_t)type->kind : xb_signature_add_shape(signature, &shape);
    }
    return reason;
}

static execbuf_status read_types(xb_signature *out, const execbuf_signature *known, execbuf_error *error) {
    xb_tree_reader reader;
    memset(&reader, 0, sizeof reader);
    const char *reason = read_type(out, &reader, &out->result, &known->result);
    if (reason != NULL) {
        return report_type(error, reason, 0, &reader);
    }
    for (size_t i = 0; i < known->count; i++) {
        reason = read_type(out, &reader, &out->arguments[i], &known->arguments[i]);
        if (reason != NULL) {
            return report_type(error, reason, i + 1, &reader);
        }
    }
    return EXECBUF_OK;
}

execbuf_status xb_signature_read(xb_signature *out, xb_shape *shapes, const execbuf_signature *signature,
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
    out->shapes = shapes;
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
    execbuf_type nodes[1]; /* as many as xb_parse_nodes says */
} owned_signature;

/* Reads a text and checks the types.
 *
 * Out: made: as large as the text needs. */
static execbuf_status parse_owned(owned_signature *made, const char *text, execbuf_error *error) {
    execbuf_status status = xb_parse(&made->signature, made->nodes, text, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    xb_signature compact;
    xb_shape shapes[XB_MAX_SHAPES];
    return xb_signature_read(&compact, shapes, &made->signature, error);
}

execbuf_status execbuf_signature_parse(execbuf_signature **out, const char *text, execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = NULL;
    if (text == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "text", 0);
    }
    size_t size = offsetof(owned_signature, nodes) + xb_parse_nodes(text) * sizeof(execbuf_type);
    owned_signature *made = XB_FAULT("malloc") != 0 ? NULL : (owned_signature *)malloc(size);
    if (made == NULL) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "malloc", 0);
    }
    execbuf_status status = parse_owned(made, text, error);
    if (status != EXECBUF_OK) {
        free(made);
        return status;
    }
    *out = &made->signature;
    return xb_error_ok(error);
}

void execbuf_signature_free(execbuf_signature *signature) {
    free(signature); /* the first member of an owned_signature */
}

/* ---- Layouts ---- */

/* The public form of a location. */
static execbuf_location public_location(const xb_location *location) {
    execbuf_location out = EXECBUF_LOCATION_INIT;
    out.where = location->where[0];
    out.number = location->number[0];
    out.offset = location->offset;
    out.is_reference = location->is_reference;
    out.size = location->size;
    out.second_where = location->where[1];
    out.second_number = location->number[1];
    return out;
}

/* execbuf_layout_of without the size of out: all zero on failure. */
static execbuf_status layout_of(const execbuf_signature *signature, execbuf_layout *out, execbuf_abi abi,
                                execbuf_error *error) {
    xb_signature compact;
    xb_shape shapes[XB_MAX_SHAPES];
    memset(out, 0, sizeof *out);
    execbuf_status status = xb_signature_read(&compact, shapes, signature, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    execbuf_abi resolved = xb_abi_resolve(abi);
    if (!xb_abi_is_known(resolved)) {
        return xb_error_set(error, EXECBUF_E_ABI, "abi", 0);
    }
    xb_layout layout;
    xb_layout_of(&layout, &compact, resolved);
    out->stack_size = layout.stack_size;
    out->vector_count = layout.vector_count;
    out->result = public_location(&layout.result);
    out->result_pointer = public_location(&layout.result_pointer);
    for (size_t i = 0; i < compact.count; i++) {
        out->arguments[i] = public_location(&layout.arguments[i]);
    }
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
