/* Publishing a staged buffer, and staging a published one again.
 *
 * The backends publish staged pages in place, so the user's bytes are never copied here, but for those that
 * traps replace. They are restored if publishing fails. */

#include "staged.h"

#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../base/fault.h"
#include "../exec/layout.h"
#include "../prim/report.h"
#include "mapping.h"

/* Finds a buffer, and checks what publishing and unpublishing both ask for. */
static execbuf_status find_either(const execbuf *buffer, xb_record *record, execbuf_error *error) {
    if (!xb_handles_find(buffer, record)) {
        return xb_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    if (record->is_lost) {
        return xb_error_set(error, EXECBUF_E_NOT_INHERITED, "buffer", 0);
    }
    return record->link.adapter != NULL ? xb_error_set(error, EXECBUF_E_THUNK, "buffer", 0) : EXECBUF_OK;
}

/* How many of the user's bytes lie behind the code in its last page. */
static size_t count_behind(const xb_record *record, size_t length) {
    size_t room = xb_mapping_size(length) - XB_ENTRY_OFFSET;
    return (record->capacity < room ? record->capacity : room) - length;
}

/* Copies bytes of staged pages. The reads are volatile, so that they are no memcpy, which may use SVE:
 * qemu-user refuses SVE loads from pages that were mapped without PROT_READ. */
static void copy_staged(uint8_t *to, const uint8_t *from, size_t size) {
    for (size_t i = 0; i < size; i++) {
        to[i] = ((const volatile uint8_t *)from)[i];
    }
}

/* Publishes the pages of the code. On failure they have the bytes that they had. */
static execbuf_status publish_in_place(xb_record *record, size_t length, execbuf_error *error) {
    uint8_t *end = (uint8_t *)record->base + XB_ENTRY_OFFSET + length;
    size_t behind = count_behind(record, length);
    uint8_t *kept = NULL;
    if (behind > 0) {
        kept = XB_FAULT("malloc") != 0 ? NULL : (uint8_t *)malloc(behind);
        if (kept == NULL) {
            return xb_error_set(error, EXECBUF_E_NO_MEMORY, "malloc", 0);
        }
        copy_staged(kept, end, behind);
    }
    execbuf_status status = xb_mapping_make_executable(record, length, error);
    if (status != EXECBUF_OK && kept != NULL) {
        memcpy(end, kept, behind);
    }
    free(kept);
    return status;
}

execbuf_status xb_staged_publish(execbuf *buffer, size_t length, xb_record *record, execbuf_error *error) {
    execbuf_status status = find_either(buffer, record, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    if (record->state != XB_STATE_STAGED) {
        bool is_reserved = record->state == XB_STATE_RESERVED;
        return xb_error_set(error, is_reserved ? EXECBUF_E_STAGED : EXECBUF_E_PUBLISHED, "buffer", 0);
    }
    if (length > record->capacity) {
        return xb_error_set(error, EXECBUF_E_CAPACITY, "length", 0);
    }
    status = publish_in_place(record, length, error);
    if (status == EXECBUF_OK) {
        xb_mapping_count_published(record, length);
        xb_handles_update(record);
        buffer->length = length;
    }
    return status;
}

execbuf_status xb_staged_unpublish(execbuf *buffer, execbuf_error *error) {
    xb_record record;
    execbuf_status status = find_either(buffer, &record, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    if (record.state != XB_STATE_PUBLISHED) {
        bool lost = record.state == XB_STATE_LOST;
        return xb_error_set(error, lost ? EXECBUF_E_LOST : EXECBUF_E_NOT_PUBLISHED, "buffer", 0);
    }
    xb_result result = xb_mapping_stage_again(&record, xb_mapping_size(record.length), true);
    if (result.call != NULL) {
        return xb_error_from_system(error, result);
    }
    (void)xb_prim_barrier(); /* other processors may have fetched the old code */
    record.capacity = record.length;
    record.length = 0;
    record.state = XB_STATE_STAGED;
    xb_handles_update(&record);
    buffer->length = 0;
    return xb_error_ok(error);
}
