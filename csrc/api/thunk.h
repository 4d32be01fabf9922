/* What the functions on thunks and those on callers share. */
#ifndef XB_API_THUNK_H
#define XB_API_THUNK_H

#include <stddef.h>

#include "../base/compiler.h"
#include "../call/signature.h"
#include "../include/execbuf.h"

XB_PRIVATE_BEGIN

/* The number of the argument whose value is the largest, counted from 1. The signature is valid. */
size_t xb_api_largest_argument(const xb_signature *signature);

/* The pool of the library itself. It is made at the first call, and lives for ever.
 *
 * Returns: EXECBUF_OK, and error is untouched; else the status of execbuf_pool_new.
 * Out: out:   the pool; NULL on failure.
 *      error: the report; may be NULL. */
execbuf_status xb_api_common_pool(execbuf_pool **out, execbuf_error *error);

XB_PRIVATE_END

#endif
