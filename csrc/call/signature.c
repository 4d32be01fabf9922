/* Checks signatures. Pure: no state, no system calls. */

#include "signature.h"

#include <stddef.h>

#include "../base/error.h"
#include "type.h"

/* Whether C promotes a type where it stands for "...": small integers to int, float to double (C11,
 * 6.5.2.2). type is valid. */
static bool is_promoted(uint8_t type) {
    return xb_type_size(type) < 4 || type == EXECBUF_TYPE_F32;
}

/* What is wrong with the argument at this index; NULL: nothing. */
static const char *fault_of_argument(const xb_signature *signature, size_t index) {
    uint8_t type = signature->arguments[index];
    if (type >= XB_TYPE_COUNT) {
        return "not an execbuf_type_kind";
    }
    if (type == EXECBUF_TYPE_VOID) {
        return "void is no argument; \"v()\" has none";
    }
    if (signature->variadic != 0 && index >= signature->fixed && is_promoted(type)) {
        return "in \"...\", C passes int, or double; write i, I or d";
    }
    return NULL;
}

execbuf_status xb_signature_check(const xb_signature *signature, execbuf_error *error) {
    if (signature->count > EXECBUF_MAX_ARGUMENTS) {
        return xb_error_set(error, EXECBUF_E_ARGUMENTS, "count", 0);
    }
    if (signature->variadic != 0 && signature->fixed > signature->count) {
        return xb_error_set(error, EXECBUF_E_ARGUMENTS, "fixed", 0);
    }
    if (signature->result >= XB_TYPE_COUNT) {
        return xb_error_set_at(error, EXECBUF_E_TYPE, "not an execbuf_type_kind", 0);
    }
    for (size_t i = 0; i < signature->count; i++) {
        const char *reason = fault_of_argument(signature, i);
        if (reason != NULL) {
            return xb_error_set_at(error, EXECBUF_E_TYPE, reason, i + 1); /* 0 is the result */
        }
    }
    return EXECBUF_OK;
}
