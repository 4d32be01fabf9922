/* Checks signatures. Pure: no state, no system calls. */

#include "signature.h"

#include <string.h>

#include "../base/error.h"

/* Whether C promotes a type where it stands for "...": small integers to int, float to double (C11,
 * 6.5.2.2). type is valid. */
static bool is_promoted(uint8_t type) {
    return type < XB_FIRST_SHAPE && (xb_type_size(type) < 4 || type == EXECBUF_TYPE_F32);
}

/* Whether a byte stands for a type of this signature. */
static bool is_type(const xb_signature *signature, uint8_t type) {
    return type < XB_TYPE_COUNT || (type >= XB_FIRST_SHAPE && type - XB_FIRST_SHAPE < signature->shape_count);
}

/* What is wrong with the argument at this index; NULL: nothing. */
static const char *fault_of_argument(const xb_signature *signature, size_t index) {
    uint8_t type = signature->arguments[index];
    if (!is_type(signature, type)) {
        return "not an execbuf_type_kind";
    }
    if (type == EXECBUF_TYPE_VOID) {
        return "void is no argument; \"v()\" has none";
    }
    if (signature->variadic != 0 && index >= signature->fixed && is_promoted(type)) {
        return "in \"...\", C passes int, or double; write i, I or d";
    }
    return NULL;
}

bool xb_signature_is_scalar(const xb_signature *signature) {
    uint32_t highest = signature->result;
    for (uint32_t i = 0; i < signature->count; i++) {
        highest = signature->arguments[i] > highest ? signature->arguments[i] : highest;
    }
    return highest < XB_TYPE_COUNT;
}

execbuf_status xb_signature_check(const xb_signature *signature, execbuf_error *error) {
    if (signature->count > EXECBUF_MAX_ARGUMENTS) {
        return xb_error_set(error, EXECBUF_E_ARGUMENTS, "count", 0);
    }
    if (signature->variadic != 0 && signature->fixed > signature->count) {
        return xb_error_set(error, EXECBUF_E_ARGUMENTS, "fixed", 0);
    }
    if (!is_type(signature, signature->result)) {
        return xb_error_set_at(error, EXECBUF_E_TYPE, "not an execbuf_type_kind", 0);
    }
    for (size_t i = 0; i < signature->count; i++) {
        const char *reason = fault_of_argument(signature, i);
        if (reason != NULL) {
            return xb_error_set_at(error, EXECBUF_E_TYPE, reason, i + 1); /* 0 is the result */
        }
    }
    return EXECBUF_OK;
}

uint8_t xb_signature_add_shape(xb_signature *signature, const xb_shape *shape) {
    uint8_t index = 0;
    while (index < signature->shape_count && memcmp(&signature->shapes[index], shape, sizeof *shape) != 0) {
        index++;
    }
    if (index == signature->shape_count) {
        signature->shapes[index] = *shape;
        signature->shape_count++;
    }
    return (uint8_t)(XB_FIRST_SHAPE + index);
}

xb_shape xb_signature_shape(const xb_signature *signature, uint8_t type) {
    return type >= XB_FIRST_SHAPE ? signature->shapes[type - XB_FIRST_SHAPE] : xb_type_shape(type);
}

size_t xb_signature_largest(const xb_signature *signature) {
    size_t largest = 0;
    uint32_t size = 0;
    for (size_t i = 0; i < signature->count; i++) {
        xb_shape shape = xb_signature_shape(signature, signature->arguments[i]);
        if (shape.size > size) {
            size = shape.size;
            largest = i + 1;
        }
    }
    return largest;
}
