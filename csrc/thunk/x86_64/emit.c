/* Thunks as bytes: x86-64 code that is caller_abi by one convention and calls by the other. Pure. */

#include "emit.h"

#include <string.h>

#include "../../base/error.h"
#include "../../call/signature.h"

/* Registers by their numbers. */
#define RAX 0U
#define RSP 4U
#define RSI 6U
#define RDI 7U
#define R11 11U

#define REX 0x40U
#define REX_W 0x48U
#define REX_R 0x04U
#define REX_B 0x01U
#define MOD_REGISTER 0xc0U
#define MOD_MEMORY8 0x40U
#define MOD_MEMORY32 0x80U
#define SIB_RSP 0x24U /* [rsp + displacement], without an index */

/* Code that is being written, or only measured if there is no memory for it. */
typedef struct emitter {
    uint8_t *out;
    uint32_t length;
} emitter;

static void emit_byte(emitter *to, uint32_t byte) {
    if (to->out != NULL) {
        to->out[to->length] = (uint8_t)byte;
    }
    to->length++;
}

static void put_little_endian(emitter *to, uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++) {
        emit_byte(to, (uint32_t)(value >> 8 * i) & 0xff);
    }
}

/* An instruction's form but for its operands: a prefix or 0, the REX bits that it needs anyway or 0, and its
 * opcode of one byte, or two of which the first is 0f. */
typedef struct opcode {
    uint8_t prefix;
    uint8_t rex;
    uint16_t bytes;
} opcode;

static const opcode mov_load = {0, REX_W, 0x8b};   /* mov r64, r/m64 */
static const opcode mov_store = {0, REX_W, 0x89};  /* mov r/m64, r64 */
static const opcode movzx_byte = {0, REX, 0x0fb6}; /* movzx r32, r/m8; with REX, sil and dil are bytes, too */
static const opcode movzx_word = {0, 0, 0x0fb7};   /* movzx r32, r/m16 */
static const opcode movsx_byte = {0, REX, 0x0fbe}; /* movsx r32, r/m8 */
static const opcode movsx_word = {0, 0, 0x0fbf};   /* movsx r32, r/m16 */
static const opcode movsd_load = {0xf2, 0, 0x0f10};      /* movsd xmm, m64 */
static const opcode movsd_store = {0xf2, 0, 0x0f11};     /* movsd m64, xmm */
static const opcode movaps_load = {0, 0, 0x0f28};        /* movaps xmm, xmm/m128 */
static const opcode movaps_store = {0, 0, 0x0f29};       /* movaps m128, xmm */
static const opcode movq_to_r64 = {0x66, REX_W, 0x0f7e}; /* movq r/m64, xmm */

/* Prefix, REX and opcode; rm is a register's number, or RSP for memory. */
static void put_opcode(emitter *to, opcode code, uint32_t reg, uint32_t rm) {
    uint32_t rex = code.rex | (reg >= 8 ? REX | REX_R : 0) | (rm >= 8 ? REX | REX_B : 0);
    if (code.prefix != 0) {
        emit_byte(to, code.prefix);
    }
    if (rex != 0) {
        emit_byte(to, rex);
    }
    if (code.bytes > 0xff) {
        emit_byte(to, code.bytes >> 8);
    }
    emit_byte(to, code.bytes & 0xff);
}

/* An instruction on two registers. */
static void put_registers(emitter *to, opcode code, uint32_t reg, uint32_t rm) {
    put_opcode(to, code, reg, rm);
    emit_byte(to, MOD_REGISTER | (reg & 7) << 3 | (rm & 7));
}

/* An instruction on a register and [rsp + offset]. */
static void put_memory(emitter *to, opcode code, uint32_t reg, uint32_t offset) {
    put_opcode(to, code, reg, RSP);
    emit_byte(to, (offset < 0x80 ? MOD_MEMORY8 : MOD_MEMORY32) | (reg & 7) << 3 | RSP);
    emit_byte(to, SIB_RSP);
    put_little_endian(to, offset, offset < 0x80 ? 1 : 4);
}

