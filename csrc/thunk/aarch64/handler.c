/* Writes the adapters of AArch64 that belong to closures which call handlers: see "Handlers" in ../machine.h.
 *
 * A handler is handler(context, slots, result): in x0 to x2. An adapter is entered with the address of the
 * cell in x16. Its frame has the shape of the others (see edit.c), with this below x29:
 *
 *     +--------------------------+  x29
 *     | copies of values         |  of more than 16 bytes, that come in vector registers or misaligned
 *     | the result               |  unless the caller has passed the address of its memory, in x8
 *     | slots                    |
 *     +--------------------------+  sp at the call, a multiple of 16
 *
 * The arguments are only stored, so no order could be wrong. x9 and v16 change, and arguments are extended
 * where they are. */

#include "../../call/packed.h"
#include "../../call/type.h"
#include "code.h"
#include "machine.h"

#define HANDLER_CELL 16U
#define HANDLER_TARGET 17U
#define HANDLER_SCRATCH 9U
#define HANDLER_VECTOR 16U
#define HANDLER_RESULT_POINTER 8U

/* ---- Arguments ---- */

/* Whether the slot of an argument gets the address of a copy. Homogeneous aggregates are not aligned on the
 * stack as an attribute of the type says (AAPCS64, 5.9 and 6.8.2). */
static bool has_copy(const xb_arm_code *code, uint32_t index) {
    const xb_location *from = &code->from.arguments[index];
    xb_shape shape = xb_signature_shape(code->signature, code->signature->arguments[index]);
    bool is_misaligned = shape.align == 16 && from->offset % 16 != 0;
    return code->where.arguments[index].is_reference && !from->is_reference &&
           (from->where[0] == EXECBUF_IN_VECTOR || is_misaligned);
}

/* The load that extends an integer type to 64 bits; that of a whole word for all other types. */
static uint32_t extending_load(uint8_t type) {
    switch (type) {
    case EXECBUF_TYPE_BOOL:
    case EXECBUF_TYPE_U8: return XB_ARM_LDRB;
    case EXECBUF_TYPE_I8: return XB_ARM_LDRSB_X;
    case EXECBUF_TYPE_U16: return XB_ARM_LDRH;
    case EXECBUF_TYPE_I16: return XB_ARM_LDRSH_X;
    case EXECBUF_TYPE_U32:
    case EXECBUF_TYPE_F32: return XB_ARM_LDR_W;
    case EXECBUF_TYPE_I32: return XB_ARM_LDRSW;
    default: return XB_ARM_LDR_X;
    }
}

/* Extends an integer type in a general register. */
static void extend_argument(xb_arm_asm *to, uint32_t reg, uint8_t type) {
    switch (type) {
    case EXECBUF_TYPE_BOOL:
    case EXECBUF_TYPE_U8: xb_arm_extend(to, reg, false, 7); break;
    case EXECBUF_TYPE_I8: xb_arm_extend(to, reg, true, 7); break;
    case EXECBUF_TYPE_U16: xb_arm_extend(to, reg, false, 15); break;
    case EXECBUF_TYPE_I16: xb_arm_extend(to, reg, true, 15); break;
    case EXECBUF_TYPE_U32: xb_arm_extend(to, reg, false, 31); break;
    case EXECBUF_TYPE_I32: xb_arm_extend(to, reg, true, 31); break;
    default: break;
    }
}

/* Writes an address to the slot of an argument. */
static void store_address(xb_arm_code *code, uint32_t index, uint32_t base, uint32_t offset) {
    xb_arm_add(&code->to, HANDLER_SCRATCH, base, offset);
    xb_arm_str(&code->to, XB_ARM_LDR_X, HANDLER_SCRATCH, XB_ARM_SP, code->where.arguments[index].offset);
}

/* Stores the vector registers of an argument to its slots, or to a copy whose address its slot gets. */
static void store_elements(xb_arm_code *code, uint32_t index) {
    xb_arm_asm *to = &code->to;
    const xb_location *from = &code->from.arguments[index];
    uint32_t load = xb_arm_load_of_element(from->piece);
    uint32_t base = XB_ARM_SP;
    uint32_t offset = code->where.arguments[index].offset;
    if (code->where.arguments[index].is_reference) {
        store_address(code, index, XB_ARM_SP, code->copies[index]);
        offset = code->copies[index];
    } else if (from->piece == 16) { /* slots are not aligned to 16, as the offset of this store has to be */
        base = HANDLER_SCRATCH;
        xb_arm_add(to, base, XB_ARM_SP, offset);
        offset = 0;
    }
    for (uint32_t i = 0; i < XB_MAX_PIECES && from->where[i] == EXECBUF_IN_VECTOR; i++) {
        xb_arm_str(to, load, from->number[i], base, offset + from->piece * i);
    }
}

