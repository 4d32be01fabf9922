/* Buffers with pages of their own. */

#include "mapping.h"

#include <string.h>

#include "../exec/ladder.h"
#include "../base/error.h"

static size_t round_up(size_t value, size_t unit) {
    return (value + unit - 1) & ~(unit - 1);
}

/* Unmaps the mapping of a record that was removed from the table, now or at a later call. */
static bool retire(const execbuf_record *record) {
    bool unmapped = execbuf_prim_release(record->base, record->size).call == NULL;
    execbuf_table_retire(record, unmapped);
    return unmapped;
}

void execbuf_pages_retry(void) {
    execbuf_record record;
    while (execbuf_table_remove_parked(&record) && retire(&record)) {
    }
}

/* Stages the pages for a buffer of the given capacity. */
static execbuf_status stage(execbuf_record *record, size_t capacity, const char *capacity_name,
                            const execbuf_pages_options *options, execbuf_error *error) {
    size_t page = execbuf_prim_query().page_size;
    if (capacity == 0) {
        return execbuf_error_set(error, EXECBUF_E_EMPTY, capacity_name, 0);
    }
    if (capacity > (size_t)PTRDIFF_MAX - EXECBUF_HEADER - page) {
        return execbuf_error_set(error, EXECBUF_E_TOO_LARGE, capacity_name, 0);
    }
    execbuf_pages_retry();
    execbuf_status status = execbuf_backend_check(error);
    if (status != EXECBUF_OK) {
        return status;
    }
    record->size = round_up(EXECBUF_HEADER + capacity, page);
    execbuf_prim_result result = execbuf_prim_stage(record->size, options->near_to, &record->base);
    if (result.call != NULL) {
        return execbuf_error_from_system(error, result);
    }
    record->entry = (uint8_t *)record->base + EXECBUF_HEADER;
    record->capacity = capacity;
    record->length = 0;
    record->state = EXECBUF_STATE_RESERVED;
    record->owner = options->owner;
    record->body = options->body;
    return EXECBUF_OK;
}

/* The backend to use for a buffer: for that of a pool, one whose pages can never be made writable; NONE means
 * the first that works. */
static execbuf_backend backend_for(const execbuf_record *record) {
    execbuf_prim_info info = execbuf_prim_query();
    for (size_t i = 0; i < info.backend_count && record->owner != 0; i++) {
        if (info.backends[i] == EXECBUF_BACKEND_MEMFD &&
            execbuf_backend_prove(EXECBUF_BACKEND_MEMFD).call == NULL) {
            return EXECBUF_BACKEND_MEMFD;
        }
    }
    return EXECBUF_BACKEND_NONE;
}

/* Fills the staged pages of a record and commits them. On failure they are still staged. */
static execbuf_status commit(execbuf_record *record, const void *code, size_t length, execbuf_error *error) {
    size_t page = execbuf_prim_query().page_size;
    size_t size = round_up(EXECBUF_HEADER + length, page);
    uint8_t *base = (uint8_t *)record->base;
    size_t end = round_up(EXECBUF_HEADER + length, 16);
    execbuf_backend backend = backend_for(record);
    execbuf_prim_begin_write();
    execbuf_fill_trap(base, EXECBUF_HEADER);
    execbuf_fill_trap(base + end - 16, size - end + 16);
    memcpy(base + EXECBUF_HEADER, code, length);
    execbuf_status status = execbuf_backend_commit(backend, base, size, error);
    if (status != EXECBUF_OK && backend != EXECBUF_BACKEND_NONE) {
        status = execbuf_backend_commit(EXECBUF_BACKEND_NONE, base, size, error);
    }
    if (status == EXECBUF_OK) {
        if (size < record->size) {
            record->size = execbuf_prim_trim(base, record->size, size);
        }
        record->length = length;
        record->state = EXECBUF_STATE_PUBLISHED;
    }
    return status;
}