static void endbr64(emitter *to) {
    put_little_endian(to, 0xfa1e0ff3, 4);
}

/* mov r11, value */
static void mov_r11(emitter *to, const void *value) {
    emit_byte(to, REX_W | REX_B);
    emit_byte(to, 0xb8 | (R11 & 7));
    put_little_endian(to, (uintptr_t)value, 8);
}

/* push or pop of rsi or rdi */
static void emit_push(emitter *to, uint32_t reg) {
    emit_byte(to, 0x50 | reg);
}

static void emit_pop(emitter *to, uint32_t reg) {
    emit_byte(to, 0x58 | reg);
}

static void ret(emitter *to) {
    emit_byte(to, 0xc3);
}

/* sub rsp, size (operation 5) or add rsp, size (operation 0) */
static void move_rsp(emitter *to, uint32_t operation, uint32_t size) {
    emit_byte(to, REX_W);
    emit_byte(to, size < 0x80 ? 0x83 : 0x81);
    emit_byte(to, MOD_REGISTER | operation << 3 | RSP);
    put_little_endian(to, size, size < 0x80 ? 1 : 4);
}

static void sub_rsp(emitter *to, uint32_t size) {
    move_rsp(to, 5, size);
}

static void add_rsp(emitter *to, uint32_t size) {
    move_rsp(to, 0, size);
}

/* call r11 (operation 2) or jmp r11 (operation 4) */
static void go_r11(emitter *to, uint32_t operation) {
    emit_byte(to, REX | REX_B);
    emit_byte(to, 0xff);
    emit_byte(to, MOD_REGISTER | operation << 3 | (R11 & 7));
}

static void call_r11(emitter *to) {
    go_r11(to, 2);
}

static void jmp_r11(emitter *to) {
    go_r11(to, 4);
}

/* A thunk that is being made. */
typedef struct thunk {
    emitter to;
    xb_frame frame;
    const execbuf_signature *signature;
    execbuf_layout from;  /* where the arguments are when the thunk is caller_abi */
    execbuf_layout where; /* where the target has them */
    uint32_t incoming;    /* from the thunk's stack pointer to the caller's at the call */
    bool extends;         /* small integers */
} thunk;

/* How an argument is loaded to a general register. Compilers rely on it that integers of 8 and 16 bits are
 * extended to 32 when System V functions get them, though the psABI does not say so; for Win64 they do not.
 */
static opcode load_of(const thunk *made, uint8_t type) {
    uint8_t size = xb_type_size(type);
    if (!made->extends || size > 2) {
        return mov_load;
    }
    if (xb_type_is_signed(type)) {
        return size == 1 ? movsx_byte : movsx_word;
    }
    return size == 1 ? movzx_byte : movzx_word;
}

/* Loads an argument, which is no float in a register, to a general register. */
static void load(thunk *made, uint32_t index, uint32_t reg) {
    execbuf_location from = made->from.arguments[index];
    opcode code = load_of(made, made->signature->arguments[index]);
    if (from.where == EXECBUF_ON_STACK) {
        put_memory(&made->to, code, reg, made->incoming + from.offset);
    } else if (from.number != reg || code.bytes != mov_load.bytes) {
        put_registers(&made->to, code, reg, from.number);
    }
}

/* Moves an argument to where the target has it on the stack. */
static void move_to_stack(thunk *made, uint32_t index) {
    execbuf_location from = made->from.arguments[index];
    uint32_t offset = made->where.arguments[index].offset;
    if (from.where == EXECBUF_IN_VECTOR) {
        put_memory(&made->to, movsd_store, from.number, offset);
    } else if (from.where == EXECBUF_IN_GENERAL &&
               load_of(made, made->signature->arguments[index]).bytes == mov_load.bytes) {
        put_memory(&made->to, mov_store, from.number, offset);
    } else {
        load(made, index, RAX);
        put_memory(&made->to, mov_store, RAX, offset);
    }
}

