/* An adapter that is being written: what the files of this folder share. */
#ifndef XB_THUNK_AARCH64_CODE_H
#define XB_THUNK_AARCH64_CODE_H

#include "../../base/compiler.h"
#include "../../call/layout.h"
#include "../../debug/frame.h"
#include "../edit.h"
#include "asm.h"

typedef struct xb_arm_code {
    xb_arm_asm to;
    xb_frame frame;
    const xb_signature *signature;          /* the target's */
    xb_layout from;                         /* where the adapter finds the arguments */
    xb_layout where;                        /* where the target wants them */
    uint32_t copies[EXECBUF_MAX_ARGUMENTS]; /* of values: offsets from sp */
} xb_arm_code;

/* The frame above x29: x29, x30, and 16 bytes that packed.c uses. */
#define XB_ARM_FRAME_ABOVE 32U

/* The largest frame below x29, so that all of it is less than a page. */
#define XB_ARM_MOST_BELOW 4000U

/* The next multiple of 16. */
static inline uint32_t xb_arm_round_up(uint32_t size) {
    return (size + 15) & ~15U;
}

/* The load with which a scalar of a size is copied. */
static inline uint32_t xb_arm_load_of_size(uint32_t size) {
    switch (size) {
    case 1: return XB_ARM_LDRB;
    case 2: return XB_ARM_LDRH;
    case 4: return XB_ARM_LDR_W;
    default: return XB_ARM_LDR_X;
    }
}

/* The load with which an element of a size goes to a vector register. */
static inline uint32_t xb_arm_load_of_element(uint32_t size) {
    return size == 4 ? XB_ARM_LDR_S : size == 8 ? XB_ARM_LDR_D : XB_ARM_LDR_Q;
}

/* ---- Frames ---- */

/* Begins a frame, of which nothing below x29 exists yet. */
static inline void xb_arm_begin_frame(xb_arm_code *code) {
    xb_arm_push_frame(&code->to, XB_ARM_FRAME_ABOVE);
    code->frame.pushed_rbp = code->to.length;
    xb_arm_add(&code->to, XB_ARM_FP, XB_ARM_SP, 0);
    code->frame.moved_rbp = code->to.length;
}

/* Allocates code->frame.size bytes below x29. */
static inline void xb_arm_allocate(xb_arm_code *code) {
    if (code->frame.size > 0) {
        xb_arm_sub(&code->to, XB_ARM_SP, XB_ARM_SP, code->frame.size);
    }
    code->frame.allocated = code->to.length;
}

/* Ends the frame, and returns. */
static inline void xb_arm_end_frame(xb_arm_code *code) {
    if (code->frame.size > 0) {
        xb_arm_add(&code->to, XB_ARM_SP, XB_ARM_FP, 0);
    }
    code->frame.freed = code->to.length;
    xb_arm_pop_frame(&code->to, XB_ARM_FRAME_ABOVE);
    code->frame.popped_rbp = code->to.length;
    xb_arm_ret(&code->to);
}

XB_PRIVATE_BEGIN

/* Writes an adapter of execbuf_call, one that calls a handler, or one that edits. code->to has what comes
 * before.
 *
 * In: signature: of xb_arm_edit_write, the longer one.
 *     short_:    becomes the shorter one. */
void xb_arm_packed_write(xb_arm_code *code, const xb_signature *signature);
void xb_arm_handler_write(xb_arm_code *code, const xb_signature *signature);
void xb_arm_edit_write(xb_arm_code *code, xb_signature *short_, const xb_signature *signature,
                       execbuf_abi edit);

XB_PRIVATE_END

#endif
