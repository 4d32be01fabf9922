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

#include <string.h>

#include "../../call/abi.h"
#include "../../call/layout.h"
#include "../../call/packed.h"
#include "../../call/type.h"
#include "../../prim/prim.h"
#include "../machine.h"
#include "asm.h"
#include "machine.h"

/* The frame above x29, and where the result's address is there. */
#define FRAME_ABOVE 32U
#define FRAME_RESULT 16U

/* The largest frame, so that it is less than a page. */
#define MOST_BELOW 4000U

#define CALL_FUNCTION 17U
#define CALL_ARGUMENTS 2U
#define CALL_SCRATCH 9U
#define CALL_COUNTER 10U
#define CALL_COPY 11U
#define CALL_VECTOR 16U

/* An adapter that is being written. */
typedef struct arm_code {
    xb_arm_asm to;
    xb_frame frame;
    const xb_signature *signature;
    xb_layout from;                         /* the slots */
    xb_layout where;                        /* where the target wants the arguments */
    uint32_t copies[EXECBUF_MAX_ARGUMENTS]; /* offsets from sp */
} arm_code;

/* ---- What is moved alike ---- */

#define NONE EXECBUF_TYPE_VOID
#define I8 EXECBUF_TYPE_I8
#define U8 EXECBUF_TYPE_U8
#define I16 EXECBUF_TYPE_I16
#define U16 EXECBUF_TYPE_U16
#define I32 EXECBUF_TYPE_I32
#define U32 EXECBUF_TYPE_U32
#define I64 EXECBUF_TYPE_I64
#define F32 EXECBUF_TYPE_F32
#define F64 EXECBUF_TYPE_F64
#define I128 EXECBUF_TYPE_I128
#define V128 EXECBUF_TYPE_V128
/* The lists below are of void, bool, i8, u8, i16, u16, i32, u32, i64, u64, pointer, f32, f64, i128, u128 and
 * the vector. */

const uint8_t *xb_arm_kinds(void) {
    static const uint8_t kinds[XB_TYPE_COUNT] = {NONE, U8,  I8,  U8,  I16, U16,  I32,  I32,
                                                 I64,  I64, I64, F32, F64, I128, I128, V128};
    return kinds;
}

const uint8_t *xb_arm_result_kinds(void) {
    static const uint8_t kinds[XB_TYPE_COUNT] = {NONE, U8,  I8,  U8,  I16, U16,  I32,  U32,
                                                 I64,  I64, I64, F32, F64, I128, I128, V128};
    return kinds;
}

#undef NONE
#undef I8
#undef U8
#undef I16
#undef U16
#undef I32
#undef U32
#undef I64
#undef F32
#undef F64
#undef I128
#undef V128

/* System V's classes do not matter. */
uint8_t xb_arm_alike(xb_shape *shape) {
    shape->classes[0] = XB_CLASS_NONE;
    shape->classes[1] = XB_CLASS_NONE;
    return XB_FIRST_SHAPE;
}

/* ---- The convention of this system ---- */

void xb_arm_layout(xb_layout *out, const xb_signature *signature) {
    execbuf_abi abi = XB_ABI_AAPCS64;
    switch (xb_prim_arm) {
    case XB_PRIM_ARM_APPLE: abi = XB_ABI_APPLE64; break;
    case XB_PRIM_ARM_WINDOWS: abi = XB_ABI_WINDOWS64; break;
    default: break;
    }
    xb_layout_of_aarch64(out, signature, abi);
}

bool xb_arm_has_small_slots(void) {
    return xb_prim_arm == XB_PRIM_ARM_APPLE;
}

/* ---- To memory ---- */

static uint32_t arm_frame_round_up(uint32_t size) {
    return (size + 15) & ~15U;
}

/* Says where copies of values are.
 *
 * Returns: how large the frame below x29 is. */
static uint32_t plan_call(arm_code *code) {
    uint32_t at = arm_frame_round_up(code->where.stack_size);
    for (uint32_t i = 0; i < code->signature->count; i++) {
        if (code->where.arguments[i].is_reference) {
            code->copies[i] = at;
            at += arm_frame_round_up(code->where.arguments[i].size);
        }
    }
    return at;
}

/* Copies a value of more than 16 bytes from where x9 points to [sp + where], which need not be aligned. The
 * last part overlaps the one before it, so that it ends where the value does. */
