/* Thunks in two parts: a body, which does what a shape of signatures needs, and leaves, each of which tells
 * it one target. A leaf is entered instead of the target. Pure. */
#ifndef EXECBUF_EMIT_H
#define EXECBUF_EMIT_H

#include <stdbool.h>

#include "include/execbuf.h"

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

/* Where leaves near to a body jump: behind its endbr64. */
#define EXECBUF_BODY_START 4

/* Writes a body, which can lie at any address.
 *
 * Out: out:     the code, EXECBUF_MOST_BODY bytes at most; NULL only measures.
 *      frame:   its length, and what unwind tables tell.
 * In:  shape:   a signature that was checked.
 *      entered: the convention by which it is called, by name; the target's is the other one. */
void execbuf_emit_body(uint8_t *out, const execbuf_signature *shape, execbuf_abi entered,
                       execbuf_frame *frame);

/* There are leaves of four kinds, each with its length: for a target and a body that are near, so that the
 * leaf is as small as a slot; for a body that is near; for any; and without a body, a jump to the target. */
#define EXECBUF_LEAF_NEAR 16U
#define EXECBUF_LEAF_TARGET_FAR 19U
#define EXECBUF_LEAF_FAR 27U
#define EXECBUF_LEAF_JUMP 17U
#define EXECBUF_MOST_LEAF 32U

/* Whether a leaf of this length can be at an address. */
bool execbuf_leaf_fits(size_t length, const uint8_t *start, const void *target, const uint8_t *body);

/* Writes a leaf.
 *
 * Out: out:    the code, with traps behind it: EXECBUF_MOST_LEAF bytes.
 * In:  length: its length, which fits.
 *      start:  the address it will have; of the last two kinds, any.
 *      target: the function.
 *      body:   the body. */
void execbuf_leaf_emit(uint8_t *out, size_t length, const uint8_t *start, const void *target,
                       const uint8_t *body);

/* The body of a leaf that has one, by its code and its length. */
const uint8_t *execbuf_leaf_body(const uint8_t *leaf, size_t length);

#endif
