/* Writes the adapters of AArch64 that insert or drop an argument.
 *
 * Both lists of arguments are laid out by the same convention, so an argument is moved as it is: as whole
 * registers or slots of the stack, and a value whose address is passed is a word. The result stays where it
 * is, and so does the address of its memory, in x8. If no place on the stack changes, the adapter has no
 * frame: it moves registers and jumps, and the target finds the caller's stack arguments where it wants them.
 * Otherwise the frame is, from high addresses to low ones:
 *
 *     +--------------------------+
 *     | caller's stack arguments |
 *     +--------------------------+  sp at the entry
 *     | unused, 16 bytes         |
 *     | x30, the return address  |
 *     | caller's x29             |
 *     +--------------------------+  x29
 *     | target's stack arguments |
 *     +--------------------------+  sp at the call, a multiple of 16
 *
 * x16 has the address of the cell if an argument is inserted, and otherwise that of the target. What goes to
 * the stack is moved first, by way of x9 and v16, which no convention passes arguments in. A pointer that is
 * inserted moves later arguments to general registers with higher numbers, or to the stack, and moves no
 * vector register. What is dropped lets later arguments move to registers with lower numbers, of both kinds,
 * and from the stack. So if arguments are moved from the last to the first, or from the first to the last, no
 * move overwrites a register that another one still reads. */

#include "../../call/type.h"
#include "code.h"
#include "machine.h"

#define EDIT_OPERAND 16U /* what the stub has loaded */
#define EDIT_TARGET 17U
#define EDIT_SCRATCH 9U
#define EDIT_VECTOR 16U

/* Where the caller's stack arguments are: at an offset from a register. */
typedef struct edit_incoming {
    uint32_t base;
    uint32_t offset;
} edit_incoming;

/* The size of what is moved. */
static uint32_t edit_size(const xb_location *location) {
    return location->is_reference ? 8 : location->size;
}

/* ---- To the stack ---- */

/* Copies an argument on the stack to another place there, in the largest parts that both places are aligned
 * to. Slots are copied whole. */
static void copy_on_stack(xb_arm_code *code, edit_incoming in, const xb_location *from,
                          const xb_location *where) {
    uint32_t size = edit_size(where);
    uint32_t unit = 16;
    size = xb_arm_has_small_slots() ? size : (size + 7) & ~7U;
    for (uint32_t at = 0; at < size; at += unit) {
        uint32_t source = in.offset + from->offset + at;
        uint32_t target = where->offset + at;
        while ((source | target) % unit != 0 || unit > size - at) {
            unit /= 2;
        }
        uint32_t load = unit == 16 ? XB_ARM_LDR_Q : xb_arm_load_of_size(unit);
        uint32_t scratch = unit == 16 ? EDIT_VECTOR : EDIT_SCRATCH;
        xb_arm_ldr(&code->to, load, scratch, in.base, source);
        xb_arm_str(&code->to, load, scratch, XB_ARM_SP, target);
    }
}

/* Writes an argument that the target has on the stack. No vector register goes there, as said above. */
static void edit_stack(xb_arm_code *code, edit_incoming in, uint32_t index) {
    xb_arm_asm *to = &code->to;
    const xb_location *from = &code->from.arguments[index];
    const xb_location *where = &code->where.arguments[index];
    uint32_t load = xb_arm_has_small_slots() ? xb_arm_load_of_size(edit_size(where)) : XB_ARM_LDR_X;
    if (where->where[0] != EXECBUF_ON_STACK) {
        return;
    }
    if (from->where[0] == EXECBUF_ON_STACK) {
        copy_on_stack(code, in, from, where);
    } else if (from->where[0] == XB_IN_CELL) {
        xb_arm_ldr(to, XB_ARM_LDR_X, EDIT_SCRATCH, EDIT_OPERAND, XB_CELL_CONTEXT);
        xb_arm_str(to, XB_ARM_LDR_X, EDIT_SCRATCH, XB_ARM_SP, where->offset);
    } else {
        for (uint32_t i = 0; i < 2 && from->where[i] == EXECBUF_IN_GENERAL; i++) {
            xb_arm_str(to, load, from->number[i], XB_ARM_SP, where->offset + 8 * i);
        }
    }
}

/* ---- To registers ---- */

/* Loads a piece of an argument from the caller's stack. Apple's small slots have nothing but the value, which
 * is extended in a register. */
