/* Public functions on descriptions. Each checks its arguments and calls debug/. */

#include "describe.h"

#include <stdbool.h>

#include "../base/error.h"
#include "../base/handle.h"
#include "../base/sized.h"
#include "../debug/described.h"
#include "../debug/description.h"
#include "../debug/tools.h"
#include "../mapping/handles.h"
#include "../pool/put.h"
#include "../pool/free.h"
#include "../pool/slot.h"
#include "buffer.h"
#include "roomy.h"

/* Tells tools of the buffers that are described. Published ones are announced when their code can be read. */
static void tell_tools(const execbuf *buffers, size_t count, execbuf_event_kind kind) {
    if (xb_tools_are_on()) {
        for (size_t i = 0; i < count; i++) {
            xb_tell_of_description(&buffers[i], kind);
        }
        xb_tools_end_batch();
    }
}

void xb_api_tell_published(const execbuf *buffers, size_t count) {
    tell_tools(buffers, count, EXECBUF_EVENT_PUBLISHED);
}

execbuf_status xb_api_read_info(execbuf_info *known, const execbuf_info *info, execbuf_error *error) {
    const execbuf_info init = EXECBUF_INFO_INIT;
    *known = init;
    if (!xb_sized_read(known, info, sizeof *known)) {
        return xb_error_set(error, EXECBUF_E_VERSION, "info", 0);
    }
    if (known->name == NULL && known->name_length > 0) {
        return xb_error_set(error, EXECBUF_E_NULL, "name", 0);
    }
    if (known->name_length > EXECBUF_NAME_MAX) {
        return xb_error_set(error, EXECBUF_E_TOO_LARGE, "name", 0);
    }
    if (known->table == NULL && known->table_length > 0) {
        return xb_error_set(error, EXECBUF_E_NULL, "table", 0);
    }
    if (known->lines == NULL && known->line_count > 0) {
        return xb_error_set(error, EXECBUF_E_NULL, "lines", 0);
    }
    return known->table_length > UINT32_MAX ? xb_error_set(error, EXECBUF_E_TOO_LARGE, "table", 0)
                                            : EXECBUF_OK;
}

/* What is known of a buffer of any kind.
 *
 * Returns: whether the handle is that of a live buffer.
 * Out: facts: its span is NULL if it has a dedicated mapping.
 *      is_lost: whether it can only be freed. */
static bool look_at(const execbuf *buffer, xb_slot_facts *facts, bool *is_lost) {
    xb_record record;
    *is_lost = false;
    if ((buffer->id & XB_ID_POOL_BIT) != 0) {
        return xb_slot_look(buffer, facts);
    }
    bool found = xb_handles_find(buffer, &record);
    if (found) {
        facts->span = NULL;
        facts->is_reserved = record.state == XB_STATE_RESERVED;
        facts->length = facts->is_reserved ? record.capacity : record.length;
        facts->is_linked = record.link.adapter != NULL;
        *is_lost = record.state == XB_STATE_LOST;
    }
    return found;
}

/* Describes a published buffer. */
static execbuf_status describe_published(const execbuf *buffer, const execbuf_info *known,
                                         execbuf_error *error) {
    xb_slot_facts facts;
    bool is_lost;
    if (!look_at(buffer, &facts, &is_lost)) {
        xb_handles_count_stale();
        return xb_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    if (facts.is_linked) {
        return xb_error_set(error, EXECBUF_E_THUNK, "buffer", 0);
    }
    if (facts.is_reserved || facts.length == 0) { /* it is reserved, or staged */
        return xb_error_set(error, EXECBUF_E_NOT_PUBLISHED, "buffer", 0);
    }
    if (is_lost) {
        return xb_error_set(error, EXECBUF_E_LOST, "buffer", 0);
    }
    xb_target target = {buffer, (const uint8_t *)buffer->entry, facts.length, facts.span};
    return xb_describe(&target, known, error);
}

execbuf_status execbuf_describe(execbuf *buffer, const execbuf_info *info, execbuf_error *error) {
    execbuf_info known;
    xb_prim_check_fork();
    if (buffer == NULL || info == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, buffer == NULL ? "buffer" : "info", 0);
    }
    execbuf_status status = xb_api_read_info(&known, info, error);
    status = status == EXECBUF_OK ? describe_published(buffer, &known, error) : status;
    if (status != EXECBUF_OK) {
        return status;
    }
    tell_tools(buffer, 1, EXECBUF_EVENT_DESCRIBED);
    return xb_error_ok(error);
}

