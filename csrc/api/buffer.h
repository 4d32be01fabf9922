/* What the functions on one buffer and those on many share. */
#ifndef XB_API_BUFFER_H
#define XB_API_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "../base/error.h"
#include "../base/handle.h"
#include "../mapping/handles.h"
#include "../mapping/mapping.h"

/* Whether a handle is that of a slot of a pool; if not, it is that of a dedicated mapping. */
static inline bool xb_api_is_slot(const execbuf *buffer) {
    return (buffer->id & XB_ID_POOL_BIT) != 0;
}

/* Adds to execbuf_stale_count if the status says that a handle was stale. */
static inline execbuf_status xb_api_counted(execbuf_status status) {
    if (status == EXECBUF_E_STALE) {
        xb_handles_count_stale();
    }
    return status;
}

/* Completes the report of a failure: what is at fault is the element with this index. */
static inline execbuf_status xb_api_failed_at(execbuf_status status, size_t index, execbuf_error *error) {
    if (error != NULL) {
        error->position = (uint32_t)index;
    }
    return status;
}

/* The checks of pieces of code that do not depend on where they are published. */
static inline execbuf_status xb_api_check_codes(const execbuf_code *codes, size_t count,
                                                execbuf_error *error) {
    for (size_t i = 0; i < count; i++) {
        if (codes[i].bytes == NULL) {
            return xb_error_set_at(error, EXECBUF_E_NULL, "code", i);
        }
        if (codes[i].length == 0) {
            return xb_error_set_at(error, EXECBUF_E_EMPTY, "length", i);
        }
    }
    return EXECBUF_OK;
}

XB_PRIVATE_BEGIN

/* Prepares to make a buffer of no pool, and fills its options. An error is reported.
 *
 * In:  placement: may be NULL.
 * Out: options, and the window, to which they may point. */
execbuf_status xb_api_place(xb_mapping_options *options, xb_prim_window *window,
                            const execbuf_placement *placement, execbuf_error *error);

/* execbuf_publish. */
execbuf_status xb_api_publish(execbuf *buffer, const void *code, size_t length, execbuf_error *error);

/* execbuf_publish_all, after its checks of arguments. */
execbuf_status xb_api_publish_all(execbuf *buffers, const execbuf_code *codes, size_t count,
                                  execbuf_error *error);

XB_PRIVATE_END

#endif
