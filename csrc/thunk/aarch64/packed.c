/* Writes the adapters by which execbuf_call calls functions on AArch64.
 *
 * An adapter is entered as adapter(caller, function, arguments, result): in x0 to x3. The frame, from high
 * addresses to low ones:
 *
 *     +--------------------------+  sp at the entry
 *     |                          |
 *     | result                   |
 *     | x30, the return address  |
 *     | caller's x29             |
 *     +--------------------------+  x29
 *     | copies of values         |
 *     | target's stack arguments |
 *     +--------------------------+  sp at the call, a multiple of 16
 *
 * x17 has the function, and x2 the arguments until it is loaded last. What goes to memory is moved first, by
 * way of x9 to x11 and v16, which no convention passes arguments in. Integers of 8 and 16 bits are extended,
 * because Apple's compilers rely on that; AAPCS64 does not say what the other bits are. */

#include "../../call/packed.h"
#include "../../call/type.h"
#include "code.h"
#include "machine.h"

/* Where the result's address is, above x29. */
#define FRAME_RESULT 16U

#define CALL_FUNCTION 17U
#define CALL_ARGUMENTS 2U
#define CALL_SCRATCH 9U
#define CALL_COUNTER 10U
#define CALL_COPY 11U
#define CALL_VECTOR 16U

/* ---- To memory ---- */

/* Says where copies of values are.
 *
 * Returns: how large the frame below x29 is. */
static uint32_t plan_call(xb_arm_code *code) {
    uint32_t at = xb_arm_round_up(code->where.stack_size);
    for (uint32_t i = 0; i < code->signature->count; i++) {
        if (code->where.arguments[i].is_reference) {
            code->copies[i] = at;
            at += xb_arm_round_up(code->where.arguments[i].size);
        }
    }
    return at;
}

/* Copies a value of more than 16 bytes from where x9 points to [sp + where], which need not be aligned. The
 * last part overlaps the one before it, so that it ends where the value does. */
static void copy_long(xb_arm_code *code, uint32_t where, uint32_t size) {
    xb_arm_asm *to = &code->to;
    uint32_t whole = size & ~15U;
    xb_arm_add(to, CALL_COPY, XB_ARM_SP, where);
    if (size > 64) {
        xb_arm_movz(to, CALL_COUNTER, whole);
        uint32_t start = to->length;
        xb_arm_sub(to, CALL_COUNTER, CALL_COUNTER, 16);
        xb_arm_ldr_q_at(to, CALL_VECTOR, CALL_SCRATCH, CALL_COUNTER);
        xb_arm_str_q_at(to, CALL_VECTOR, CALL_COPY, CALL_COUNTER);
        xb_arm_cbnz_back(to, CALL_COUNTER, start);
    } else {
        for (uint32_t at = 0; at < whole; at += 16) {
            xb_arm_ldr(to, XB_ARM_LDR_Q, CALL_VECTOR, CALL_SCRATCH, at);
            xb_arm_str(to, XB_ARM_LDR_Q, CALL_VECTOR, CALL_COPY, at);
        }
    }
    if (whole < size) {
        xb_arm_movz(to, CALL_COUNTER, size - 16);
        xb_arm_ldr_q_at(to, CALL_VECTOR, CALL_SCRATCH, CALL_COUNTER);
        xb_arm_str_q_at(to, CALL_VECTOR, CALL_COPY, CALL_COUNTER);
    }
}

/* Copies what is in slots to the stack, in parts that the place is aligned to. (Only Apple has places that
 * are not aligned to 8.) Behind the value, bytes of its last slot are copied, too: places are written in the
 * order of their addresses. */
