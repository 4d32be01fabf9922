/* Public functions on buffers. Each checks its arguments and calls the module that the buffer belongs to: a
 * handle with XB_ID_POOL_BIT names a slot of a pool, every other one a dedicated mapping.
 *
 * A large buffer of a pool has a dedicated mapping, too, but its pool counts it; so the pool is told when one
 * is published or freed. */

#include <string.h>

#include "../base/compiler.h"
#include "../base/error.h"
#include "../debug/description.h"
#include "../mapping/mapping.h"
#include "../pool/large.h"
#include "../pool/query.h"
#include "../pool/free.h"
#include "../pool/slot.h"
#include "buffer.h"
#include "placement.h"
#include "process.h"

execbuf_status xb_api_place(xb_mapping_options *options, xb_prim_window *window,
                            const execbuf_placement *placement, execbuf_error *error) {
    static const xb_mapping_options anywhere = {0, NULL, NULL, NULL, false, 0, false, false};
    *options = anywhere;
    execbuf_status status = xb_process_ready(error);
    if (status == EXECBUF_OK && placement != NULL) {
        status = xb_api_window(placement, window, error);
        bool is_limited = window->lowest != 0 || window->highest != UINTPTR_MAX;
        options->window = is_limited ? window : NULL;
    }
    return status;
}

/* execbuf_new and execbuf_new_at. */
static execbuf_status new_at(execbuf *out, const void *code, size_t length,
                             const execbuf_placement *placement, execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = xb_no_buffer;
    if (code == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "code", 0);
    }
    xb_mapping_options options;
    xb_prim_window window = XB_ANYWHERE;
    execbuf_status status = xb_api_place(&options, &window, placement, error);
    return status == EXECBUF_OK ? xb_mapping_new(out, code, length, &options, error) : status;
}

/* execbuf_reserve and execbuf_reserve_at. */
static execbuf_status reserve_at(execbuf *out, size_t capacity, const execbuf_placement *placement,
                                 execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = xb_no_buffer;
    xb_mapping_options options;
    xb_prim_window window = XB_ANYWHERE;
    execbuf_status status = xb_api_place(&options, &window, placement, error);
    return status == EXECBUF_OK ? xb_mapping_reserve(out, capacity, &options, error) : status;
}

execbuf_status execbuf_new(execbuf *out, const void *code, size_t length, execbuf_error *error) {
    return new_at(out, code, length, NULL, error);
}

execbuf_status execbuf_new_at(execbuf *out, const void *code, size_t length,
                              const execbuf_placement *placement, execbuf_error *error) {
    return new_at(out, code, length, placement, error);
}

execbuf_status execbuf_reserve(execbuf *out, size_t capacity, execbuf_error *error) {
    return reserve_at(out, capacity, NULL, error);
}

execbuf_status execbuf_reserve_at(execbuf *out, size_t capacity, const execbuf_placement *placement,
                                  execbuf_error *error) {
    return reserve_at(out, capacity, placement, error);
}

/* The checks of arguments that publish and rewrite share. */
static execbuf_status check_code(const execbuf *buffer, const void *code, size_t length,
                                 execbuf_error *error) {
    xb_prim_check_fork(); /* the backend that worked may not work in a child */
    if (buffer == NULL || code == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, buffer == NULL ? "buffer" : "code", 0);
    }
    return length == 0 ? xb_error_set(error, EXECBUF_E_EMPTY, "length", 0) : EXECBUF_OK;
}

/* execbuf_publish for a dedicated mapping. */
static execbuf_status publish_to_mapping(execbuf *buffer, const void *code, size_t length,
                                         execbuf_error *error) {
    xb_record record;
    execbuf_status status = xb_mapping_publish(buffer, code, length, &record, error);
    if (status == EXECBUF_OK && record.owner != 0) {
        xb_large_count_published(&record);
    }
    return status;
}

execbuf_status xb_api_publish(execbuf *buffer, const void *code, size_t length, execbuf_error *error) {
    execbuf_status status = check_code(buffer, code, length, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    return xb_api_counted(xb_api_is_slot(buffer) ? xb_slot_publish(buffer, code, length, error)
                                                 : publish_to_mapping(buffer, code, length, error));
}

execbuf_status execbuf_publish(execbuf *buffer, const void *code, size_t length, execbuf_error *error) {
    return xb_api_publish(buffer, code, length, error);
}

/* The description is of the old code. Nobody unwinds through the code during the call, so it ends when the
 * rewrite is known to succeed. */
execbuf_status execbuf_rewrite(execbuf *buffer, size_t offset, const void *code, size_t length,
                               execbuf_error *error) {
    execbuf_status status = check_code(buffer, code, length, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    status = xb_api_counted(xb_api_is_slot(buffer) ? xb_slot_rewrite(buffer, offset, code, length, error)
                                                   : xb_mapping_rewrite(buffer, offset, code, length, error));
    if (status == EXECBUF_OK) {
        xb_undescribe(buffer);
    }
    return status;
}

execbuf_function execbuf_entry(const execbuf *buffer, size_t offset) {
    execbuf_function function = NULL;
    if (buffer != NULL && offset < buffer->length) {
        /* Not as a pointer: an altered handle may have any entry, and only calling its address is wrong. */
        uintptr_t address = (uintptr_t)buffer->entry + offset;
        memcpy(&function, &address, sizeof function); /* ISO C has no cast for this */
    }
    return function;
}

size_t execbuf_length(const execbuf *buffer) {
    return buffer != NULL ? buffer->length : 0;
}

/* execbuf_free for all handles but those of slots, and for NULL. It is not inlined, so that freeing a slot
 * stays a tail call. */
XB_NOINLINE execbuf_status free_mapping(execbuf *buffer) {
    xb_unmap_parked();
    if (buffer == NULL || buffer->id == 0) {
        /* No buffer, unless somebody filled in an entry: then it is a handle that was never given out. */
        return buffer == NULL || buffer->entry == NULL ? EXECBUF_OK : xb_api_counted(EXECBUF_E_STALE);
    }
    xb_undescribe(buffer);
    xb_record record;
    execbuf_status status = xb_mapping_free(buffer, &record);
    if (status == EXECBUF_OK) {
        if (record.owner != 0) {
            xb_large_count_freed(&record);
        }
        *buffer = xb_no_buffer;
    }
    return xb_api_counted(status);
}

execbuf_status execbuf_free(execbuf *buffer) {
    return buffer != NULL && xb_api_is_slot(buffer) ? xb_slot_free(buffer) : free_mapping(buffer);
}

execbuf_status execbuf_find(const void *address, execbuf *out) {
    if (out == NULL) {
        return EXECBUF_E_NULL;
    }
    *out = xb_no_buffer;
    return xb_find_handle(address, out) ? EXECBUF_OK : EXECBUF_E_NOT_FOUND;
}

uint64_t execbuf_stale_count(void) {
    return xb_handles_stale_count();
}
