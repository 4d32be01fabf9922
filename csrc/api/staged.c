/* Public functions on staged buffers, which the user writes in place. */

#include "../base/backend.h"
#include "../base/error.h"
#include "../debug/description.h"
#include "../mapping/staged.h"
#include "../pool/free.h"
#include "../pool/large.h"
#include "../pool/put.h"
#include "../prim/prim.h"
#include "buffer.h"
#include "placement.h"

/* Whether this platform can let the user write pages that become executable: not where each thread has a
 * switch for all of them. */
static execbuf_status check_platform(execbuf_error *error) {
    return xb_prim_query().guards_staged
               ? xb_error_set(error, EXECBUF_E_UNSUPPORTED, xb_backend_name(EXECBUF_BACKEND_MAP_JIT), 0)
               : EXECBUF_OK;
}

execbuf_status execbuf_stage(execbuf *out, size_t capacity, const execbuf_placement *placement,
                             execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = xb_no_buffer;
    xb_mapping_options options;
    xb_prim_window window = XB_ANYWHERE;
    execbuf_status status = check_platform(error);
    status = status == EXECBUF_OK ? xb_api_place(&options, &window, placement, error) : status;
    if (status != EXECBUF_OK) {
        return status;
    }
    options.is_staged = true;
    return xb_mapping_reserve(out, capacity, &options, error);
}

execbuf_status execbuf_pool_stage(execbuf_pool *pool, execbuf *out, size_t capacity, execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = xb_no_buffer;
    if (pool == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "pool", 0);
    }
    execbuf_status status = check_platform(error);
    return status == EXECBUF_OK ? xb_pool_stage(pool, out, capacity, error) : status;
}

/* Refuses a slot of a pool: other code is in the same pages, so it is never staged.
 *
 * In: reserved, published: the status if the slot is reserved, or published.
 *     culprit:             of the latter. */
static execbuf_status refuse_slot(const execbuf *buffer, execbuf_status reserved, execbuf_status published,
                                  const char *culprit, execbuf_error *error) {
    xb_slot_facts facts;
    if (!xb_slot_look(buffer, &facts)) {
        return xb_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    if (facts.is_linked) {
        return xb_error_set(error, EXECBUF_E_THUNK, "buffer", 0);
    }
    return facts.is_reserved ? xb_error_set(error, reserved, "buffer", 0)
                             : xb_error_set(error, published, culprit, 0);
}

/* execbuf_publish_staged for a dedicated mapping. */
static execbuf_status publish_mapping(execbuf *buffer, size_t length, execbuf_error *error) {
    xb_record record;
    execbuf_status status = xb_staged_publish(buffer, length, &record, error);
    if (status == EXECBUF_OK && record.owner != 0) {
        xb_large_count_published(&record);
    }
    return status;
}

execbuf_status execbuf_publish_staged(execbuf *buffer, size_t length, execbuf_error *error) {
    xb_prim_check_fork(); /* the backend that worked may not work in a child */
    if (buffer == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "buffer", 0);
    }
    if (length == 0) {
        return xb_error_set(error, EXECBUF_E_EMPTY, "length", 0);
    }
    return xb_api_counted(xb_api_is_slot(buffer)
                              ? refuse_slot(buffer, EXECBUF_E_STAGED, EXECBUF_E_PUBLISHED, "buffer", error)
                              : publish_mapping(buffer, length, error));
}

/* The description is of the old code. Nobody unwinds through the code during the call, so it ends when
 * nothing can fail any more. */
execbuf_status execbuf_unpublish(execbuf *buffer, execbuf_error *error) {
    xb_prim_check_fork();
    if (buffer == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "buffer", 0);
    }
    execbuf_status status = EXECBUF_OK;
    if (xb_api_is_slot(buffer)) {
        status = refuse_slot(buffer, EXECBUF_E_NOT_PUBLISHED, EXECBUF_E_UNSUPPORTED, "region", error);
    } else {
        status = check_platform(error);
        status = status == EXECBUF_OK ? xb_staged_unpublish(buffer, error) : status;
    }
    if (status == EXECBUF_OK) {
        xb_undescribe(buffer);
    }
    return xb_api_counted(status);
}
