/* Writes adapters and whole thunks for x86-64; packed.c writes the adapters of execbuf_call, and handler.c
 * those of closures that call handlers. Pure: no state, no system calls.
 *
 * An adapter of thunks is entered with the target's address in r11. Its frame, from high addresses to low
 * ones:
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

#include "../../call/packed.h"
#include "../../call/type.h"
#include "../edit.h"
#include "../machine.h"
#include "code.h"
#include "machine.h"

/* The worst cases of adapters without shapes. Of thunks: 127 vectors, each copied from where an address on
 * the stack points to, by three instructions of at most 27 bytes; and 20 moves of vector registers of 9 bytes
 * with all that is around them. Its frame has 127 * 16 bytes of arguments, and the vectors.
 * tests/c/thunk_types.c makes it. (Adapters with slots are measured.) */
XB_STATIC_ASSERT(27 * EXECBUF_MAX_ARGUMENTS + 9 * 2 * XB_SAVED_VECTORS + 50 <= XB_MAX_ADAPTER_SIZE,
                 "the longest adapter fits");

/* The largest frame, so that with what is pushed it is less than a page. */
#define MAX_FRAME 4000U

/* ---- What is moved alike ---- */

/* The target's convention. */
static execbuf_abi callee_of(execbuf_abi caller_abi) {
    if (xb_abi_is_packed(caller_abi)) {
        return xb_packed_callee(caller_abi);
    }
    return caller_abi == EXECBUF_ABI_SYSV64 ? EXECBUF_ABI_WIN64 : EXECBUF_ABI_SYSV64;
}

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
/* The lists below are of void, bool, i8, u8, i16, u16, i32, u32, i64, u64, pointer, f32, f64, i128, u128 and
 * the vector. */

/* Two types are moved alike if both are floats, or if both are extended alike. */
const uint8_t *xb_x86_kinds(execbuf_abi caller_abi) {
    static const uint8_t to_sysv[XB_TYPE_COUNT] = {NONE, U8,  I8,  U8,  I16, U16,  I64,  I64,
                                                   I64,  I64, I64, F64, F64, I128, I128, V128};
    static const uint8_t to_win64[XB_TYPE_COUNT] = {NONE, I64, I64, I64, I64, I64,  I64,  I64,
                                                    I64,  I64, I64, F64, F64, I128, I128, V128};
    static const uint8_t edited_win64[XB_TYPE_COUNT] = {NONE, I64, I64, I64, I64, I64, I64, I64,
                                                        I64,  I64, I64, F64, F64, I64, I64, I64};
    if (xb_edit_of(caller_abi) != XB_EDIT_NONE) {
        return xb_edit_convention(caller_abi) == EXECBUF_ABI_WIN64 ? edited_win64 : to_win64;
    }
    if (xb_abi_is_handler(caller_abi)) {
        return xb_handler_kinds(xb_handler_entry(caller_abi));
    }
    return callee_of(caller_abi) == EXECBUF_ABI_SYSV64 ? to_sysv : to_win64;
}

