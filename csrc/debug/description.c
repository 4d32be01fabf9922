/* Descriptions of code of users: making and ending them. No lock is held while memory is allocated, and while
 * the unwinder or a tool is called. */

#include "description.h"

#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../base/fault.h"
#include "../base/handle.h"
#include "../exec/layout.h"
#include "../mapping/mapping.h"
#include "../pool/free.h"
#include "../pool/slot.h"
#include "../prim/prim.h"
#include "../prim/report.h"
#include "../prim/unwinder.h"
#include "described.h"
#include "dump_table.h"
#include "lines.h"
#include "near_tables.h"
#include "section.h"
#include "tools.h"

/* ---- Ending ---- */

/* The hook xb_slot_undescribe. Tools that were told of the code learn of the end first. */
static bool end_description(const execbuf *buffer) {
    xb_prim_check_fork();
    xb_description *description = xb_described_take(buffer);
    if (description == NULL) {
        return false;
    }
    if (description->is_told) {
        xb_tools_tell(EXECBUF_EVENT_ENDED, description);
    }
    bool is_forgotten = !description->is_registered;
    if (!is_forgotten && xb_prim_begin_unwinder()) {
        xb_group_remove(description->region, &description->function);
        xb_prim_end_unwinder();
        is_forgotten = true;
    }
    if (is_forgotten) { /* else the unwinder was lost in a fork, and may refer to it for ever */
        xb_described_leave(description);
    }
    return true;
}

void xb_undescribe(const execbuf *buffer) {
    if (xb_described_any() && end_description(buffer) && (buffer->id & XB_ID_POOL_BIT) != 0) {
        xb_slot_count_description(buffer, false);
    }
}

/* ---- Telling tools ---- */

void xb_tell_of_description(const execbuf *buffer, execbuf_event_kind kind) {
    xb_description *description = xb_described_use(buffer);
    if (description != NULL) { /* else another thread has freed the buffer */
        xb_tools_tell(kind, description);
        xb_described_leave(description);
    }
}

/* ---- Making ---- */

/* Finds the section of the code's span; NULL if the code is registered by itself, as in a span that was cut:
 * other code, with tables of its own, may be where it has no pages any more. */
static xb_result prepare_section(xb_description *made, const xb_target *target) {
    size_t memory;
    if (!xb_target_is_listed(target) || !xb_prim_registers_lists() || !xb_slot_keep_whole(target->buffer)) {
        return xb_ok();
    }
    xb_result result = xb_section_of(target->span, XB_OF_USERS, &made->section, &memory);
    if (memory != 0) {
        xb_slot_count_tables(target->buffer, memory);
    }
    if (made->section != NULL && made->section->is_lost) {
        made->section = NULL;
    }
    return result;
}

/* Copies a table for Windows near the start of a list, with the address of its handler relative to that. */
static xb_result add_with_handler(xb_description *made, const xb_unwinding *from, const uint8_t *start) {
    const uint32_t distance = (uint32_t)((const uint8_t *)made->buffer.entry - start);
    uint8_t *moved = XB_FAULT("malloc") != 0 ? NULL : (uint8_t *)malloc(from->xdata_size);
    if (moved == NULL) {
        return xb_failed("malloc", 0);
    }
    memcpy(moved, from->xdata, from->xdata_size);
    xb_info_xdata_move_handler(moved, distance);
    xb_result result = xb_near_tables_add(start, moved, from->xdata_size, &made->near_table);
    free(moved);
    return result;
}

/* Copies the table for Windows to where it finds it. */
static xb_result prepare_near_table(xb_description *made, const xb_unwinding *from) {
    const uint8_t *entry = (const uint8_t *)made->buffer.entry;
    const uint8_t *start = made->section != NULL ? made->section->function.code : entry;
    xb_result result = start != entry && xb_info_xdata_handler(from->xdata) != 0
                           ? add_with_handler(made, from, start)
                           : xb_near_tables_add(start, from->xdata, from->xdata_size, &made->near_table);
    if (result.call == NULL && made->section == NULL) {
        made->function.code = entry;
        made->function.length = (uint32_t)made->buffer.length;
        made->function.xdata = (uint32_t)(made->near_table - entry);
    }
    return result;
}

