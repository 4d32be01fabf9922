/* Error values: the result of a system call, and the report that a public function fills. */
#ifndef XB_BASE_ERROR_H
#define XB_BASE_ERROR_H

#include <stddef.h>
#include <stdint.h>

#include "../include/execbuf.h"

/* The result of a system call, or of a check that stands for one. */
typedef struct xb_result {
    const char *call; /* NULL on success, else the name of the call that failed: a string literal */
    int32_t code; /* the system's error code: an errno value or that of GetLastError; 0 if there is none */
} xb_result;

/* Success. */
static inline xb_result xb_ok(void) {
    xb_result result = {NULL, 0};
    return result;
}

/* Failure of the named call; call is a string literal. */
static inline xb_result xb_failed(const char *call, int32_t code) {
    xb_result result = {NULL, 0};
    result.call = call;
    result.code = code;
    return result;
}

/* Fills the report of a success; error may be NULL. The array of attempts is left as it is, because
 * attempt_count says that none is filled: fast paths should not write 100 bytes that nobody reads. */
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

/* Fills a report without attempts.
 *
 * Returns: status.
 * Out: error     the report; may be NULL
 * In:  status    its status
 *      culprit   the argument or the call at fault, a string literal; may be NULL
 *      os_error  the system's error code, or 0 */
static inline execbuf_status xb_error_set(execbuf_error *error, execbuf_status status, const char *culprit,
                                          int32_t os_error) {
    static const execbuf_error empty = EXECBUF_ERROR_INIT;
    if (error != NULL) {
        *error = empty;
        error->status = status;
        error->culprit = culprit;
        error->os_error = os_error;
    }
    return status;
}

/* As xb_error_set, without an error code but with a position: an offset in a text, the number of an argument
 * or an index. */
static inline execbuf_status xb_error_set_at(execbuf_error *error, execbuf_status status, const char *culprit,
                                             size_t position) {
    (void)xb_error_set(error, status, culprit, 0);
    if (error != NULL) {
        error->position = (uint32_t)position;
    }
    return status;
}

#endif
