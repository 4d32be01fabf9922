/* Which of the platform's backends may be used: all, or those that the program or the environment chose
 * before the first use. A sandbox may kill the process for the call of another one.
 *
 * Sets of backends are those of execbuf_set_backends, and 0 is the set of all. */
#ifndef XB_EXEC_CHOICE_H
#define XB_EXEC_CHOICE_H

#include "../base/backend.h"
#include "../base/compiler.h"
#include "../prim/prim.h"

XB_PRIVATE_BEGIN

/* The name in place of a failed call, for a backend that may not be used. */
#define XB_CHOICE_EXCLUDED "excluded: not among the chosen backends"

/* The environment variable, which is also the culprit if it is wrong. */
#define XB_CHOICE_VARIABLE "EXECBUF_BACKENDS"

/* Chooses for the process, as execbuf_set_backends.
 *
 * Preconditions: the process's lock is not held. */
execbuf_status xb_choice_set(uint32_t backends, execbuf_error *error);

/* Has backends used only if xb_choice_set or the environment variable names them. Does nothing after the
 * first use.
 *
 * Preconditions: the process's lock is not held. */
void xb_choice_avoid(uint32_t backends);

/* Makes the choice final, because backends are used from now on. Cheap after the first success.
 *
 * Preconditions: the process's lock is not held.
 * Returns: EXECBUF_OK;
 *          EXECBUF_E_BACKENDS    the environment variable is wrong; the next call reads it again.
 * Out: error: the report, or NULL. */
execbuf_status xb_choice_begin(execbuf_error *error);

/* What xb_choice_begin would choose, or has chosen. Changes nothing.
 *
 * Returns: as for xb_choice_begin.
 * Out: backends: the set, not 0; unchanged on failure. */
execbuf_status xb_choice_read(uint32_t *backends);

/* Whether a set contains a backend that exists here and may be used, and no unknown one. The choice is final.
 */
bool xb_choice_allows_any(uint32_t backends);

/* The backends of a set that may be used. The choice is final. */
uint32_t xb_choice_of(uint32_t backends);

XB_PRIVATE_END

#endif
