/* Adapters of thunks. */

#include "adapter.h"

#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../prim/report.h"
#include "../base/fault.h"
#include "../pool/alloc.h"
#include "../call/signature.h"
#include "x86_64/stub.h"

/* ---- Shapes ---- */

/* By type: the one that stands for all that are moved alike. Where the target is System V, small integers are
 * extended by their type; else their register or stack slot is moved as it is. */
#define NONE EXECBUF_TYPE_VOID
#define I8 EXECBUF_TYPE_I8
#define U8 EXECBUF_TYPE_U8
#define I16 EXECBUF_TYPE_I16
#define U16 EXECBUF_TYPE_U16
#define I64 EXECBUF_TYPE_I64
#define F64 EXECBUF_TYPE_F64
static const uint8_t kinds_to_sysv[16] = {NONE, U8, I8, U8, I16, U16, I64, I64, I64, I64, I64, F64, F64};
static const uint8_t kinds_to_win64[16] = {NONE, I64, I64, I64, I64, I64, I64, I64, I64, I64, I64, F64, F64};

/* The fingerprint of a signature; its hash is FNV-1a. False: xb_signature_check will say what is wrong with
 * it. */
static bool fingerprint_of(xb_fingerprint *fingerprint, const execbuf_signature *signature,
                           execbuf_abi caller_abi) {
    const uint64_t prime = 0x100000001b3;
    const uint8_t *kinds = caller_abi == EXECBUF_ABI_SYSV64 ? kinds_to_win64 : kinds_to_sysv;
    uint32_t count = signature->count;
    /* Rare enough to be looked at twice. */
    bool valid = count <= EXECBUF_MAX_ARGUMENTS && signature->result <= EXECBUF_TYPE_F64 &&
                 (signature->variadic == 0 || xb_signature_check(signature, NULL) == EXECBUF_OK);
    uint64_t hash = (0xcbf29ce484222325 ^ (uint64_t)caller_abi) * prime;
    hash = (hash ^ (signature->variadic != 0)) * prime;
    for (uint32_t i = 0; i < count && valid; i++) {
        uint8_t type = signature->arguments[i];
        uint8_t kind = kinds[type & 15];
        fingerprint->signature.arguments[i] = kind;
        hash = (hash ^ kind) * prime;
        valid = kind != NONE && type < 16;
    }
    fingerprint->hash = hash ^ hash >> 32;
    fingerprint->caller_abi = caller_abi;
    fingerprint->signature.result = EXECBUF_TYPE_VOID; /* no result is moved */
    fingerprint->signature.count = (uint8_t)count;
    fingerprint->signature.variadic = signature->variadic != 0;
    fingerprint->signature.fixed = (uint8_t)count;
    return valid;
}

/* There are few, and a call would take longer. */
static bool same_arguments(const xb_fingerprint *one, const xb_fingerprint *other) {
    uint32_t i = 0;
    while (i < one->signature.count && one->signature.arguments[i] == other->signature.arguments[i]) {
        i++;
    }
    return i == one->signature.count;
}

static bool same_fingerprint(const xb_fingerprint *one, const xb_fingerprint *other) {
    return one->hash == other->hash && one->caller_abi == other->caller_abi &&
           one->signature.count == other->signature.count &&
           one->signature.variadic == other->signature.variadic && same_arguments(one, other);
}

/* ---- Tables ---- */

/* How many bytes two tables of so many buckets take. */
static size_t size_of_tables(size_t buckets) {
    return 2 * buckets * sizeof(void *);
}

static size_t bucket_count(const xb_adapters *adapters) {
    return adapters->buckets != NULL ? adapters->bucket_count : XB_FIRST_BUCKETS;
}

static xb_adapter **bucket_of_fingerprint(xb_adapters *adapters, const xb_fingerprint *fingerprint) {
    xb_adapter **buckets = adapters->buckets != NULL ? adapters->buckets : adapters->first;
    return &buckets[fingerprint->hash & (bucket_count(adapters) - 1)];
}

