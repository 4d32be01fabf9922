/* Tells tools of an adapter's code. No lock is held on entry; xb_prim_lock is taken for the debuggers' list,
 * but not for unwinders, which take locks of their own. */

#include "announce.h"

size_t xb_announce_append(uint8_t *code, const xb_frame *frame) {
    return xb_prim_query().wants_xdata ? xb_xdata_append(code, frame) : frame->length;
}

xb_result xb_announce(xb_announcement *announcement, const xb_frame *frame, const void *code,
                      const char *name) {
    xb_prim_function *function = &announcement->function;
    (void)xb_dwarf_write(announcement->dwarf, frame, code, XB_FOR_UNWINDERS);
    function->code = (const uint8_t *)code;
    function->length = frame->length;
    function->fde = announcement->dwarf + XB_FDE_OFFSET;
    function->xdata = xb_xdata_offset(frame->length);
    xb_result result = xb_prim_register_unwind(function);
    if (result.call == NULL) {
        xb_prim_lock();
        xb_gdb_add(&announcement->gdb, frame, code, name);
        xb_prim_unlock();
    }
    return result;
}

bool xb_announce_end(xb_announcement *announcement) {
    xb_prim_lock();
    xb_gdb_remove(&announcement->gdb);
    xb_prim_unlock();
    return xb_prim_deregister_unwind(&announcement->function);
}