/* Enters a record in the table and fills the handle. On failure the pages are unmapped. */
static execbuf_status enter(execbuf *out, const execbuf_record *record, execbuf_error *error) {
    uint64_t id = execbuf_table_add(record);
    if (id == 0) {
        execbuf_table_unmap(record->base, record->size);
        return execbuf_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    out->entry = record->entry;
    out->length = record->length;
    out->id = id;
    return execbuf_error_none(error);
}

execbuf_status execbuf_pages_new(execbuf *out, const void *code, size_t length,
                                 const execbuf_pages_options *options, execbuf_error *error) {
    execbuf_record record;
    execbuf_status status = stage(&record, length, "length", options, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    status = commit(&record, code, length, error);
    if (status != EXECBUF_OK) {
        execbuf_table_unmap(record.base, record.size);
        return status;
    }
    return enter(out, &record, error);
}

execbuf_status execbuf_pages_reserve(execbuf *out, size_t capacity, const execbuf_pages_options *options,
                                     execbuf_error *error) {
    execbuf_record record;
    execbuf_status status = stage(&record, capacity, "capacity", options, error);
    return status == EXECBUF_OK ? enter(out, &record, error) : status;
}

execbuf_status execbuf_pages_publish(execbuf *buffer, const void *code, size_t length, execbuf_record *record,
                                     execbuf_error *error) {
    if (!execbuf_table_find(buffer, record)) {
        return execbuf_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    if (record->state != EXECBUF_STATE_RESERVED) {
        return execbuf_error_set(error, EXECBUF_E_PUBLISHED, "buffer", 0);
    }
    if (length > record->capacity) {
        return execbuf_error_set(error, EXECBUF_E_CAPACITY, "length", 0);
    }
    execbuf_status status = commit(record, code, length, error);
    if (status == EXECBUF_OK) {
        execbuf_table_update(record);
        buffer->length = length;
    }
    return status;
}

execbuf_status execbuf_pages_rewrite(execbuf *buffer, size_t offset, const void *code, size_t length,
                                     execbuf_error *error) {
    execbuf_record record;
    if (!execbuf_table_find(buffer, &record)) {
        return execbuf_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    if (record.state != EXECBUF_STATE_PUBLISHED) {
        bool lost = record.state == EXECBUF_STATE_LOST;
        return execbuf_error_set(error, lost ? EXECBUF_E_LOST : EXECBUF_E_NOT_PUBLISHED, "buffer", 0);
    }
    if (record.body != NULL) {
        return execbuf_error_set(error, EXECBUF_E_THUNK, "buffer", 0);
    }
    if (offset > record.length || length > record.length - offset) {
        const char *culprit = offset > record.length ? "offset" : "length";
        return execbuf_error_set(error, EXECBUF_E_OUT_OF_BOUNDS, culprit, 0);
    }
    /* Only the pages that the new bytes touch. */
    size_t page = execbuf_prim_query().page_size;
    size_t first = (EXECBUF_HEADER + offset) & ~(page - 1);
    size_t end = round_up(EXECBUF_HEADER + offset + length, page);
    uint8_t *pages = (uint8_t *)record.base + first;
    size_t start = EXECBUF_HEADER + offset - first;
    execbuf_backend backend = backend_for(&record);
    execbuf_status status = execbuf_backend_rewrite(backend, pages, end - first, start, code, length, error);
    if (backend != EXECBUF_BACKEND_NONE && status != EXECBUF_OK && status != EXECBUF_E_LOST) {
        status =
            execbuf_backend_rewrite(EXECBUF_BACKEND_NONE, pages, end - first, start, code, length, error);
    }
    if (status == EXECBUF_E_LOST) {
        record.state = EXECBUF_STATE_LOST;
        execbuf_table_update(&record);
    }
    return status;
}

execbuf_status execbuf_pages_free(execbuf *buffer, execbuf_record *record) {
    if (!execbuf_table_remove(buffer, record)) {
        return EXECBUF_E_STALE;
    }
    (void)retire(record);
    return EXECBUF_OK;
}
