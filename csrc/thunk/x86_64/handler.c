/* Writes the adapters of closures that call handlers: each is called by a convention and calls its target
 * with slots. Pure: no state, no system calls.
 *
 * A handler is a function of the system's convention, handler(context, slots, result):
 *
 *                   context    slots   result
 *     System V      rdi        rsi     rdx
 *     Win64         rcx        rdx     r8
 *
 * An adapter is entered with the address of a cell in r11, which has the handler and the context. Its frame
 * has the shape of the others (see emit.c), with this in its lower part:
 *
 *     +--------------------------+  a multiple of 16
 *     | the address of the       |  if the caller passes one, and the value has at most 16 bytes
 *     | result's memory          |
 *     +--------------------------+
 *     | the result; or that      |  16 bytes
 *     | address, of a longer one |
 *     +--------------------------+  rsp + code->result
 *     | slots                    |
 *     +--------------------------+  rsp + where.stack_size
 *     | Win64's shadow space     |  if the handler is one of Win64
 *     +--------------------------+  rsp at the call, a multiple of 16
 *
 * The arguments are only stored, in their order. The registers in which they come keep their values until all
 * are stored, so no order could be wrong. rax, r10 and the scratch vector change, and rcx: Win64's arguments
 * on the stack come after those in registers. */

#include "../../call/packed.h"
#include "../../call/type.h"
#include "code.h"
#include "values.h"

/* A vector register that Win64 passes no argument in, and that it lets callees change. */
#define WIN64_SCRATCH_VECTOR 5U

/* The registers of a handler's convention. */
typedef struct handler_registers {
    uint32_t context;
    uint32_t slots;
    uint32_t result;
} handler_registers;

static const handler_registers handler_sysv64 = {XB_RDI, XB_RSI, XB_RDX};
static const handler_registers handler_win64 = {XB_RCX, XB_RDX, XB_R8};

/* ---- What is moved alike ---- */

#define NONE EXECBUF_TYPE_VOID
#define I8 EXECBUF_TYPE_I8
#define U8 EXECBUF_TYPE_U8
#define I16 EXECBUF_TYPE_I16
#define U16 EXECBUF_TYPE_U16
#define I32 EXECBUF_TYPE_I32
#define U32 EXECBUF_TYPE_U32
#define I64 EXECBUF_TYPE_I64
#define F64 EXECBUF_TYPE_F64
#define I128 EXECBUF_TYPE_I128
#define V128 EXECBUF_TYPE_V128
/* The lists are as in emit.c. */

/* Integers are extended to their slots. Win64 passes the addresses of all values of 16 bytes. */
const uint8_t *xb_handler_kinds(execbuf_abi entry_abi) {
    static const uint8_t of_sysv64[XB_TYPE_COUNT] = {NONE, U8,  I8,  U8,  I16, U16,  I32,  U32,
                                                     I64,  I64, I64, F64, F64, I128, I128, V128};
    static const uint8_t of_win64[XB_TYPE_COUNT] = {NONE, U8,  I8,  U8,  I16, U16,  I32,  U32,
                                                    I64,  I64, I64, F64, F64, I128, I128, I128};
    return entry_abi == EXECBUF_ABI_WIN64 ? of_win64 : of_sysv64;
}

/* Nobody relies on the upper half of rax if the result has 32 bits. */
const uint8_t *xb_handler_result_kinds(execbuf_abi entry_abi) {
    static const uint8_t of_sysv64[XB_TYPE_COUNT] = {NONE, U8,  I8,  U8,  I16, U16,  I64,  I64,
                                                     I64,  I64, I64, F64, F64, I128, I128, V128};
    static const uint8_t of_win64[XB_TYPE_COUNT] = {NONE, U8,  I8,  U8,  I16, U16,  I64,  I64,
                                                    I64,  I64, I64, F64, F64, I128, I128, I128};
    return entry_abi == EXECBUF_ABI_WIN64 ? of_win64 : of_sysv64;
}

/* Of a value that Win64 passes. */
static uint8_t alike_win64(xb_shape *shape, bool is_result) {
    bool is_word = shape->size == 1 || shape->size == 2 || shape->size == 4 || shape->size == 8;
    shape->align = 8;
    shape->classes[0] = XB_CLASS_MEMORY;
    shape->classes[1] = XB_CLASS_MEMORY;
    if (is_word || (!is_result && shape->size > XB_MAX_IN_REGISTERS)) {
        return I64; /* or the address */
    }
    return !is_result && shape->size == XB_MAX_IN_REGISTERS ? (uint8_t)I128 : (uint8_t)XB_FIRST_SHAPE;
}

