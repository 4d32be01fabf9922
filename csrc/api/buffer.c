/* The public functions on buffers, which look at their arguments, then ask whoever the buffer belongs to. */

#include <string.h>

#include "../base/bits.h"
#include "../base/error.h"
#include "../mapping/mapping.h"
#include "../pool/slot.h"

static const execbuf no_buffer = {NULL, 0, 0};
static const execbuf_pages_options anywhere = {0, NULL, NULL};

execbuf_status execbuf_new(execbuf *out, const void *code, size_t length, execbuf_error *error) {
    if (out == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = no_buffer;
    if (code == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NULL, "code", 0);
    }
    return execbuf_pages_new(out, code, length, &anywhere, error);
}

execbuf_status execbuf_reserve(execbuf *out, size_t capacity, execbuf_error *error) {
    if (out == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = no_buffer;
    return execbuf_pages_reserve(out, capacity, &anywhere, error);
}

/* The checks that publish and rewrite share. */
static execbuf_status check(const execbuf *buffer, const void *code, size_t length, execbuf_error *error) {
    if (buffer == NULL || code == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NULL, buffer == NULL ? "buffer" : "code", 0);
    }
    return length == 0 ? execbuf_error_set(error, EXECBUF_E_EMPTY, "length", 0) : EXECBUF_OK;
}

/* Counts stale handles. */
static execbuf_status counted(execbuf_status status) {
    if (status == EXECBUF_E_STALE) {
        execbuf_table_count_stale();
    }
    return status;
}

static bool is_of_pool(const execbuf *buffer) {
    return (buffer->id & EXECBUF_ID_OF_POOL) != 0;
}

execbuf_status execbuf_publish(execbuf *buffer, const void *code, size_t length, execbuf_error *error) {
    execbuf_status status = check(buffer, code, length, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    if (is_of_pool(buffer)) {
        return counted(execbuf_pool_fill(buffer, code, length, error));
    }
    execbuf_record record;
    status = execbuf_pages_publish(buffer, code, length, &record, error);
    if (status == EXECBUF_OK && record.owner != 0) {
        execbuf_pool_own_published(&record);
    }
    return counted(status);
}

execbuf_status execbuf_rewrite(execbuf *buffer, size_t offset, const void *code, size_t length,
                               execbuf_error *error) {
    execbuf_status status = check(buffer, code, length, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    return counted(is_of_pool(buffer) ? execbuf_pool_rewrite(buffer, offset, code, length, error)
                                      : execbuf_pages_rewrite(buffer, offset, code, length, error));
}

execbuf_function execbuf_entry(const execbuf *buffer, size_t offset) {
    execbuf_function function = NULL;
    if (buffer != NULL && offset < buffer->length) {
        const uint8_t *address = (const uint8_t *)buffer->entry + offset;
        memcpy(&function, &address, sizeof function); /* ISO C has no cast for this */
    }
    return function;
}

size_t execbuf_length(const execbuf *buffer) {
    return buffer != NULL ? buffer->length : 0;
}

/* Frees a buffer that is none of a pool's slots. */
EXECBUF_LAST execbuf_status free_pages(execbuf *buffer) {
    execbuf_pages_retry();
    if (buffer == NULL || buffer->id == 0) {
        return buffer == NULL || buffer->entry == NULL ? EXECBUF_OK : counted(EXECBUF_E_STALE);
    }
    execbuf_record record;
    execbuf_status status = execbuf_pages_free(buffer, &record);
    if (status == EXECBUF_OK) {
        if (record.owner != 0) {
            execbuf_pool_own_freed(&record);
        }
        *buffer = no_buffer;
    }
    return counted(status);
}

execbuf_status execbuf_free(execbuf *buffer) {
    return buffer != NULL && is_of_pool(buffer) ? execbuf_pool_release(buffer) : free_pages(buffer);
}

uint64_t execbuf_stale_count(void) {
    return execbuf_table_stale_count();
}
