/* Writes the adapters by which execbuf_call calls functions: each is called with slots and calls its target
 * by another convention. Pure: no state, no system calls.
 *
 * An adapter is entered as a function of the entry's convention, adapter(caller, function, arguments,
 * result):
 *
 *                   caller   function   arguments   result
 *     System V      rdi      rsi        rdx         rcx
 *     Win64         rcx      rdx        r8          r9
 *
 * The caller is not used: execbuf_call has it in this register, and so need not move the others. The frame,
 * from high addresses to low ones:
 *
 *     entered by System V                       entered by Win64
 *
 *     +--------------------------+              +--------------------------+
 *     | return address           |              | return address           |
 *     +--------------------------+              +--------------------------+
 *     | caller's rbp             |              | caller's rbp             |
 *     +--------------------------+  rbp         +--------------------------+  rbp
 *     |                          |              | if the target is one of System V: rdi, rsi,
 *     |                          |              | xmm15 to xmm6
 *     | result                   |              | result                   |
 *     | function                 |              | function                 |
 *     +--------------------------+              +--------------------------+  rsp + code->result - 8
 *     | copies of values         |              | copies of values         |
 *     | target's stack arguments |              | target's stack arguments |
 *     | Win64's shadow space     |              | Win64's shadow space     |
 *     +--------------------------+              +--------------------------+  rsp at the call, a multiple of
 * 16
 *
 * All values come from memory: so first what goes to memory is moved, by way of rax, r10, rcx and xmm0. Then
 * each register is loaded, the one that has the address of the arguments last. No order could be wrong. */

#include "../../call/packed.h"
#include "../../call/type.h"
#include "code.h"
#include "values.h"

/* The registers of the entry's convention. */
typedef struct entry_registers {
    uint32_t function;
    uint32_t arguments;
    uint32_t result;
} entry_registers;

static const entry_registers entry_sysv64 = {XB_RSI, XB_RDX, XB_RCX};
static const entry_registers entry_win64 = {XB_RDX, XB_R8, XB_R9};

/* A slot of an argument, counted from its first one. */
static xb_operand slot_of_argument(const xb_code *code, uint32_t base, uint32_t index, uint32_t slot) {
    return xb_asm_memory(base, code->from.arguments[index].offset + XB_SLOT_SIZE * slot);
}

/* ---- To memory ---- */

/* Whether the target gets the address of a value. It may change the value, so it gets a copy. */
static bool is_copied(const xb_code *code, uint32_t index) {
    return code->where.arguments[index].is_reference;
}

/* Says where copies of values and the result's address are.
 *
 * Returns: where they end, a multiple of 16. */
static uint32_t plan_packed(xb_code *code) {
    uint32_t at = xb_code_round_up(code->where.stack_size);
    for (uint32_t i = 0; i < code->signature->count; i++) {
        if (is_copied(code, i)) {
            code->copies[i] = at;
            at += xb_code_round_up(code->where.arguments[i].size);
        }
    }
    code->result = at + 8;
    return at + 16;
}

/* Copies a value to the frame. There, the last eightbyte of one that is in slots has as many bytes as a slot.
 */
static void copy_argument(xb_code *code, uint32_t base, uint32_t index, uint32_t to_offset) {
    xb_asm *to = &code->to;
    const xb_location *from = &code->from.arguments[index];
    xb_operand first = slot_of_argument(code, base, index, 0);
    if (from->is_reference) {
        xb_asm_mov(to, XB_RCX, first);
        xb_value_copy(to, to_offset, XB_RCX, 0, from->size);
    } else if (from->size > XB_SLOT_SIZE) {
        xb_asm_movups(to, 0, first);
        xb_asm_movups_store(to, xb_asm_stack(to_offset), 0);
    } else {
        xb_asm_mov(to, XB_RAX, first);
        xb_asm_mov_store(to, xb_asm_stack(to_offset), XB_RAX);
    }
}

