/* Buffers with a dedicated mapping: staged, published, rewritten and unmapped as a whole.
 *
 * A record is claimed before pages are mapped, so registering the handle and parking the mapping cannot fail
 * later. Functions work on a copy of the record and write it back when they are done; execbuf.h forbids calls
 * that change the same buffer at the same time. No lock is held during system calls. */

#include "mapping.h"

#include <string.h>

#include "../base/error.h"
#include "../base/trap.h"
#include "../exec/ladder.h"
#include "../exec/park.h"
#include "../prim/report.h"

static size_t round_up(size_t value, size_t unit) {
    return (value + unit - 1) & ~(unit - 1);
}

size_t xb_mapping_size(size_t capacity) {
    return round_up(XB_ENTRY_OFFSET + capacity, xb_prim_query().page_size);
}

/* Claims a record and stages pages for a buffer of the given capacity. */
static execbuf_status stage_mapping(xb_record *record, size_t capacity, const char *capacity_name,
                                    const xb_mapping_options *options, execbuf_error *error) {
    if (capacity == 0) {
        return xb_error_set(error, EXECBUF_E_EMPTY, capacity_name, 0);
    }
    if (capacity > (size_t)PTRDIFF_MAX - XB_ENTRY_OFFSET - xb_prim_query().page_size) {
        return xb_error_set(error, EXECBUF_E_TOO_LARGE, capacity_name, 0);
    }
    xb_unmap_parked();
    execbuf_status status = xb_ladder_check(error);
    if (status != EXECBUF_OK) {
        return status;
    }
    if (!xb_handles_claim(record)) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    record->size = xb_mapping_size(capacity);
    xb_result result = xb_prim_stage(record->size, options->window, &record->base);
    if (result.call != NULL) {
        xb_handles_cancel(record);
        return xb_error_from_system(error, result);
    }
    if (options->not_inherited) { /* before there is code in it */
        result = xb_prim_keep_from_children(record->base, record->size);
        if (result.call != NULL) {
            xb_handles_release(record);
            return xb_error_from_system(error, result);
        }
    }
    record->entry = (uint8_t *)record->base + XB_ENTRY_OFFSET;
    record->capacity = capacity;
    record->length = 0;
    record->state = options->is_staged ? XB_STATE_STAGED : XB_STATE_RESERVED;
    record->owner = options->owner;
    record->pool = options->pool;
    if (options->link != NULL) {
        record->link = *options->link;
    }
    record->is_shared = options->is_shared;
    record->backends = options->backends;
    record->not_inherited = options->not_inherited;
    record->is_filled = false;
    return EXECBUF_OK;
}

