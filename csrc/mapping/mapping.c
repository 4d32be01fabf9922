/* Buffers with dedicated mappings. */

#include "mapping.h"

#include <string.h>

#include "../exec/ladder.h"
#include "../exec/park.h"
#include "../base/error.h"
#include "../prim/report.h"

static size_t round_up(size_t value, size_t unit) {
    return (value + unit - 1) & ~(unit - 1);
}

/* Unmaps the mapping of a record that was removed from the table, now or at a later call. */
static bool retire_mapping(const xb_record *record) {
    bool unmapped = xb_prim_release(record->base, record->size).call == NULL;
    xb_handles_release(record, unmapped);
    return unmapped;
}

void xb_unmap_parked(void) {
    xb_park_retry();
    xb_record record;
    while (xb_handles_remove_parked(&record) && retire_mapping(&record)) {
    }
}

/* Stages the pages for a buffer of the given capacity. */
static execbuf_status stage_mapping(xb_record *record, size_t capacity, const char *capacity_name,
                                    const xb_mapping_options *options, execbuf_error *error) {
    size_t page = xb_prim_query().page_size;
    if (capacity == 0) {
        return xb_error_set(error, EXECBUF_E_EMPTY, capacity_name, 0);
    }
    if (capacity > (size_t)PTRDIFF_MAX - XB_ENTRY_OFFSET - page) {
        return xb_error_set(error, EXECBUF_E_TOO_LARGE, capacity_name, 0);
    }
    xb_unmap_parked();
    execbuf_status status = xb_ladder_check(error);
    if (status != EXECBUF_OK) {
        return status;
    }
    record->size = round_up(XB_ENTRY_OFFSET + capacity, page);
    xb_result result = xb_prim_stage(record->size, options->near_to, &record->base);
    if (result.call != NULL) {
        return xb_error_from_system(error, result);
    }
    record->entry = (uint8_t *)record->base + XB_ENTRY_OFFSET;
    record->capacity = capacity;
    record->length = 0;
    record->state = XB_STATE_RESERVED;
    record->owner = options->owner;
    record->link = options->link;
    return EXECBUF_OK;
}

/* The backend to use for a buffer: for that of a pool, one whose pages can never be made writable; NONE means
 * the first that works. */
static execbuf_backend backend_for(const xb_record *record) {
    xb_prim_info info = xb_prim_query();
    for (size_t i = 0; i < info.backend_count && record->owner != 0; i++) {
        if (info.backends[i] == EXECBUF_BACKEND_MEMFD &&
            xb_selftest_pages(EXECBUF_BACKEND_MEMFD).call == NULL) {
            return EXECBUF_BACKEND_MEMFD;
        }
    }
    return EXECBUF_BACKEND_NONE;
}

/* Fills the staged pages of a record and commits them. On failure they are still staged. */
static execbuf_status publish_mapping(xb_record *record, const void *code, size_t length,
                                      execbuf_error *error) {
    size_t page = xb_prim_query().page_size;
    size_t size = round_up(XB_ENTRY_OFFSET + length, page);
    uint8_t *base = (uint8_t *)record->base;
    size_t end = round_up(XB_ENTRY_OFFSET + length, 16);
    execbuf_backend backend = backend_for(record);
    xb_prim_begin_write();
    xb_fill_traps(base, XB_ENTRY_OFFSET);
    xb_fill_traps(base + end - 16, size - end + 16);
    memcpy(base + XB_ENTRY_OFFSET, code, length);
    execbuf_status status = xb_ladder_publish(backend, base, size, error);
    if (status != EXECBUF_OK && backend != EXECBUF_BACKEND_NONE) {
        status = xb_ladder_publish(EXECBUF_BACKEND_NONE, base, size, error);
    }
    if (status == EXECBUF_OK) {
        if (size < record->size) {
            record->size = xb_prim_trim(base, record->size, size);
        }
        record->length = length;
        record->state = XB_STATE_PUBLISHED;
    }
    return status;
}

