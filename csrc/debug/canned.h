/* Unwind rules of frames that a user describes in words (execbuf_unwind in execbuf.h), and the check that the
 * code has such a frame. Pure. */
#ifndef XB_DEBUG_CANNED_H
#define XB_DEBUG_CANNED_H

#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"
#include "rules.h"

/* The most instructions of such a frame, in bytes. They fit into the record of any slot. */
#define XB_MAX_CANNED 32U

/* A frame pointer as it was found in code. */
typedef struct xb_found_frame {
    size_t pushed;   /* the offset behind the instruction that saves the frame pointer */
    size_t moved;    /* behind the one that sets it; 0: there is no such frame */
    size_t restored; /* behind the one that restores it, at the end; 0: it is not at the end */
    uint32_t size;   /* from the stack pointer after the first to the CFA */
} xb_found_frame;

XB_PRIVATE_BEGIN

/* Looks for a frame pointer at the beginning of code. */
xb_found_frame xb_canned_find(const uint8_t *code, size_t length);

/* Checks what EXECBUF_UNWIND_FRAME_POINTER and EXECBUF_UNWIND_FIXED say of code.
 *
 * Returns: NULL, or what is wrong: a string literal. */
const char *xb_canned_check(const execbuf_info *info, const uint8_t *code, size_t length);

/* Makes the rules of a frame.
 *
 * Returns: NULL, or what is wrong: a string literal.
 * Out: out:     the rules, which refer to program.
 *      program: XB_MAX_CANNED bytes.
 * In:  info:    its unwind is FRAME_POINTER, NO_FRAME or FIXED.
 *      code:    the bytes of the code, where they can be read.
 *      length:  of the code.
 *      entry:   where the code runs. */
const char *xb_canned_rules(xb_rules *out, uint8_t *program, const execbuf_info *info, const uint8_t *code,
                            size_t length, const void *entry);

XB_PRIVATE_END

#endif
