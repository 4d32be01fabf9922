/* The public functions on signatures and layouts: argument checks, then one call down. */

#include "signature.h"

#include <string.h>

#include "../base/error.h"
#include "../call/abi.h"
#include "../call/layout.h"

execbuf_status execbuf_signature_parse(execbuf_signature *out, const char *text, execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    memset(out, 0, sizeof *out);
    if (text == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "text", 0);
    }
    xb_signature parsed;
    execbuf_status status = xb_signature_parse(&parsed, text, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    memcpy(out, &parsed, sizeof *out); /* both forms are the same bytes, see signature.h */
    return xb_error_ok(error);
}

execbuf_status execbuf_layout_of(execbuf_layout *out, const execbuf_signature *signature, execbuf_abi abi,
                                 execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    memset(out, 0, sizeof *out);
    const xb_signature *compact = xb_signature_of(signature);
    execbuf_status status = xb_signature_check(compact, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    execbuf_abi resolved = xb_abi_resolve(abi);
    if (!xb_abi_is_known(resolved)) {
        return xb_error_set(error, EXECBUF_E_ABI, "abi", 0);
    }
    xb_layout_of(out, compact, resolved);
    return xb_error_ok(error);
}