/* Whole registers and whole slots of the stack are moved; but of a result in memory, exactly its bytes. */
uint8_t xb_handler_alike(xb_shape *shape, execbuf_abi entry_abi, bool is_result) {
    shape->arm = 0;
    if (entry_abi == EXECBUF_ABI_WIN64) {
        return alike_win64(shape, is_result);
    }
    shape->align = is_result || shape->align <= 8 ? 8 : 16;
    if (shape->size <= 8 && shape->classes[0] != XB_CLASS_MEMORY) {
        return shape->classes[0] == XB_CLASS_SSE ? F64 : I64;
    }
    if (!is_result || shape->classes[0] != XB_CLASS_MEMORY) {
        shape->size = (shape->size + 7) & ~7U;
    }
    return XB_FIRST_SHAPE;
}

#undef NONE
#undef I8
#undef U8
#undef I16
#undef U16
#undef I32
#undef U32
#undef I64
#undef F64
#undef I128
#undef V128

/* ---- Arguments ---- */

/* Where a slot of an argument is, counted from its first one. */
static xb_operand argument_slot(const xb_code *code, uint32_t index, uint32_t slot) {
    return xb_asm_stack(code->where.arguments[index].offset + XB_SLOT_SIZE * slot);
}

/* Writes an argument whose address the caller passes: its address, or a copy of exactly its bytes. */
static void slot_reference(xb_code *code, uint32_t index) {
    const xb_location *from = &code->from.arguments[index];
    uint32_t reg = from->number[0];
    if (from->where[0] == EXECBUF_ON_STACK) {
        reg = XB_RCX;
        xb_asm_mov(&code->to, reg, xb_asm_stack(code->incoming + from->offset));
    }
    if (code->where.arguments[index].is_reference) {
        xb_asm_mov_store(&code->to, argument_slot(code, index, 0), reg);
    } else {
        xb_value_copy(&code->to, code->where.arguments[index].offset, reg, 0, from->size);
    }
}

/* Writes an argument that is on the stack itself. There, it has whole slots. */
static void slot_stack(xb_code *code, uint32_t index) {
    xb_asm *to = &code->to;
    const xb_location *from = &code->from.arguments[index];
    xb_operand place = xb_asm_stack(code->incoming + from->offset);
    if (code->where.arguments[index].is_reference) {
        xb_asm_lea(to, XB_RAX, place);
        xb_asm_mov_store(to, argument_slot(code, index, 0), XB_RAX);
    } else if (from->size > XB_SLOT_SIZE) {
        xb_asm_movups(to, to->scratch, place);
        xb_asm_movups_store(to, argument_slot(code, index, 0), to->scratch);
    } else {
        xb_value_extend(to, XB_RAX, place, code->signature->arguments[index]);
        xb_asm_mov_store(to, argument_slot(code, index, 0), XB_RAX);
    }
}

/* Writes an argument that is in registers: whole slots, and integers extended. Two vector registers are
 * joined, for handlers that load both slots at once (see moves.c). */
static void slot_registers(xb_code *code, uint32_t index) {
    xb_asm *to = &code->to;
    const xb_location *from = &code->from.arguments[index];
    uint8_t type = code->signature->arguments[index];
    bool is_short = type < XB_FIRST_SHAPE && xb_type_size(type) < XB_SLOT_SIZE;
    uint32_t first = code->where.arguments[index].offset;
    if (from->where[0] == EXECBUF_IN_VECTOR && from->where[1] == EXECBUF_IN_VECTOR) {
        xb_asm_punpcklqdq(to, from->number[0], from->number[1]);
        xb_value_store_vector(to, XB_RSP, first, from->number[0], 16);
        return;
    }
    for (uint32_t i = 0; i < 2; i++) {
        bool is_whole = xb_code_piece(from, i) > XB_SLOT_SIZE;
        if (from->where[i] == EXECBUF_IN_VECTOR) {
            xb_value_store_vector(to, XB_RSP, first + XB_SLOT_SIZE * i, from->number[i], is_whole ? 16 : 8);
        } else if (from->where[i] == EXECBUF_IN_GENERAL && is_short) {
            xb_value_extend(to, XB_RAX, xb_asm_reg(from->number[i]), type);
            xb_asm_mov_store(to, argument_slot(code, index, i), XB_RAX);
        } else if (from->where[i] == EXECBUF_IN_GENERAL) {
            xb_asm_mov_store(to, argument_slot(code, index, i), from->number[i]);
        }
    }
}

static void write_slots(xb_code *code) {
    for (uint32_t i = 0; i < code->signature->count; i++) {
        const xb_location *from = &code->from.arguments[i];
        if (from->is_reference) {
            slot_reference(code, i);
        } else if (from->where[0] == EXECBUF_ON_STACK) {
            slot_stack(code, i);
        } else {
            slot_registers(code, i);
        }
    }
}

/* ---- The result ---- */

/* Whether the handler writes the result where the caller wants it. */
static bool is_direct(const xb_code *code) {
    return code->from.result.size > XB_MAX_IN_REGISTERS;
}

/* Where the frame has the address of the caller's memory. */
static xb_operand kept_address(const xb_code *code) {
    return xb_asm_stack(code->result + (is_direct(code) ? 0 : 16));
}

