/* Descriptions of code of users: names, and what the unwinder of the process is told.
 *
 * They are kept in one hash table for the process, by the address of the code, so that buffers without one
 * need no space for it. */
#ifndef XB_DEBUG_DESCRIPTION_H
#define XB_DEBUG_DESCRIPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"
#include "unwinding.h"

XB_PRIVATE_BEGIN

/* Describes code that no thread runs, and replaces its description if it has one. No lock is held.
 *
 * Returns: EXECBUF_OK, and error is untouched; EXECBUF_E_VERSION, EXECBUF_E_UNSUPPORTED, EXECBUF_E_UNWIND,
 *          EXECBUF_E_NULL, EXECBUF_E_TOO_LARGE, EXECBUF_E_LINES, EXECBUF_E_NO_MEMORY; EXECBUF_E_DENIED, and
 *          then it has no description any more.
 * In:  target: the code.
 *      info:   what is known of it. Pointers are not NULL if their lengths are not 0.
 * Out: error:  the report; may be NULL. */
execbuf_status xb_describe(const xb_target *target, const execbuf_info *info, execbuf_error *error);

/* Takes the description of a buffer back, if it has one. No lock is held. */
void xb_undescribe(const execbuf *buffer);

/* Tells tools of the description of a buffer, which is published; if it has none, does nothing. To be called
 * if xb_tools_are_on, with no lock held. */
void xb_tell_of_description(const execbuf *buffer, execbuf_event_kind kind);

XB_PRIVATE_END

#endif
