/* Where calling conventions have arguments and results. Pure. */
#ifndef XB_CALL_LAYOUT_H
#define XB_CALL_LAYOUT_H

#include "../base/compiler.h"
#include "../include/execbuf.h"
#include "signature.h"

XB_PRIVATE_BEGIN

/* Fills the layout of a call.
 *
 * Out: out:       where the arguments and the result are.
 * In:  signature: has passed xb_signature_check.
 *      abi:       EXECBUF_ABI_SYSV64 or EXECBUF_ABI_WIN64. */
void xb_layout_of(execbuf_layout *out, const xb_signature *signature, execbuf_abi abi);

/* The general register that takes Win64's argument at this position, counted from 0; at most
 * XB_WIN64_REGISTERS. A variadic function also wants its floats there (see thunk/x86_64/emit.c). */
#define XB_WIN64_REGISTERS 4U
extern const uint8_t xb_win64_general[XB_WIN64_REGISTERS];

XB_PRIVATE_END

#endif
