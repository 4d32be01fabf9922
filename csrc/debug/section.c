/* The unwind tables of spans. */

#include "section.h"

#include <stdlib.h>

#include "../base/fault.h"
#include "xdata.h"
#include "xdata_list.h"

/* xb_span_tables.end. No code is left. */
static void end_section(xb_span_tables **tables) {
    xb_section *section = (xb_section *)(void *)*tables; /* its first member */
    if (section->is_lost) {
        *tables = NULL;
    } else if (xb_prim_begin_unwinder()) {
        xb_group_remove(section->region, &section->function);
        *tables = NULL; /* here, so that no child of a fork removes the list again */
        xb_prim_end_unwinder();
    } else {
        *tables = NULL;
        return; /* the unwinder was lost in a fork, and may refer to the list for ever */
    }
    free(section);
}

/* The size of a list, in words of 8 bytes. */
static size_t list_words(const xb_span *span, xb_list_kind kind) {
    if (xb_prim_query().wants_xdata) {
        return XB_XDATA_LIST_WORDS(span->slots);
    }
    return kind == XB_OF_ADAPTERS ? XB_LIST_WORDS(span->slots)
                                  : xb_record_list_words(span->slot_size, span->slots);
}

/* Writes the list of a section, and says where it is, or which FDEs are its first and its last one. */
static void write_list(xb_section *section, const xb_span *span, xb_list_kind kind) {
    uint64_t *words = section->words;
    uint32_t last = span->slots - 1;
    xb_prim_function *function = &section->function;
    function->entries = NULL;
    if (xb_prim_query().wants_xdata) {
        function->entries = (uint32_t *)(void *)words;
        function->entry_count = span->slots;
        xb_xdata_list_write(function->entries, span->slot_size, span->slots);
    } else if (kind == XB_OF_ADAPTERS) {
        xb_dwarf_write_list(words, span->start, span->slot_size, span->slots);
        function->fde = (const uint8_t *)xb_dwarf_fde(words, 0);
        function->last_fde = (const uint8_t *)xb_dwarf_fde(words, last);
    } else {
        xb_record_write_list(words, span->start, span->slot_size, span->slots);
        function->fde = (const uint8_t *)xb_record_fde(words, span->slot_size, 0);
        function->last_fde = (const uint8_t *)xb_record_fde(words, span->slot_size, last);
    }
}

/* Makes the section of a span, not registered yet. NULL: no memory. */
static xb_section *new_section(const xb_span *span, xb_list_kind kind) {
    size_t size = sizeof(xb_section) + list_words(span, kind) * sizeof(uint64_t);
    xb_section *section = XB_FAULT("malloc") != 0 ? NULL : (xb_section *)malloc(size);
    if (section != NULL) {
        xb_prim_function *function = &section->function;
        section->tables.size = size;
        section->tables.end = end_section;
        section->region = span->region;
        section->slot_size = span->slot_size;
        section->is_lost = false;
        write_list(section, span, kind);
        function->code = span->start;
        function->length = span->slot_size * span->slots;
        function->lists = NULL;
    }
    return section;
}

/* Makes a section that has been prepared that of a span, registered if the unwinder finds it, unless another
 * thread has been faster, or there is no unwinder.
 *
 * Returns: the tables of the span; NULL: no unwinder can learn of code. */
static xb_span_tables *register_section(xb_span *span, xb_list_kind kind, xb_section *made) {
    xb_span_tables *tables = NULL;
    if (xb_prim_begin_unwinder()) {
        tables = span->tables;
        if (tables == NULL) {
            made->is_lost = xb_group_add(span->region, kind, &made->function).call != NULL;
            tables = &made->tables;
            XB_STORE_RELEASE(span->tables, tables);
        } else {
            xb_group_cancel(span->region);
        }
        xb_prim_end_unwinder();
    }
    return tables;
}

/* Memory is allocated before the unwinder's lock is taken, because signals are blocked until it is released.
 * Another thread may register a section of the same span meanwhile. */
xb_result xb_section_of(xb_span *span, xb_list_kind kind, xb_section **out, size_t *memory) {
    xb_span_tables *tables = XB_LOAD_ACQUIRE(span->tables);
    *memory = 0;
    *out = NULL;
    if (tables == NULL) {
        xb_section *made = new_section(span, kind);
        if (made == NULL || !xb_group_prepare(span->region)) {
            free(made);
            return xb_failed("malloc", 0);
        }
        tables = register_section(span, kind, made);
        if (tables == &made->tables) {
            *memory = tables->size;
        } else {
            free(made);
        }
    }
    *out = (xb_section *)(void *)tables;
    return xb_ok();
}

/* The slot in which code begins. */
static size_t slot_of(const xb_section *section, const uint8_t *code) {
    return (size_t)(code - section->function.code) / section->slot_size;
}

void xb_section_add(xb_section *section, const uint8_t *code, const xb_frame *frame) {
    size_t slot = slot_of(section, code);
    uint32_t *entries = section->function.entries;
    if (entries != NULL) {
        uint32_t xdata = (uint32_t)(code - section->function.code) + xb_xdata_offset(frame->length);
        xb_xdata_list_fill(entries, slot, frame->length, xdata);
    } else {
        xb_dwarf_fill(section->words, slot, frame);
    }
}

void xb_section_describe(xb_section *section, const uint8_t *code, const xb_rules *rules) {
    xb_record_fill(section->words, section->slot_size, slot_of(section, code), rules);
}

void xb_section_describe_xdata(xb_section *section, const uint8_t *code, size_t length,
                               const uint8_t *xdata) {
    uint32_t distance = (uint32_t)(xdata - section->function.code);
    xb_xdata_list_fill(section->function.entries, slot_of(section, code), (uint32_t)length, distance);
}

void xb_section_undescribe(xb_section *section, const uint8_t *code) {
    if (section->function.entries != NULL) {
        xb_xdata_list_clear(section->function.entries, slot_of(section, code));
    } else {
        xb_record_fill(section->words, section->slot_size, slot_of(section, code), NULL);
    }
}