static xb_adapter **bucket_at_entry(xb_adapters *adapters, const void *entry) {
    xb_adapter **buckets = adapters->buckets != NULL ? adapters->buckets : adapters->first;
    size_t count = bucket_count(adapters);
    return &buckets[count + (((uintptr_t)entry / XB_GRANULE) & (count - 1))];
}

static xb_adapter *find_adapter(xb_adapters *adapters, const xb_fingerprint *fingerprint) {
    xb_adapter *adapter = *bucket_of_fingerprint(adapters, fingerprint);
    while (adapter != NULL && !same_fingerprint(&adapter->fingerprint, fingerprint)) {
        adapter = adapter->next_of_fingerprint;
    }
    return adapter;
}

static xb_adapter *find_at(xb_adapters *adapters, const void *entry) {
    xb_adapter *adapter = *bucket_at_entry(adapters, entry);
    while (adapter != NULL && adapter->code.entry != entry) {
        adapter = adapter->next_at_entry;
    }
    return adapter;
}

static void add_adapter(xb_adapters *adapters, xb_adapter *adapter) {
    xb_adapter **of_shape = bucket_of_fingerprint(adapters, &adapter->fingerprint);
    xb_adapter **at_entry = bucket_at_entry(adapters, adapter->code.entry);
    adapter->next_of_fingerprint = *of_shape;
    adapter->next_at_entry = *at_entry;
    *of_shape = adapter;
    *at_entry = adapter;
    adapters->count++;
}

/* Takes a adapter out.
 *
 * Returns: memory that is to be freed when the pool is unlocked, or NULL. */
static void *remove_adapter(execbuf_pool *pool, const xb_adapter *adapter) {
    xb_adapters *adapters = xb_adapters_of(pool);
    xb_adapter **link = bucket_of_fingerprint(adapters, &adapter->fingerprint);
    while (*link != adapter) {
        link = &(*link)->next_of_fingerprint;
    }
    *link = adapter->next_of_fingerprint;
    link = bucket_at_entry(adapters, adapter->code.entry);
    while (*link != adapter) {
        link = &(*link)->next_at_entry;
    }
    *link = adapter->next_at_entry;
    for (uint32_t i = 0; i < XB_RECENT; i++) {
        if (adapters->recent[i].adapter == adapter) {
            adapters->recent[i].adapter = NULL;
        }
    }
    pool->bookkeeping -= sizeof *adapter;
    adapters->count--;
    void *garbage = NULL;
    if (adapters->count == 0) {
        garbage = (void *)adapters->buckets;
        pool->bookkeeping -= size_of_tables(adapters->bucket_count);
        adapters->buckets = NULL;
        adapters->bucket_count = 0;
    }
    return garbage;
}

/* How many buckets there should be, if there should be more; else 0. */
static size_t more_buckets(const xb_adapters *adapters) {
    size_t buckets = bucket_count(adapters);
    return adapters->count >= buckets ? 2 * buckets : 0;
}

/* Moves all adapters to new tables with so many buckets.
 *
 * Returns: memory that is to be freed when the pool is unlocked, or NULL: the old tables. */
static void *rehash(execbuf_pool *pool, xb_adapter **buckets, size_t count) {
    xb_adapters *adapters = xb_adapters_of(pool);
    size_t before = bucket_count(adapters);
    xb_adapter **old = adapters->buckets;
    xb_adapter *all = NULL;
    for (size_t i = 0; i < before; i++) {
        xb_adapter **bucket = old != NULL ? &old[i] : &adapters->first[i];
        while (*bucket != NULL) {
            xb_adapter *adapter = *bucket;
            *bucket = adapter->next_of_fingerprint;
            adapter->next_of_fingerprint = all;
            all = adapter;
        }
    }
    memset((void *)adapters->first, 0, sizeof adapters->first);
    pool->bookkeeping += size_of_tables(count) - size_of_tables(adapters->bucket_count);
    adapters->buckets = buckets;
    adapters->bucket_count = count;
    adapters->count = 0;
    while (all != NULL) {
        xb_adapter *next = all->next_of_fingerprint;
        add_adapter(adapters, all);
        all = next;
    }
    return (void *)old;
}

