/* Where the two conventions of x86-64 have arguments and results. */

#include <string.h>

#include "../base/error.h"
#include "signature.h"

/* Registers for integers and pointers, by the numbers that instructions have for them. */
static const uint8_t sysv_general[] = {
    7, /* rdi */
    6, /* rsi */
    2, /* rdx */
    1, /* rcx */
    8, /* r8 */
    9, /* r9 */
};
static const uint8_t win64_general[] = {
    1, /* rcx */
    2, /* rdx */
    8, /* r8 */
    9, /* r9 */
};
#define SYSV_VECTORS 8U /* xmm0 to xmm7 */

static execbuf_location in_register(uint8_t type, uint8_t general, uint32_t vector) {
    execbuf_location location = {EXECBUF_IN_GENERAL, general, 0};
    if (xb_type_is_float(type)) {
        location.where = EXECBUF_IN_VECTOR;
        location.number = (uint8_t)vector;
    }
    return location;
}

static execbuf_location on_stack(uint32_t offset) {
    execbuf_location location = {EXECBUF_ON_STACK, 0, 0};
    location.offset = (uint16_t)offset;
    return location;
}

/* Integers and floats have counters of their own; what finds no register is on the stack, in order (psABI,
 * 3.2.3). */
static void lay_out_sysv(execbuf_layout *out, const execbuf_signature *signature) {
    uint32_t general = 0;
    for (uint32_t i = 0; i < signature->count; i++) {
        uint8_t type = signature->arguments[i];
        bool is_float = xb_type_is_float(type);
        if (is_float ? out->vector_count < SYSV_VECTORS : general < sizeof sysv_general) {
            out->arguments[i] = in_register(type, is_float ? 0 : sysv_general[general], out->vector_count);
            out->vector_count += is_float;
            general += !is_float;
        } else {
            out->arguments[i] = on_stack(out->stack_size);
            out->stack_size += 8;
        }
    }
}

/* The first four arguments are in registers, by their place; each has its 8 bytes on the stack, the first
 * four as the callee's to use (Microsoft, "x64 calling convention"). */
static void lay_out_win64(execbuf_layout *out, const execbuf_signature *signature) {
    for (uint32_t i = 0; i < signature->count; i++) {
        uint8_t type = signature->arguments[i];
        if (i < sizeof win64_general) {
            out->arguments[i] = in_register(type, win64_general[i], i);
            out->vector_count += xb_type_is_float(type);
        } else {
            out->arguments[i] = on_stack(8 * i);
        }
    }
    uint32_t places = signature->count < sizeof win64_general ? sizeof win64_general : signature->count;
    out->stack_size = 8 * places;
}

execbuf_status execbuf_layout_of(execbuf_layout *out, const execbuf_signature *signature, execbuf_abi abi,
                                 execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    memset(out, 0, sizeof *out);
    execbuf_status status = xb_signature_check(signature, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    switch (xb_abi_resolve(abi)) {
    case EXECBUF_ABI_SYSV64: lay_out_sysv(out, signature); break;
    case EXECBUF_ABI_WIN64: lay_out_win64(out, signature); break;
    default: return xb_error_set(error, EXECBUF_E_ABI, "abi", 0);
    }
    out->result = in_register(signature->result, 0, 0); /* rax or xmm0, in both */
    if (signature->result == EXECBUF_TYPE_VOID) {
        out->result.where = EXECBUF_NOWHERE;
    }
    return xb_error_ok(error);
}
