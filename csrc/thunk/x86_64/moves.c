/* Writes the code that moves the arguments. Pure: no state, no system calls.
 *
 * First all that goes to memory is written: arguments on the target's stack, and copies of values whose
 * addresses the target gets. This changes the new frame, rax, r10 and XB_SCRATCH_VECTOR; and rdi if the
 * caller's convention is Win64, which has no arguments there.
 *
 * Then the registers. The moves into registers are to happen at once, as each may read what another one
 * overwrites. So a move is only written when no other one that is left reads its register. If there is none,
 * those that are left form cycles (a to b, b to a): one register of a cycle is saved in rax, which opens the
 * cycle. When no move can be written again, that cycle is done, and rax is free. Vector registers form no
 * cycles: in both conventions, later arguments have those with higher numbers.
 *
 * Among the moves that can be written, the first is chosen if the target's convention is System V, and the
 * last if it is Win64. If all values are words, that one can always be written, so there are no cycles.
 * Number the general registers of each convention in the order of its list: System V 0 to 5 (rdi, rsi, rdx,
 * rcx, r8, r9), Win64 0 to 3 (rcx, rdx, r8, r9). Those that both have are
 *
 *     rdx: S2 and W1      rcx: S3 and W0      r8: S4 and W2      r9: S5 and W3
 *
 * The argument at position p, if it is the i-th integer, is in S(i) and W(p), where i <= p. To System V, a
 * move into S(i) overwrites an argument at a position before p; to Win64, a move into W(p) overwrites one
 * behind p. The same is true of floats: the i-th is in xmm(i) and in xmm(p). */

#include "../../call/type.h"
#include "code.h"
#include "values.h"

/* How a word is loaded into a general register. clang's and rustc's System V functions rely on it that
 * integers of 8 and 16 bits are extended to 32 bits, although the psABI does not say so; their Win64 callers
 * do not extend. Win64 functions expect nothing. */
typedef enum extension {
    EXTEND_NOT,
    EXTEND_UNSIGNED_8,
    EXTEND_SIGNED_8,
    EXTEND_UNSIGNED_16,
    EXTEND_SIGNED_16
} extension;

static extension extension_of(uint8_t type, execbuf_abi callee_abi) {
    if (callee_abi == EXECBUF_ABI_WIN64 || type >= XB_FIRST_SHAPE || xb_type_size(type) > 2) {
        return EXTEND_NOT;
    }
    uint8_t size = xb_type_size(type);
    if (xb_type_is_signed(type)) {
        return size == 1 ? EXTEND_SIGNED_8 : EXTEND_SIGNED_16;
    }
    return size == 1 ? EXTEND_UNSIGNED_8 : EXTEND_UNSIGNED_16;
}

/* What a register gets. */
typedef enum source {
    FROM_REGISTER,
    FROM_STACK,            /* a word in the frame */
    FROM_ADDRESS,          /* the address of something in the frame */
    FROM_POINTER,          /* what a register points to */
    FROM_POINTER_ON_STACK, /* what a word in the frame points to */
    FROM_CELL,             /* the context of a closure */
    FROM_NOTHING           /* the move is written */
} source;

/* A move into a register. */
typedef struct move {
    source from;
    uint8_t where; /* EXECBUF_IN_GENERAL or EXECBUF_IN_VECTOR */
    uint8_t number;
    uint8_t from_where;  /* of a register: the value's, or the pointer's */
    uint8_t from_number; /* likewise */
    uint32_t offset;     /* in the frame */
    uint32_t at;         /* behind the pointer */
    uint32_t size;       /* of what is loaded by a pointer */
    extension extends;
} move;

/* Both conventions together have no more registers for arguments. */
#define MAX_MOVES 14U

typedef struct move_list {
    move moves[MAX_MOVES];
    uint32_t count;
} move_list;

static xb_operand operand_of(const xb_code *code, const xb_location *from) {
    if (from->where[0] == XB_IN_CELL) {
        return xb_asm_memory(XB_R11, XB_CELL_CONTEXT);
    }
    return from->where[0] == EXECBUF_ON_STACK ? xb_asm_stack(code->incoming + from->offset)
                                              : xb_asm_reg(from->number[0]);
}