/* Moves an argument to the target's register for it. */
static void move_to_register(thunk *made, uint32_t index) {
    execbuf_location from = made->from.arguments[index];
    execbuf_location where = made->where.arguments[index];
    if (where.where == EXECBUF_IN_GENERAL) {
        load(made, index, where.number);
    } else if (from.where == EXECBUF_ON_STACK) {
        put_memory(&made->to, movsd_load, where.number, made->incoming + from.offset);
    } else if (from.number != where.number) {
        put_registers(&made->to, movaps_load, where.number, from.number);
    }
}

/* Moves all arguments. No register is overwritten whose argument is still to be moved:
 *
 * What goes to the stack goes first. From Win64, the i-th integer came in the place p >= i, so in ascending
 * order each register that is written was that of an argument that is gone; floats likewise. To Win64 it is
 * the other way round: the argument of a register came i-th of its kind at place p >= i, and larger places
 * are done before. */
static void move_arguments(thunk *made, execbuf_abi abi) {
    uint32_t count = made->signature->count;
    for (uint32_t i = 0; i < count; i++) {
        if (made->where.arguments[i].where == EXECBUF_ON_STACK) {
            move_to_stack(made, i);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = abi == EXECBUF_ABI_WIN64 ? count - 1 - i : i;
        if (made->where.arguments[index].where != EXECBUF_ON_STACK) {
            move_to_register(made, index);
        }
    }
}

/* What variadic functions want beside the arguments: System V the number of vector registers in al
 * (psABI, 3.5.7), Win64 floats in the general register of their place, too. */
static void tell_variadic(thunk *made, execbuf_abi abi) {
    if (made->signature->variadic == 0) {
        return;
    }
    if (abi == EXECBUF_ABI_SYSV64) {
        emit_byte(&made->to, 0xb8 | RAX); /* mov eax, imm32 */
        put_little_endian(&made->to, made->where.vector_count, 4);
        return;
    }
    static const uint8_t general[] = {1, 2, 8, 9}; /* rcx, rdx, r8, r9 */
    for (uint32_t i = 0; i < made->signature->count && i < sizeof general; i++) {
        if (made->where.arguments[i].where == EXECBUF_IN_VECTOR) {
            put_registers(&made->to, movq_to_r64, made->where.arguments[i].number, general[i]);
        }
    }
}

static uint32_t round_to_16(uint32_t size) {
    return (size + 15) & ~15U;
}

/* System V saves nothing that Win64 does not. At the call rsp is a multiple of 16, so at the entry it is 8
 * less. */
static void emit_sysv_to_win64(thunk *made) {
    xb_frame *frame = &made->frame;
    frame->size = round_to_16(made->where.stack_size) + 8;
    made->incoming = frame->size + 8;
    sub_rsp(&made->to, frame->size);
    frame->allocated = made->to.length;
    move_arguments(made, EXECBUF_ABI_WIN64);
    tell_variadic(made, EXECBUF_ABI_WIN64);
    call_r11(&made->to);
    add_rsp(&made->to, frame->size);
    frame->freed = made->to.length;
    ret(&made->to);
}

/* Saves or restores xmm6 to xmm15. */
static void keep_vectors(thunk *made, opcode code, uint32_t offset) {
    for (uint32_t i = 0; i < XB_SAVED_VECTORS; i++) {
        put_memory(&made->to, code, XB_FIRST_SAVED_VECTOR + i, offset + 16 * i);
    }
}

static void emit_win64_to_sysv(thunk *made) {
    xb_frame *frame = &made->frame;
    frame->saves = true;
    frame->vectors = round_to_16(made->where.stack_size);
    frame->size = frame->vectors + 16 * XB_SAVED_VECTORS + 8;
    made->incoming = frame->size + 8 + 8 + 8; /* rsi, rdi, the return address */
    made->extends = true;
    emit_push(&made->to, RDI);
    frame->pushed_rdi = made->to.length;
    emit_push(&made->to, RSI);
    frame->pushed_rsi = made->to.length;
    sub_rsp(&made->to, frame->size);
    frame->allocated = made->to.length;
    keep_vectors(made, movaps_store, frame->vectors);
    frame->saved = made->to.length;
    move_arguments(made, EXECBUF_ABI_SYSV64);
    tell_variadic(made, EXECBUF_ABI_SYSV64);
    call_r11(&made->to);
    keep_vectors(made, movaps_load, frame->vectors);
    add_rsp(&made->to, frame->size);
    frame->freed = made->to.length;
    emit_pop(&made->to, RSI);
    frame->popped_rsi = made->to.length;
    emit_pop(&made->to, RDI);
    frame->popped_rdi = made->to.length;
    ret(&made->to);
}

/* What follows when r11 holds the target. */
static void emit_body(thunk *made, execbuf_abi caller_abi) {
    if (caller_abi == EXECBUF_ABI_SYSV64) {
        emit_sysv_to_win64(made);
    } else {
        emit_win64_to_sysv(made);
    }
    made->frame.length = made->to.length;
}

static void emit(thunk *made, execbuf_abi caller_abi, execbuf_abi abi, const void *target) {
    endbr64(&made->to);
    mov_r11(&made->to, target);
    if (caller_abi == abi) {
        jmp_r11(&made->to);
    } else {
        emit_body(made, caller_abi);
    }
}

/* ---- Adapters and stubs ---- */

void xb_emit_adapter(uint8_t *out, const execbuf_signature *fingerprint, execbuf_abi caller_abi,
                     xb_frame *frame) {
    thunk made;
    memset(&made, 0, sizeof made);
    made.signature = fingerprint;
    made.to.out = out;
    execbuf_abi abi = caller_abi == EXECBUF_ABI_SYSV64 ? EXECBUF_ABI_WIN64 : EXECBUF_ABI_SYSV64;
    (void)execbuf_layout_of(&made.from, fingerprint, caller_abi, NULL);
    (void)execbuf_layout_of(&made.where, fingerprint, abi, NULL);
    endbr64(&made.to);
    emit_body(&made, caller_abi);
    *frame = made.frame;
}

execbuf_status execbuf_thunk_emit(void *out, size_t capacity, size_t *length,
                                  const execbuf_signature *signature, execbuf_abi caller_abi, execbuf_abi abi,
                                  const void *target, execbuf_error *error) {
    if (length == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "length", 0);
    }
    *length = 0;
    if (target == NULL || (out == NULL && capacity > 0)) {
        return xb_error_set(error, EXECBUF_E_NULL, target == NULL ? "target" : "out", 0);
    }
    caller_abi = xb_abi_resolve(caller_abi);
    abi = xb_abi_resolve(abi);
    if (!xb_abi_is_known(caller_abi)) {
        return xb_error_set(error, EXECBUF_E_ABI, "entered", 0);
    }
    thunk made;
    memset(&made, 0, sizeof made);
    made.signature = signature;
    execbuf_status status = execbuf_layout_of(&made.from, signature, caller_abi, error);
    if (status == EXECBUF_OK) {
        status = execbuf_layout_of(&made.where, signature, abi, error);
    }
    if (status != EXECBUF_OK) {
        return status;
    }
    emit(&made, caller_abi, abi, target);
    *length = made.to.length;
    if (made.to.length > capacity) {
        return xb_error_set(error, EXECBUF_E_CAPACITY, "capacity", 0);
    }
    emitter again = {(uint8_t *)out, 0};
    made.to = again;
    emit(&made, caller_abi, abi, target);
    return xb_error_ok(error);
}
