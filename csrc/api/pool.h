/* Making a pool whose options are checked. */
#ifndef XB_API_POOL_H
#define XB_API_POOL_H

#include <stddef.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"

XB_PRIVATE_BEGIN

/* Makes a pool.
 *
 * Returns: the status of execbuf_pool_new.
 * Out: out:     the pool; unchanged on failure.
 * In:  near_to: as the option.
 *      name:    the name, which is copied.
 *      length:  its length, at most EXECBUF_POOL_NAME_MAX.
 * Out: error:   the report, or NULL. */
execbuf_status xb_api_pool_new(execbuf_pool **out, const void *near_to, const char *name, size_t length,
                               execbuf_error *error);

XB_PRIVATE_END

#endif