/* Sees to it that the tables of a pool, which is not locked, are large enough. Without memory they stay as
 * they are, which only makes them slower. */
static void grow_tables(execbuf_pool *pool) {
    xb_pool_lock(pool);
    size_t count = more_buckets(xb_adapters_of(pool));
    xb_pool_unlock(pool);
    if (count == 0 || XB_FAULT("calloc") != 0) {
        return;
    }
    /* Without the lock, as in the table of buffers. */
    void *garbage = calloc(1, size_of_tables(count));
    xb_pool_lock(pool);
    if (garbage != NULL && more_buckets(xb_adapters_of(pool)) == count) { /* no other thread was faster */
        garbage = rehash(pool, (xb_adapter **)garbage, count);
    }
    xb_pool_unlock(pool);
    free(garbage);
}

/* ---- Making and giving up ---- */

/* Tells unwinders and debuggers of a adapter. */
static xb_result announce(xb_adapter *adapter, const xb_frame *frame) {
    const char *name = adapter->fingerprint.caller_abi == EXECBUF_ABI_SYSV64
                           ? "execbuf_thunk_sysv64_to_win64"
                           : "execbuf_thunk_win64_to_sysv64";
    (void)xb_dwarf_write(adapter->dwarf, frame, adapter->code.entry, XB_FOR_UNWINDERS);
    adapter->function.code = (const uint8_t *)adapter->code.entry;
    adapter->function.length = frame->length;
    adapter->function.fde = adapter->dwarf + XB_FDE_OFFSET;
    adapter->function.xdata = (frame->length + 3) & ~3U;
    xb_result result = xb_prim_register_unwind(&adapter->function);
    if (result.call == NULL) {
        xb_prim_lock();
        xb_gdb_add(&adapter->debug, frame, adapter->code.entry, name);
        xb_prim_unlock();
    }
    return result;
}

/* Frees a adapter that is in no table. */
static void destroy_adapter(xb_adapter *adapter) {
    xb_prim_lock();
    xb_gdb_remove(&adapter->debug);
    xb_prim_unlock();
    bool forgotten = xb_prim_deregister_unwind(&adapter->function);
    (void)execbuf_free(&adapter->code);
    if (forgotten) {
        free(adapter);
    }
}

/* Publishes the code of a adapter, with what Windows wants behind it, and announces it. */
static execbuf_status publish_adapter(execbuf_pool *pool, xb_adapter *adapter, execbuf_error *error) {
    uint8_t code[XB_MAX_ADAPTER_SIZE + XB_MAX_XDATA_SIZE];
    xb_frame frame;
    xb_emit_adapter(code, &adapter->fingerprint.signature, adapter->fingerprint.caller_abi, &frame);
    size_t length = frame.length;
    if (xb_prim_query().wants_xdata) {
        while (length % 4 != 0) {
            code[length++] = 0xcc; /* int3 */
        }
        length += xb_xdata_write(code + length, &frame);
    }
    execbuf_status status = execbuf_pool_publish(pool, &adapter->code, code, length, error);
    if (status == EXECBUF_OK) {
        xb_result result = announce(adapter, &frame);
        if (result.call != NULL) {
            (void)execbuf_free(&adapter->code);
            status = xb_error_from_system(error, result);
        }
    }
    return status;
}

/* Makes a adapter, which another thread may have made meanwhile. As xb_adapter_get. */
static execbuf_status make_adapter(execbuf_pool *pool, const xb_fingerprint *fingerprint, xb_adapter **out,
                                   execbuf_error *error) {
    xb_adapter *adapter = XB_FAULT("calloc") != 0 ? NULL : (xb_adapter *)calloc(1, sizeof *adapter);
    if (adapter == NULL) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    adapter->fingerprint = *fingerprint;
    execbuf_status status = publish_adapter(pool, adapter, error);
    if (status != EXECBUF_OK) {
        free(adapter);
        return status;
    }
    grow_tables(pool);
    xb_pool_lock(pool);
    *out = find_adapter(xb_adapters_of(pool), fingerprint);
    if (*out == NULL) {
        add_adapter(xb_adapters_of(pool), adapter);
        pool->bookkeeping += sizeof *adapter;
        *out = adapter;
    }
    (*out)->users++;
    xb_pool_unlock(pool);
    if (*out != adapter) {
        destroy_adapter(adapter); /* another thread was faster */
    }
    return EXECBUF_OK;
}