/* Loads a word, which is not in a vector register, into a general register. */
static void load_word(xb_asm *to, uint32_t reg, xb_operand from, extension extends) {
    switch (extends) {
    case EXTEND_UNSIGNED_8: xb_asm_movzx_byte(to, reg, from); break;
    case EXTEND_SIGNED_8: xb_asm_movsx_byte(to, reg, from); break;
    case EXTEND_UNSIGNED_16: xb_asm_movzx_word(to, reg, from); break;
    case EXTEND_SIGNED_16: xb_asm_movsx_word(to, reg, from); break;
    case EXTEND_NOT:
        if (from.is_memory || from.reg != reg) {
            xb_asm_mov(to, reg, from);
        }
        break;
    }
}

/* ---- To memory ---- */

/* Whether the target can get the address of a value where the caller has put it on the stack. */
static bool is_in_place(const xb_location *from) {
    return from->where[0] == EXECBUF_ON_STACK && from->offset % 16 == 0;
}

uint32_t xb_moves_plan(xb_code *code, uint32_t at) {
    for (uint32_t i = 0; i < code->signature->count; i++) {
        if (code->where.arguments[i].is_reference && !is_in_place(&code->from.arguments[i])) {
            code->copies[i] = at;
            at += xb_code_round_up(code->where.arguments[i].size);
        }
    }
    return at;
}

/* Where the value is whose address the target gets. */
static uint32_t passed_address(const xb_code *code, uint32_t index) {
    const xb_location *from = &code->from.arguments[index];
    return is_in_place(from) ? code->incoming + from->offset : code->copies[index];
}

/* Stores a value that is in registers, as whole registers.
 *
 * Two pieces in vector registers are joined in the first, which nothing else reads, and stored as one: a
 * target that loads them at once would wait until two stores have left the processor's store buffer. */
static void store_pieces(xb_asm *to, const xb_location *from, uint32_t offset) {
    if (from->where[0] == EXECBUF_IN_VECTOR && from->where[1] == EXECBUF_IN_VECTOR) {
        xb_asm_punpcklqdq(to, from->number[0], from->number[1]);
        xb_value_store_vector(to, XB_RSP, offset, from->number[0], 16);
        return;
    }
    for (uint32_t i = 0; i < 2; i++) {
        bool is_whole = i == 0 && from->where[1] == EXECBUF_NOWHERE;
        if (from->where[i] == EXECBUF_IN_GENERAL) {
            xb_asm_mov_store(to, xb_asm_stack(offset + 8 * i), from->number[i]);
        } else if (from->where[i] == EXECBUF_IN_VECTOR) {
            xb_value_store_vector(to, XB_RSP, offset + 8 * i, from->number[i], is_whole ? 16 : 8);
        }
    }
}

/* Makes the copy whose address the target gets. The frame has space for whole registers. */
static void make_copy(xb_code *code, uint32_t index) {
    const xb_location *from = &code->from.arguments[index];
    uint32_t copy = code->copies[index];
    if (from->where[0] == EXECBUF_ON_STACK) {
        if (!is_in_place(from)) {
            xb_value_copy(&code->to, copy, XB_RSP, code->incoming + from->offset, from->size);
        }
        return;
    }
    store_pieces(&code->to, from, copy);
}

/* Copies a value whose address the caller passes to where System V has it on the stack. */
static void copy_to_stack(xb_code *code, const xb_location *from, const xb_location *where) {
    uint32_t base = from->number[0];
    if (from->where[0] == EXECBUF_ON_STACK) {
        base = XB_RDI;
        xb_asm_mov(&code->to, base, operand_of(code, from));
    }
    xb_value_copy(&code->to, where->offset, base, 0, where->size);
}

/* Copies a value that the target has on the stack from where the caller has it by value. Only adapters that
 * edit do so. Whole slots of the stack and whole registers may be read and written. */
static void copy_value(xb_code *code, const xb_location *from, const xb_location *where) {
    if (from->where[0] == EXECBUF_ON_STACK) {
        uint32_t size = (from->size + 7) & ~7U;
        xb_value_copy(&code->to, where->offset, XB_RSP, code->incoming + from->offset, size);
    } else {
        store_pieces(&code->to, from, where->offset);
    }
}

