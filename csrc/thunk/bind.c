/* Makes closures in an arena where the fast path in bind.h does not apply, and changes them. */

#include "bind.h"

#include "../pool/free.h"

/* Takes a cell, and adds a block of them if none is free. The arena is not locked. */
static execbuf_status take_cell(xb_arena *arena, xb_cell **out, execbuf_function function, void *context,
                                execbuf_error *error) {
    xb_cells *cells = &((xb_adapters *)arena->links_data)->cells; /* stays: the caller uses an adapter */
    for (;;) {
        xb_arena_lock(arena);
        *out = xb_cells_take(cells, function, context);
        xb_arena_unlock(arena);
        if (*out != NULL) {
            return EXECBUF_OK;
        }
        execbuf_status status = xb_cells_grow(arena, cells, error);
        if (status != EXECBUF_OK) {
            return status;
        }
    }
}

execbuf_status xb_bind_new(xb_arena *arena, execbuf *out, const xb_signature *signature, execbuf_abi edit,
                           execbuf_function function, void *context, execbuf_error *error) {
    xb_adapter *adapter;
    execbuf_status status = xb_adapter_get(arena, &adapter, signature, edit, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    const uint8_t *entry = (const uint8_t *)adapter->code.entry;
    xb_cell *cell;
    status = take_cell(arena, &cell, function, context, error);
    if (status == EXECBUF_OK) {
        status = xb_stub_publish(arena, out, cell, entry, error);
        if (status != EXECBUF_OK) {
            xb_adapter_release_cell(arena, cell);
        }
    }
    if (status != EXECBUF_OK) {
        xb_adapter_release(arena, entry);
    }
    return status;
}

execbuf_status xb_bind_set(const execbuf *closure, void *context) {
    xb_arena *arena;
    xb_link link;
    execbuf_status status = xb_lock_linked(closure, &arena, &link);
    if (status != EXECBUF_OK) {
        return status;
    }
    xb_cell *cell = xb_adapter_cell(arena, &link);
    if (cell != NULL) {
        XB_STORE_RELEASE(cell->context, context);
    }
    xb_arena_unlock(arena);
    return cell != NULL ? EXECBUF_OK : EXECBUF_E_UNSUPPORTED;
}