execbuf_status xb_mapping_make_executable(xb_record *record, size_t length, execbuf_error *error) {
    uint8_t *base = (uint8_t *)record->base;
    size_t size = xb_mapping_size(length);
    size_t end = XB_ENTRY_OFFSET + length;
    size_t traps = round_up(end, sizeof xb_traps); /* from here on they are written 16 bytes at a time */
    xb_prim_begin_write(XB_PRIM_NO_KEY);
    xb_fill_traps(base, XB_ENTRY_OFFSET);
    memcpy(base + end, xb_traps + end % sizeof xb_traps, traps - end);
    xb_fill_traps(base + traps, size - traps);
    xb_prim_end_write(XB_PRIM_NO_KEY);
    execbuf_backend backend;
    execbuf_status status = xb_ladder_publish(base, size, record->backends, &backend, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    record->is_private = backend == EXECBUF_BACKEND_FLIP;
    return EXECBUF_OK;
}

/* Copies code to the staged pages of a record, and makes it executable. */
static execbuf_status publish_pages(xb_record *record, const void *code, size_t length,
                                    execbuf_error *error) {
    xb_prim_begin_write(XB_PRIM_NO_KEY);
    memcpy((uint8_t *)record->base + XB_ENTRY_OFFSET, code, length);
    xb_prim_end_write(XB_PRIM_NO_KEY);
    return xb_mapping_make_executable(record, length, error);
}

void xb_mapping_count_published(xb_record *record, size_t length) {
    const size_t old_size = record->size;
    const size_t needed = xb_mapping_size(length);
    if (needed < old_size) {
        record->size = xb_prim_trim(record->base, old_size, needed);
    }
    record->trimmed = old_size - record->size;
    record->length = length;
    record->state = XB_STATE_PUBLISHED;
    record->is_filled = false;
}

/* Private pages need no barrier when they are reopened: xb_staged_unpublish makes it, and after a failed
 * batch nobody has run the code. */
xb_result xb_mapping_stage_again(const xb_record *record, size_t size, bool keeps) {
    if (record->is_private || !xb_prim_query().can_replace) {
        return xb_prim_reopen(record->base, size);
    }
    void *fresh = NULL;
    xb_result result = xb_may_map_temporary();
    if (result.call == NULL) {
        result = xb_prim_stage(size, NULL, &fresh);
    }
    if (result.call != NULL || fresh == NULL) { /* gcc does not know that one implies the other */
        return result;
    }
    if (keeps) {
        xb_prim_begin_write(XB_PRIM_NO_KEY);
        memcpy(fresh, record->base, size);
        xb_prim_end_write(XB_PRIM_NO_KEY);
    }
    result = xb_prim_replace(record->base, fresh, size);
    if (result.call != NULL) {
        xb_unmap_temporary(fresh, NULL, size);
    }
    return result;
}

/* Registers the handle of a claimed record, and fills it. */
static execbuf_status register_mapping(execbuf *out, const xb_record *record, execbuf_error *error) {
    out->id = xb_handles_add(record);
    out->entry = record->entry;
    out->length = record->length;
    return xb_error_ok(error);
}

execbuf_status xb_mapping_new(execbuf *out, const void *code, size_t length,
                              const xb_mapping_options *options, execbuf_error *error) {
    xb_record record;
    memset(&record, 0, sizeof record);
    execbuf_status status = stage_mapping(&record, length, "length", options, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    status = publish_pages(&record, code, length, error);
    if (status != EXECBUF_OK) {
        xb_handles_release(&record);
        return status;
    }
    xb_mapping_count_published(&record, length);
    return register_mapping(out, &record, error);
}

execbuf_status xb_mapping_reserve(execbuf *out, size_t capacity, const xb_mapping_options *options,
                                  execbuf_error *error) {
    xb_record record;
    memset(&record, 0, sizeof record);
    execbuf_status status = stage_mapping(&record, capacity, "capacity", options, error);
    return status == EXECBUF_OK ? register_mapping(out, &record, error) : status;
}

/* Finds a buffer in which code of this length can be published. */
static execbuf_status find_reserved(const execbuf *buffer, size_t length, xb_record *record,
                                    execbuf_error *error) {
    if (!xb_handles_find(buffer, record)) {
        return xb_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    if (record->is_lost) {
        return xb_error_set(error, EXECBUF_E_NOT_INHERITED, "buffer", 0);
    }
    if (record->link.adapter != NULL) {
        return xb_error_set(error, EXECBUF_E_THUNK, "buffer", 0);
    }
    if (record->state != XB_STATE_RESERVED) {
        bool is_staged = record->state == XB_STATE_STAGED;
        return xb_error_set(error, is_staged ? EXECBUF_E_STAGED : EXECBUF_E_PUBLISHED, "buffer", 0);
    }
    if (length > record->capacity) {
        return xb_error_set(error, EXECBUF_E_CAPACITY, "length", 0);
    }
    return EXECBUF_OK;
}

/* Publishes the pages of a reserved buffer, whose record then says that it is filled. */
static execbuf_status fill_mapping(xb_record *record, const void *code, size_t length, execbuf_error *error) {
    if (record->is_filled) {
        xb_result result = xb_mapping_stage_again(record, record->size, false);
        if (result.call != NULL) {
            return xb_error_from_system(error, result);
        }
        record->is_filled = false;
    }
    execbuf_status status = publish_pages(record, code, length, error);
    record->is_filled = status == EXECBUF_OK;
    return status;
}

execbuf_status xb_mapping_publish(execbuf *buffer, const void *code, size_t length, xb_record *record,
                                  execbuf_error *error) {
    execbuf_status status = find_reserved(buffer, length, record, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    status = fill_mapping(record, code, length, error);
    if (status == EXECBUF_OK) {
        xb_mapping_count_published(record, length);
        buffer->length = length;
    }
    xb_handles_update(record);
    return status;
}

execbuf_status xb_mapping_check(const execbuf *buffer, size_t length, execbuf_error *error) {
    xb_record record;
    return find_reserved(buffer, length, &record, error);
}

execbuf_status xb_mapping_fill(const execbuf *buffer, const void *code, size_t length, execbuf_error *error) {
    xb_record record;
    execbuf_status status = find_reserved(buffer, length, &record, error);
    if (status == EXECBUF_OK) {
        status = fill_mapping(&record, code, length, error);
        xb_handles_update(&record);
    }
    return status;
}

bool xb_mapping_finish(execbuf *buffer, size_t length, xb_record *record) {
    if (!xb_handles_find(buffer, record) || !record->is_filled) {
        return false;
    }
    xb_mapping_count_published(record, length);
    xb_handles_update(record);
    buffer->length = length;
    return true;
}

/* The checks of a rewrite that depend on the buffer. */
static execbuf_status check_rewrite(const xb_record *record, size_t offset, size_t length,
                                    execbuf_error *error) {
    if (record->is_lost) {
        return xb_error_set(error, EXECBUF_E_NOT_INHERITED, "buffer", 0);
    }
    if (record->link.adapter != NULL) {
        return xb_error_set(error, EXECBUF_E_THUNK, "buffer", 0);
    }
    if (record->state != XB_STATE_PUBLISHED) {
        bool lost = record->state == XB_STATE_LOST;
        return xb_error_set(error, lost ? EXECBUF_E_LOST : EXECBUF_E_NOT_PUBLISHED, "buffer", 0);
    }
    if (offset > record->length || length > record->length - offset) {
        const char *culprit = offset > record->length ? "offset" : "length";
        return xb_error_set(error, EXECBUF_E_OUT_OF_BOUNDS, culprit, 0);
    }
    return EXECBUF_OK;
}

execbuf_status xb_mapping_check_rewrite(const execbuf *buffer, size_t offset, size_t length,
                                        execbuf_error *error) {
    xb_record record;
    if (!xb_handles_find(buffer, &record)) {
        return xb_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    return check_rewrite(&record, offset, length, error);
}

execbuf_status xb_mapping_rewrite(const execbuf *buffer, size_t offset, const void *code, size_t length,
                                  execbuf_error *error) {
    xb_record record;
    if (!xb_handles_find(buffer, &record)) {
        return xb_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    execbuf_status status = check_rewrite(&record, offset, length, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    /* Only the pages that the new bytes touch. */
    size_t page = xb_prim_query().page_size;
    size_t start = XB_ENTRY_OFFSET + offset; /* from the mapping's base, like the next two */
    size_t first = start & ~(page - 1);
    size_t end = round_up(start + length, page);
    xb_rewrite change = {NULL, 0, 0, NULL, 0, record.backends, record.not_inherited, false};
    change.base = (uint8_t *)record.base + first;
    change.size = end - first;
    change.offset = start - first;
    change.code = code;
    change.length = length;
    change.is_private = record.is_private;
    execbuf_backend backend = EXECBUF_BACKEND_FLIP;
    status = xb_ladder_rewrite(&change, &backend, error);
    if (status == EXECBUF_E_LOST || backend != EXECBUF_BACKEND_FLIP) {
        record.state = status == EXECBUF_E_LOST ? XB_STATE_LOST : record.state;
        record.is_private = false;
        xb_handles_update(&record);
    }
    return status;
}

execbuf_status xb_mapping_free(const execbuf *buffer, xb_record *record) {
    if (!xb_handles_remove(buffer, record)) {
        return EXECBUF_E_STALE;
    }
    xb_handles_release(record);
    return EXECBUF_OK;
}
