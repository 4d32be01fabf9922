/* Describing pieces of code that have just been published. */
#ifndef XB_API_DESCRIBE_H
#define XB_API_DESCRIBE_H

#include "../base/compiler.h"
#include "../include/execbuf.h"

XB_PRIVATE_BEGIN

/* Checks what of a description does not depend on the code, and copies the struct.
 *
 * Returns: EXECBUF_OK, and error is untouched; or what is wrong.
 * Out: known: the description, with the members that this library knows.
 * In:  info:  not NULL. */
execbuf_status xb_api_read_info(execbuf_info *known, const execbuf_info *info, execbuf_error *error);

/* Describes new buffers of a pool, those whose piece of code has an info. If that fails, all are freed and
 * zeroed.
 *
 * Returns: EXECBUF_OK, and error is untouched; or the status of execbuf_describe.
 * Out: error: the report, whose position is the index of the piece at fault. */
execbuf_status xb_api_describe_batch(execbuf *buffers, const execbuf_code *codes, size_t count,
                                     execbuf_error *error);

/* Describes reserved buffers that are about to be published, those whose piece of code has an info: all of
 * them or none. The buffers and codes have passed all checks.
 *
 * Returns: EXECBUF_OK, and error is untouched; or the status of execbuf_describe.
 * Out: error: the report, whose position is the index of the piece at fault. */
execbuf_status xb_api_describe_reserved(const execbuf *buffers, const execbuf_code *codes, size_t count,
                                        execbuf_error *error);

/* Tells tools of buffers that were described by xb_api_describe_reserved, and have just been published. */
void xb_api_tell_published(const execbuf *buffers, size_t count);

/* Ends the descriptions of buffers that are not published after all. */
void xb_api_undescribe_all(const execbuf *buffers, size_t count);

XB_PRIVATE_END

#endif