/* ---- What the pool calls ---- */

static bool release_shared(void *data, const uint8_t *entry) {
    xb_adapter *adapter = find_at((xb_adapters *)data, entry);
    bool others = adapter != NULL && adapter->users > 1;
    if (others) {
        adapter->users--;
    }
    return others;
}

void xb_adapter_release(execbuf_pool *pool, const uint8_t *entry) {
    void *garbage = NULL;
    xb_pool_lock(pool);
    xb_adapter *adapter = find_at(xb_adapters_of(pool), entry);
    bool last = adapter != NULL && --adapter->users == 0;
    if (last) {
        garbage = remove_adapter(pool, adapter);
    }
    xb_pool_unlock(pool);
    free(garbage);
    if (last) {
        destroy_adapter(adapter);
    }
}

/* Gives a pool that is not locked a table of adapters, if it has none. */
static bool add_adapters(execbuf_pool *pool) {
    static const xb_pool_links links = {xb_stub_adapter, release_shared, xb_adapter_release, free};
    xb_pool_lock(pool);
    bool has = pool->links != NULL;
    xb_pool_unlock(pool);
    if (has) {
        return true;
    }
    void *adapters = XB_FAULT("calloc") != 0 ? NULL : calloc(1, sizeof(xb_adapters));
    if (adapters == NULL) {
        return false;
    }
    xb_pool_lock(pool);
    if (pool->links == NULL) { /* no other thread was faster */
        pool->links = &links;
        pool->links_data = adapters;
        pool->bookkeeping += sizeof(xb_adapters);
        adapters = NULL;
    }
    xb_pool_unlock(pool);
    free(adapters);
    return true;
}

/* Remembers the adapter of a signature, and forgets the one that was remembered before the last. */
static void remember_adapter(xb_adapters *adapters, const execbuf_signature *signature, xb_adapter *adapter) {
    uint64_t hash = xb_recent_hash(signature, adapter->fingerprint.caller_abi);
    xb_recent *place = &adapters->recent[hash & (XB_RECENT - 2)];
    place[1] = place[0];
    place->hash = hash;
    place->adapter = adapter;
    memcpy(&place->signature, signature, xb_signature_size(signature));
}

xb_adapter *xb_adapter_find(xb_adapters *adapters, const execbuf_signature *signature,
                            execbuf_abi caller_abi) {
    xb_fingerprint fingerprint;
    if (adapters == NULL || adapters->count == 0 || !fingerprint_of(&fingerprint, signature, caller_abi)) {
        return NULL;
    }
    xb_adapter *adapter = find_adapter(adapters, &fingerprint);
    if (adapter != NULL) {
        remember_adapter(adapters, signature, adapter);
    }
    return adapter;
}

execbuf_status xb_adapter_get(execbuf_pool *pool, const execbuf_signature *signature, execbuf_abi caller_abi,
                              xb_adapter **out, execbuf_error *error) {
    xb_fingerprint fingerprint;
    if (signature == NULL || !fingerprint_of(&fingerprint, signature, caller_abi)) {
        return xb_signature_check(signature, error);
    }
    if (!add_adapters(pool)) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    xb_pool_lock(pool);
    xb_adapter *adapter = find_adapter(xb_adapters_of(pool), &fingerprint);
    if (adapter != NULL) {
        adapter->users++;
    }
    xb_pool_unlock(pool);
    *out = adapter;
    return adapter != NULL ? EXECBUF_OK : make_adapter(pool, &fingerprint, out, error);
}
