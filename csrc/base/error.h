/* Results of system calls, and error reports. */
#ifndef XB_BASE_ERROR_H
#define XB_BASE_ERROR_H

#include <stddef.h>
#include <stdint.h>

#include "../include/execbuf.h"

/* Result of a system call. call is NULL on success, else the name of the call that failed; code is the
 * system's error code, or 0 if it gave none. */
typedef struct xb_result {
    const char *call;
    int32_t code;
} xb_result;

/* Success. */
static inline xb_result xb_ok(void) {
    xb_result result = {NULL, 0};
    return result;
}

/* Failure of the named call. call is a string that lives for ever. */
static inline xb_result xb_failed(const char *call, int32_t code) {
    xb_result result = {NULL, 0};
    result.call = call;
    result.code = code;
    return result;
}

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

#endif