/* Copies an argument of at most 16 bytes from the caller's stack, in parts that its place is aligned to: only
 * Apple has places that are not aligned to 8. */
static void copy_to_slots(xb_arm_code *code, uint32_t index) {
    const xb_location *from = &code->from.arguments[index];
    uint32_t source = XB_ARM_FRAME_ABOVE + from->offset;
    uint32_t slot = code->where.arguments[index].offset;
    uint8_t type = code->signature->arguments[index];
    uint32_t load = extending_load(type);
    uint32_t part = source % 8 == 0 ? 8 : source % 4 == 0 ? 4 : source % 2 == 0 ? 2 : 1;
    if (xb_arm_size(load) < 8) { /* a scalar, which is extended */
        xb_arm_ldr(&code->to, load, HANDLER_SCRATCH, XB_ARM_FP, source);
        xb_arm_str(&code->to, XB_ARM_LDR_X, HANDLER_SCRATCH, XB_ARM_SP, slot);
        return;
    }
    for (uint32_t at = 0; at < from->size; at += part) {
        xb_arm_ldr(&code->to, xb_arm_load_of_size(part), HANDLER_SCRATCH, XB_ARM_FP, source + at);
        xb_arm_str(&code->to, xb_arm_load_of_size(part), HANDLER_SCRATCH, XB_ARM_SP, slot + at);
    }
}

/* Copies an argument of more than 16 bytes, in parts of 8, from the caller's stack to where it is aligned. */
static void copy_aligned(xb_arm_code *code, uint32_t index) {
    const xb_location *from = &code->from.arguments[index];
    store_address(code, index, XB_ARM_SP, code->copies[index]);
    for (uint32_t at = 0; at < from->size; at += 8) {
        xb_arm_ldr(&code->to, XB_ARM_LDR_X, HANDLER_SCRATCH, XB_ARM_FP,
                   XB_ARM_FRAME_ABOVE + from->offset + at);
        xb_arm_str(&code->to, XB_ARM_LDR_X, HANDLER_SCRATCH, XB_ARM_SP, code->copies[index] + at);
    }
}

/* Writes the slots of an argument. */
static void store_argument(xb_arm_code *code, uint32_t index) {
    xb_arm_asm *to = &code->to;
    const xb_location *from = &code->from.arguments[index];
    uint32_t slot = code->where.arguments[index].offset;
    uint32_t source = XB_ARM_FRAME_ABOVE + from->offset;
    if (from->where[0] == EXECBUF_IN_VECTOR) {
        store_elements(code, index);
    } else if (from->where[0] == EXECBUF_IN_GENERAL) {
        extend_argument(to, from->number[0], code->signature->arguments[index]);
        for (uint32_t i = 0; i < 2 && from->where[i] == EXECBUF_IN_GENERAL; i++) {
            xb_arm_str(to, XB_ARM_LDR_X, from->number[i], XB_ARM_SP, slot + XB_SLOT_SIZE * i);
        }
    } else if (from->is_reference) {
        xb_arm_ldr(to, XB_ARM_LDR_X, HANDLER_SCRATCH, XB_ARM_FP, source);
        xb_arm_str(to, XB_ARM_LDR_X, HANDLER_SCRATCH, XB_ARM_SP, slot);
    } else if (has_copy(code, index)) {
        copy_aligned(code, index);
    } else if (code->where.arguments[index].is_reference) {
        store_address(code, index, XB_ARM_FP, source);
    } else {
        copy_to_slots(code, index);
    }
}

/* ---- The result ---- */

/* Zeroes a result of more than 16 bytes at the address in x8, which need not be aligned. The last part
 * overlaps the one before it, so that it ends where the value does. */
