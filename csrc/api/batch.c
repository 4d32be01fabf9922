/* Public functions on many buffers: publishing in all of them or in none, and changing them with one barrier.
 *
 * Publishing goes through the buffers several times, so that what can fail comes before what cannot be
 * undone:
 *
 *     check   handles, states and capacities; shared regions become this process's own
 *     describe
 *     fill    the slots, then the dedicated mappings; all of them still count as reserved
 *     barrier
 *     mark    all of them as published, which cannot fail
 *
 * A slot that was filled and not marked holds other bytes than before, which nobody reads. A dedicated
 * mapping then has executable pages, which the next attempt stages again. */

#include <stdlib.h>

#include "../base/fault.h"
#include "../debug/description.h"
#include "../mapping/mapping.h"
#include "../pool/large.h"
#include "../pool/slot.h"
#include "../prim/icache.h"
#include "../prim/prim.h"
#include "buffer.h"
#include "describe.h"

static const xb_slot_cursor batch_start = {NULL, false, {NULL, NULL, 0}};

/* As xb_api_failed_at, and counts a stale handle. */
static execbuf_status failed_at(execbuf_status status, size_t index, execbuf_error *error) {
    return xb_api_counted(xb_api_failed_at(status, index, error));
}

/* ---- Publishing ---- */

/* The address of a buffer, and where it stands in the array. */
typedef struct batch_place {
    uintptr_t entry;
    size_t index;
} batch_place;

/* The order of places: by address, then by index. */
static bool is_before(batch_place one, batch_place other) {
    return one.entry != other.entry ? one.entry < other.entry : one.index < other.index;
}

/* Moves a place down in a heap, in which each place at i is not before those at 2i+1 and 2i+2. */
static void sift_down(batch_place *heap, size_t count, size_t at) {
    batch_place moved = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && is_before(heap[child], heap[child + 1])) {
            child++;
        }
        if (!is_before(moved, heap[child])) {
            break;
        }
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

/* Heapsort. glibc's qsort before version 2.37 makes a system call that execbuf.h does not list: sysinfo. */
static void sort_places(batch_place *places, size_t count) {
    for (size_t at = count / 2; at-- > 0;) {
        sift_down(places, count, at);
    }
    for (size_t left = count; left-- > 1;) {
        batch_place last = places[0];
        places[0] = places[left];
        places[left] = last;
        sift_down(places, left, 0);
    }
}

/* Checks that no buffer is in the array twice: both would pass the other checks, as neither is published yet.
 * All handles are live, so the addresses tell the buffers apart. */
static execbuf_status check_places(const execbuf *buffers, size_t count, execbuf_error *error) {
    bool may_allocate = count <= SIZE_MAX / sizeof(batch_place) && XB_FAULT("malloc") == 0;
    batch_place *places = may_allocate ? (batch_place *)malloc(count * sizeof *places) : NULL;
    if (places == NULL) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "malloc", 0);
    }
    for (size_t i = 0; i < count; i++) {
        places[i].entry = (uintptr_t)buffers[i].entry;
        places[i].index = i;
    }
    sort_places(places, count);
    execbuf_status status = EXECBUF_OK;
    for (size_t i = 1; i < count && status == EXECBUF_OK; i++) {
        if (places[i].entry == places[i - 1].entry) {
            status = xb_error_set_at(error, EXECBUF_E_PUBLISHED, "buffer", places[i].index);
        }
    }
    free(places);
    return status;
}

/* Checks all buffers. */
static execbuf_status check_buffers(const execbuf *buffers, const execbuf_code *codes, size_t count,
                                    execbuf_error *error) {
    xb_slot_cursor cursor = batch_start;
    for (size_t i = 0; i < count; i++) {
        execbuf_status status;
        if (xb_api_is_slot(&buffers[i])) {
            status = xb_slot_fill(&cursor, &buffers[i], NULL, codes[i].length, error);
        } else {
            xb_slot_leave(&cursor);
            status = xb_mapping_check(&buffers[i], codes[i].length, error);
        }
        if (status != EXECBUF_OK) {
            xb_slot_leave(&cursor);
            return failed_at(status, i, error);
        }
    }
    xb_slot_leave(&cursor);
    return count > 1 ? check_places(buffers, count, error) : EXECBUF_OK;
}

/* Fills all slots. One of them can only fail if another thread has forked since the check. */
static execbuf_status fill_slots_of(const execbuf *buffers, const execbuf_code *codes, size_t count,
                                    execbuf_error *error) {
    xb_slot_cursor cursor = batch_start;
    for (size_t i = 0; i < count; i++) {
        if (xb_api_is_slot(&buffers[i])) {
            execbuf_status status =
                xb_slot_fill(&cursor, &buffers[i], codes[i].bytes, codes[i].length, error);
            if (status != EXECBUF_OK) {
                xb_slot_leave(&cursor);
                return failed_at(status, i, error);
            }
        }
    }
    xb_slot_leave(&cursor);
    return EXECBUF_OK;
}

