/* Making a pool whose options are checked. */
#ifndef XB_API_POOL_H
#define XB_API_POOL_H

#include "../base/compiler.h"
#include "../include/execbuf.h"
#include "../pool/pool.h"

XB_PRIVATE_BEGIN

/* Makes a pool.
 *
 * Returns: the status of execbuf_pool_new.
 * Out: out:     the pool; unchanged on failure.
 * In:  options: they are copied.
 * Out: error:   the report, or NULL. */
execbuf_status xb_api_pool_new(execbuf_pool **out, const xb_pool_options *options, execbuf_error *error);

XB_PRIVATE_END

#endif
