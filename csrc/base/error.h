/* Filling an error report. */
#ifndef XB_BASE_ERROR_H
#define XB_BASE_ERROR_H

#include <string.h>

#include "../prim/prim.h"

/* Fills a report of success, of which nobody reads more than this. */
static inline execbuf_status xb_error_ok(execbuf_error *error) {
    if (error != NULL) {
        error->status = EXECBUF_OK;
        error->os_error = 0;
        error->culprit = NULL;
        error->position = 0;
        error->attempt_count = 0;
    }
    return EXECBUF_OK;
}

/* Fills a report that has no attempts.
 *
 * Returns: status.
 * Out: error: the report, or NULL.
 * In:  culprit: the argument or call at fault, a string that lives for ever, or NULL. */
static inline execbuf_status xb_error_set(execbuf_error *error, execbuf_status status, const char *culprit,
                                          int32_t os_error) {
    static const execbuf_error empty = {EXECBUF_OK, 0, NULL, 0, 0, {{EXECBUF_BACKEND_NONE, 0, NULL}}};
    if (error != NULL) {
        *error = empty;
        error->status = status;
        error->culprit = culprit;
        error->os_error = os_error;
    }
    return status;
}

/* What a failed system call means for the caller. */
static inline execbuf_status xb_error_status(xb_result result) {
    if (strcmp(result.call, XB_PRIM_TOO_FAR) == 0) {
        return EXECBUF_E_TOO_FAR;
    }
    return xb_prim_is_exhaustion(result.code) ? EXECBUF_E_NO_MEMORY : EXECBUF_E_DENIED;
}

/* Fills a report for a system call that failed: EXECBUF_E_NO_MEMORY, EXECBUF_E_DENIED or EXECBUF_E_TOO_FAR.
 */
static inline execbuf_status xb_error_from_system(execbuf_error *error, xb_result result) {
    return xb_error_set(error, xb_error_status(result), result.call, result.code);
}

#endif
