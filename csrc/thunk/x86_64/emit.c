/* Writes adapters and whole thunks for x86-64. Pure: no state, no system calls.
 *
 * An adapter is entered with the target's address in r11. Its frame, from high addresses to low ones:
 *
 *     System V to Win64                         Win64 to System V
 *
 *     +--------------------------+              +--------------------------+
 *     | caller's stack arguments |              | caller's stack arguments |
 *     |                          |              | shadow space, 32 bytes   |
 *     +--------------------------+              +--------------------------+  caller's rsp at the call
 *     | return address           |              | return address           |
 *     +--------------------------+              +--------------------------+  rsp at the entry
 *     | caller's rbp             |              | caller's rbp             |
 *     +--------------------------+              +--------------------------+  rbp
 *     |                          |              | rdi                      |
 *     |                          |              | rsi                      |
 *     |                          |              | xmm15                    |
 *     |                          |              | ...                      |
 *     |                          |              | xmm6                     |
 *     |                          |              +--------------------------+  rsp + frame.vectors
 *     | target's stack arguments |              | target's stack arguments |
 *     | shadow space, 32 bytes   |              |                          |
 *     +--------------------------+              +--------------------------+  rsp at the call of the target,
 *                                                                             a multiple of 16
 *
 * Arguments that came on the stack are read at [rsp + incoming + offset], where incoming is the distance from
 * rsp at the target's call to the caller's rsp at its call, and offset is from the caller's layout.
 *
 * rbp is a frame pointer: profilers and debuggers that follow the chain of rbp find the caller of a thunk,
 * and its callers. It costs three instructions a call.
 *
 * Both conventions let a callee change rax, rcx, rdx, r8 to r11 and xmm0 to xmm5. System V also lets it
 * change rdi, rsi and xmm6 to xmm15, which Win64 callers expect to be preserved: so the adapter on the right
 * saves them. Win64 functions preserve all that System V callers expect, so the one on the left saves
 * nothing. rax is free for moves from stack to stack: neither convention passes an argument in it, and al is
 * set last. r11 holds no argument either. */

#include <string.h>

#include "../../call/layout.h"
#include "../../call/type.h"
#include "../machine.h"
#include "asm.h"

/* The worst case of an adapter: 127 arguments, each moved from stack to stack by two instructions with a
 * displacement of 32 bits, of 9 and 8 bytes; and 20 moves of vector registers of 9 bytes with all that is
 * around them. */
XB_STATIC_ASSERT((9 + 8) * EXECBUF_MAX_ARGUMENTS + 9 * 2 * XB_SAVED_VECTORS + 50 <= XB_MAX_ADAPTER_SIZE,
                 "the longest adapter fits");

/* An adapter that is being written. */
typedef struct adapter_code {
    xb_asm to;
    xb_frame frame;
    const xb_signature *signature;
    execbuf_layout from;    /* where the caller has the arguments */
    execbuf_layout where;   /* where the target wants them */
    execbuf_abi callee_abi; /* the target's convention */
    uint32_t incoming;      /* see above */
} adapter_code;

/* ---- Moves ---- */

/* How an argument is loaded into a general register. clang's and rustc's System V functions rely on it that
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
    uint8_t size = xb_type_size(type);
    if (callee_abi == EXECBUF_ABI_WIN64 || size > 2) {
        return EXTEND_NOT;
    }
    if (xb_type_is_signed(type)) {
        return size == 1 ? EXTEND_SIGNED_8 : EXTEND_SIGNED_16;
    }
    return size == 1 ? EXTEND_UNSIGNED_8 : EXTEND_UNSIGNED_16;
}

/* Two types are moved alike if both are floats, or if both are extended alike. */
const uint8_t *xb_machine_kinds(execbuf_abi caller_abi) {
#define NONE EXECBUF_TYPE_VOID
#define I8 EXECBUF_TYPE_I8
#define U8 EXECBUF_TYPE_U8
#define I16 EXECBUF_TYPE_I16
#define U16 EXECBUF_TYPE_U16
#define I64 EXECBUF_TYPE_I64
#define F64 EXECBUF_TYPE_F64
    /* Of void, bool, i8, u8, i16, u16, i32, u32, i64, u64, pointer, f32, f64, and three that are none. */
    static const uint8_t to_sysv[16] = {NONE, U8, I8, U8, I16, U16, I64, I64, I64, I64, I64, F64, F64};
    static const uint8_t to_win64[16] = {NONE, I64, I64, I64, I64, I64, I64, I64, I64, I64, I64, F64, F64};
    return caller_abi == EXECBUF_ABI_SYSV64 ? to_win64 : to_sysv;
#undef NONE
#undef I8
#undef U8
#undef I16
#undef U16
#undef I64
#undef F64
}

/* Where an argument is when the adapter has made its frame. */
static xb_operand source_of(const adapter_code *code, uint32_t index) {
    execbuf_location from = code->from.arguments[index];
    return from.where == EXECBUF_ON_STACK ? xb_asm_stack(code->incoming + from.offset)
                                          : xb_asm_reg(from.number);
}

