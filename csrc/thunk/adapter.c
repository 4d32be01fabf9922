/* Makes, finds and frees the adapters of a pool.
 *
 * The pool's lock guards a pool's adapters, and the number of users of each; every function says whether it
 * is held. It is not held while memory is allocated or freed, and while tools are told of an adapter. So what
 * was found with the lock may have changed when it is taken again: another thread may have made the same
 * adapter, or grown the table.
 *
 * A user keeps its adapter alive. There are two kinds: stubs, and threads that have called xb_adapter_get and
 * have not published their stub yet. */

#include "adapter.h"

#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../base/fault.h"
#include "../pool/put.h"
#include "../pool/query.h"
#include "../prim/report.h"
#include "machine.h"

/* The adapters of a pool that has some, or had. The pool is locked, or only its table is asked for. */
static xb_adapters *adapters_of(const execbuf_pool *pool) {
    return (xb_adapters *)pool->links_data;
}

/* ---- Making ---- */

XB_STATIC_ASSERT(XB_MAX_ADAPTER_SIZE + XB_MAX_XDATA_SIZE <= XB_MAX_ADAPTER_SLOT, "adapters fit into slots");

static const char *name_of(const xb_adapter *adapter) {
    return adapter->fingerprint.caller_abi == EXECBUF_ABI_SYSV64 ? "execbuf_thunk_sysv64_to_win64"
                                                                 : "execbuf_thunk_win64_to_sysv64";
}

/* Counts the tables of a span in the pool's book-keeping. The pool is not locked. */
static void count_memory(execbuf_pool *pool, size_t size) {
    if (size != 0) {
        xb_pool_lock(pool);
        pool->bookkeeping += size;
        xb_pool_unlock(pool);
    }
}

/* Publishes the code of an adapter, hidden, and announces it. The pool is not locked.
 *
 * Out: is_lost: whether it failed since the unwinder does not find the adapter at this address. Then
 *               adapter->code is live. */
