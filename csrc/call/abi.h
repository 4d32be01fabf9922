/* Names of calling conventions. Pure. */
#ifndef XB_CALL_ABI_H
#define XB_CALL_ABI_H

#include <stdbool.h>

#include "../prim/prim.h"

/* The convention that a caller named, with EXECBUF_ABI_NATIVE replaced by this platform's. The result is
 * still NATIVE if this platform has neither of the two conventions of x86-64. Any value. */
static inline execbuf_abi xb_abi_resolve(execbuf_abi abi) {
    return abi == EXECBUF_ABI_NATIVE ? xb_prim_abi : abi;
}

/* Whether a resolved convention is System V or Win64. Any value. */
static inline bool xb_abi_is_known(execbuf_abi abi) {
    return abi == EXECBUF_ABI_SYSV64 || abi == EXECBUF_ABI_WIN64;
}

/* Whether functions of a resolved convention can be called on this machine, and exceptions pass through such
 * calls. Windows on AArch64 would need unwind tables of its own. */
static inline bool xb_abi_is_callable(execbuf_abi abi) {
    if (xb_prim_abi != EXECBUF_ABI_NATIVE) {
        return xb_abi_is_known(abi);
    }
    return abi == EXECBUF_ABI_NATIVE &&
           (xb_prim_arm == XB_PRIM_ARM_AAPCS64 || xb_prim_arm == XB_PRIM_ARM_APPLE);
}

#endif
