/* An adapter that is being written: what the files of this folder share. emit.c draws its frame. */
#ifndef XB_THUNK_X86_64_CODE_H
#define XB_THUNK_X86_64_CODE_H

#include "../../base/compiler.h"
#include "../../call/layout.h"
#include "../../debug/frame.h"
#include "../edit.h"
#include "asm.h"

/* Offsets are from rsp at the target's call. */
typedef struct xb_code {
    xb_asm to;
    xb_frame frame;
    const xb_signature *signature;
    xb_layout from;                         /* where the caller has the arguments */
    xb_layout where;                        /* where the target wants them */
    execbuf_abi callee_abi;                 /* the target's convention */
    uint32_t incoming;                      /* where the caller's rsp was at its call */
    uint32_t result;                        /* 16 bytes: see results.c, packed.c and handler.c */
    uint32_t copies[EXECBUF_MAX_ARGUMENTS]; /* of values whose addresses the target gets */
} xb_code;

/* Registers that no convention passes arguments in, and that may be changed: rax and r10 for addresses and
 * parts of values, and this one, which the adapter has saved if it must, for longer parts (to.scratch). */
#define XB_SCRATCH_VECTOR 8U

/* The next multiple of 16. */
static inline uint32_t xb_code_round_up(uint32_t size) {
    return (size + 15) & ~15U;
}

/* How many bytes of a value a piece in a register has. */
static inline uint32_t xb_code_piece(const xb_location *location, uint32_t piece) {
    uint32_t rest = location->size - 8 * piece;
    bool has_all = location->where[0] == EXECBUF_IN_VECTOR && location->where[1] == EXECBUF_NOWHERE;
    return rest < 8 || has_all ? rest : 8;
}

XB_PRIVATE_BEGIN

/* Does what xb_edit_layouts does, and sets the target's signature and its convention. The cell of an argument
 * that is inserted is at r11. */
bool xb_edit_x86(xb_code *code, xb_signature *short_, const xb_signature *signature, execbuf_abi edit);

/* Says where copies of values and the result's 16 bytes are, from `at` on, a multiple of 16.
 *
 * Returns: where they end, likewise. */
uint32_t xb_moves_plan(xb_code *code, uint32_t at);
uint32_t xb_results_plan(xb_code *code, uint32_t at);

/* Draws the frame of an adapter that is called by Win64, or calls it: writes the prologue and the epilogue.
 * code->frame.size and frame.vectors say what they are. */
void xb_code_begin_frame(xb_code *code);
void xb_code_end_frame(xb_code *code);

/* Does what variadic functions expect beside their arguments, all of which have been moved. */
void xb_code_prepare_variadic(xb_code *code);

/* Writes an adapter of execbuf_call. code->to has what comes before.
 *
 * In: entry_abi, callee_abi: the conventions by which it is called, and by which it calls its target. */
void xb_packed_write(xb_code *code, const xb_signature *signature, execbuf_abi entry_abi,
                     execbuf_abi callee_abi);

/* As xb_machine_kinds and the others, for adapters that call a handler.
 *
 * In: entry_abi: the convention by which they are called. */
const uint8_t *xb_handler_kinds(execbuf_abi entry_abi);
const uint8_t *xb_handler_result_kinds(execbuf_abi entry_abi);
uint8_t xb_handler_alike(xb_shape *shape, execbuf_abi entry_abi, bool is_result);

/* Writes an adapter that calls a handler. r11 holds the cell's address. code->to has what comes before.
 *
 * In: entry_abi, callee_abi: the conventions by which it is called, and by which it calls the handler. */
void xb_handler_write(xb_code *code, const xb_signature *signature, execbuf_abi entry_abi,
                      execbuf_abi callee_abi);

/* Moves the arguments to where the target wants them. The frame exists; what it saves is saved. rdi and rsi
 * hold arguments only if the caller's convention is System V. */
void xb_moves_write(xb_code *code);

/* Moves the result to where the caller wants it. The target has returned; the frame still exists. */
void xb_results_write(xb_code *code);

XB_PRIVATE_END

#endif