/* Loads an argument, which is not in a vector register, into a general register. */
static void load(adapter_code *code, uint32_t index, uint32_t reg) {
    xb_operand from = source_of(code, index);
    switch (extension_of(code->signature->arguments[index], code->callee_abi)) {
    case EXTEND_UNSIGNED_8: xb_asm_movzx_byte(&code->to, reg, from); break;
    case EXTEND_SIGNED_8: xb_asm_movsx_byte(&code->to, reg, from); break;
    case EXTEND_UNSIGNED_16: xb_asm_movzx_word(&code->to, reg, from); break;
    case EXTEND_SIGNED_16: xb_asm_movsx_word(&code->to, reg, from); break;
    case EXTEND_NOT:
        if (from.is_memory || from.reg != reg) {
            xb_asm_mov(&code->to, reg, from);
        }
        break;
    }
}

/* Moves an argument to where the target wants it on the stack. */
static void move_to_stack(adapter_code *code, uint32_t index) {
    execbuf_location from = code->from.arguments[index];
    xb_operand where = xb_asm_stack(code->where.arguments[index].offset);
    bool extends = extension_of(code->signature->arguments[index], code->callee_abi) != EXTEND_NOT;
    if (from.where == EXECBUF_IN_VECTOR) {
        xb_asm_movsd_store(&code->to, where, from.number);
    } else if (from.where == EXECBUF_IN_GENERAL && !extends) {
        xb_asm_mov_store(&code->to, where, from.number);
    } else {
        load(code, index, XB_RAX);
        xb_asm_mov_store(&code->to, where, XB_RAX);
    }
}

/* Moves an argument to the register where the target wants it. */
static void move_to_register(adapter_code *code, uint32_t index) {
    xb_operand from = source_of(code, index);
    execbuf_location where = code->where.arguments[index];
    if (where.where == EXECBUF_IN_GENERAL) {
        load(code, index, where.number);
    } else if (from.is_memory) {
        xb_asm_movsd(&code->to, where.number, from);
    } else if (from.reg != where.number) {
        xb_asm_movaps(&code->to, where.number, from);
    }
}

/* Moves all arguments. In general, moves between registers can form cycles (a to b, b to a), which take a
 * spare register or an exchange. Here they cannot, and an order exists in which no register is overwritten
 * before its argument has been moved:
 *
 * - Arguments bound for the stack go first. They overwrite nothing but the new frame and rax.
 * - Then those bound for registers. Number the general registers of each convention in the order of its
 *   list: System V 0 to 5 (rdi, rsi, rdx, rcx, r8, r9), Win64 0 to 3 (rcx, rdx, r8, r9). Those that both
 *   have are
 *
 *       rdx: S2 and W1      rcx: S3 and W0      r8: S4 and W2      r9: S5 and W3
 *
 *   The argument at position p, if it is the i-th integer, is in S(i) and W(p), where i <= p.
 *
 *   To System V, in ascending order of p. A move into S(i) overwrites the Win64 register that is the same.
 *   Whose argument was there?
 *
 *       i  register  is    position
 *       2  rdx       W1    1, before p, since p >= i = 2: moved already
 *       3  rcx       W0    0, before p >= 3: moved already
 *       4  r8        W2    2, before p >= 4: moved already
 *       5  r9        W3    3, before p >= 5: moved already
 *
 *   To Win64, in descending order of p. A move into W(p) overwrites the System V register that is the same,
 *   S(j). Its argument is the j-th integer, at some position q >= j:
 *
 *       p  register  is    position
 *       0  rcx       S3    q >= 3, behind p: moved already
 *       1  rdx       S2    q >= 2, behind p: moved already
 *       2  r8        S4    q >= 4, behind p: moved already
 *       3  r9        S5    q >= 5, behind p: moved already
 *
 * - Floats: the i-th one is in xmm(i) for System V and in xmm(p) for Win64, where i <= p. To System V, a move
 *   into xmm(i) overwrites the argument of position i <= p, which is moved already, or is this one. To Win64,
 *   a move into xmm(p) overwrites the p-th float, at a position >= p, which is likewise. */