/* Writes a list for the code alone. */
static xb_result prepare_own_list(xb_description *made, const xb_unwinding *from, const xb_target *target) {
    size_t words = xb_rules_words(from->rules, from->count);
    made->words = XB_FAULT("malloc") != 0 ? NULL : (uint64_t *)malloc(words * sizeof *made->words);
    if (made->words == NULL) {
        return xb_failed("malloc", 0);
    }
    const xb_rules *first = from->rules;
    const xb_rules *last = &first[from->count - 1];
    xb_prim_function *function = &made->function;
    const uint8_t *entry = (const uint8_t *)target->buffer->entry;
    xb_rules_write(made->words, first, from->count, &function->fde, &function->last_fde);
    function->code = entry + (first->start - (uintptr_t)entry);
    function->length = (uint32_t)(last->start + last->size - first->start);
    return xb_ok();
}

/* Finds the list of the code's span, or writes one for the code alone. For Windows, copies the table.
 *
 * Returns: the call that failed: no memory. */
static xb_result prepare_list(xb_description *made, const xb_unwinding *from, const xb_target *target) {
    if (from->count == 0 && from->xdata_size == 0) {
        return xb_ok();
    }
    xb_result result = prepare_section(made, target);
    if (result.call != NULL) {
        return result;
    }
    if (from->xdata_size > 0) {
        return prepare_near_table(made, from);
    }
    return made->section == NULL ? prepare_own_list(made, from, target) : result;
}

/* Registers code that is not in the list of a span. */
static xb_result register_description(xb_description *made) {
    xb_result result = xb_ok();
    bool has_own = made->section == NULL && (made->words != NULL || made->near_table != NULL);
    if (has_own && xb_prim_begin_unwinder()) {
        result = xb_group_add(made->region, XB_OF_USERS, &made->function);
        made->is_registered = result.call == NULL;
        xb_prim_end_unwinder();
    }
    return result;
}

/* Prepares what debuggers are told. Without memory for the table, they are not told of frames. */
static void prepare_for_gdb(xb_description *made, const xb_unwinding *from) {
    xb_elf_function *function = &made->gdb.function;
    function->code = made->buffer.entry;
    function->length = made->buffer.length;
    function->name = made->name;
    function->name_length = made->name_length;
    function->lines = made->lines;
    function->line_count = made->line_count;
    if ((XB_LOAD_RELAXED(xb_tools_on) & EXECBUF_TOOL_GDB) == 0 || from->count == 0) {
        return;
    }
    size_t words = xb_rules_words(from->rules, from->count);
    function->table = made->words;
    if (made->words == NULL) {
        const uint8_t *first;
        const uint8_t *last;
        made->gdb_table = XB_FAULT("malloc") != 0 ? NULL : (uint64_t *)malloc(words * sizeof(uint64_t));
        if (made->gdb_table == NULL) {
            xb_tools_check(EXECBUF_TOOL_GDB, xb_failed("malloc", 0));
            return;
        }
        xb_rules_write(made->gdb_table, from->rules, from->count, &first, &last);
        function->table = made->gdb_table;
    }
    function->table_size = (words - 1) * sizeof(uint64_t); /* without the terminator */
}

/* How many bytes from the start of the code on belong to no other code. */
static size_t own_bytes(const xb_target *target) {
    const size_t page = xb_prim_query().page_size;
    if (xb_target_is_listed(target)) {
        return target->span->slot_size;
    }
    /* Of a mapping, and of a span with one slot, the pages behind the code are given back. */
    return target->span != NULL ? (target->length + page - 1) & ~(page - 1)
                                : xb_mapping_size(target->length) - XB_ENTRY_OFFSET;
}

