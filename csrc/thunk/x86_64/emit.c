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
 *     | the result, or its       |              | the result, or its       |
 *     | memory's address         |              | memory's address         |
 *     | copies of values         |              | copies of values         |
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
 * set last. r10 is free, too, and r11 holds no argument either. */

#include <string.h>

#include "../../call/type.h"
#include "../machine.h"
#include "code.h"

/* The worst case of an adapter without shapes: 127 vectors, each copied from where an address on the stack
 * points to, by three instructions of at most 27 bytes; and 20 moves of vector registers of 9 bytes with all
 * that is around them. Its frame has 127 * 16 bytes of arguments, and the vectors. tests/c/thunk_types.c
 * makes it.
 */
XB_STATIC_ASSERT(27 * EXECBUF_MAX_ARGUMENTS + 9 * 2 * XB_SAVED_VECTORS + 50 <= XB_MAX_ADAPTER_SIZE,
                 "the longest adapter fits");

/* The largest frame, so that with what is pushed it is less than a page. */
#define MAX_FRAME 4000U

/* ---- What is moved alike ---- */

/* Two types are moved alike if both are floats, or if both are extended alike. */
const uint8_t *xb_machine_kinds(execbuf_abi caller_abi) {
#define NONE EXECBUF_TYPE_VOID
#define I8 EXECBUF_TYPE_I8
#define U8 EXECBUF_TYPE_U8
#define I16 EXECBUF_TYPE_I16
#define U16 EXECBUF_TYPE_U16
#define I64 EXECBUF_TYPE_I64
#define F64 EXECBUF_TYPE_F64
#define I128 EXECBUF_TYPE_I128
#define V128 EXECBUF_TYPE_V128
    /* Of void, bool, i8, u8, i16, u16, i32, u32, i64, u64, pointer, f32, f64, i128, u128 and the vector. */
    static const uint8_t to_sysv[XB_TYPE_COUNT] = {NONE, U8,  I8,  U8,  I16, U16,  I64,  I64,
                                                   I64,  I64, I64, F64, F64, I128, I128, V128};
    static const uint8_t to_win64[XB_TYPE_COUNT] = {NONE, I64, I64, I64, I64, I64,  I64,  I64,
                                                    I64,  I64, I64, F64, F64, I128, I128, V128};
    return caller_abi == EXECBUF_ABI_SYSV64 ? to_win64 : to_sysv;
#undef NONE
#undef I8
#undef U8
#undef I16
#undef U16
#undef I64
#undef F64
#undef I128
#undef V128
}

/* An integer in one register is a word to both conventions. Sizes and alignments become the same where no
 * move depends on them. */
uint8_t xb_machine_alike(xb_shape *shape, bool is_result) {
    bool is_word = shape->size == 1 || shape->size == 2 || shape->size == 4 || shape->size == 8;
    shape->align = is_result || shape->align <= 8 ? 8 : 16;
    shape->arm = 0;
    if (is_word && shape->classes[0] == XB_CLASS_INTEGER) {
        return is_result ? (uint8_t)EXECBUF_TYPE_VOID : (uint8_t)EXECBUF_TYPE_I64;
    }
    if (is_word && shape->classes[0] == XB_CLASS_SSE) {
        shape->size = 8;
    }
    if (is_result && !is_word && shape->classes[0] == XB_CLASS_MEMORY) {
        shape->size = XB_MAX_IN_REGISTERS + 8; /* both conventions pass an address */
    }
    return XB_FIRST_SHAPE;
}

/* Does what variadic functions expect beside their arguments. System V: the number of vector registers with
 * arguments is in al (psABI, 3.5.7). Win64: a float is also in the general register of its position
 * (Microsoft, "x64 calling convention", "Varargs"). All arguments have been moved. */
static void prepare_variadic(xb_code *code) {
    if (code->signature->variadic == 0) {
        return;
    }
    if (code->callee_abi == EXECBUF_ABI_SYSV64) {
        xb_asm_mov_eax(&code->to, code->where.vector_count);
        return;
    }
    for (uint32_t i = 0; i < code->signature->count; i++) {
        const xb_location *where = &code->where.arguments[i];
        if (where->where[0] == EXECBUF_IN_VECTOR) {
            uint32_t position = where->number[0]; /* Win64's registers of both kinds are numbered by it */
            xb_asm_movq(&code->to, xb_win64_general[position], position);
        }
    }
}

