/* The ladder: publishes and changes pages of dedicated mappings with the first of the platform's backends
 * that works. */
#ifndef XB_EXEC_LADDER_H
#define XB_EXEC_LADDER_H

#include "../base/compiler.h"
#include "../base/trap.h"
#include "../prim/prim.h"
#include "rewrite.h"

XB_PRIVATE_BEGIN

/* Whether code can be published in this process at all. Called before pages are staged.
 *
 * Preconditions: the process's lock is not held.
 * Returns: EXECBUF_OK;
 *          EXECBUF_E_UNSUPPORTED          the platform has no backend;
 *          EXECBUF_E_BACKENDS             as for xb_choice_begin;
 *          EXECBUF_E_READ_IMPLIES_EXEC    the personality makes readable memory executable.
 * Out: error: the report, or NULL. */
execbuf_status xb_ladder_check(execbuf_error *error);

/* Publishes staged pages with the first backend that works. On failure they are still staged.
 *
 * Preconditions: the process's lock is not held.
 * Returns: EXECBUF_OK;
 *          EXECBUF_E_NO_MEMORY    at least one backend failed because something ran out;
 *          EXECBUF_E_DENIED       the system refused every backend.
 * In:  base:     the start of a mapping.
 *      size:     how much of it to publish.
 *      backends: the set of backends that may be used; 0: all.
 * Out: backend: the backend that published them; unchanged on failure.
 *      error:   the report with all attempts, or NULL. */
execbuf_status xb_ladder_publish(void *base, size_t size, uint32_t backends, execbuf_backend *backend,
                                 execbuf_error *error);

/* Changes published pages with the first backend that works.
 *
 * Preconditions and Returns: as for xb_rewrite_pages.
 * Out: backend: the backend that changed them; unchanged on failure.
 *      error:   the report, or NULL. */
execbuf_status xb_ladder_rewrite(const xb_rewrite *change, execbuf_backend *backend, execbuf_error *error);

/* Adds a failed attempt to a report and updates its status. The status is that of the first attempt that
 * failed because something ran out, since that backend would work if there were more of it; otherwise that of
 * the last attempt.
 *
 * In/out: error:   the report; its status is EXECBUF_OK before the first attempt.
 * In:     backend: the backend that was tried.
 *         status:  the status of the attempt.
 *         result:  the call that failed. */
void xb_ladder_add_attempt(execbuf_error *error, execbuf_backend backend, execbuf_status status,
                           xb_result result);

/* Adds a backend that may not be used to a report. The status is EXECBUF_E_DENIED if all are of this kind. */
void xb_ladder_add_excluded(execbuf_error *error, execbuf_backend backend);

/* Forgets the trusted backends. Called in the child of a fork: it may give up rights before it uses
 * execbuf, so what worked in the parent may fail in it.
 *
 * Preconditions: the process's lock is held. */
void xb_ladder_forget(void);

XB_PRIVATE_END

#endif
