/* Staged buffers: dedicated mappings that the user writes at the final address, and back.
 *
 *     xb_mapping_reserve        xb_staged_publish
 *     with is_staged  ──▶ STAGED ───────────────▶ PUBLISHED
 *                            ◀────────────────────
 *                              xb_staged_unpublish
 *
 * The functions return what the functions of execbuf.h with similar names return, and have the same rules for
 * threads. Pointers are not NULL, except error, and the process's lock is not held. */
#ifndef XB_MAPPING_STAGED_H
#define XB_MAPPING_STAGED_H

#include "../base/compiler.h"
#include "handles.h"

XB_PRIVATE_BEGIN

/* Makes the first bytes of a staged buffer executable.
 *
 * In:  length: not 0.
 * Out: record: what is known of the buffer after a success. */
execbuf_status xb_staged_publish(execbuf *buffer, size_t length, xb_record *record, execbuf_error *error);

/* Makes a published buffer a staged one, with the length of its code as the capacity. */
execbuf_status xb_staged_unpublish(execbuf *buffer, execbuf_error *error);

XB_PRIVATE_END

#endif
