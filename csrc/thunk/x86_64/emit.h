/* Adapters of thunks: what is done for all signatures of a fingerprint. They are caller_abi with the target
 * in r11. Pure. */
#ifndef XB_THUNK_X86_64_EMIT_H
#define XB_THUNK_X86_64_EMIT_H

#include <stdbool.h>

#include "../../include/execbuf.h"

/* What System V lets a function change and Win64 does not, beside rsi and rdi: xmm6 to xmm15. */
#define XB_FIRST_SAVED_VECTOR 6U
#define XB_SAVED_VECTORS 10U

/* A adapter's frame: what its prologue and epilogue do, for unwind tables. From length on, offsets from the
 * adapter's start to behind the instruction. */
typedef struct xb_frame {
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
} xb_frame;

/* No adapter is longer: 127 arguments with 17 bytes each, and what is around them. */
#define XB_MAX_ADAPTER_SIZE 2560

/* Writes a adapter, which can lie at any address.
 *
 * Out: out:     the code, XB_MAX_ADAPTER_SIZE bytes at most; NULL only measures.
 *      frame:   its length, and what unwind tables tell.
 * In:  fingerprint:   a signature that was checked.
 *      caller_abi: the convention by which it is called, by name; the target's is the other one. */
void xb_emit_adapter(uint8_t *out, const execbuf_signature *fingerprint, execbuf_abi caller_abi,
                     xb_frame *frame);

#endif