static void load_from_stack(xb_arm_code *code, edit_incoming in, uint32_t index, uint32_t piece) {
    const xb_location *from = &code->from.arguments[index];
    const xb_location *where = &code->where.arguments[index];
    uint32_t offset = in.offset + from->offset + where->piece * piece;
    uint32_t load = XB_ARM_LDR_X;
    if (where->where[piece] == EXECBUF_IN_VECTOR) {
        load = xb_arm_load_of_element(where->piece);
    } else if (xb_arm_has_small_slots()) {
        switch (code->signature->arguments[index]) {
        case EXECBUF_TYPE_BOOL:
        case EXECBUF_TYPE_U8: load = XB_ARM_LDRB; break;
        case EXECBUF_TYPE_I8: load = XB_ARM_LDRSB; break;
        case EXECBUF_TYPE_U16: load = XB_ARM_LDRH; break;
        case EXECBUF_TYPE_I16: load = XB_ARM_LDRSH; break;
        case EXECBUF_TYPE_I32:
        case EXECBUF_TYPE_U32: load = XB_ARM_LDR_W; break;
        default: break;
        }
    }
    xb_arm_ldr(&code->to, load, where->number[piece], in.base, offset);
}

/* Moves a piece of an argument into the register where the target wants it. */
static void edit_piece(xb_arm_code *code, edit_incoming in, uint32_t index, uint32_t piece) {
    xb_arm_asm *to = &code->to;
    const xb_location *from = &code->from.arguments[index];
    const xb_location *where = &code->where.arguments[index];
    uint32_t number = where->number[piece];
    if (from->where[0] == XB_IN_CELL) {
        xb_arm_ldr(to, XB_ARM_LDR_X, number, EDIT_OPERAND, XB_CELL_CONTEXT);
    } else if (from->where[0] == EXECBUF_ON_STACK) {
        load_from_stack(code, in, index, piece);
    } else if (from->number[piece] != number) {
        if (where->where[piece] == EXECBUF_IN_VECTOR) {
            xb_arm_mov_vector(to, number, from->number[piece]);
        } else {
            xb_arm_mov(to, number, from->number[piece]);
        }
    }
}

/* Moves what the target has in registers, in the order that the beginning of this file describes. */
static void edit_registers(xb_arm_code *code, edit_incoming in, bool inserts) {
    const uint32_t count = XB_MAX_PIECES * code->signature->count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = inserts ? count - 1 - i : i;
        uint32_t where = code->where.arguments[at / XB_MAX_PIECES].where[at % XB_MAX_PIECES];
        if (where == EXECBUF_IN_GENERAL || where == EXECBUF_IN_VECTOR) {
            edit_piece(code, in, at / XB_MAX_PIECES, at % XB_MAX_PIECES);
        }
    }
}

/* ---- Adapters ---- */

static void layout_of_edit(xb_layout *out, const xb_signature *signature, execbuf_abi abi) {
    (void)abi;
    xb_arm_layout(out, signature);
}

/* Loads the target's address, if it is in the cell.
 *
 * Returns: the register that has it. */
static uint32_t load_target(xb_arm_code *code, bool inserts) {
    if (inserts) {
        xb_arm_ldr(&code->to, XB_ARM_LDR_X, EDIT_TARGET, EDIT_OPERAND, 0);
    }
    return inserts ? EDIT_TARGET : EDIT_OPERAND;
}

void xb_arm_edit_write(xb_arm_code *code, xb_signature *short_, const xb_signature *signature,
                       execbuf_abi edit) {
    bool inserts = xb_edit_of(edit) == XB_EDIT_INSERT;
    code->signature = inserts ? signature : short_;
    if (!xb_edit_layouts(&code->from, &code->where, short_, signature, edit, layout_of_edit)) {
        edit_incoming in = {XB_ARM_SP, 0};
        edit_registers(code, in, inserts);
        xb_arm_br(&code->to, load_target(code, inserts));
        return;
    }
    edit_incoming in = {XB_ARM_FP, XB_ARM_FRAME_ABOVE};
    code->frame.size = xb_arm_round_up(code->where.stack_size);
    xb_arm_begin_frame(code);
    xb_arm_allocate(code);
    for (uint32_t i = 0; i < code->signature->count; i++) {
        edit_stack(code, in, i);
    }
    edit_registers(code, in, inserts);
    xb_arm_blr(&code->to, load_target(code, inserts));
    xb_arm_end_frame(code);
}