/* Between System V and Win64, only 128-bit integers are moved; to a slot, all results are. */
const uint8_t *xb_x86_result_kinds(execbuf_abi caller_abi) {
    static const uint8_t crossing[XB_TYPE_COUNT] = {NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
                                                    NONE, NONE, NONE, NONE, NONE, I128, I128, NONE};
    static const uint8_t packed[XB_TYPE_COUNT] = {NONE, U8,  I8,  U8,  I16, U16,  I32,  U32,
                                                  I64,  I64, I64, F64, F64, I128, I128, V128};
    if (xb_abi_is_handler(caller_abi)) {
        return xb_handler_result_kinds(xb_handler_entry(caller_abi));
    }
    return xb_abi_is_packed(caller_abi) ? packed : crossing;
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

/* An integer in one register is a word to both conventions. Sizes and alignments become the same where no
 * move depends on them. */
uint8_t xb_x86_alike(xb_shape *shape, execbuf_abi caller_abi, bool is_result) {
    if (xb_abi_is_handler(caller_abi)) {
        return xb_handler_alike(shape, xb_handler_entry(caller_abi), is_result);
    }
    const uint8_t *results = xb_x86_result_kinds(caller_abi);
    bool is_word = shape->size == 1 || shape->size == 2 || shape->size == 4 || shape->size == 8;
    shape->align = is_result || shape->align <= 8 ? 8 : 16;
    shape->arm = 0;
    if (is_word && shape->classes[0] == XB_CLASS_INTEGER) {
        return is_result ? results[EXECBUF_TYPE_I64] : (uint8_t)EXECBUF_TYPE_I64;
    }
    if (is_word && shape->classes[0] == XB_CLASS_SSE) {
        shape->size = 8;
    }
    if (is_result && !is_word && shape->classes[0] == XB_CLASS_MEMORY) {
        shape->size = XB_MAX_IN_REGISTERS + 8; /* both conventions pass an address */
    }
    return XB_FIRST_SHAPE;
}

/* System V: the number of vector registers with arguments is in al (psABI, 3.5.7). Win64: a float is also in
 * the general register of its position (Microsoft, "x64 calling convention", "Varargs"). */
void xb_code_prepare_variadic(xb_code *code) {
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

/* Saves the vector registers that System V functions may change. */
static void save_vectors(xb_code *code) {
    for (uint32_t i = 0; i < XB_SAVED_VECTORS; i++) {
        xb_asm_movaps_store(&code->to, xb_asm_stack(code->frame.vectors + 16 * i), XB_FIRST_SAVED_VECTOR + i);
    }
    code->frame.saved = code->to.length;
}

static void restore_vectors(xb_code *code) {
    for (uint32_t i = 0; i < XB_SAVED_VECTORS; i++) {
        xb_asm_movaps(&code->to, XB_FIRST_SAVED_VECTOR + i, xb_asm_stack(code->frame.vectors + 16 * i));
    }
}

void xb_code_begin_frame(xb_code *code) {
    xb_asm *to = &code->to;
    xb_frame *frame = &code->frame;
    xb_asm_push(to, XB_RBP);
    frame->pushed_rbp = to->length;
    xb_asm_mov(to, XB_RBP, xb_asm_reg(XB_RSP));
    frame->moved_rbp = to->length;
    if (frame->saves) {
        xb_asm_push(to, XB_RDI);
        frame->pushed_rdi = to->length;
        xb_asm_push(to, XB_RSI);
        frame->pushed_rsi = to->length;
    }
    xb_asm_sub_rsp(to, frame->size);
    frame->allocated = to->length;
    if (frame->saves) {
        save_vectors(code);
    }
}

/* Not leave, although it does the work of two instructions: Windows knows an epilogue by its instructions,
 * and leave is none of those. */
void xb_code_end_frame(xb_code *code) {
    xb_asm *to = &code->to;
    xb_frame *frame = &code->frame;
    if (frame->saves) {
        restore_vectors(code);
    }
    xb_asm_add_rsp(to, frame->size);
    frame->freed = to->length;
    if (frame->saves) {
        xb_asm_pop(to, XB_RSI);
        frame->popped_rsi = to->length;
        xb_asm_pop(to, XB_RDI);
        frame->popped_rdi = to->length;
    }
    xb_asm_pop(to, XB_RBP);
    frame->popped_rbp = to->length;
    xb_asm_ret(to);
}

/* rsp is a multiple of 16 before the call of the thunk, and again when the return address and rbp have been
 * pushed; rdi and rsi do not change what it is modulo 16. So the rest of the frame is a multiple of 16. */
static void write_crossing(xb_code *code) {
    xb_frame *frame = &code->frame;
    uint32_t end = plan_frame(code);
    frame->saves = code->callee_abi == EXECBUF_ABI_SYSV64;
    frame->vectors = frame->saves ? end : 0;
    frame->size = end + (frame->saves ? 16 * XB_SAVED_VECTORS : 0);
    code->incoming = frame->size + (frame->saves ? 16 : 0) + 8 + 8; /* rsi and rdi; rbp, the return address */
    xb_code_begin_frame(code);
    xb_moves_write(code);
    xb_code_prepare_variadic(code);
    xb_asm_call_r11(&code->to);
    xb_results_write(code);
    xb_code_end_frame(code);
}

/* Edits the list of arguments, as a tail call if it can: see edit.c. Both conventions are the same, so no
 * register has to be preserved but rbp. r11 has the address of the cell if an argument is inserted, and
 * otherwise that of the target; no move changes it. */
static void edit_arguments(xb_code *code, const xb_signature *signature, execbuf_abi edit) {
    xb_asm *to = &code->to;
    xb_signature short_;
    xb_operand target = xb_edit_of(edit) == XB_EDIT_INSERT ? xb_asm_memory(XB_R11, 0) : xb_asm_reg(XB_R11);
    if (!xb_edit_x86(code, &short_, signature, edit)) {
        code->incoming = 8; /* the return address */
        xb_moves_write(code);
        xb_code_prepare_variadic(code);
        xb_asm_jmp(to, target);
    } else {
        code->frame.size = xb_code_round_up(code->where.stack_size);
        code->incoming = code->frame.size + 8 + 8; /* rbp, the return address */
        xb_code_begin_frame(code);
        xb_moves_write(code);
        xb_code_prepare_variadic(code);
        xb_asm_call(to, target);
        xb_code_end_frame(code);
    }
}

/* Writes an adapter. If it is one of thunks, r11 holds the target's address; or the cell's. code->to has what
 * comes before. */
static void write_adapter(xb_code *code, const xb_signature *signature, execbuf_abi caller_abi) {
    if (xb_edit_of(caller_abi) != XB_EDIT_NONE) {
        code->to.scratch = XB_SCRATCH_VECTOR;
        edit_arguments(code, signature, caller_abi);
        code->frame.length = code->to.length;
        return;
    }
    if (xb_abi_is_packed(caller_abi)) {
        xb_packed_write(code, signature, xb_packed_entry(caller_abi), xb_packed_callee(caller_abi));
        return;
    }
    if (xb_abi_is_handler(caller_abi)) {
        xb_handler_write(code, signature, xb_handler_entry(caller_abi), xb_handler_callee(caller_abi));
        return;
    }
    code->signature = signature;
    code->to.scratch = XB_SCRATCH_VECTOR;
    code->callee_abi = callee_of(caller_abi);
    xb_layout_of(&code->from, signature, caller_abi);
    xb_layout_of(&code->where, signature, code->callee_abi);
    write_crossing(code);
    code->frame.length = code->to.length;
}

bool xb_x86_can(const xb_signature *signature, execbuf_abi caller_abi) {
    if (signature->shape_count == 0 && !xb_abi_is_packed(caller_abi) && !xb_abi_is_handler(caller_abi)) {
        return true;
    }
    xb_code code; /* which is measured and not written */
    memset(&code, 0, sizeof code);
    xb_asm_endbr64(&code.to);
    write_adapter(&code, signature, caller_abi);
    return code.frame.size <= MAX_FRAME && code.to.length <= XB_MAX_ADAPTER_SIZE;
}

/* An adapter begins with endbr64, of XB_ADAPTER_START bytes, for stubs that jump to it by a register. */
void xb_x86_adapter(uint8_t *out, xb_frame *frame, const xb_signature *signature, execbuf_abi caller_abi) {
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
