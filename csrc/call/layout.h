/* Where calling conventions have arguments and results. Pure. */
#ifndef XB_CALL_LAYOUT_H
#define XB_CALL_LAYOUT_H

#include <stdbool.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"
#include "signature.h"

/* The conventions of AArch64, which only layouts know: AAPCS64, as Linux and the BSDs have it, and what Apple
 * and Microsoft made of it. */
#define XB_ABI_AAPCS64 ((execbuf_abi)64)
#define XB_ABI_APPLE64 ((execbuf_abi)65)
#define XB_ABI_WINDOWS64 ((execbuf_abi)66)

/* How many registers a value is in at most: four floats or vectors on AArch64, two on x86-64. */
#define XB_MAX_PIECES 4U

/* The place of an argument or a result: a list of pieces, each in a register, or one place on the stack. For
 * a variadic function on AArch64 Windows, the second piece may be on the stack, at the offset, and only that.
 *
 * On AArch64, the general registers 0 to 8 are x0 to x8, the vector registers 0 to 7 are v0 to v7. */
typedef struct xb_location {
    uint8_t where[XB_MAX_PIECES];  /* each an execbuf_where; of the pieces behind the last: nowhere */
    uint8_t number[XB_MAX_PIECES]; /* the registers */
    uint8_t piece;     /* in registers: how many bytes of the value each has; the last has what is left */
    bool is_reference; /* the place has the address of the value */
    uint32_t offset;   /* on the stack, as in execbuf_location */
    uint32_t size;     /* of the value, in bytes */
} xb_location;

/* Where the arguments and the result of a call are. */
typedef struct xb_layout {
    uint32_t stack_size;
    uint32_t vector_count; /* how many vector registers have arguments */
    xb_location result;
    xb_location result_pointer; /* where the address of the result's memory is passed, or nowhere */
    xb_location arguments[EXECBUF_MAX_ARGUMENTS]; /* as many as the signature has */
} xb_layout;

XB_PRIVATE_BEGIN

/* Fills the layout of a call.
 *
 * Out: out:       where the arguments and the result are.
 * In:  signature: has passed xb_signature_check.
 *      abi:       EXECBUF_ABI_SYSV64 or EXECBUF_ABI_WIN64. */
void xb_layout_of(xb_layout *out, const xb_signature *signature, execbuf_abi abi);

/* The same for AArch64. A result in memory is_reference and nowhere: the callee does not return its address.
 *
 * In:  abi: XB_ABI_AAPCS64, XB_ABI_APPLE64 or XB_ABI_WINDOWS64. */
void xb_layout_of_aarch64(xb_layout *out, const xb_signature *signature, execbuf_abi abi);

/* The general register that takes Win64's argument at this position, counted from 0; at most
 * XB_WIN64_REGISTERS. A variadic function also wants its floats there (see thunk/x86_64/emit.c). */
#define XB_WIN64_REGISTERS 4U
extern const uint8_t xb_win64_general[XB_WIN64_REGISTERS];

XB_PRIVATE_END

#endif
