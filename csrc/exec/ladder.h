/* The ladder: the platform's backends for dedicated mappings, in the order to try them. */
#ifndef XB_EXEC_LADDER_H
#define XB_EXEC_LADDER_H

#include "../base/compiler.h"
#include "../base/trap.h"
#include "../prim/prim.h"
#include "rewrite.h"

XB_PRIVATE_BEGIN

/* Whether code can be published in this process at all. To be called before pages are staged.
 *
 * Preconditions of this and the next two functions: the process's lock is not held.
 * Returns: EXECBUF_OK, EXECBUF_E_UNSUPPORTED or EXECBUF_E_READ_IMPLIES_EXEC.
 * Out: error: the report, or NULL. */
execbuf_status xb_ladder_check(execbuf_error *error);

/* Publishes staged pages by the first backend that works.
 *
 * Returns: EXECBUF_OK;
 *          EXECBUF_E_NO_MEMORY    at least one attempt failed because something ran out;
 *          EXECBUF_E_DENIED       every attempt was refused. On failure the pages are still staged.
 * In:  sealed: prefer a backend whose pages can never become writable again, if it works.
 *      base:   the start of a mapping.
 *      size:   the size of the part of it to publish.
 * Out: error:  the report with all attempts, or NULL. */
execbuf_status xb_ladder_publish(bool sealed, void *base, size_t size, execbuf_error *error);

/* Changes published pages by the first backend that works.
 *
 * Returns: as xb_rewrite_pages.
 * In:  sealed: as for xb_ladder_publish.
 * Out: error:  the report, or NULL. */
execbuf_status xb_ladder_rewrite(bool sealed, const xb_rewrite *change, execbuf_error *error);

/* Adds a failed attempt to a report and updates its status: if any attempt failed because something ran out,
 * it counts, since with more of that it would have worked. Otherwise the last refusal counts.
 *
 * In/out: error:   the report; its status is EXECBUF_OK before the first attempt.
 * In:     backend: the backend that was tried.
 *         status:  what result means.
 *         result:  the failure. */
void xb_ladder_add_attempt(execbuf_error *error, execbuf_backend backend, execbuf_status status,
                           xb_result result);

/* Forgets which backend works. Called in the child of a fork, which may be about to give up rights, so what
 * worked in the parent proves nothing. The process's lock is held. */
void xb_ladder_forget(void);

XB_PRIVATE_END

#endif
