/* The pool of thunks and closures that are made without one. */

#include "common_pool.h"

#include "../prim/prim.h"
#include "placement.h"
#include "pool.h"

execbuf_pool *volatile xb_common_pool;

/* Makes the pool, unless another thread is faster, even if this one fails. The process's lock guards the
 * write. */
static execbuf_status make_common_pool(execbuf_error *error) {
    static const xb_pool_options options = {XB_ANYWHERE,    0,    "execbuf thunks", 0, false,
                                            XB_PRIM_NO_KEY, false};
    execbuf_pool *pool = NULL;
    execbuf_status status = xb_api_pool_new(&pool, &options, error);
    if (status != EXECBUF_OK) {
        return XB_LOAD_ACQUIRE(xb_common_pool) != NULL ? EXECBUF_OK : status;
    }
    xb_prim_lock();
    bool is_first = XB_LOAD_ACQUIRE(xb_common_pool) == NULL;
    if (is_first) {
        XB_STORE_RELEASE(xb_common_pool, pool);
    }
    xb_prim_unlock();
    if (!is_first) {
        xb_pool_free(pool);
    }
    return EXECBUF_OK;
}

execbuf_status xb_api_common_pool(execbuf_pool **pool, execbuf_error *error) {
    if (*pool != NULL) {
        return EXECBUF_OK;
    }
    execbuf_status status = XB_LOAD_ACQUIRE(xb_common_pool) != NULL ? EXECBUF_OK : make_common_pool(error);
    if (status == EXECBUF_OK) {
        *pool = XB_LOAD_ACQUIRE(xb_common_pool);
    }
    return status;
}