static void copy_slots(xb_arm_code *code, uint32_t index, uint32_t first) {
    uint32_t offset = code->where.arguments[index].offset;
    uint32_t size = code->from.arguments[index].size - XB_SLOT_SIZE * first;
    uint32_t slot = code->from.arguments[index].offset + XB_SLOT_SIZE * first;
    uint32_t part = offset % 8 == 0 ? 8 : offset % 4 == 0 ? 4 : offset % 2 == 0 ? 2 : 1;
    for (uint32_t at = 0; at < size; at += part) {
        xb_arm_ldr(&code->to, xb_arm_load_of_size(part), CALL_SCRATCH, CALL_ARGUMENTS, slot + at);
        xb_arm_str(&code->to, xb_arm_load_of_size(part), CALL_SCRATCH, XB_ARM_SP, offset + at);
    }
}

/* Writes what an argument has in memory. On Windows, a part of it may be in registers. */
static void write_arm_memory(xb_arm_code *code, uint32_t index) {
    xb_arm_asm *to = &code->to;
    const xb_location *from = &code->from.arguments[index];
    const xb_location *where = &code->where.arguments[index];
    bool is_on_stack = where->where[0] == EXECBUF_ON_STACK;
    if (where->is_reference) {
        xb_arm_ldr(to, XB_ARM_LDR_X, CALL_SCRATCH, CALL_ARGUMENTS, from->offset);
        copy_long(code, code->copies[index], from->size);
        if (is_on_stack) {
            xb_arm_add(to, CALL_SCRATCH, XB_ARM_SP, code->copies[index]);
            xb_arm_str(to, XB_ARM_LDR_X, CALL_SCRATCH, XB_ARM_SP, where->offset);
        }
    } else if (is_on_stack && from->is_reference) { /* floats or vectors */
        xb_arm_ldr(to, XB_ARM_LDR_X, CALL_SCRATCH, CALL_ARGUMENTS, from->offset);
        copy_long(code, where->offset, from->size);
    } else if (is_on_stack) {
        copy_slots(code, index, 0);
    } else if (where->where[1] == EXECBUF_ON_STACK) {
        copy_slots(code, index, 1);
    }
}

/* ---- To registers ---- */

/* Loads a general register. */
static void load_general(xb_arm_code *code, uint32_t index, uint32_t piece) {
    xb_arm_asm *to = &code->to;
    const xb_location *where = &code->where.arguments[index];
    uint32_t slot = code->from.arguments[index].offset + XB_SLOT_SIZE * piece;
    uint32_t load = XB_ARM_LDR_X;
    switch (code->signature->arguments[index]) {
    case EXECBUF_TYPE_BOOL:
    case EXECBUF_TYPE_U8: load = XB_ARM_LDRB; break;
    case EXECBUF_TYPE_I8: load = XB_ARM_LDRSB; break;
    case EXECBUF_TYPE_U16: load = XB_ARM_LDRH; break;
    case EXECBUF_TYPE_I16: load = XB_ARM_LDRSH; break;
    default: break;
    }
    if (where->is_reference) {
        xb_arm_add(to, where->number[0], XB_ARM_SP, code->copies[index]);
    } else {
        xb_arm_ldr(to, load, where->number[piece], CALL_ARGUMENTS, slot);
    }
}

/* Loads the vector registers of an argument: from slots, or from where a slot points to. */
static void load_elements(xb_arm_code *code, uint32_t index) {
    xb_arm_asm *to = &code->to;
    const xb_location *from = &code->from.arguments[index];
    const xb_location *where = &code->where.arguments[index];
    uint32_t load = xb_arm_load_of_element(where->piece);
    uint32_t base = CALL_ARGUMENTS;
    uint32_t offset = from->offset;
    if (from->is_reference) {
        base = CALL_SCRATCH;
        xb_arm_ldr(to, XB_ARM_LDR_X, base, CALL_ARGUMENTS, offset);
        offset = 0;
    } else if (where->piece == 16) { /* slots are not aligned to 16, as the offset of this load has to be */
        base = CALL_SCRATCH;
        xb_arm_add(to, base, CALL_ARGUMENTS, offset);
        offset = 0;
    }
    for (uint32_t i = 0; i < XB_MAX_PIECES && where->where[i] == EXECBUF_IN_VECTOR; i++) {
        xb_arm_ldr(to, load, where->number[i], base, offset + where->piece * i);
    }
}