static execbuf_status publish_once(execbuf_pool *pool, xb_adapter *adapter, bool *is_lost,
                                   execbuf_error *error) {
    uint8_t code[XB_MAX_ADAPTER_SIZE + XB_MAX_XDATA_SIZE];
    xb_frame frame;
    xb_machine_adapter(code, &frame, &adapter->fingerprint.signature, adapter->fingerprint.caller_abi);
    size_t length = xb_announce_append(code, &frame);
    *is_lost = false;
    execbuf_status status = xb_pool_put_hidden(pool, &adapter->code, code, length, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    xb_span *span = xb_pool_span_of(pool, &adapter->code);
    size_t memory;
    xb_result result =
        xb_announce(&adapter->announcement, &frame, adapter->code.entry, span, name_of(adapter), &memory);
    count_memory(pool, memory);
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
static execbuf_status publish_adapter(execbuf_pool *pool, xb_adapter *adapter, execbuf_error *error) {
    execbuf lost[XB_PLACES];
    size_t count = 0;
    bool is_lost;
    execbuf_status status;
    do {
        status = publish_once(pool, adapter, &is_lost, error);
        if (is_lost) {
            lost[count++] = adapter->code;
        }
    } while (is_lost && count < XB_PLACES);
    while (count > 0) {
        xb_pool_drop(&lost[--count]);
    }
    return status;
}

/* Frees an adapter that has no users and is in no table. The pool is not locked. */
static void free_adapter(xb_adapter *adapter) {
    bool forgotten = xb_announce_end(&adapter->announcement);
    (void)xb_pool_drop(&adapter->code);
    if (forgotten) {
        free(adapter);
    }
}

/* Grows the table if it should grow. Without memory it stays as it is, which only makes it slower. The pool
 * is not locked, and has adapters. */
static void grow_table(execbuf_pool *pool) {
    xb_table *table = &adapters_of(pool)->table;
    xb_pool_lock(pool);
    size_t wanted = xb_table_wants(table);
    xb_pool_unlock(pool);
    if (wanted == 0 || XB_FAULT("calloc") != 0) {
        return;
    }
    void *memory = calloc(1, xb_table_size(wanted));
    if (memory == NULL) {
        return;
    }
    xb_pool_lock(pool);
    if (xb_table_wants(table) == wanted) { /* no other thread was faster */
        pool->bookkeeping -= xb_table_memory(table);
        memory = xb_table_grow(table, memory, wanted);
        pool->bookkeeping += xb_table_memory(table);
    }
    xb_pool_unlock(pool);
    free(memory);
}

/* Enters an adapter in the table, or takes it out: only an adapter in the table is visible to lookups, which
 * know by the table that it is no buffer. The pool is locked.
 *
 * Returns: of hide_adapter, memory that the caller frees when the pool is unlocked, or NULL. */
static void show_adapter(execbuf_pool *pool, xb_adapter *adapter) {
    xb_table_add(&adapters_of(pool)->table, adapter);
    xb_slot_set_hidden(pool, &adapter->code, false);
}

static void *hide_adapter(execbuf_pool *pool, const xb_adapter *adapter) {
    xb_slot_set_hidden(pool, &adapter->code, true);
    return xb_table_remove(&adapters_of(pool)->table, adapter);
}

/* Makes an adapter with one user; or adds a user to the one that another thread has made meanwhile. As
 * xb_adapter_get. */
static execbuf_status make_adapter(execbuf_pool *pool, xb_adapter **out, const xb_fingerprint *fingerprint,
                                   execbuf_error *error) {
    xb_adapter *made = XB_FAULT("calloc") != 0 ? NULL : (xb_adapter *)calloc(1, sizeof *made);
    if (made == NULL) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    made->fingerprint = *fingerprint;
    execbuf_status status = publish_adapter(pool, made, error);
    if (status != EXECBUF_OK) {
        free(made);
        return status;
    }
    grow_table(pool);
    xb_table *table = &adapters_of(pool)->table;
    xb_pool_lock(pool);
    xb_adapter *adapter = xb_table_find(table, fingerprint);
    if (adapter == NULL) {
        adapter = made;
        show_adapter(pool, made);
        pool->bookkeeping += sizeof *made;
    }
    adapter->users++;
    xb_pool_unlock(pool);
    if (adapter != made) {
        free_adapter(made);
    }
    *out = adapter;
    return EXECBUF_OK;
}

/* ---- What the pool calls ---- */

/* xb_pool_links.release_shared. The pool is locked. */
static bool release_shared_adapter(void *data, const uint8_t *bytes, size_t length, const void *entry) {
    const uint8_t *link = xb_stub_adapter(bytes, length, entry);
    xb_adapter *adapter = xb_table_find_at(&((xb_adapters *)data)->table, link);
    bool is_shared = adapter != NULL && adapter->users > 1;
    if (is_shared) {
        adapter->users--;
    }
    return is_shared;
}

void xb_adapter_release(execbuf_pool *pool, const uint8_t *entry) {
    xb_adapters *adapters = adapters_of(pool);
    void *garbage = NULL;
    xb_pool_lock(pool);
    xb_adapter *adapter = xb_table_find_at(&adapters->table, entry);
    bool is_last = adapter != NULL && --adapter->users == 0;
    if (is_last) {
        xb_recent_remove(&adapters->recent, adapter);
        pool->bookkeeping -= xb_table_memory(&adapters->table);
        garbage = hide_adapter(pool, adapter);
        pool->bookkeeping += xb_table_memory(&adapters->table);
    }
    xb_pool_unlock(pool);
    free(garbage);
    if (is_last) {
        free_adapter(adapter);
    }
}

/* xb_pool_links.is_target. An adapter that is being made, or freed, is in no table; it is hidden then. */
static bool is_adapter(void *data, const void *entry) {
    return xb_table_find_at(&((xb_adapters *)data)->table, entry) != NULL;
}

/* xb_pool_links.end. All adapters have gone with the pool's last stub. */
static void end_adapters(void *data) {
    free(data);
}

static const xb_pool_links adapter_links = {xb_stub_adapter, release_shared_adapter, xb_adapter_release,
                                            is_adapter, end_adapters};

/* Prepares a pool for its first adapter. The pool is not locked.
 *
 * Returns: false if there is no memory. */
static bool prepare_pool(execbuf_pool *pool) {
    xb_pool_lock(pool);
    bool is_ready = pool->links != NULL;
    xb_pool_unlock(pool);
    if (is_ready) {
        return true;
    }
    xb_adapters *adapters = XB_FAULT("calloc") != 0 ? NULL : (xb_adapters *)calloc(1, sizeof *adapters);
    if (adapters == NULL) {
        return false;
    }
    xb_table_init(&adapters->table);
    xb_pool_lock(pool);
    if (pool->links == NULL) { /* no other thread was faster */
        pool->links = &adapter_links;
        pool->links_data = adapters;
        pool->bookkeeping += sizeof *adapters;
        adapters = NULL;
    }
    xb_pool_unlock(pool);
    free(adapters);
    return true;
}

/* ---- Finding ---- */

xb_adapter *xb_adapter_find(execbuf_pool *pool, const xb_signature *signature, execbuf_abi caller_abi) {
    xb_adapters *adapters = adapters_of(pool);
    if (adapters == NULL || adapters->table.count == 0 || pool->key != XB_PRIM_NO_KEY) {
        return NULL;
    }
    if (xb_signature_check(signature, NULL) != EXECBUF_OK) {
        return NULL;
    }
    xb_fingerprint fingerprint;
    xb_fingerprint_of(&fingerprint, signature, caller_abi);
    xb_adapter *adapter = xb_table_find(&adapters->table, &fingerprint);
    if (adapter != NULL) {
        xb_recent_put(&adapters->recent, signature, caller_abi, adapter);
    }
    return adapter;
}

execbuf_status xb_adapter_get(execbuf_pool *pool, xb_adapter **out, const xb_signature *signature,
                              execbuf_abi caller_abi, execbuf_error *error) {
    if (!prepare_pool(pool)) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    xb_fingerprint fingerprint;
    xb_fingerprint_of(&fingerprint, signature, caller_abi);
    xb_pool_lock(pool);
    xb_adapter *adapter = xb_table_find(&adapters_of(pool)->table, &fingerprint);
    if (adapter != NULL) {
        adapter->users++;
    }
    xb_pool_unlock(pool);
    *out = adapter;
    return adapter != NULL ? EXECBUF_OK : make_adapter(pool, out, &fingerprint, error);
}
