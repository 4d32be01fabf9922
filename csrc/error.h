/* Filling an error report. */
#ifndef EXECBUF_ERROR_H
#define EXECBUF_ERROR_H

#include "prim/prim.h"

/* Fills a report that has no attempts.
 *
 * Returns: status.
 * Out: error: the report, or NULL.
 * In:  culprit: the argument or call at fault, a string that lives for ever, or NULL. */
execbuf_status execbuf_error_set(execbuf_error *error, execbuf_status status, const char *culprit,
                                 int32_t os_error);

/* Fills a report for a system call that failed: EXECBUF_E_NO_MEMORY or EXECBUF_E_DENIED. */
execbuf_status execbuf_error_from_system(execbuf_error *error, execbuf_prim_result result);

#endif