/* Loads the registers: x2, or all others. */
static void load_arm_registers(xb_arm_code *code, bool is_last) {
    for (uint32_t i = 0; i < code->signature->count; i++) {
        const xb_location *where = &code->where.arguments[i];
        if (where->where[0] == EXECBUF_IN_VECTOR && !is_last) {
            load_elements(code, i);
        }
        for (uint32_t piece = 0; piece < 2; piece++) {
            if (where->where[piece] == EXECBUF_IN_GENERAL &&
                (where->number[piece] == CALL_ARGUMENTS) == is_last) {
                load_general(code, i, piece);
            }
        }
    }
}

static void write_arm_arguments(xb_arm_code *code) {
    const xb_location *result_pointer = &code->where.result_pointer;
    if (result_pointer->where[0] != EXECBUF_NOWHERE) {
        xb_arm_mov(&code->to, result_pointer->number[0], 3);
    }
    for (uint32_t i = 0; i < code->signature->count; i++) {
        write_arm_memory(code, i);
    }
    load_arm_registers(code, false);
    load_arm_registers(code, true);
}

/* ---- The result ---- */

/* Extends a result in x0, so that it fills its slot. */
static void extend_arm_result(xb_arm_code *code) {
    switch (code->signature->result) {
    case EXECBUF_TYPE_BOOL:
    case EXECBUF_TYPE_U8: xb_arm_extend(&code->to, XB_ARM_X0, false, 7); break;
    case EXECBUF_TYPE_I8: xb_arm_extend(&code->to, XB_ARM_X0, true, 7); break;
    case EXECBUF_TYPE_U16: xb_arm_extend(&code->to, XB_ARM_X0, false, 15); break;
    case EXECBUF_TYPE_I16: xb_arm_extend(&code->to, XB_ARM_X0, true, 15); break;
    case EXECBUF_TYPE_U32: xb_arm_extend(&code->to, XB_ARM_X0, false, 31); break;
    case EXECBUF_TYPE_I32: xb_arm_extend(&code->to, XB_ARM_X0, true, 31); break;
    default: break;
    }
}

/* Stores a result that is in registers: whole words, and elements of their size. */
static void write_arm_result(xb_arm_code *code) {
    xb_arm_asm *to = &code->to;
    const xb_location *from = &code->where.result;
    if (from->where[0] == EXECBUF_NOWHERE || from->is_reference) {
        return;
    }
    extend_arm_result(code);
    xb_arm_ldr(to, XB_ARM_LDR_X, CALL_SCRATCH, XB_ARM_FP, FRAME_RESULT);
    for (uint32_t i = 0; i < XB_MAX_PIECES && from->where[i] != EXECBUF_NOWHERE; i++) {
        uint32_t load =
            from->where[i] == EXECBUF_IN_VECTOR ? xb_arm_load_of_element(from->piece) : XB_ARM_LDR_X;
        xb_arm_str(to, load, from->number[i], CALL_SCRATCH, from->piece * i);
    }
}

/* ---- The frame ---- */

void xb_arm_packed_write(xb_arm_code *code, const xb_signature *signature) {
    xb_arm_asm *to = &code->to;
    code->signature = signature;
    xb_packed_layout(&code->from, signature);
    xb_arm_layout(&code->where, signature);
    code->frame.size = plan_call(code);
    xb_arm_begin_frame(code);
    xb_arm_str(to, XB_ARM_LDR_X, 3, XB_ARM_FP, FRAME_RESULT);
    xb_arm_mov(to, CALL_FUNCTION, 1);
    xb_arm_allocate(code);
    write_arm_arguments(code);
    xb_arm_blr(to, CALL_FUNCTION);
    write_arm_result(code);
    xb_arm_end_frame(code);
}
