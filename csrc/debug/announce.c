/* Tells tools of an adapter's code. No lock is held on entry; xb_prim_lock is taken for the debuggers' list,
 * but not for unwinders, which take locks of their own. */

#include "announce.h"

#include <string.h>

size_t xb_announce_append(uint8_t *code, const xb_frame *frame) {
    return xb_prim_query().wants_xdata ? xb_xdata_append(code, frame) : frame->length;
}

/* Registers an adapter by itself. */
static xb_result register_alone(xb_announcement *announcement, const xb_frame *frame, const uint8_t *code) {
    xb_prim_function *function = &announcement->function;
    xb_result result = xb_ok();
    (void)xb_dwarf_write(announcement->dwarf, frame, code, XB_FOR_UNWINDERS);
    function->code = code;
    function->length = frame->length;
    function->fde = announcement->dwarf + XB_FDE_OFFSET;
    function->last_fde = function->fde;
    function->xdata = xb_xdata_offset(frame->length);
    if (xb_prim_begin_unwinder()) {
        result = xb_prim_register_unwind(function);
        announcement->is_registered = result.call == NULL;
        xb_prim_end_unwinder();
    }
    return result;
}

/* Tells debuggers of an adapter. */
static void tell_gdb(xb_announcement *announcement, const xb_frame *frame, const void *code,
                     const char *name) {
    uint8_t table[XB_MAX_DWARF_SIZE];
    if (!xb_gdb_exists()) {
        return;
    }
    size_t size = xb_dwarf_write(table, frame, code, XB_FOR_DEBUGGERS) - XB_DWARF_END_SIZE;
    const xb_elf_function function = {
        code, frame->length, (const uint8_t *)name, strlen(name), table, size, NULL, 0};
    const xb_elf_function *const functions[1] = {&function};
    xb_elf_write(announcement->object, functions, 1);
    xb_prim_lock();
    xb_gdb_add(&announcement->gdb, announcement->object, xb_elf_size(functions, 1));
    xb_prim_unlock();
}

/* Tells the unwinder of an adapter. */
static xb_result tell_unwinder(xb_announcement *announcement, const xb_frame *frame, const uint8_t *code,
                               xb_span *span, size_t *memory) {
    xb_section *section = NULL;
    *memory = 0;
    if (span != NULL && xb_prim_registers_lists()) {
        xb_result result = xb_section_of(span, XB_OF_ADAPTERS, &section, memory);
        if (result.call != NULL) {
            return result;
        }
    }
    if (section == NULL || section->is_lost) {
        return register_alone(announcement, frame, code);
    }
    xb_section_add(section, code, frame);
    return xb_ok();
}

xb_result xb_announce(xb_announcement *announcement, const xb_frame *frame, const void *code, xb_span *span,
                      const char *name, size_t *memory) {
    xb_result result = tell_unwinder(announcement, frame, (const uint8_t *)code, span, memory);
    if (result.call == NULL) {
        tell_gdb(announcement, frame, code, name);
    }
    return result;
}

bool xb_announce_end(xb_announcement *announcement) {
    if (xb_gdb_exists()) {
        xb_prim_lock();
        xb_gdb_remove(&announcement->gdb);
        xb_prim_unlock();
    }
    if (!announcement->is_registered) {
        return true; /* an FDE of a list stays as it is */
    }
    if (!xb_prim_begin_unwinder()) {
        return false;
    }
    xb_prim_deregister_unwind(&announcement->function);
    xb_prim_end_unwinder();
    return true;
}
