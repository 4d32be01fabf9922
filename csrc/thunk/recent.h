/* A cache of the adapters that were used recently, by the exact signature: so that execbuf_thunk_new needs no
 * fingerprint for a signature that it has just seen. All functions are inline, and part of its fast path.
 *
 * It is two-way set-associative: a hash chooses a pair of entries, of which the first was used last. The lock
 * of the arena guards it. */
#ifndef XB_THUNK_RECENT_H
#define XB_THUNK_RECENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../base/compiler.h"
#include "../call/signature.h"
#include "../include/execbuf.h"

struct xb_adapter;

typedef struct xb_recent_entry {
    uint64_t hash;
    struct xb_adapter *adapter; /* NULL: the entry is empty */
    execbuf_abi caller_abi;
    xb_signature signature; /* only the bytes that count are initialised */
} xb_recent_entry;

#define XB_RECENT_ENTRIES 16U /* a power of two */

typedef struct xb_recent {
    xb_recent_entry entries[XB_RECENT_ENTRIES];
} xb_recent;

/* ---- Signatures as words of 8 bytes ---- */

/* The word that begins at this byte. A signature has 131 bytes, so it may lie behind those that count. */
XB_INLINE uint64_t xb_signature_word(const xb_signature *signature, size_t at) {
    uint64_t word;
    memcpy(&word, (const uint8_t *)signature + at, sizeof word);
    return word;
}

/* How many bytes of a signature count. */
XB_INLINE size_t xb_signature_size(const xb_signature *signature) {
    return offsetof(xb_signature, arguments) + signature->count;
}

/* Where the word behind the one at `at - 8` begins: the last word ends with the signature and overlaps the
 * one before it. Only for signatures of more than 8 bytes. */
XB_INLINE size_t xb_signature_next_word(size_t at, size_t size) {
    return at + 8 <= size ? at : size - 8;
}

/* The bits of the first word that count: the low ones, since only little-endian machines make thunks and
 * closures. */
XB_INLINE uint64_t xb_signature_mask(const xb_signature *signature) {
    return signature->count >= 4 ? UINT64_MAX : ((uint64_t)1 << 8 * xb_signature_size(signature)) - 1;
}

/* Adds a word to a hash: Fibonacci hashing, and the high bits also into the low ones. */
XB_INLINE uint64_t xb_recent_mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;
    return hash ^ hash >> 32;
}

/* The hash of a signature and a direction. count is at most EXECBUF_MAX_ARGUMENTS. */
XB_INLINE uint64_t xb_recent_hash(const xb_signature *signature, execbuf_abi caller_abi) {
    size_t size = xb_signature_size(signature);
    uint64_t first = xb_signature_word(signature, 0) & xb_signature_mask(signature);
    uint64_t hash = xb_recent_mix((uint64_t)caller_abi, first);
    for (size_t at = 8; at < size; at += 8) {
        hash = xb_recent_mix(hash, xb_signature_word(signature, xb_signature_next_word(at, size)));
    }
    return hash;
}

/* Whether two signatures are equal. As above. */
XB_INLINE bool xb_signature_same(const xb_signature *one, const xb_signature *other) {
    size_t size = xb_signature_size(one);
    uint64_t difference = (xb_signature_word(one, 0) ^ xb_signature_word(other, 0)) & xb_signature_mask(one);
    for (size_t at = 8; at < size && difference == 0; at += 8) {
        size_t word = xb_signature_next_word(at, size);
        difference = xb_signature_word(one, word) ^ xb_signature_word(other, word);
    }
    return difference == 0;
}

/* ---- The cache ---- */

/* The first entry of the pair that a hash chooses. */
XB_INLINE size_t xb_recent_pair(uint64_t hash) {
    return hash & (XB_RECENT_ENTRIES - 2);
}

/* The adapter of a signature, or NULL if it is not here, or not valid. Its count is at most
 * EXECBUF_MAX_ARGUMENTS. */
XB_INLINE struct xb_adapter *xb_recent_find(const xb_recent *recent, const xb_signature *signature,
                                            execbuf_abi caller_abi) {
    uint64_t hash = xb_recent_hash(signature, caller_abi);
    const xb_recent_entry *entry = &recent->entries[xb_recent_pair(hash)];
    if (entry->hash != hash || entry->adapter == NULL) {
        entry++;
    }
    bool same = entry->hash == hash && entry->adapter != NULL && entry->caller_abi == caller_abi &&
                xb_signature_same(&entry->signature, signature);
    return same ? entry->adapter : NULL;
}

/* Enters an adapter, and drops the older entry of its pair. The signature is valid. */
static inline void xb_recent_put(xb_recent *recent, const xb_signature *signature, execbuf_abi caller_abi,
                                 struct xb_adapter *adapter) {
    uint64_t hash = xb_recent_hash(signature, caller_abi);
    xb_recent_entry *entry = &recent->entries[xb_recent_pair(hash)];
    entry[1] = entry[0];
    entry->hash = hash;
    entry->adapter = adapter;
    entry->caller_abi = caller_abi;
    memcpy(&entry->signature, signature, xb_signature_size(signature));
}

/* Drops all entries of an adapter, before it is freed. */
static inline void xb_recent_remove(xb_recent *recent, const struct xb_adapter *adapter) {
    for (size_t i = 0; i < XB_RECENT_ENTRIES; i++) {
        if (recent->entries[i].adapter == adapter) {
            recent->entries[i].adapter = NULL;
        }
    }
}

#endif
