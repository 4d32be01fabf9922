/* Signatures and where conventions have their arguments. Pure: nothing here allocates or asks the system. */
#ifndef EXECBUF_SIGNATURE_H
#define EXECBUF_SIGNATURE_H

#include <stdbool.h>

#include "../prim/prim.h"

/* Whether a signature is one, with the report of execbuf_signature_parse if not. NULL is none. */
execbuf_status execbuf_signature_check(const execbuf_signature *signature, execbuf_error *error);

/* Facts about an execbuf_type, which is in range. */
bool execbuf_type_is_float(uint8_t type);
uint8_t execbuf_type_size(uint8_t type);
bool execbuf_type_is_signed(uint8_t type);

/* A convention, with the native one by its name. */
static inline execbuf_abi execbuf_abi_known(execbuf_abi abi) {
    return abi == EXECBUF_ABI_NATIVE ? execbuf_prim_abi : abi;
}

/* Whether it is one of the two. */
static inline bool execbuf_abi_is_one(execbuf_abi abi) {
    return abi == EXECBUF_ABI_SYSV64 || abi == EXECBUF_ABI_WIN64;
}

#endif