static void zero_long(xb_arm_code *code, uint32_t size) {
    xb_arm_asm *to = &code->to;
    uint32_t whole = size & ~15U;
    xb_arm_zero_vector(to, HANDLER_VECTOR);
    if (size > 64) {
        xb_arm_mov_number(to, HANDLER_SCRATCH, whole);
        uint32_t start = to->length;
        xb_arm_sub(to, HANDLER_SCRATCH, HANDLER_SCRATCH, 16);
        xb_arm_str_q_at(to, HANDLER_VECTOR, HANDLER_RESULT_POINTER, HANDLER_SCRATCH);
        xb_arm_cbnz_back(to, HANDLER_SCRATCH, start);
    } else {
        for (uint32_t at = 0; at < whole; at += 16) {
            xb_arm_str(to, XB_ARM_LDR_Q, HANDLER_VECTOR, HANDLER_RESULT_POINTER, at);
        }
    }
    if (whole < size) {
        xb_arm_mov_number(to, HANDLER_SCRATCH, size - 16);
        xb_arm_str_q_at(to, HANDLER_VECTOR, HANDLER_RESULT_POINTER, HANDLER_SCRATCH);
    }
}

/* Zeroes the memory that the handler gets.
 *
 * In: offset: of the result in the frame. */
static void zero_result(xb_arm_code *code, uint32_t offset) {
    const xb_location *result = &code->from.result;
    if (result->is_reference) {
        zero_long(code, result->size);
        return;
    }
    for (uint32_t at = 0; at < result->size; at += 8) {
        xb_arm_str(&code->to, XB_ARM_LDR_X, XB_ARM_ZERO, XB_ARM_SP, offset + at);
    }
}

/* Loads a result that the caller wants in registers. Small integers are extended. */
static void load_arm_result(xb_arm_code *code, uint32_t offset) {
    const xb_location *result = &code->from.result;
    for (uint32_t i = 0; i < XB_MAX_PIECES && !result->is_reference; i++) {
        uint32_t place = offset + result->piece * i;
        if (result->where[i] == EXECBUF_IN_VECTOR) {
            uint32_t load = xb_arm_load_of_element(result->piece);
            xb_arm_ldr(&code->to, load, result->number[i], XB_ARM_SP, place);
        } else if (result->where[i] == EXECBUF_IN_GENERAL) {
            xb_arm_ldr(&code->to, extending_load(code->signature->result), result->number[i], XB_ARM_SP,
                       place);
        }
    }
}

/* ---- The frame ---- */

/* Says where copies of values are, and how large the frame is.
 *
 * Returns: the offset of the result. */
static uint32_t plan_handler(xb_arm_code *code) {
    uint32_t offset = xb_arm_round_up(code->where.stack_size);
    uint32_t at = offset + (code->from.result.is_reference ? 0 : xb_arm_round_up(code->from.result.size));
    at += at == offset ? 16 : 0; /* the address of the result is never NULL, and its own */
    for (uint32_t i = 0; i < code->signature->count; i++) {
        if (has_copy(code, i)) {
            code->copies[i] = at;
            at += xb_arm_round_up(code->from.arguments[i].size);
        }
    }
    code->frame.size = at;
    return offset;
}

void xb_arm_handler_write(xb_arm_code *code, const xb_signature *signature) {
    xb_arm_asm *to = &code->to;
    code->signature = signature;
    xb_arm_layout(&code->from, signature);
    xb_packed_layout(&code->where, signature);
    uint32_t result = plan_handler(code);
    xb_arm_begin_frame(code);
    xb_arm_allocate(code);
    zero_result(code, result);
    for (uint32_t i = 0; i < signature->count; i++) {
        store_argument(code, i);
    }
    xb_arm_ldr(to, XB_ARM_LDR_X, XB_ARM_X0, HANDLER_CELL, XB_CELL_CONTEXT);
    xb_arm_add(to, 1, XB_ARM_SP, 0);
    if (code->from.result.is_reference) {
        xb_arm_mov(to, 2, HANDLER_RESULT_POINTER);
    } else {
        xb_arm_add(to, 2, XB_ARM_SP, result);
    }
    xb_arm_ldr(to, XB_ARM_LDR_X, HANDLER_TARGET, HANDLER_CELL, 0);
    xb_arm_blr(to, HANDLER_TARGET);
    load_arm_result(code, result);
    xb_arm_end_frame(code);
}
