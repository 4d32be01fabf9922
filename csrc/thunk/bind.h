/* Makes closures in an arena: functions that call another one with a context as one more argument, or with
 * slots. A closure is a stub, a cell and an adapter, which all closures share that move their arguments
 * alike. */
#ifndef XB_THUNK_BIND_H
#define XB_THUNK_BIND_H

#include "stub.h"

XB_PRIVATE_BEGIN

/* Makes a closure. The arena is not locked.
 *
 * Returns: EXECBUF_OK; else the status of xb_arena_put or xb_data_new, or EXECBUF_E_NO_MEMORY.
 * Out: out:       the closure; as it was on failure.
 * In:  signature: of the function, with the context; has passed xb_signature_check and xb_machine_can.
 *      edit:      from xb_edit_abi: XB_EDIT_INSERT, at the position of a pointer. Or from xb_handler_abi:
 *                 the signature is that of the closure, and the function is an execbuf_handler.
 *      function, context: what the cell contains.
 * Out: error:     the report; may be NULL. */
execbuf_status xb_bind_new(xb_arena *arena, execbuf *out, const xb_signature *signature, execbuf_abi edit,
                           execbuf_function function, void *context, execbuf_error *error);

/* Replaces the context of a closure. No lock is held.
 *
 * Returns: what execbuf_rebind returns. */
execbuf_status xb_bind_set(const execbuf *closure, void *context);

XB_PRIVATE_END

/* Makes the stub and the cell of a closure whose adapter exists. The arena is locked.
 *
 * Returns: false, and nothing has changed, if no cell is free or as xb_stub_publish_fast. */
XB_INLINE bool xb_bind_publish_fast(xb_arena *arena, execbuf *out, xb_adapter *adapter,
                                    execbuf_function function, void *context) {
    xb_cells *cells = &((xb_adapters *)arena->links_data)->cells;
    const xb_cell *cell = xb_cells_next(cells);
    if (XB_UNLIKELY(cell == NULL)) {
        return false;
    }
    bool made = xb_stub_reaches(adapter->code.entry, cell)
                    ? xb_stub_publish_fast(arena, out, XB_STUB_NEAR, cell, adapter)
                    : xb_stub_publish_fast(arena, out, XB_STUB_TARGET_FAR, cell, adapter);
    if (made) {
        (void)xb_cells_take(cells, function, context);
    }
    return made;
}

/* The fast path of xb_bind_new, which takes the arena's lock once: the adapter exists, a cell and a slot that
 * fits are free, and the arena has no protection key.
 *
 * Returns: true if the closure has been made; false if nothing has been done, and xb_bind_new is to be
 *          called.
 * Others as for xb_bind_new, but the signature has only to be as for xb_adapter_find. */
XB_INLINE bool xb_bind_new_fast(xb_arena *arena, execbuf *out, const xb_signature *signature,
                                execbuf_abi edit, execbuf_function function, void *context) {
    if (XB_UNLIKELY(xb_has_owner(&arena->lock) && !xb_is_owner(&arena->lock))) {
        return false;
    }
    xb_arena_lock(arena);
    xb_adapter *adapter = xb_adapter_find_recent(arena, signature, edit);
    if (XB_UNLIKELY(adapter == NULL)) {
        adapter = xb_adapter_find(arena, signature, edit);
    }
    bool made = adapter != NULL && xb_bind_publish_fast(arena, out, adapter, function, context);
    xb_arena_unlock(arena);
    xb_fresh_barrier();
    return made;
}

#endif
