/* Makes, finds and frees the adapters of an arena.
 *
 * The arena's lock guards an arena's adapters, and the number of users of each; every function says whether
 * it is held. It is not held while memory is allocated or freed, and while tools are told of an adapter. So
 * what was found with the lock may have changed when it is taken again: another thread may have made the same
 * adapter, or grown the table.
 *
 * A user keeps its adapter alive. There are three kinds: stubs, the callers of execbuf_call, and threads that
 * have called xb_adapter_get and have not published their stub yet. */

#include "adapter.h"

#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../base/fault.h"
#include "../call/packed.h"
#include "../pool/put.h"
#include "../pool/query.h"
#include "../prim/report.h"
#include "edit.h"
#include "machine.h"

/* The adapters of an arena that has some, or had. The arena is locked, or only its table is asked for. */
static xb_adapters *adapters_of(const xb_arena *arena) {
    return (xb_adapters *)arena->links_data;
}

/* ---- Making ---- */

XB_STATIC_ASSERT(XB_MAX_ADAPTER_SIZE + XB_MAX_XDATA_SIZE <= XB_MAX_ADAPTER_SLOT, "adapters fit into slots");

/* What debuggers call an adapter. */
static const char *name_of(const xb_adapter *adapter) {
    execbuf_abi caller_abi = adapter->fingerprint.caller_abi;
    xb_edit edit = xb_edit_of(caller_abi);
    if (edit != XB_EDIT_NONE) {
        return edit == XB_EDIT_INSERT ? "execbuf_closure" : "execbuf_drop_argument";
    }
    if (xb_abi_is_handler(caller_abi)) {
        switch (xb_handler_entry(caller_abi)) {
        case EXECBUF_ABI_SYSV64: return "execbuf_closure_sysv64";
        case EXECBUF_ABI_WIN64: return "execbuf_closure_win64";
        default: return "execbuf_closure_native";
        }
    }
    if (!xb_abi_is_packed(caller_abi)) {
        return caller_abi == EXECBUF_ABI_SYSV64 ? "execbuf_thunk_sysv64_to_win64"
                                                : "execbuf_thunk_win64_to_sysv64";
    }
    switch (xb_packed_callee(caller_abi)) {
    case EXECBUF_ABI_SYSV64: return "execbuf_call_sysv64";
    case EXECBUF_ABI_WIN64: return "execbuf_call_win64";
    default: return "execbuf_call_native";
    }
}

/* Counts the tables of a span in the arena's book-keeping. The arena is not locked. */
static void count_memory(xb_arena *arena, size_t size) {
    if (size != 0) {
        xb_arena_lock(arena);
        arena->bookkeeping += size;
        xb_arena_unlock(arena);
    }
}

/* Publishes the code of an adapter, hidden, and announces it. The arena is not locked.
 *
 * Out: is_lost: whether it failed since the unwinder does not find the adapter at this address. Then
 *               adapter->code is live. */
