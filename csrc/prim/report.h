/* Turns the result of a system call into a status and a report. */
#ifndef XB_PRIM_REPORT_H
#define XB_PRIM_REPORT_H

#include <string.h>

#include "prim.h"

/* The status of a failed system call: EXECBUF_E_NO_MEMORY, EXECBUF_E_DENIED or EXECBUF_E_TOO_FAR. */
static inline execbuf_status xb_error_status(xb_result result) {
    if (strcmp(result.call, XB_PRIM_TOO_FAR) == 0 || strcmp(result.call, XB_PRIM_NOT_SEARCHED) == 0) {
        return EXECBUF_E_TOO_FAR;
    }
    if (strcmp(result.call, "malloc") == 0) { /* C gives no error code */
        return EXECBUF_E_NO_MEMORY;
    }
    return xb_prim_is_exhaustion(result.code) ? EXECBUF_E_NO_MEMORY : EXECBUF_E_DENIED;
}

/* Fills the report of a failed system call and returns its status, as above. */
static inline execbuf_status xb_error_from_system(execbuf_error *error, xb_result result) {
    return xb_error_set(error, xb_error_status(result), result.call, result.code);
}

#endif