/* Prepares what the dump is told of unwinding, if there is room for it behind the code. */
static void prepare_for_dump(xb_description *made, const xb_unwinding *from, const xb_target *target) {
    if ((XB_LOAD_RELAXED(xb_tools_on) & EXECBUF_TOOL_JITDUMP) == 0 || from->count == 0) {
        return;
    }
    const size_t own = own_bytes(target);
    const size_t offset = xb_dump_table_offset(target->length);
    const size_t size = xb_dump_table_size(from->rules, from->count);
    if (own > INT32_MAX || offset > own || size > own - offset) {
        return;
    }
    made->dump_table = XB_FAULT("malloc") != 0 ? NULL : (xb_dump_table *)malloc(sizeof(xb_dump_table) + size);
    if (made->dump_table == NULL) {
        xb_tools_check(EXECBUF_TOOL_JITDUMP, xb_failed("malloc", 0));
        return;
    }
    made->dump_table->size = size;
    xb_dump_table_write(made->dump_table, from->rules, from->count, (uintptr_t)made->buffer.entry,
                        target->length);
}

/* Copies the lines, if somebody is told of the code.
 *
 * Returns: whether there was memory. */
static bool prepare_lines(xb_description *made, const execbuf_info *info) {
    if (info->line_count == 0 || !xb_tools_are_on()) {
        return true;
    }
    made->lines = xb_lines_copy(info->lines, info->line_count);
    made->line_count = made->lines != NULL ? info->line_count : 0;
    return made->lines != NULL;
}

/* Makes a description that nobody knows yet; NULL: no memory. */
static xb_description *new_description(const xb_target *target, const execbuf_info *info) {
    size_t size = sizeof(xb_description) + info->name_length;
    xb_description *made = XB_FAULT("malloc") != 0 ? NULL : (xb_description *)malloc(size);
    if (made != NULL) {
        memset(made, 0, sizeof *made);
        made->buffer = *target->buffer;
        made->buffer.length = target->length;
        made->users = 1;
        made->region = target->span != NULL ? target->span->region : NULL;
        made->name_length = info->name_length;
        if (info->name_length > 0) {
            memcpy(made->name, info->name, info->name_length);
        }
    }
    return made;
}

/* Allocates all that a description needs.
 *
 * Out: out: the description; NULL on failure. */
static xb_result prepare_description(xb_description **out, const xb_unwinding *from, const xb_target *target,
                                     const execbuf_info *info) {
    xb_description *made = new_description(target, info);
    xb_result result = made != NULL ? prepare_list(made, from, target) : xb_failed("malloc", 0);
    if (result.call == NULL && !prepare_lines(made, info)) {
        result = xb_failed("malloc", 0);
    }
    if (result.call == NULL && !xb_described_make_room()) {
        result = xb_failed("calloc", 0);
    }
    if (result.call == NULL && made->words != NULL && !xb_group_prepare(made->region)) {
        result = xb_failed("malloc", 0);
    }
    if (result.call == NULL) {
        prepare_for_gdb(made, from);
        prepare_for_dump(made, from, target);
    } else if (made != NULL) {
        xb_described_leave(made);
        made = NULL;
    }
    *out = made;
    return result;
}

/* Makes a description known, in place of the one that the code had. */
static xb_result show_description(xb_description *made, const xb_unwinding *from, const xb_target *target) {
    xb_undescribe(target->buffer);
    xb_result result = register_description(made);
    if (result.call != NULL) {
        return result;
    }
    if (target->span != NULL) {
        XB_STORE_RELEASE(xb_slot_undescribe, &end_description);
        xb_slot_count_description(target->buffer, true);
    }
    xb_described_add(made, from->rules);
    return result;
}

execbuf_status xb_describe(const xb_target *target, const execbuf_info *info, execbuf_error *error) {
    xb_unwinding from;
    xb_description *made = NULL;
    execbuf_status status = xb_unwinding_read(&from, target, info, error);
    status = status == EXECBUF_OK ? xb_unwinding_check(&from, target, error) : status;
    status =
        status == EXECBUF_OK ? xb_lines_check(info->lines, info->line_count, target->length, error) : status;
    if (status == EXECBUF_OK) {
        xb_result result = prepare_description(&made, &from, target, info);
        if (result.call != NULL) {
            status = xb_error_set(error, EXECBUF_E_NO_MEMORY, result.call, 0);
        } else if ((result = show_description(made, &from, target)).call != NULL) {
            xb_described_leave(made);
            status = xb_error_from_system(error, result);
        }
    }
    xb_unwinding_end(&from);
    return status;
}
