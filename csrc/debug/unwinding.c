/* Reads what a user says of unwinding. */

#include "unwinding.h"

#include <stdlib.h>

#include "../base/error.h"
#include "../base/fault.h"
#include "../prim/prim.h"

/* Reads a table twice: first to count its functions. */
static execbuf_status read_user_table(xb_unwinding *out, const xb_target *target, const execbuf_info *info,
                                      execbuf_error *error) {
    const uint8_t *bytes = (const uint8_t *)info->table;
    uint64_t start = (uintptr_t)target->buffer->entry;
    xb_table_fault fault =
        xb_eh_frame_read(bytes, info->table_length, start, target->length, NULL, &out->count);
    if (fault.reason != NULL) {
        return xb_error_set_at(error, EXECBUF_E_UNWIND, fault.reason, fault.offset);
    }
    if (out->count > 1) {
        out->rules = XB_FAULT("calloc") != 0 ? NULL : (xb_rules *)calloc(out->count, sizeof *out->rules);
        if (out->rules == NULL) {
            return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
        }
    }
    (void)xb_eh_frame_read(bytes, info->table_length, start, target->length, out->rules, &out->count);
    return xb_eh_frame_sort(out->rules, out->count)
               ? EXECBUF_OK
               : xb_error_set(error, EXECBUF_E_UNWIND, "functions overlap", 0);
}

/* Reads what Windows is told: UNWIND_INFO, not DWARF. */
static execbuf_status read_for_windows(xb_unwinding *out, const xb_target *target, const execbuf_info *info,
                                       execbuf_error *error) {
    if (xb_prim_abi != EXECBUF_ABI_WIN64 || info->unwind == EXECBUF_UNWIND_EH_FRAME) {
        return xb_error_set(error, EXECBUF_E_UNSUPPORTED, "unwind", 0);
    }
    xb_table_fault fault = xb_info_xdata_read(&out->xdata, &out->xdata_size, out->canned_xdata, info,
                                              target->code, target->length);
    return fault.reason == NULL ? EXECBUF_OK
                                : xb_error_set_at(error, EXECBUF_E_UNWIND, fault.reason, fault.offset);
}

execbuf_status xb_unwinding_read(xb_unwinding *out, const xb_target *target, const execbuf_info *info,
                                 execbuf_error *error) {
    bool is_known = info->unwind >= EXECBUF_UNWIND_UNKNOWN && info->unwind <= EXECBUF_UNWIND_UNWIND_INFO;
    out->rules = &out->one;
    out->count = 0;
    out->xdata_size = 0;
    if (info->unwind == EXECBUF_UNWIND_UNKNOWN) {
        return EXECBUF_OK;
    }
    if (!is_known) {
        return xb_error_set(error, EXECBUF_E_VERSION, "unwind", 0);
    }
    if (xb_prim_query().wants_xdata) {
        return read_for_windows(out, target, info, error);
    }
    if (sizeof(void *) != 8 || info->unwind == EXECBUF_UNWIND_UNWIND_INFO) {
        return xb_error_set(error, EXECBUF_E_UNSUPPORTED, "unwind", 0);
    }
    if (info->unwind == EXECBUF_UNWIND_EH_FRAME) {
        return read_user_table(out, target, info, error);
    }
    out->count = 1;
    const char *wrong =
        xb_canned_rules(&out->one, out->program, info, target->code, target->length, target->buffer->entry);
    return wrong == NULL ? EXECBUF_OK : xb_error_set(error, EXECBUF_E_UNWIND, wrong, 0);
}

/* In the list of a span, the address of a handler counts from the start of the span. There is a table. */
static execbuf_status check_table_handler(const xb_unwinding *from, const xb_target *target,
                                          execbuf_error *error) {
    const size_t at = xb_info_xdata_handler(from->xdata);
    if (at == 0 || !xb_target_is_listed(target)) {
        return EXECBUF_OK;
    }
    const uint32_t distance = (uint32_t)((const uint8_t *)target->buffer->entry - target->span->start);
    return xb_info_xdata_handler_fits(from->xdata, distance)
               ? EXECBUF_OK
               : xb_error_set_at(error, EXECBUF_E_UNWIND, "the handler is too far from the code", at);
}

execbuf_status xb_unwinding_check(const xb_unwinding *from, const xb_target *target, execbuf_error *error) {
    if (from->xdata_size > 0) {
        return check_table_handler(from, target, error);
    }
    if (from->count == 0 || !xb_target_is_listed(target)) {
        return EXECBUF_OK;
    }
    if (from->count > 1) {
        return xb_error_set(error, EXECBUF_E_UNWIND, "more than one function", 0);
    }
    return xb_record_fits(from->rules, (uintptr_t)target->buffer->entry, target->span->slot_size)
               ? EXECBUF_OK
               : xb_error_set(error, EXECBUF_E_UNWIND, "too many instructions", 0);
}

void xb_unwinding_end(xb_unwinding *from) {
    if (from->rules != &from->one) {
        free(from->rules);
    }
}
