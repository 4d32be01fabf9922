/* Constants and writable data of pools, in memory that is never executable. */
#ifndef XB_POOL_DATA_H
#define XB_POOL_DATA_H

#include <stddef.h>

#include "../base/compiler.h"
#include "chunks.h"
#include "pool.h"

XB_PRIVATE_BEGIN

/* Makes constants or data. No lock is held.
 *
 * Returns: what execbuf_pool_constants and execbuf_pool_data return.
 * Out: out:   the handle; unchanged on failure.
 * In:  bytes: the content of constants; NULL: the memory is zero and writable.
 *      size, align: checked, but for the greatest size. */
execbuf_status xb_data_new(execbuf_pool *pool, execbuf_data *out, xb_block_kind kind, const void *bytes,
                           size_t size, size_t align, execbuf_error *error);

/* Makes staged constants read-only. No lock is held.
 *
 * Returns: what execbuf_publish_constants returns. */
execbuf_status xb_data_publish(const execbuf_data *data, execbuf_error *error);

/* Frees constants or data. No lock is held.
 *
 * Returns: EXECBUF_OK, and data is all zero; EXECBUF_E_STALE. */
execbuf_status xb_data_free(execbuf_data *data);

XB_PRIVATE_END

#endif