/* Moves a word to where the target wants it on the stack. */
static void move_to_stack(xb_code *code, uint32_t index) {
    const xb_location *from = &code->from.arguments[index];
    xb_operand where = xb_asm_stack(code->where.arguments[index].offset);
    extension extends = extension_of(code->signature->arguments[index], code->callee_abi);
    if (from->where[0] == EXECBUF_IN_VECTOR) {
        xb_asm_movsd_store(&code->to, where, from->number[0]);
    } else if (from->where[0] == EXECBUF_IN_GENERAL && extends == EXTEND_NOT) {
        xb_asm_mov_store(&code->to, where, from->number[0]);
    } else {
        load_word(&code->to, XB_RAX, operand_of(code, from), extends);
        xb_asm_mov_store(&code->to, where, XB_RAX);
    }
}

/* Writes what an argument has in memory. */
static void write_memory(xb_code *code, uint32_t index) {
    const xb_location *from = &code->from.arguments[index];
    const xb_location *where = &code->where.arguments[index];
    bool is_on_stack = where->where[0] == EXECBUF_ON_STACK;
    if (where->is_reference) {
        make_copy(code, index);
        if (is_on_stack) {
            xb_asm_lea(&code->to, XB_RAX, xb_asm_stack(passed_address(code, index)));
            xb_asm_mov_store(&code->to, xb_asm_stack(where->offset), XB_RAX);
        }
    } else if (is_on_stack && from->is_reference) {
        copy_to_stack(code, from, where);
    } else if (is_on_stack && where->size > 8) {
        copy_value(code, from, where);
    } else if (is_on_stack) {
        move_to_stack(code, index);
    }
}

/* ---- To registers ---- */

/* Adds a move into a register of a location. */
static move *add_move(move_list *list, const xb_location *where, uint32_t piece, source from) {
    move *added = &list->moves[list->count++];
    added->from = from;
    added->where = where->where[piece];
    added->number = where->number[piece];
    added->from_where = EXECBUF_NOWHERE;
    added->from_number = 0;
    added->offset = 0;
    added->at = 8 * piece;
    added->size = 0;
    added->extends = EXTEND_NOT;
    return added;
}

/* Adds the move of a word or of a piece; from is where the caller has the word or the address. */
static move *add_move_from(move_list *list, const xb_code *code, const xb_location *from,
                           const xb_location *where, uint32_t piece) {
    bool is_on_stack = from->where[0] == EXECBUF_ON_STACK;
    source in_register = from->is_reference ? FROM_POINTER : FROM_REGISTER;
    source on_stack = from->is_reference ? FROM_POINTER_ON_STACK : FROM_STACK;
    move *added = add_move(list, where, piece, is_on_stack ? on_stack : in_register);
    uint32_t from_piece = from->is_reference ? 0 : piece; /* an address is one piece */
    added->from_where = from->where[from_piece];
    added->from_number = from->number[from_piece];
    added->offset = is_on_stack ? code->incoming + from->offset + 8 * from_piece : 0;
    if (from->where[0] == XB_IN_CELL) {
        added->from = FROM_CELL;
    }
    return added;
}

/* Adds the moves of an argument. */
static void add_moves(move_list *list, const xb_code *code, uint32_t index) {
    const xb_location *from = &code->from.arguments[index];
    const xb_location *where = &code->where.arguments[index];
    if (where->where[0] == EXECBUF_ON_STACK) {
        return;
    }
    if (where->is_reference) {
        add_move(list, where, 0, FROM_ADDRESS)->offset = passed_address(code, index);
        return;
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (where->where[i] != EXECBUF_NOWHERE) {
            move *added = add_move_from(list, code, from, where, i);
            added->size = xb_code_piece(where, i);
            added->extends = extension_of(code->signature->arguments[index], code->callee_abi);
        }
    }
}

/* Stores, passes on or makes up the address of the result's memory: see results.c. */
static void add_result_pointer(move_list *list, xb_code *code) {
    const xb_location *from = &code->from.result_pointer;
    const xb_location *where = &code->where.result_pointer;
    if (where->where[0] != EXECBUF_NOWHERE && from->where[0] != EXECBUF_NOWHERE) {
        (void)add_move_from(list, code, from, where, 0);
    } else if (where->where[0] != EXECBUF_NOWHERE) {
        add_move(list, where, 0, FROM_ADDRESS)->offset = code->result;
    } else if (from->where[0] != EXECBUF_NOWHERE) {
        xb_asm_mov_store(&code->to, xb_asm_stack(code->result), from->number[0]);
    }
}