/* Loads the first slot of an argument into a general register. System V's functions get small integers
 * extended to 32 bits, for the reason in moves.c. */
static void load_slot(xb_code *code, uint32_t reg, uint32_t base, uint32_t index) {
    xb_operand slot = slot_of_argument(code, base, index, 0);
    uint8_t type = code->signature->arguments[index];
    bool extends = code->callee_abi == EXECBUF_ABI_SYSV64;
    switch (extends ? type : (uint8_t)EXECBUF_TYPE_I64) {
    case EXECBUF_TYPE_BOOL:
    case EXECBUF_TYPE_U8: xb_asm_movzx_byte(&code->to, reg, slot); break;
    case EXECBUF_TYPE_I8: xb_asm_movsx_byte(&code->to, reg, slot); break;
    case EXECBUF_TYPE_U16: xb_asm_movzx_word(&code->to, reg, slot); break;
    case EXECBUF_TYPE_I16: xb_asm_movsx_word(&code->to, reg, slot); break;
    default: xb_asm_mov(&code->to, reg, slot); break;
    }
}

/* Writes what an argument has in memory. */
static void write_packed_memory(xb_code *code, uint32_t base, uint32_t index) {
    xb_asm *to = &code->to;
    const xb_location *where = &code->where.arguments[index];
    bool is_on_stack = where->where[0] == EXECBUF_ON_STACK;
    if (is_copied(code, index)) {
        copy_argument(code, base, index, code->copies[index]);
        if (is_on_stack) {
            xb_asm_lea(to, XB_RAX, xb_asm_stack(code->copies[index]));
            xb_asm_mov_store(to, xb_asm_stack(where->offset), XB_RAX);
        }
    } else if (is_on_stack && where->size <= XB_SLOT_SIZE) {
        load_slot(code, XB_RAX, base, index);
        xb_asm_mov_store(to, xb_asm_stack(where->offset), XB_RAX);
    } else if (is_on_stack) {
        copy_argument(code, base, index, where->offset);
    }
}

/* ---- To registers ---- */

/* Loads a piece of an argument, which is in a register. */
static void load_piece(xb_code *code, uint32_t base, uint32_t index, uint32_t piece) {
    const xb_location *where = &code->where.arguments[index];
    xb_operand slot = slot_of_argument(code, base, index, piece);
    uint32_t number = where->number[piece];
    if (where->where[piece] == EXECBUF_IN_VECTOR) {
        bool is_whole = xb_code_piece(where, piece) > XB_SLOT_SIZE;
        xb_value_load_vector(&code->to, number, base, slot.offset, is_whole ? 16 : XB_SLOT_SIZE);
    } else if (is_copied(code, index)) {
        xb_asm_lea(&code->to, number, xb_asm_stack(code->copies[index]));
    } else if (piece == 0) {
        load_slot(code, number, base, index);
    } else {
        xb_asm_mov(&code->to, number, slot);
    }
}

/* Loads the registers: the general register `base`, or all others. */
static void load_registers(xb_code *code, uint32_t base, bool is_base) {
    for (uint32_t i = 0; i < code->signature->count; i++) {
        const xb_location *where = &code->where.arguments[i];
        for (uint32_t piece = 0; piece < 2; piece++) {
            bool is_general = where->where[piece] == EXECBUF_IN_GENERAL;
            bool is_vector = where->where[piece] == EXECBUF_IN_VECTOR;
            if (is_base ? is_general && where->number[piece] == base
                        : is_vector || (is_general && where->number[piece] != base)) {
                load_piece(code, base, i, piece);
            }
        }
    }
}

static void write_arguments(xb_code *code, uint32_t base) {
    const xb_location *result_pointer = &code->where.result_pointer;
    for (uint32_t i = 0; i < code->signature->count; i++) {
        write_packed_memory(code, base, i);
    }
    if (result_pointer->where[0] != EXECBUF_NOWHERE) { /* in the first register, which is not the base */
        xb_asm_mov(&code->to, result_pointer->number[0], xb_asm_stack(code->result));
    }
    load_registers(code, base, false);
    load_registers(code, base, true);
    xb_code_prepare_variadic(code);
}