execbuf_status execbuf_name(const execbuf *buffer, char *name, size_t capacity, size_t *length) {
    size_t ignored;
    length = length != NULL ? length : &ignored;
    *length = 0;
    if (name != NULL && capacity > 0) {
        *name = '\0';
    }
    if (buffer == NULL || (name == NULL && capacity > 0)) {
        return EXECBUF_E_NULL;
    }
    return xb_described_name(buffer, name, capacity, length) ? EXECBUF_OK : EXECBUF_E_NOT_FOUND;
}

/* The code is described first: when it is published, somebody may know its address. */
execbuf_status execbuf_publish_with(execbuf *buffer, const void *code, size_t length,
                                    const execbuf_info *info, execbuf_error *error) {
    execbuf_info known;
    xb_slot_facts facts;
    bool is_lost;
    xb_prim_check_fork();
    bool can_publish = buffer != NULL && code != NULL && look_at(buffer, &facts, &is_lost) &&
                       facts.is_reserved && !facts.is_linked && length > 0 && length <= facts.length;
    if (info == NULL || !can_publish) { /* then this fails, and says why */
        return xb_api_publish(buffer, code, length, error);
    }
    execbuf_status status = xb_api_read_info(&known, info, error);
    if (status == EXECBUF_OK) {
        xb_target target = {buffer, (const uint8_t *)code, length, facts.span};
        status = xb_describe(&target, &known, error);
    }
    if (status != EXECBUF_OK) {
        return status;
    }
    status = xb_api_publish(buffer, code, length, error);
    if (status != EXECBUF_OK) {
        xb_undescribe(buffer);
        return status;
    }
    tell_tools(buffer, 1, EXECBUF_EVENT_PUBLISHED);
    return status;
}

void xb_api_undescribe_all(const execbuf *buffers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        xb_undescribe(&buffers[i]);
    }
}

execbuf_status xb_api_describe_reserved(const execbuf *buffers, const execbuf_code *codes, size_t count,
                                        execbuf_error *error) {
    for (size_t i = 0; i < count; i++) {
        execbuf_info known;
        xb_slot_facts facts;
        bool is_lost;
        if (codes[i].info == NULL) {
            continue;
        }
        execbuf_status status = xb_api_read_info(&known, codes[i].info, error);
        if (status == EXECBUF_OK && !look_at(&buffers[i], &facts, &is_lost)) {
            xb_handles_count_stale(); /* another thread has freed it */
            status = xb_error_set(error, EXECBUF_E_STALE, "buffer", 0);
        }
        if (status == EXECBUF_OK) {
            xb_target target = {&buffers[i], (const uint8_t *)codes[i].bytes, codes[i].length, facts.span};
            status = xb_describe(&target, &known, error);
        }
        if (status != EXECBUF_OK) {
            xb_api_undescribe_all(buffers, i);
            return xb_api_failed_at(status, i, error);
        }
    }
    return EXECBUF_OK;
}

/* ---- Pools ---- */

/* Frees new buffers, with their descriptions. */
static void drop_described(execbuf *buffers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        xb_undescribe(&buffers[i]);
        xb_pool_drop(&buffers[i]);
    }
}

execbuf_status execbuf_pool_publish_with(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                                         const execbuf_info *info, execbuf_error *error) {
    execbuf_info known = EXECBUF_INFO_INIT;
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = xb_no_buffer;
    if (pool == NULL || code == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, pool == NULL ? "pool" : "code", 0);
    }
    execbuf_status status = info != NULL ? xb_api_read_info(&known, info, error) : EXECBUF_OK;
    if (status == EXECBUF_OK) {
        status = info != NULL && xb_api_may_need_room()
                     ? xb_api_put_with_room(pool, out, code, length, &known, error)
                     : xb_pool_put(pool, out, code, length, error);
    }
    if (status != EXECBUF_OK || info == NULL) {
        return status;
    }
    status = describe_published(out, &known, error);
    if (status != EXECBUF_OK) {
        drop_described(out, 1);
        return status;
    }
    tell_tools(out, 1, EXECBUF_EVENT_PUBLISHED);
    return status;
}

execbuf_status xb_api_describe_batch(execbuf *buffers, const execbuf_code *codes, size_t count,
                                     execbuf_error *error) {
    for (size_t i = 0; i < count; i++) {
        execbuf_info known = EXECBUF_INFO_INIT;
        execbuf_status status = EXECBUF_OK;
        if (codes[i].info != NULL) {
            status = xb_api_read_info(&known, codes[i].info, error);
            status = status == EXECBUF_OK ? describe_published(&buffers[i], &known, error) : status;
        }
        if (status != EXECBUF_OK) {
            drop_described(buffers, count);
            return xb_api_failed_at(status, i, error);
        }
    }
    tell_tools(buffers, count, EXECBUF_EVENT_PUBLISHED);
    return EXECBUF_OK;
}
