/* Signatures and where conventions have their arguments. Pure: nothing here allocates or asks the system. */
#ifndef XB_CALL_SIGNATURE_H
#define XB_CALL_SIGNATURE_H

#include <stdbool.h>

#include "../prim/prim.h"

/* Whether a signature is one, with the report of execbuf_signature_parse if not. NULL is none. */
execbuf_status xb_signature_check(const execbuf_signature *signature, execbuf_error *error);

/* Facts about an execbuf_type, which is in range. */
bool xb_type_is_float(uint8_t type);
uint8_t xb_type_size(uint8_t type);
bool xb_type_is_signed(uint8_t type);

/* A convention, with the native one by its name. */
static inline execbuf_abi xb_abi_resolve(execbuf_abi abi) {
    return abi == EXECBUF_ABI_NATIVE ? xb_prim_abi : abi;
}

/* Whether it is one of the two. */
static inline bool xb_abi_is_known(execbuf_abi abi) {
    return abi == EXECBUF_ABI_SYSV64 || abi == EXECBUF_ABI_WIN64;
}

#endif