/* ---- The result ---- */

/* Extends a result in rax, so that it fills its slot. */
static void extend_result(xb_code *code) {
    uint8_t type = code->signature->result;
    if (type < XB_FIRST_SHAPE && xb_type_size(type) < XB_SLOT_SIZE && !xb_type_is_float(type)) {
        xb_value_extend(&code->to, XB_RAX, xb_asm_reg(XB_RAX), type);
    }
}

/* Stores whole slots. A result whose address was passed is stored already. */
static void write_result(xb_code *code) {
    xb_asm *to = &code->to;
    const xb_location *from = &code->where.result;
    if (from->where[0] == EXECBUF_NOWHERE || from->is_reference) {
        return;
    }
    extend_result(code);
    xb_asm_mov(to, XB_R10, xb_asm_stack(code->result));
    for (uint32_t i = 0; i < 2; i++) {
        bool is_whole = xb_code_piece(from, i) > XB_SLOT_SIZE;
        if (from->where[i] == EXECBUF_IN_GENERAL) {
            xb_asm_mov_store(to, xb_asm_memory(XB_R10, XB_SLOT_SIZE * i), from->number[i]);
        } else if (from->where[i] == EXECBUF_IN_VECTOR) {
            xb_value_store_vector(to, XB_R10, XB_SLOT_SIZE * i, from->number[i],
                                  is_whole ? 16 : XB_SLOT_SIZE);
        }
    }
}

/* ---- Frames ---- */

/* Writes a call that pushes the result's address and the function, which takes fewer instructions. */
static void entered_by_sysv64(xb_code *code) {
    xb_asm *to = &code->to;
    xb_frame *frame = &code->frame;
    uint32_t size = plan_packed(code);
    frame->size = size;
    xb_asm_push(to, XB_RBP);
    frame->pushed_rbp = to->length;
    xb_asm_mov(to, XB_RBP, xb_asm_reg(XB_RSP));
    frame->moved_rbp = to->length;
    xb_asm_push(to, entry_sysv64.result);
    xb_asm_push(to, entry_sysv64.function);
    if (size > 16) {
        xb_asm_sub_rsp(to, size - 16);
    }
    frame->allocated = to->length;
    write_arguments(code, entry_sysv64.arguments);
    xb_asm_call(to, xb_asm_stack(code->result - 8));
    write_result(code);
    xb_asm_leave(to);
    frame->freed = to->length;
    frame->popped_rbp = to->length;
    xb_asm_ret(to);
}

static void entered_by_win64(xb_code *code) {
    xb_asm *to = &code->to;
    xb_frame *frame = &code->frame;
    uint32_t size = plan_packed(code);
    frame->saves = code->callee_abi == EXECBUF_ABI_SYSV64;
    frame->vectors = frame->saves ? size : 0;
    frame->size = size + (frame->saves ? 16 * XB_SAVED_VECTORS : 0);
    xb_code_begin_frame(code);
    xb_asm_mov_store(to, xb_asm_stack(code->result - 8), entry_win64.function);
    xb_asm_mov_store(to, xb_asm_stack(code->result), entry_win64.result);
    write_arguments(code, entry_win64.arguments);
    xb_asm_call(to, xb_asm_stack(code->result - 8));
    write_result(code);
    xb_code_end_frame(code);
}

void xb_packed_write(xb_code *code, const xb_signature *signature, execbuf_abi entry_abi,
                     execbuf_abi callee_abi) {
    code->signature = signature;
    code->callee_abi = callee_abi;
    code->to.scratch = 0;
    xb_packed_layout(&code->from, signature);
    xb_layout_of(&code->where, signature, callee_abi);
    if (entry_abi == EXECBUF_ABI_SYSV64) {
        entered_by_sysv64(code);
    } else {
        entered_by_win64(code);
    }
    code->frame.length = code->to.length;
}
