/*
 * Adapters: what the thunks of a pool have in common that cross in one direction with arguments of one
 * fingerprint. They are code of the pool like any other, and known to unwinders and debuggers.
 *
 * A adapter lives as long as it has users: stubs, or whoever is about to publish one.
 */
#ifndef XB_THUNK_ADAPTER_H
#define XB_THUNK_ADAPTER_H

#include <string.h>

#include "../base/compiler.h"
#include "../debug/elf.h"
#include "../pool/pool.h"

/* All that the code of a adapter depends on. */
typedef struct xb_fingerprint {
    uint64_t hash;
    execbuf_abi caller_abi; /* by name; the target's is the other one */
    execbuf_signature
        signature; /* with one type for all that are moved alike; only the first arguments are there */
} xb_fingerprint;

typedef struct xb_adapter {
    struct xb_adapter *next_of_fingerprint; /* in a bucket */
    struct xb_adapter *next_at_entry;
    xb_fingerprint fingerprint;
    execbuf code;
    size_t users;
    xb_prim_function function;
    uint8_t dwarf[XB_MAX_DWARF_SIZE];
    xb_gdb_entry debug;
} xb_adapter;

/* A signature, with its hash, and the adapter that it had lately. */
typedef struct xb_recent {
    uint64_t hash;
    xb_adapter *adapter; /* or NULL */
    execbuf_signature signature;
} xb_recent;

#define XB_RECENT 16U /* a power of two */
#define XB_FIRST_BUCKETS 16U

/* The adapters of a pool, guarded by its mutex: two tables, by fingerprint and by entry, of as many buckets;
 * and what was asked for lately. */
typedef struct xb_adapters {
    xb_adapter **buckets; /* of both tables, one behind the other; NULL: they are in first */
    size_t bucket_count;  /* of each, a power of two; 0: XB_FIRST_BUCKETS */
    size_t count;
    xb_adapter *first[2 * XB_FIRST_BUCKETS];
    xb_recent recent[XB_RECENT];
} xb_adapters;

/* A word of a signature, from this byte on. */
XB_INLINE uint64_t xb_signature_word(const execbuf_signature *signature, size_t at) {
    uint64_t word;
    memcpy(&word, (const uint8_t *)signature + at, sizeof word);
    return word;
}

/* How many bytes of a signature say something. */
XB_INLINE size_t xb_signature_size(const execbuf_signature *signature) {
    return offsetof(execbuf_signature, arguments) + signature->count;
}

/* Which bits of a signature's first word say something. */
XB_INLINE uint64_t xb_signature_mask(const execbuf_signature *signature) {
    return signature->count >= 4 ? UINT64_MAX : ((uint64_t)1 << 8 * xb_signature_size(signature)) - 1;
}

XB_INLINE uint64_t xb_mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;
    return hash ^ hash >> 32;
}

/* The hash of a signature, whose last words overlap, and a direction.
 *
 * In: signature: with at most EXECBUF_MAX_ARGUMENTS. */
XB_INLINE uint64_t xb_recent_hash(const execbuf_signature *signature, execbuf_abi caller_abi) {
    size_t size = xb_signature_size(signature);
    uint64_t first = xb_signature_word(signature, 0) & xb_signature_mask(signature);
    uint64_t hash = xb_mix((uint64_t)caller_abi, first);
    for (size_t at = 8; at < size; at += 8) {
        hash = xb_mix(hash, xb_signature_word(signature, at + 8 <= size ? at : size - 8));
    }
    return hash;
}

/* Whether two signatures say the same. As above. */
XB_INLINE bool xb_signature_same(const execbuf_signature *one, const execbuf_signature *other) {
    size_t size = xb_signature_size(one);
    uint64_t differs = (xb_signature_word(one, 0) ^ xb_signature_word(other, 0)) & xb_signature_mask(one);
    for (size_t at = 8; at < size && differs == 0; at += 8) {
        size_t word = at + 8 <= size ? at : size - 8;
        differs = xb_signature_word(one, word) ^ xb_signature_word(other, word);
    }
    return differs == 0;
}

/* The adapters of a pool, or NULL before its first thunk. With the pool locked. */
XB_INLINE xb_adapters *xb_adapters_of(const execbuf_pool *pool) {
    return (xb_adapters *)pool->links_data;
}

/* The adapter of a signature that was used lately, or NULL: at either of two places. With the pool locked.
 *
 * In: signature: any bytes.
 *     caller_abi:   one of the two, by name. */
XB_INLINE xb_adapter *xb_adapter_recall(const xb_adapters *adapters, const execbuf_signature *signature,
                                        execbuf_abi caller_abi) {
    if (XB_UNLIKELY(adapters == NULL || signature->count > EXECBUF_MAX_ARGUMENTS)) {
        return NULL;
    }
    uint64_t hash = xb_recent_hash(signature, caller_abi);
    const xb_recent *known = &adapters->recent[hash & (XB_RECENT - 2)];
    if (known->hash != hash || known->adapter == NULL) {
        known++;
    }
    bool same = known->hash == hash && known->adapter != NULL &&
                known->adapter->fingerprint.caller_abi == caller_abi &&
                xb_signature_same(&known->signature, signature);
    return same ? known->adapter : NULL;
}

/* The adapter of a signature, if there is one, or NULL. With the pool locked.
 *
 * In: signature: any bytes.
 *     caller_abi:   one of the two, by name. */
xb_adapter *xb_adapter_find(xb_adapters *adapters, const execbuf_signature *signature,
                            execbuf_abi caller_abi);

/* Gives a pool that is not locked a adapter for a signature, with one user more.
 *
 * Returns: EXECBUF_OK; errors of execbuf_signature_parse for a signature that is none, or NULL, and of
 *          execbuf_pool_publish; EXECBUF_E_NO_MEMORY.
 * In:  caller_abi: one of the two, by name.
 * Out: out:     the adapter. */
execbuf_status xb_adapter_get(execbuf_pool *pool, const execbuf_signature *signature, execbuf_abi caller_abi,
                              xb_adapter **out, execbuf_error *error);

/* Takes a user from the adapter that begins at an address; without users it goes. The pool is not locked. */
void xb_adapter_release(execbuf_pool *pool, const uint8_t *entry);

#endif
