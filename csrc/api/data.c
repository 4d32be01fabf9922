/* Public functions on constants and data of pools. Each checks its arguments and calls pool/. */

#include <stdbool.h>

#include "../base/error.h"
#include "../pool/data.h"
#include "../prim/prim.h"
#include "buffer.h"

static const execbuf_data no_data = {NULL, 0, 0};

/* Whether data can have an alignment: a power of two that is at most a page. */
static bool is_alignment(size_t align) {
    return align != 0 && (align & (align - 1)) == 0 && align <= xb_prim_query().page_size;
}

/* Sets the handle to all zero, and checks what the two kinds have in common. */
static execbuf_status begin(const execbuf_pool *pool, execbuf_data *out, execbuf_error *error) {
    if (out != NULL) {
        *out = no_data;
    }
    if (pool == NULL || out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, pool == NULL ? "pool" : "out", 0);
    }
    return EXECBUF_OK;
}

/* Checks the size, whose argument has a name, and the alignment. */
static execbuf_status check_size(size_t size, const char *name, size_t align, execbuf_error *error) {
    if (size == 0) {
        return xb_error_set(error, EXECBUF_E_EMPTY, name, 0);
    }
    return is_alignment(align) ? EXECBUF_OK : xb_error_set(error, EXECBUF_E_ALIGNMENT, "align", 0);
}

execbuf_status execbuf_pool_constants(execbuf_pool *pool, execbuf_data *out, const void *bytes, size_t length,
                                      size_t align, execbuf_error *error) {
    execbuf_status status = begin(pool, out, error);
    if (status == EXECBUF_OK && bytes == NULL) {
        status = xb_error_set(error, EXECBUF_E_NULL, "bytes", 0);
    }
    status = status == EXECBUF_OK ? check_size(length, "length", align, error) : status;
    return status == EXECBUF_OK ? xb_data_new(pool, out, XB_BLOCK_CONSTANTS, bytes, length, align, error)
                                : status;
}

execbuf_status execbuf_pool_stage_constants(execbuf_pool *pool, execbuf_data *out, size_t size, size_t align,
                                            execbuf_error *error) {
    execbuf_status status = begin(pool, out, error);
    status = status == EXECBUF_OK ? check_size(size, "size", align, error) : status;
    return status == EXECBUF_OK ? xb_data_new(pool, out, XB_BLOCK_STAGED, NULL, size, align, error) : status;
}

execbuf_status execbuf_publish_constants(const execbuf_data *data, execbuf_error *error) {
    if (data == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "data", 0);
    }
    return xb_api_counted(xb_data_publish(data, error));
}

execbuf_status execbuf_pool_data(execbuf_pool *pool, execbuf_data *out, size_t size, size_t align,
                                 execbuf_error *error) {
    execbuf_status status = begin(pool, out, error);
    status = status == EXECBUF_OK ? check_size(size, "size", align, error) : status;
    return status == EXECBUF_OK ? xb_data_new(pool, out, XB_BLOCK_DATA, NULL, size, align, error) : status;
}

execbuf_status execbuf_data_free(execbuf_data *data) {
    if (data == NULL || (data->id == 0 && data->address == NULL)) {
        return EXECBUF_OK;
    }
    return xb_api_counted(xb_data_free(data));
}
