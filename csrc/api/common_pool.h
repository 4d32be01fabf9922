/* The pool of thunks and closures that are made without one, and of callers. */
#ifndef XB_API_COMMON_POOL_H
#define XB_API_COMMON_POOL_H

#include "../base/compiler.h"
#include "../include/execbuf.h"

XB_PRIVATE_BEGIN

/* It is made at the first use, and lives for ever. NULL before; read with XB_LOAD_ACQUIRE. */
extern execbuf_pool *volatile xb_common_pool;

/* Makes it, if there is none yet. No lock is held.
 *
 * Returns: the status of execbuf_pool_new.
 * In/out: pool:  NULL becomes the common pool; another one stays, and so does NULL on failure.
 * Out:    error: the report, or NULL; untouched on success. */
execbuf_status xb_api_common_pool(execbuf_pool **pool, execbuf_error *error);

XB_PRIVATE_END

#endif
