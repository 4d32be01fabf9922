/* The unwind tables of spans of adapters. */

#include "section.h"

#include <stdlib.h>

#include "../base/fault.h"

/* xb_span_tables.end. No adapter is left. */
static void end_section(xb_span_tables **tables) {
    xb_section *section = (xb_section *)(void *)*tables; /* its first member */
    if (section->is_lost) {
        *tables = NULL;
    } else if (xb_prim_begin_unwinder()) {
        xb_prim_deregister_unwind(&section->function);
        *tables = NULL; /* here, so that no child of a fork removes the list again */
        xb_prim_end_unwinder();
    } else {
        *tables = NULL;
        return; /* the unwinder was lost in a fork, and may refer to the list for ever */
    }
    free(section);
}

/* Makes the section of a span, not registered yet. NULL: no memory. */
static xb_section *new_section(const xb_span *span) {
    size_t size = sizeof(xb_section) + XB_LIST_WORDS(span->slots) * sizeof(uint64_t);
    xb_section *section = XB_FAULT("malloc") != 0 ? NULL : (xb_section *)malloc(size);
    if (section != NULL) {
        xb_prim_function *function = &section->function;
        section->tables.size = size;
        section->tables.end = end_section;
        section->slot_size = span->slot_size;
        section->is_lost = false;
        xb_dwarf_write_list(section->words, span->start, span->slot_size, span->slots);
        function->code = span->start;
        function->length = span->slot_size * span->slots;
        function->fde = (const uint8_t *)xb_dwarf_fde(section->words, 0);
        function->last_fde = (const uint8_t *)xb_dwarf_fde(section->words, span->slots - 1);
    }
    return section;
}

/* Memory is allocated before the unwinder's lock is taken, because signals are blocked until it is released.
 * Another thread may register a section of the same span meanwhile. */
xb_result xb_section_of(xb_span *span, xb_section **out, size_t *memory) {
    xb_section *made = NULL;
    xb_span_tables *tables = XB_LOAD_ACQUIRE(span->tables);
    *memory = 0;
    if (tables == NULL) {
        made = new_section(span);
        if (made == NULL) {
            *out = NULL;
            return xb_failed("malloc", 0);
        }
        if (xb_prim_begin_unwinder()) {
            tables = span->tables;
            if (tables == NULL) {
                made->is_lost = xb_prim_register_unwind(&made->function).call != NULL;
                tables = &made->tables;
                XB_STORE_RELEASE(span->tables, tables);
                *memory = tables->size;
                made = NULL;
            }
            xb_prim_end_unwinder();
        }
    }
    free(made);
    *out = (xb_section *)(void *)tables;
    return xb_ok();
}

void xb_section_add(xb_section *section, const uint8_t *code, const xb_frame *frame) {
    size_t slot = (size_t)(code - section->function.code) / section->slot_size;
    xb_dwarf_fill(section->words, slot, frame);
}
