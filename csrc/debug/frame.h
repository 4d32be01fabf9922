/* What tools have to know of an adapter's code: how its prologue and epilogue change the stack. If
 * `pushed_rbp` is 0, nothing does: the code moves registers and jumps.
 *
 * There are three other shapes (thunk/x86_64/emit.c and packed.c draw their frames). The third is that of
 * execbuf_call, called by System V. No table for Windows is made of it, and other tables count from rbp, so
 * that how rsp changes does not matter:
 *
 *     saves is false                saves is true                     execbuf_call
 *
 *     push rbp        pushed_rbp    push rbp             pushed_rbp   push rbp        pushed_rbp
 *     mov rbp, rsp    moved_rbp     mov rbp, rsp         moved_rbp    mov rbp, rsp    moved_rbp
 *                                   push rdi             pushed_rdi   push rcx
 *                                   push rsi             pushed_rsi   push rsi
 *     sub rsp, size   allocated     sub rsp, size        allocated    sub rsp, …      allocated
 *                                   movaps xmm6...15     saved
 *     call                          call                              call
 *                                   movaps xmm6...15
 *     add rsp, size   freed         add rsp, size        freed
 *                                   pop rsi              popped_rsi
 *                                   pop rdi              popped_rdi
 *     pop rbp         popped_rbp    pop rbp              popped_rbp   leave           popped_rbp
 *     ret                           ret                               ret
 *
 * On AArch64, x29 and x30 are pushed and popped together, as rbp is here. */
#ifndef XB_DEBUG_FRAME_H
#define XB_DEBUG_FRAME_H

#include <stdbool.h>
#include <stdint.h>

/* The vector registers that Win64 functions preserve and System V functions do not: xmm6 to xmm15. */
#define XB_FIRST_SAVED_VECTOR 6U
#define XB_SAVED_VECTORS 10U

/* An adapter's frame. The names in the drawing above are offsets in the code: each is where the instruction
 * beside it ends. Those of instructions that are not there are 0. */
typedef struct xb_frame {
    uint32_t length;  /* of the code, in bytes */
    bool saves;       /* whether rdi, rsi and xmm6 to xmm15 are saved */
    uint32_t size;    /* what is subtracted from rsp, in bytes */
    uint32_t vectors; /* where xmm6 is saved, in bytes above rsp after the subtraction; xmm7 is 16 higher */
    uint32_t pushed_rbp;
    uint32_t moved_rbp;
    uint32_t pushed_rdi;
    uint32_t pushed_rsi;
    uint32_t allocated;
    uint32_t saved;
    uint32_t freed;
    uint32_t popped_rsi;
    uint32_t popped_rdi;
    uint32_t popped_rbp;
} xb_frame;

#endif