/* Enters a record in the table and fills the handle. On failure the pages are unmapped. */
static execbuf_status enter_mapping(execbuf *out, const xb_record *record, execbuf_error *error) {
    uint64_t id = xb_handles_add(record);
    if (id == 0) {
        xb_unmap_or_add(record->base, record->size);
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    out->entry = record->entry;
    out->length = record->length;
    out->id = id;
    return xb_error_ok(error);
}

execbuf_status xb_mapping_new(execbuf *out, const void *code, size_t length,
                              const xb_mapping_options *options, execbuf_error *error) {
    xb_record record = {NULL, 0, NULL, 0, 0, XB_STATE_UNUSED, 0, NULL, 0, 0, 0};
    execbuf_status status = stage_mapping(&record, length, "length", options, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    status = publish_mapping(&record, code, length, error);
    if (status != EXECBUF_OK) {
        xb_unmap_or_add(record.base, record.size);
        return status;
    }
    return enter_mapping(out, &record, error);
}

execbuf_status xb_mapping_reserve(execbuf *out, size_t capacity, const xb_mapping_options *options,
                                  execbuf_error *error) {
    xb_record record = {NULL, 0, NULL, 0, 0, XB_STATE_UNUSED, 0, NULL, 0, 0, 0};
    execbuf_status status = stage_mapping(&record, capacity, "capacity", options, error);
    return status == EXECBUF_OK ? enter_mapping(out, &record, error) : status;
}

execbuf_status xb_mapping_publish(execbuf *buffer, const void *code, size_t length, xb_record *record,
                                  execbuf_error *error) {
    if (!xb_handles_find(buffer, record)) {
        return xb_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    if (record->link != NULL) {
        return xb_error_set(error, EXECBUF_E_THUNK, "buffer", 0);
    }
    if (record->state != XB_STATE_RESERVED) {
        return xb_error_set(error, EXECBUF_E_PUBLISHED, "buffer", 0);
    }
    if (length > record->capacity) {
        return xb_error_set(error, EXECBUF_E_CAPACITY, "length", 0);
    }
    execbuf_status status = publish_mapping(record, code, length, error);
    if (status == EXECBUF_OK) {
        xb_handles_update(record);
        buffer->length = length;
    }
    return status;
}

execbuf_status xb_mapping_rewrite(execbuf *buffer, size_t offset, const void *code, size_t length,
                                  execbuf_error *error) {
    xb_record record;
    if (!xb_handles_find(buffer, &record)) {
        return xb_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    if (record.state != XB_STATE_PUBLISHED) {
        bool lost = record.state == XB_STATE_LOST;
        return xb_error_set(error, lost ? EXECBUF_E_LOST : EXECBUF_E_NOT_PUBLISHED, "buffer", 0);
    }
    if (record.link != NULL) {
        return xb_error_set(error, EXECBUF_E_THUNK, "buffer", 0);
    }
    if (offset > record.length || length > record.length - offset) {
        const char *culprit = offset > record.length ? "offset" : "length";
        return xb_error_set(error, EXECBUF_E_OUT_OF_BOUNDS, culprit, 0);
    }
    /* Only the pages that the new bytes touch. */
    size_t page = xb_prim_query().page_size;
    size_t first = (XB_ENTRY_OFFSET + offset) & ~(page - 1);
    size_t end = round_up(XB_ENTRY_OFFSET + offset + length, page);
    uint8_t *pages = (uint8_t *)record.base + first;
    size_t start = XB_ENTRY_OFFSET + offset - first;
    execbuf_backend backend = backend_for(&record);
    execbuf_status status = xb_ladder_rewrite(backend, pages, end - first, start, code, length, error);
    if (backend != EXECBUF_BACKEND_NONE && status != EXECBUF_OK && status != EXECBUF_E_LOST) {
        status = xb_ladder_rewrite(EXECBUF_BACKEND_NONE, pages, end - first, start, code, length, error);
    }
    if (status == EXECBUF_E_LOST) {
        record.state = XB_STATE_LOST;
        xb_handles_update(&record);
    }
    return status;
}

execbuf_status xb_mapping_free(execbuf *buffer, xb_record *record) {
    if (!xb_handles_remove(buffer, record)) {
        return EXECBUF_E_STALE;
    }
    (void)retire_mapping(record);
    return EXECBUF_OK;
}