/* Keeps the address of the caller's memory, and zeroes the memory that the handler gets. */
static void prepare_result(xb_code *code) {
    const xb_location *pointer = &code->from.result_pointer;
    if (pointer->where[0] != EXECBUF_NOWHERE) {
        xb_asm_mov_store(&code->to, kept_address(code), pointer->number[0]);
    }
    if (is_direct(code)) {
        xb_value_zero(&code->to, pointer->number[0], code->from.result.size);
        return;
    }
    for (uint32_t at = 0; at < code->from.result.size; at += XB_SLOT_SIZE) {
        xb_asm_mov_store_zero(&code->to, xb_asm_stack(code->result + at));
    }
}

/* Copies a result of at most 16 bytes to the caller's memory: exactly its bytes. */
static void store_short_result(xb_code *code) {
    xb_asm *to = &code->to;
    uint32_t size = code->from.result.size;
    if (size == 16) {
        xb_asm_movups(to, to->scratch, xb_asm_stack(code->result));
        xb_asm_movups_store(to, xb_asm_memory(XB_RAX, 0), to->scratch);
        return;
    }
    for (uint32_t at = 0; at < size; at += XB_SLOT_SIZE) {
        uint32_t rest = size - at < XB_SLOT_SIZE ? size - at : XB_SLOT_SIZE;
        xb_asm_mov(to, XB_R10, xb_asm_stack(code->result + at));
        xb_value_store(to, XB_RAX, at, XB_R10, rest);
    }
}

/* Moves the result to where the caller wants it. */
static void return_result(xb_code *code) {
    xb_asm *to = &code->to;
    const xb_location *where = &code->from.result;
    if (where->is_reference) {
        xb_asm_mov(to, XB_RAX, kept_address(code));
        if (!is_direct(code)) {
            store_short_result(code);
        }
        return;
    }
    for (uint32_t i = 0; i < 2; i++) {
        xb_operand slot = xb_asm_stack(code->result + XB_SLOT_SIZE * i);
        if (where->where[i] == EXECBUF_IN_VECTOR) {
            bool is_whole = xb_code_piece(where, i) > XB_SLOT_SIZE;
            xb_value_load_vector(to, where->number[i], XB_RSP, slot.offset, is_whole ? 16 : 8);
        } else if (where->where[i] == EXECBUF_IN_GENERAL) {
            xb_value_extend(to, where->number[i], slot, code->signature->result);
        }
    }
}

/* ---- Frames ---- */

/* Says what lies where in the lower part of the frame. where.stack_size, which is the size of the slots,
 * becomes the offset where they begin.
 *
 * Returns: where it ends, a multiple of 16. */
static uint32_t plan_slots(xb_code *code) {
    uint32_t shadow_space = code->callee_abi == EXECBUF_ABI_WIN64 ? 32 : 0;
    bool keeps_two = code->from.result_pointer.where[0] != EXECBUF_NOWHERE && !is_direct(code);
    for (uint32_t i = 0; i < code->signature->count; i++) {
        code->where.arguments[i].offset += shadow_space;
    }
    code->result = shadow_space + xb_code_round_up(code->where.stack_size);
    code->where.stack_size = shadow_space;
    return code->result + (keeps_two ? 32 : 16);
}

static void call_handler(xb_code *code) {
    xb_asm *to = &code->to;
    const handler_registers *registers =
        code->callee_abi == EXECBUF_ABI_WIN64 ? &handler_win64 : &handler_sysv64;
    xb_asm_mov(to, registers->context, xb_asm_memory(XB_R11, XB_CELL_CONTEXT));
    xb_asm_lea(to, registers->slots, xb_asm_stack(code->where.stack_size));
    if (is_direct(code)) {
        xb_asm_mov(to, registers->result, kept_address(code));
    } else {
        xb_asm_lea(to, registers->result, xb_asm_stack(code->result));
    }
    xb_asm_call(to, xb_asm_memory(XB_R11, 0));
}

void xb_handler_write(xb_code *code, const xb_signature *signature, execbuf_abi entry_abi,
                      execbuf_abi callee_abi) {
    xb_frame *frame = &code->frame;
    bool is_win64 = entry_abi == EXECBUF_ABI_WIN64;
    code->signature = signature;
    code->callee_abi = callee_abi;
    code->to.scratch = is_win64 ? WIN64_SCRATCH_VECTOR : XB_SCRATCH_VECTOR;
    xb_layout_of(&code->from, signature, entry_abi);
    xb_packed_layout(&code->where, signature);
    uint32_t end = plan_slots(code);
    frame->saves = is_win64 && callee_abi == EXECBUF_ABI_SYSV64;
    frame->vectors = frame->saves ? end : 0;
    frame->size = end + (frame->saves ? 16 * XB_SAVED_VECTORS : 0);
    code->incoming = frame->size + (frame->saves ? 16 : 0) + 8 + 8; /* rsi and rdi; rbp, the return address */
    xb_code_begin_frame(code);
    prepare_result(code);
    write_slots(code);
    call_handler(code);
    return_result(code);
    xb_code_end_frame(code);
    frame->length = code->to.length;
}