/* ---- Frames ---- */

/* Says what lies where in the lower part of the frame.
 *
 * Returns: where it ends, a multiple of 16. */
static uint32_t plan_frame(xb_code *code) {
    uint32_t at = xb_moves_plan(code, xb_code_round_up(code->where.stack_size));
    return xb_results_plan(code, at);
}

static void begin_frame(xb_code *code) {
    xb_asm_push(&code->to, XB_RBP);
    code->frame.pushed_rbp = code->to.length;
    xb_asm_mov(&code->to, XB_RBP, xb_asm_reg(XB_RSP));
    code->frame.moved_rbp = code->to.length;
}

/* Not leave, although it does the work of two instructions: Windows knows an epilogue by its instructions,
 * and leave is none of those. */
static void end_frame(xb_code *code) {
    xb_asm_pop(&code->to, XB_RBP);
    code->frame.popped_rbp = code->to.length;
    xb_asm_ret(&code->to);
}

/* rsp is a multiple of 16 before the call of the thunk, and again when the return address and rbp have been
 * pushed. So the rest of the frame is a multiple of 16. */
static void sysv64_to_win64(xb_code *code) {
    xb_asm *to = &code->to;
    xb_frame *frame = &code->frame;
    frame->size = plan_frame(code);
    code->incoming = frame->size + 8 + 8; /* rbp, the return address */
    begin_frame(code);
    xb_asm_sub_rsp(to, frame->size);
    frame->allocated = to->length;
    xb_moves_write(code);
    prepare_variadic(code);
    xb_asm_call_r11(to);
    xb_results_write(code);
    xb_asm_add_rsp(to, frame->size);
    frame->freed = to->length;
    end_frame(code);
}

/* As above; the two pushes do not change what rsp is modulo 16. */
static void win64_to_sysv64(xb_code *code) {
    xb_asm *to = &code->to;
    xb_frame *frame = &code->frame;
    frame->saves = true;
    frame->vectors = plan_frame(code);
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
    xb_moves_write(code);
    prepare_variadic(code);
    xb_asm_call_r11(to);
    xb_results_write(code);
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
static void write_adapter(xb_code *code, const xb_signature *signature, execbuf_abi caller_abi) {
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

bool xb_machine_can(const xb_signature *signature, execbuf_abi caller_abi) {
    if (signature->shape_count == 0) {
        return true;
    }
    xb_code code; /* which is measured and not written */
    memset(&code, 0, sizeof code);
    xb_asm_endbr64(&code.to);
    write_adapter(&code, signature, caller_abi);
    return code.frame.size <= MAX_FRAME && code.to.length <= XB_MAX_ADAPTER_SIZE;
}

/* An adapter begins with endbr64, of XB_ADAPTER_START bytes, for stubs that jump to it by a register. */
void xb_machine_adapter(uint8_t *out, xb_frame *frame, const xb_signature *signature,
                        execbuf_abi caller_abi) {
    xb_code code;
    memset(&code, 0, sizeof code);
    code.to.out = out;
    code.to.capacity = XB_MAX_ADAPTER_SIZE;
    xb_asm_endbr64(&code.to);
    write_adapter(&code, signature, caller_abi);
    *frame = code.frame;
}

size_t xb_machine_thunk(uint8_t *out, const xb_signature *signature, execbuf_abi caller_abi,
                        execbuf_abi callee_abi, const void *target) {
    xb_code code;
    memset(&code, 0, sizeof code);
    code.to.out = out;
    code.to.capacity = XB_MAX_THUNK_SIZE;
    xb_asm_endbr64(&code.to);
    xb_asm_mov_r11(&code.to, (uintptr_t)target);
    if (caller_abi == callee_abi) {
        xb_asm_jmp_r11(&code.to);
    } else {
        write_adapter(&code, signature, caller_abi);
    }
    return code.to.length;
}