static void copy_long(arm_code *code, uint32_t where, uint32_t size) {
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

/* The load with which a scalar of a size is copied. */
static uint32_t load_of_size(uint32_t size) {
    switch (size) {
    case 1: return XB_ARM_LDRB;
    case 2: return XB_ARM_LDRH;
    case 4: return XB_ARM_LDR_W;
    default: return XB_ARM_LDR_X;
    }
}

/* The load with which an element of a size goes to a vector register. */
static uint32_t load_of_element(uint32_t size) {
    return size == 4 ? XB_ARM_LDR_S : size == 8 ? XB_ARM_LDR_D : XB_ARM_LDR_Q;
}

/* Copies what is in slots to the stack, in parts that the place is aligned to. (Only Apple has places that
 * are not aligned to 8.) Behind the value, bytes of its last slot are copied, too: places are written in the
 * order of their addresses. */
static void copy_slots(arm_code *code, uint32_t index, uint32_t first) {
    uint32_t offset = code->where.arguments[index].offset;
    uint32_t size = code->from.arguments[index].size - XB_SLOT_SIZE * first;
    uint32_t slot = code->from.arguments[index].offset + XB_SLOT_SIZE * first;
    uint32_t part = offset % 8 == 0 ? 8 : offset % 4 == 0 ? 4 : offset % 2 == 0 ? 2 : 1;
    for (uint32_t at = 0; at < size; at += part) {
        xb_arm_ldr(&code->to, load_of_size(part), CALL_SCRATCH, CALL_ARGUMENTS, slot + at);
        xb_arm_str(&code->to, load_of_size(part), CALL_SCRATCH, XB_ARM_SP, offset + at);
    }
}

/* Writes what an argument has in memory. On Windows, a part of it may be in registers. */
static void write_arm_memory(arm_code *code, uint32_t index) {
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
static void load_general(arm_code *code, uint32_t index, uint32_t piece) {
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
static void load_elements(arm_code *code, uint32_t index) {
    xb_arm_asm *to = &code->to;
    const xb_location *from = &code->from.arguments[index];
    const xb_location *where = &code->where.arguments[index];
    uint32_t load = load_of_element(where->piece);
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
static void load_arm_registers(arm_code *code, bool is_last) {
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

static void write_arm_arguments(arm_code *code) {
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
static void extend_arm_result(arm_code *code) {
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
static void write_arm_result(arm_code *code) {
    xb_arm_asm *to = &code->to;
    const xb_location *from = &code->where.result;
    if (from->where[0] == EXECBUF_NOWHERE || from->is_reference) {
        return;
    }
    extend_arm_result(code);
    xb_arm_ldr(to, XB_ARM_LDR_X, CALL_SCRATCH, XB_ARM_FP, FRAME_RESULT);
    for (uint32_t i = 0; i < XB_MAX_PIECES && from->where[i] != EXECBUF_NOWHERE; i++) {
        uint32_t load = from->where[i] == EXECBUF_IN_VECTOR ? load_of_element(from->piece) : XB_ARM_LDR_X;
        xb_arm_str(to, load, from->number[i], CALL_SCRATCH, from->piece * i);
    }
}

/* ---- Frames ---- */

static void write_arm_call(arm_code *code, const xb_signature *signature) {
    xb_arm_asm *to = &code->to;
    xb_frame *frame = &code->frame;
    code->signature = signature;
    xb_packed_layout(&code->from, signature);
    xb_arm_layout(&code->where, signature);
    frame->size = plan_call(code);
    xb_arm_bti_c(to);
    xb_arm_push_frame(to, FRAME_ABOVE);
    frame->pushed_rbp = to->length;
    xb_arm_add(to, XB_ARM_FP, XB_ARM_SP, 0);
    frame->moved_rbp = to->length;
    xb_arm_str(to, XB_ARM_LDR_X, 3, XB_ARM_FP, FRAME_RESULT);
    xb_arm_mov(to, CALL_FUNCTION, 1);
    if (frame->size > 0) {
        xb_arm_sub(to, XB_ARM_SP, XB_ARM_SP, frame->size);
    }
    frame->allocated = to->length;
    write_arm_arguments(code);
    xb_arm_blr(to, CALL_FUNCTION);
    write_arm_result(code);
    if (frame->size > 0) {
        xb_arm_add(to, XB_ARM_SP, XB_ARM_FP, 0);
    }
    frame->freed = to->length;
    xb_arm_pop_frame(to, FRAME_ABOVE);
    frame->popped_rbp = to->length;
    xb_arm_ret(to);
    frame->length = to->length;
}

bool xb_arm_can(const xb_signature *signature) {
    if (signature->shape_count == 0) {
        return true;
    }
    arm_code code; /* which is measured and not written */
    memset(&code, 0, sizeof code);
    write_arm_call(&code, signature);
    return code.frame.size <= MOST_BELOW && code.to.length <= XB_MAX_ADAPTER_SIZE;
}

void xb_arm_adapter(uint8_t *out, xb_frame *frame, const xb_signature *signature) {
    arm_code code;
    memset(&code, 0, sizeof code);
    code.to.out = out;
    code.to.capacity = XB_MAX_ADAPTER_SIZE;
    write_arm_call(&code, signature);
    *frame = code.frame;
}