static void write_general(xb_asm *to, const move *it) {
    uint32_t reg = it->number;
    switch (it->from) {
    case FROM_REGISTER:
        if (it->from_where == EXECBUF_IN_VECTOR) {
            xb_asm_movq(to, reg, it->from_number);
        } else {
            load_word(to, reg, xb_asm_reg(it->from_number), it->extends);
        }
        break;
    case FROM_STACK: load_word(to, reg, xb_asm_stack(it->offset), it->extends); break;
    case FROM_ADDRESS: xb_asm_lea(to, reg, xb_asm_stack(it->offset)); break;
    case FROM_CELL: xb_asm_mov(to, reg, xb_asm_memory(XB_R11, XB_CELL_CONTEXT)); break;
    case FROM_POINTER: xb_value_load(to, reg, it->from_number, it->at, it->size); break;
    default: /* FROM_POINTER_ON_STACK */
        xb_asm_mov(to, reg, xb_asm_stack(it->offset));
        xb_value_load(to, reg, reg, it->at, it->size);
        break;
    }
}

static void write_vector(xb_asm *to, const move *it) {
    uint32_t xmm = it->number;
    switch (it->from) {
    case FROM_REGISTER:
        if (it->from_where == EXECBUF_IN_GENERAL) {
            xb_asm_movq_from(to, xmm, it->from_number);
        } else if (it->from_number != xmm) {
            xb_asm_movaps(to, xmm, xb_asm_reg(it->from_number));
        }
        break;
    case FROM_STACK: xb_value_load_vector(to, xmm, XB_RSP, it->offset, it->size > 8 ? 16 : 8); break;
    case FROM_POINTER: xb_value_load_vector(to, xmm, it->from_number, it->at, it->size); break;
    default: /* FROM_POINTER_ON_STACK */
        xb_asm_mov(to, XB_R10, xb_asm_stack(it->offset));
        xb_value_load_vector(to, xmm, XB_R10, it->at, it->size);
        break;
    }
}

static void write_move(xb_asm *to, move *it) {
    if (it->where == EXECBUF_IN_GENERAL) {
        write_general(to, it);
    } else {
        write_vector(to, it);
    }
    it->from = FROM_NOTHING;
}

/* Whether a move reads a register. */
static bool reads(const move *it, uint8_t where, uint8_t number) {
    return (it->from == FROM_REGISTER || it->from == FROM_POINTER) && it->from_where == where &&
           it->from_number == number;
}

/* Whether no other move reads the register of this one. */
static bool can_be_written(const move_list *list, const move *it) {
    for (uint32_t i = 0; i < list->count; i++) {
        const move *other = &list->moves[i];
        if (other != it && reads(other, it->where, it->number)) {
            return false;
        }
    }
    return true;
}

/* The first move that can be written, or the last; NULL if there is none. Any is a move that is left, into a
 * general register if there is one; NULL: none is left. */
static move *next_move(move_list *list, bool from_last, move **any) {
    *any = NULL;
    for (uint32_t i = 0; i < list->count; i++) {
        move *it = &list->moves[from_last ? list->count - 1 - i : i];
        if (it->from != FROM_NOTHING) {
            *any = *any == NULL || it->where == EXECBUF_IN_GENERAL ? it : *any;
            if (can_be_written(list, it)) {
                return it;
            }
        }
    }
    return NULL;
}

/* Saves the register of a move, for those that read it. */
static void open_cycle(xb_asm *to, move_list *list, const move *it) {
    xb_asm_mov(to, XB_RAX, xb_asm_reg(it->number));
    for (uint32_t i = 0; i < list->count; i++) {
        move *other = &list->moves[i];
        if (reads(other, it->where, it->number)) {
            other->from_number = XB_RAX;
        }
    }
}

static void write_registers(xb_code *code, move_list *list) {
    bool from_last = code->callee_abi == EXECBUF_ABI_WIN64;
    move *any;
    for (move *it = next_move(list, from_last, &any); any != NULL; it = next_move(list, from_last, &any)) {
        if (it != NULL) {
            write_move(&code->to, it);
        } else {
            open_cycle(&code->to, list, any);
        }
    }
}

void xb_moves_write(xb_code *code) {
    move_list list;
    list.count = 0;
    add_result_pointer(&list, code);
    for (uint32_t i = 0; i < code->signature->count; i++) {
        write_memory(code, i);
    }
    for (uint32_t i = 0; i < code->signature->count; i++) {
        add_moves(&list, code, i);
    }
    write_registers(code, &list);
}
