/* Writes the code that moves a result to where the caller wants it. Pure: no state, no system calls.
 *
 *     the target has it in   the caller wants it in
 *     registers              the same registers        nothing to do
 *     registers              other registers
 *     registers              memory                    the adapter keeps the address that the caller passed,
 *                                                      in the result's 16 bytes of the frame, and stores
 *     memory                 registers                 the result's 16 bytes of the frame are that memory; a
 *                                                      value in registers is not longer
 *     memory                 memory                    nothing to do: the address is one more argument, and
 *                                                      both return it in rax
 *
 * In registers, a value is in rax, in xmm0, or for System V in two of rax, rdx, xmm0 and xmm1. */

#include "code.h"
#include "values.h"

uint32_t xb_results_plan(xb_code *code, uint32_t at) {
    bool is_kept = code->from.result.is_reference != code->where.result.is_reference;
    code->result = at;
    return at + (is_kept ? 16 : 0);
}

/* Stores a result that the target has in registers. Two whole pieces in vector registers are joined, for
 * callers that load them at once (see moves.c). */
static void store_result(xb_code *code) {
    xb_asm *to = &code->to;
    const xb_location *from = &code->where.result;
    bool is_pair = from->where[0] == EXECBUF_IN_VECTOR && from->where[1] == EXECBUF_IN_VECTOR;
    xb_asm_mov(to, XB_R10, xb_asm_stack(code->result));
    if (is_pair && from->size == 16) {
        xb_asm_punpcklqdq(to, 0, 1);
        xb_value_store_vector(to, XB_R10, 0, 0, 16);
        xb_asm_mov(to, XB_RAX, xb_asm_reg(XB_R10));
        return;
    }
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t size = xb_code_piece(from, i);
        if (from->where[i] == EXECBUF_IN_GENERAL) {
            xb_value_store(to, XB_R10, 8 * i, from->number[i], size);
        } else if (from->where[i] == EXECBUF_IN_VECTOR) {
            xb_value_store_vector(to, XB_R10, 8 * i, from->number[i], size);
        }
    }
    xb_asm_mov(to, XB_RAX, xb_asm_reg(XB_R10));
}

/* Loads a result from the frame. There, whole registers may be read. */
static void load_result(xb_code *code) {
    xb_asm *to = &code->to;
    const xb_location *where = &code->from.result;
    for (uint32_t i = 0; i < 2; i++) {
        if (where->where[i] == EXECBUF_IN_GENERAL) {
            xb_asm_mov(to, where->number[i], xb_asm_stack(code->result + 8 * i));
        } else if (where->where[i] == EXECBUF_IN_VECTOR) {
            uint32_t size = xb_code_piece(where, i) > 8 ? 16 : 8;
            xb_value_load_vector(to, where->number[i], XB_RSP, code->result + 8 * i, size);
        }
    }
}

/* Moves a result from registers to registers. Where they differ, one convention has it in xmm0; the other has
 * it in rax or, if it is longer, in rax and rdx. */
static void move_result(xb_code *code) {
    xb_asm *to = &code->to;
    const xb_location *from = &code->where.result;
    const xb_location *where = &code->from.result;
    if (from->where[0] == where->where[0]) {
        return;
    }
    if (from->where[0] == EXECBUF_IN_VECTOR) {
        xb_asm_movq(to, XB_RAX, 0);
        if (where->where[1] == EXECBUF_IN_GENERAL) {
            xb_asm_psrldq_8(to, 0);
            xb_asm_movq(to, XB_RDX, 0);
        }
    } else {
        xb_asm_movq_from(to, 0, XB_RAX);
        if (from->where[1] == EXECBUF_IN_GENERAL) {
            xb_asm_movq_from(to, 1, XB_RDX);
            xb_asm_punpcklqdq(to, 0, 1);
        }
    }
}

void xb_results_write(xb_code *code) {
    bool is_stored = code->where.result.is_reference; /* the target has stored it */
    bool is_wanted = code->from.result.is_reference;  /* the caller wants it in memory */
    if (!is_stored && is_wanted) {
        store_result(code);
    } else if (is_stored && !is_wanted) {
        load_result(code);
    } else if (!is_stored) {
        move_result(code);
    }
}