static execbuf_status publish_once(xb_arena *arena, xb_adapter *adapter, bool *is_lost,
                                   execbuf_error *error) {
    uint8_t code[XB_MAX_ADAPTER_SIZE + XB_MAX_XDATA_SIZE];
    xb_frame frame;
    xb_machine_adapter(code, &frame, &adapter->fingerprint.signature, adapter->fingerprint.caller_abi);
    size_t length = xb_announce_append(code, &frame);
    *is_lost = false;
    execbuf_status status = xb_arena_put_hidden(arena, &adapter->code, code, length, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    xb_span *span = xb_arena_span_of(arena, &adapter->code);
    size_t memory;
    xb_result result =
        xb_announce(&adapter->announcement, &frame, adapter->code.entry, span, name_of(adapter), &memory);
    count_memory(arena, memory);
    if (result.call == NULL) {
        return EXECBUF_OK;
    }
    *is_lost = strcmp(result.call, XB_PRIM_LOST) == 0;
    if (!*is_lost) {
        xb_pool_drop(&adapter->code);
    }
    return xb_error_from_system(error, result);
}

/* How many slots are tried for an adapter. */
#define XB_PLACES 8U

/* As publish_once, at the first address where the unwinder finds the adapter. The other slots are kept until
 * then, so that each is another one. */
static execbuf_status publish_adapter(xb_arena *arena, xb_adapter *adapter, execbuf_error *error) {
    execbuf lost[XB_PLACES];
    size_t count = 0;
    bool is_lost;
    execbuf_status status;
    do {
        status = publish_once(arena, adapter, &is_lost, error);
        if (is_lost) {
            lost[count++] = adapter->code;
        }
    } while (is_lost && count < XB_PLACES);
    while (count > 0) {
        xb_pool_drop(&lost[--count]);
    }
    return status;
}

/* Frees an adapter that has no users and is in no table. The arena is not locked. */
static void free_adapter(xb_adapter *adapter) {
    bool forgotten = xb_announce_end(&adapter->announcement);
    (void)xb_pool_drop(&adapter->code);
    if (forgotten) {
        free(adapter);
    }
}

/* Grows the table if it should grow. Without memory it stays as it is, which only makes it slower. The arena
 * is not locked, and has adapters. */
static void grow_table(xb_arena *arena) {
    xb_table *table = &adapters_of(arena)->table;
    xb_arena_lock(arena);
    size_t wanted = xb_table_wants(table);
    xb_arena_unlock(arena);
    if (wanted == 0 || XB_FAULT("calloc") != 0) {
        return;
    }
    void *memory = calloc(1, xb_table_size(wanted));
    if (memory == NULL) {
        return;
    }
    xb_arena_lock(arena);
    if (xb_table_wants(table) == wanted) { /* no other thread was faster */
        arena->bookkeeping -= xb_table_memory(table);
        memory = xb_table_grow(table, memory, wanted);
        arena->bookkeeping += xb_table_memory(table);
    }
    xb_arena_unlock(arena);
    free(memory);
}

/* Enters an adapter in the table, or takes it out: only an adapter in the table is visible to lookups. The
 * arena is locked.
 *
 * Returns: of hide_adapter, memory that the caller frees when the arena is unlocked, or NULL. */
static void show_adapter(xb_arena *arena, xb_adapter *adapter) {
    xb_table_add(&adapters_of(arena)->table, adapter);
    xb_slot_set_hidden(arena, &adapter->code, false);
}

static void *hide_adapter(xb_arena *arena, const xb_adapter *adapter) {
    xb_slot_set_hidden(arena, &adapter->code, true);
    return xb_table_remove(&adapters_of(arena)->table, adapter);
}

/* Makes an adapter with one user; or adds a user to the one that another thread has made meanwhile. As
 * xb_adapter_get. */
static execbuf_status make_adapter(xb_arena *arena, xb_adapter **out, const xb_fingerprint *fingerprint,
                                   execbuf_error *error) {
    size_t size = xb_table_adapter_size(fingerprint);
    xb_adapter *made = XB_FAULT("calloc") != 0 ? NULL : (xb_adapter *)calloc(1, size);
    if (made == NULL) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    made->fingerprint = *fingerprint;
    made->fingerprint.signature.shapes = made->shapes;
    memcpy(made->shapes, fingerprint->signature.shapes,
           fingerprint->signature.shape_count * sizeof made->shapes[0]);
    execbuf_status status = publish_adapter(arena, made, error);
    if (status != EXECBUF_OK) {
        free(made);
        return status;
    }
    grow_table(arena);
    xb_table *table = &adapters_of(arena)->table;
    xb_arena_lock(arena);
    xb_adapter *adapter = xb_table_find(table, fingerprint);
    if (adapter == NULL) {
        adapter = made;
        show_adapter(arena, made);
        arena->bookkeeping += size;
    }
    adapter->users++;
    xb_arena_unlock(arena);
    if (adapter != made) {
        free_adapter(made);
    }
    *out = adapter;
    return EXECBUF_OK;
}

/* ---- What the arena calls ---- */

/* xb_arena_links.target */
static xb_link link_of_stub(const uint8_t *bytes, size_t length, const void *entry) {
    xb_link link;
    link.adapter = xb_stub_adapter(bytes, length, entry);
    link.operand = xb_stub_operand(bytes, length, entry);
    return link;
}

/* Whether the stubs of an adapter have cells. */
static bool has_cells(const xb_adapter *adapter) {
    execbuf_abi caller_abi = adapter->fingerprint.caller_abi;
    return xb_edit_of(caller_abi) == XB_EDIT_INSERT || xb_abi_is_handler(caller_abi);
}

/* xb_arena_links.release_shared. The arena is locked. */
static bool release_shared_adapter(void *data, const uint8_t *bytes, size_t length, const void *entry) {
    xb_adapters *adapters = (xb_adapters *)data;
    xb_adapter *adapter = xb_table_find_at(&adapters->table, xb_stub_adapter(bytes, length, entry));
    if (adapter == NULL || (adapter->users <= 1 && !has_cells(adapter))) {
        return false;
    }
    if (has_cells(adapter)) { /* so it is kept: only slow paths free code of a pool that is freed */
        xb_cell *cell = (xb_cell *)xb_stub_operand(bytes, length, entry);
        if (!xb_cells_keep_all(&adapters->cells, cell)) {
            return false;
        }
        (void)xb_cells_give(&adapters->cells, cell);
    }
    adapter->users--;
    return true;
}

void xb_adapter_release(xb_arena *arena, const uint8_t *entry) {
    xb_adapters *adapters = adapters_of(arena);
    void *garbage = NULL;
    xb_arena_lock(arena);
    xb_adapter *adapter = xb_table_find_at(&adapters->table, entry);
    bool is_last = adapter != NULL && --adapter->users == 0 && (arena->is_freed || !has_cells(adapter));
    if (is_last) {
        xb_recent_remove(&adapters->recent, adapter);
        arena->bookkeeping -= xb_table_memory(&adapters->table);
        garbage = hide_adapter(arena, adapter);
        arena->bookkeeping += xb_table_memory(&adapters->table);
    }
    xb_arena_unlock(arena);
    free(garbage);
    if (is_last) {
        free_adapter(adapter);
    }
}

void xb_adapter_release_cell(xb_arena *arena, xb_cell *cell) {
    xb_arena_lock(arena);
    xb_cell_block *block = xb_cells_give(&adapters_of(arena)->cells, cell);
    xb_arena_unlock(arena);
    xb_cells_release(block);
}

xb_cell *xb_adapter_cell(const xb_arena *arena, const xb_link *link) {
    const xb_adapter *adapter = xb_table_find_at(&adapters_of(arena)->table, link->adapter);
    return adapter != NULL && has_cells(adapter) ? (xb_cell *)link->operand : NULL;
}

/* xb_arena_links.release. The stub is a user of its adapter, so that stays where it is. */
static void release_stub(xb_arena *arena, const xb_link *link) {
    xb_arena_lock(arena);
    xb_cell *cell = xb_adapter_cell(arena, link);
    xb_arena_unlock(arena);
    if (cell != NULL) {
        xb_adapter_release_cell(arena, cell);
    }
    xb_adapter_release(arena, link->adapter);
}

/* xb_arena_links.collect. The arena is locked. */
static void *collect_kept(void *data) {
    return xb_table_collect(&((xb_adapters *)data)->table);
}

/* xb_arena_links.drop. The list is at the end when the arena may end. */
static void drop_kept(xb_arena *arena, void *list) {
    for (xb_adapter *next, *adapter = (xb_adapter *)list; adapter != NULL; adapter = next) {
        next = adapter->next_unused;
        xb_adapter_release(arena, (const uint8_t *)adapter->code.entry);
    }
}

/* xb_arena_links.end. All adapters have gone with their last users, and all cells are free. */
static void end_adapters(void *data) {
    xb_cells_end(&((xb_adapters *)data)->cells);
    free(data);
}

static const xb_arena_links adapter_links = {
    link_of_stub, release_shared_adapter, release_stub, collect_kept, drop_kept, end_adapters};

/* Prepares an arena for its first adapter. The arena is not locked.
 *
 * Returns: false if there is no memory. */
static bool prepare_arena(xb_arena *arena) {
    xb_arena_lock(arena);
    bool is_ready = arena->links != NULL;
    xb_arena_unlock(arena);
    if (is_ready) {
        return true;
    }
    xb_adapters *adapters = XB_FAULT("calloc") != 0 ? NULL : (xb_adapters *)calloc(1, sizeof *adapters);
    if (adapters == NULL) {
        return false;
    }
    xb_table_init(&adapters->table);
    xb_arena_lock(arena);
    if (arena->links == NULL) { /* no other thread was faster */
        arena->links = &adapter_links;
        arena->links_data = adapters;
        arena->bookkeeping += sizeof *adapters;
        adapters = NULL;
    }
    xb_arena_unlock(arena);
    free(adapters);
    return true;
}

/* ---- Finding ---- */

xb_adapter *xb_adapter_find(xb_arena *arena, const xb_signature *signature, execbuf_abi caller_abi) {
    xb_adapters *adapters = adapters_of(arena);
    if (adapters == NULL || adapters->table.count == 0 || arena->key != XB_PRIM_NO_KEY) {
        return NULL;
    }
    if (!xb_signature_is_scalar(signature) || xb_signature_check(signature, NULL) != EXECBUF_OK) {
        return NULL;
    }
    xb_fingerprint fingerprint;
    xb_fingerprint_of(&fingerprint, NULL, signature, caller_abi);
    xb_adapter *adapter = xb_table_find(&adapters->table, &fingerprint);
    if (adapter != NULL) {
        xb_recent_put(&adapters->recent, signature, caller_abi, adapter);
    }
    return adapter;
}

execbuf_status xb_adapter_get(xb_arena *arena, xb_adapter **out, const xb_signature *signature,
                              execbuf_abi caller_abi, execbuf_error *error) {
    if (!prepare_arena(arena)) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    xb_fingerprint fingerprint;
    xb_shape shapes[XB_MAX_SHAPES];
    xb_fingerprint_of(&fingerprint, shapes, signature, caller_abi);
    xb_arena_lock(arena);
    xb_adapter *adapter = xb_table_find(&adapters_of(arena)->table, &fingerprint);
    if (adapter != NULL) {
        adapter->users++;
    }
    xb_arena_unlock(arena);
    *out = adapter;
    return adapter != NULL ? EXECBUF_OK : make_adapter(arena, out, &fingerprint, error);
}