static void move_arguments(adapter_code *code) {
    uint32_t count = code->signature->count;
    for (uint32_t i = 0; i < count; i++) {
        if (code->where.arguments[i].where == EXECBUF_ON_STACK) {
            move_to_stack(code, i);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = code->callee_abi == EXECBUF_ABI_WIN64 ? count - 1 - i : i;
        if (code->where.arguments[index].where != EXECBUF_ON_STACK) {
            move_to_register(code, index);
        }
    }
}

/* Does what variadic functions expect beside their arguments. System V: the number of vector registers with
 * arguments is in al (psABI, 3.5.7). Win64: a float is also in the general register of its position
 * (Microsoft, "x64 calling convention", "Varargs"). All arguments have been moved. */
static void prepare_variadic(adapter_code *code) {
    if (code->signature->variadic == 0) {
        return;
    }
    if (code->callee_abi == EXECBUF_ABI_SYSV64) {
        xb_asm_mov_eax(&code->to, code->where.vector_count);
        return;
    }
    for (uint32_t i = 0; i < code->signature->count && i < XB_WIN64_REGISTERS; i++) {
        execbuf_location where = code->where.arguments[i];
        if (where.where == EXECBUF_IN_VECTOR) {
            xb_asm_movq(&code->to, xb_win64_general[i], where.number);
        }
    }
}

/* ---- Frames ---- */

static uint32_t round_up_to_16(uint32_t size) {
    return (size + 15) & ~15U;
}

static void begin_frame(adapter_code *code) {
    xb_asm_push(&code->to, XB_RBP);
    code->frame.pushed_rbp = code->to.length;
    xb_asm_mov(&code->to, XB_RBP, xb_asm_reg(XB_RSP));
    code->frame.moved_rbp = code->to.length;
}

/* Not leave, although it does the work of two instructions: Windows knows an epilogue by its instructions,
 * and leave is none of those. */
static void end_frame(adapter_code *code) {
    xb_asm_pop(&code->to, XB_RBP);
    code->frame.popped_rbp = code->to.length;
    xb_asm_ret(&code->to);
}

/* rsp is a multiple of 16 before the call of the thunk, and again when the return address and rbp have been
 * pushed. So the rest of the frame is a multiple of 16. */
static void sysv64_to_win64(adapter_code *code) {
    xb_asm *to = &code->to;
    xb_frame *frame = &code->frame;
    frame->size = round_up_to_16(code->where.stack_size);
    code->incoming = frame->size + 8 + 8; /* rbp, the return address */
    begin_frame(code);
    xb_asm_sub_rsp(to, frame->size);
    frame->allocated = to->length;
    move_arguments(code);
    prepare_variadic(code);
    xb_asm_call_r11(to);
    xb_asm_add_rsp(to, frame->size);
    frame->freed = to->length;
    end_frame(code);
}

/* As above; the two pushes do not change what rsp is modulo 16. */
static void win64_to_sysv64(adapter_code *code) {
    xb_asm *to = &code->to;
    xb_frame *frame = &code->frame;
    frame->saves = true;
    frame->vectors = round_up_to_16(code->where.stack_size);
    frame->size = frame->vectors + 16 * XB_SAVED_VECTORS;
    code->incoming = frame->size + 8 + 8 + 8 + 8; /* rsi, rdi, rbp, the return address */
    begin_frame(code);
    xb_asm_push(to, XB_RDI);
    frame->pushed_rdi = to->length;
    xb_asm_push(to, XB_RSI);
    frame->pushed_rsi = to->length;
    xb_asm_sub_rsp(to, frame->size);
    frame->allocated = to->length;
    for (uint32_t i = 0; i < XB_SAVED_VECTORS; i++) {
        xb_asm_movaps_store(to, xb_asm_stack(frame->vectors + 16 * i), XB_FIRST_SAVED_VECTOR + i);
    }
    frame->saved = to->length;
    move_arguments(code);
    prepare_variadic(code);
    xb_asm_call_r11(to);
    for (uint32_t i = 0; i < XB_SAVED_VECTORS; i++) {
        xb_asm_movaps(to, XB_FIRST_SAVED_VECTOR + i, xb_asm_stack(frame->vectors + 16 * i));
    }
    xb_asm_add_rsp(to, frame->size);
    frame->freed = to->length;
    xb_asm_pop(to, XB_RSI);
    frame->popped_rsi = to->length;
    xb_asm_pop(to, XB_RDI);
    frame->popped_rdi = to->length;
    end_frame(code);
}

/* Writes an adapter from where r11 holds the target's address. code->to has what comes before. */
static void write_adapter(adapter_code *code, const xb_signature *signature, execbuf_abi caller_abi) {
    code->signature = signature;
    code->callee_abi = caller_abi == EXECBUF_ABI_SYSV64 ? EXECBUF_ABI_WIN64 : EXECBUF_ABI_SYSV64;
    xb_layout_of(&code->from, signature, caller_abi);
    xb_layout_of(&code->where, signature, code->callee_abi);
    if (caller_abi == EXECBUF_ABI_SYSV64) {
        sysv64_to_win64(code);
    } else {
        win64_to_sysv64(code);
    }
    code->frame.length = code->to.length;
}

/* An adapter begins with endbr64, of XB_ADAPTER_START bytes, for stubs that jump to it by a register. */
void xb_machine_adapter(uint8_t *out, xb_frame *frame, const xb_signature *signature,
                        execbuf_abi caller_abi) {
    adapter_code code;
    memset(&code, 0, sizeof code);
    code.to.out = out;
    xb_asm_endbr64(&code.to);
    write_adapter(&code, signature, caller_abi);
    *frame = code.frame;
}

size_t xb_machine_thunk(uint8_t *out, const xb_signature *signature, execbuf_abi caller_abi,
                        execbuf_abi callee_abi, const void *target) {
    adapter_code code;
    memset(&code, 0, sizeof code);
    code.to.out = out;
    xb_asm_endbr64(&code.to);
    xb_asm_mov_r11(&code.to, (uintptr_t)target);
    if (caller_abi == callee_abi) {
        xb_asm_jmp_r11(&code.to);
    } else {
        write_adapter(&code, signature, caller_abi);
    }
    return code.to.length;
}