/* Fills all dedicated mappings. */
static execbuf_status fill_mappings(const execbuf *buffers, const execbuf_code *codes, size_t count,
                                    execbuf_error *error) {
    for (size_t i = 0; i < count; i++) {
        if (!xb_api_is_slot(&buffers[i])) {
            execbuf_status status = xb_mapping_fill(&buffers[i], codes[i].bytes, codes[i].length, error);
            if (status != EXECBUF_OK) {
                return failed_at(status, i, error);
            }
        }
    }
    return EXECBUF_OK;
}

/* Marks all buffers as published. */
static void mark_all(execbuf *buffers, const execbuf_code *codes, size_t count) {
    xb_slot_cursor cursor = batch_start;
    for (size_t i = 0; i < count; i++) {
        xb_record record;
        if (xb_api_is_slot(&buffers[i])) {
            (void)xb_slot_mark(&cursor, &buffers[i], codes[i].length);
        } else {
            xb_slot_leave(&cursor);
            if (xb_mapping_finish(&buffers[i], codes[i].length, &record) && record.owner != 0) {
                xb_large_count_published(&record);
            }
        }
    }
    xb_slot_leave(&cursor);
}

execbuf_status xb_api_publish_all(execbuf *buffers, const execbuf_code *codes, size_t count,
                                  execbuf_error *error) {
    execbuf_status status = check_buffers(buffers, codes, count, error);
    if (status == EXECBUF_OK) {
        status = xb_api_describe_reserved(buffers, codes, count, error);
    }
    if (status != EXECBUF_OK) {
        return status;
    }
    status = fill_slots_of(buffers, codes, count, error);
    if (status == EXECBUF_OK) {
        status = fill_mappings(buffers, codes, count, error);
    }
    if (status != EXECBUF_OK) {
        xb_api_undescribe_all(buffers, count);
        return status;
    }
    xb_fresh_barrier();
    mark_all(buffers, codes, count);
    xb_api_tell_published(buffers, count);
    return xb_error_ok(error);
}

execbuf_status execbuf_publish_all(execbuf *buffers, const execbuf_code *codes, size_t count,
                                   execbuf_error *error) {
    if (count == 0) { /* whatever the pointers are */
        return xb_error_ok(error);
    }
    if (buffers == NULL || codes == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, buffers == NULL ? "buffers" : "codes", 0);
    }
    xb_prim_check_fork(); /* the backend that worked may not work in a child */
    execbuf_status status = xb_api_check_codes(codes, count, error);
    return status == EXECBUF_OK ? xb_api_publish_all(buffers, codes, count, error) : status;
}

/* ---- Rewriting ---- */

/* The checks of a change that do not depend on its buffer. */
static execbuf_status check_change(const execbuf_change *change, execbuf_error *error) {
    if (change->buffer == NULL || change->code == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, change->buffer == NULL ? "buffer" : "code", 0);
    }
    return change->length == 0 ? xb_error_set(error, EXECBUF_E_EMPTY, "length", 0) : EXECBUF_OK;
}

/* Checks a change, or makes it. */
static execbuf_status change_one(xb_slot_cursor *cursor, const execbuf_change *change, bool is_check,
                                 execbuf_error *error) {
    const execbuf *buffer = change->buffer;
    if (xb_api_is_slot(buffer)) {
        const void *code = is_check ? NULL : change->code;
        return xb_slot_change(cursor, buffer, change->offset, code, change->length, error);
    }
    xb_slot_leave(cursor);
    return is_check ? xb_mapping_check_rewrite(buffer, change->offset, change->length, error)
                    : xb_mapping_rewrite(buffer, change->offset, change->code, change->length, error);
}

execbuf_status execbuf_rewrite_batch(const execbuf_change *changes, size_t count, execbuf_error *error) {
    if (count == 0) { /* whatever the pointer is */
        return xb_error_ok(error);
    }
    if (changes == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "changes", 0);
    }
    xb_prim_check_fork();
    xb_slot_cursor cursor = batch_start;
    execbuf_status status = EXECBUF_OK;
    size_t index = 0;
    for (; index < count && status == EXECBUF_OK; index++) {
        status = check_change(&changes[index], error);
        if (status == EXECBUF_OK) {
            status = change_one(&cursor, &changes[index], true, error);
        }
    }
    if (status == EXECBUF_OK) {
        bool has_slots = false;
        for (index = 0; index < count && status == EXECBUF_OK; index++) {
            status = change_one(&cursor, &changes[index], false, error);
            has_slots |= xb_api_is_slot(changes[index].buffer);
        }
        xb_slot_leave(&cursor);
        for (size_t i = 0; i < index; i++) {
            xb_undescribe(changes[i].buffer); /* a description is of the old code */
        }
        if (has_slots) {
            (void)xb_prim_barrier(); /* other processors may have fetched the old code */
        }
    }
    xb_slot_leave(&cursor);
    return status == EXECBUF_OK ? xb_error_ok(error) : failed_at(status, index - 1, error);
}
