/* Bodies of thunks: what is done for all signatures of a shape. They are entered with the target in r11.
 * Pure. */
#ifndef EXECBUF_EMIT_H
#define EXECBUF_EMIT_H

#include <stdbool.h>

#include "../../include/execbuf.h"

/* What System V lets a function change and Win64 does not, beside rsi and rdi: xmm6 to xmm15. */
#define EXECBUF_FIRST_SAVED_VECTOR 6U
#define EXECBUF_SAVED_VECTORS 10U

/* A body's frame: what its prologue and epilogue do, for unwind tables. From length on, offsets from the
 * body's start to behind the instruction. */
typedef struct execbuf_frame {
    uint32_t size;    /* how far the stack pointer is moved, beside pushes; in bytes */
    uint32_t vectors; /* how far above it then xmm6 is saved, and the next ones behind it */
    bool saves;       /* rdi, rsi and xmm6 to xmm15 */
    uint32_t length;
    uint32_t pushed_rdi;
    uint32_t pushed_rsi;
    uint32_t allocated;
    uint32_t saved; /* xmm15 */
    uint32_t freed;
    uint32_t popped_rsi;
    uint32_t popped_rdi;
} execbuf_frame;

/* No body is longer: 127 arguments with 17 bytes each, and what is around them. */
#define EXECBUF_MOST_BODY 2560

/* Writes a body, which can lie at any address.
 *
 * Out: out:     the code, EXECBUF_MOST_BODY bytes at most; NULL only measures.
 *      frame:   its length, and what unwind tables tell.
 * In:  shape:   a signature that was checked.
 *      entered: the convention by which it is called, by name; the target's is the other one. */
void execbuf_emit_body(uint8_t *out, const execbuf_signature *shape, execbuf_abi entered,
                       execbuf_frame *frame);

#endif
