/*
 * Bodies: what the thunks of a pool have in common that cross in one direction with arguments of one shape.
 * They are code of the pool like any other, and known to unwinders and debuggers.
 *
 * A body lives as long as it has users: leaves, or whoever is about to publish one.
 */
#ifndef EXECBUF_BODY_H
#define EXECBUF_BODY_H

#include <string.h>

#include "../base/bits.h"
#include "../debug/elf.h"
#include "../prim/prim.h"

/* All that the code of a body depends on. */
typedef struct execbuf_shape {
    uint64_t hash;
    execbuf_abi entered; /* by name; the target's is the other one */
    execbuf_signature
        signature; /* with one type for all that are moved alike; only the first arguments are there */
} execbuf_shape;

typedef struct execbuf_body {
    struct execbuf_body *next_of_shape; /* in a bucket */
    struct execbuf_body *next_at_entry;
    execbuf_shape shape;
    execbuf code;
    size_t users;
    execbuf_prim_function function;
    uint8_t dwarf[EXECBUF_MOST_DWARF];
    execbuf_debug_entry debug;
} execbuf_body;

/* A signature, with its hash, and the body that it had lately. */
typedef struct execbuf_recent {
    uint64_t hash;
    execbuf_body *body; /* or NULL */
    execbuf_signature signature;
} execbuf_recent;

#define EXECBUF_RECENT 16U /* a power of two */
#define EXECBUF_FIRST_BUCKETS 16U

/* The bodies of a pool, guarded by its mutex: two tables, by shape and by entry, of as many buckets; and what
 * was asked for lately. */
typedef struct execbuf_bodies {
    execbuf_body **buckets; /* of both tables, one behind the other; NULL: they are in first */
    size_t bucket_count;    /* of each, a power of two; 0: EXECBUF_FIRST_BUCKETS */
    size_t count;
    execbuf_body *first[2 * EXECBUF_FIRST_BUCKETS];
    execbuf_recent recent[EXECBUF_RECENT];
} execbuf_bodies;

/* A word of a signature, from this byte on. */
EXECBUF_INLINE uint64_t execbuf_signature_word(const execbuf_signature *signature, size_t at) {
    uint64_t word;
    memcpy(&word, (const uint8_t *)signature + at, sizeof word);
    return word;
}

/* How many bytes of a signature say something. */
EXECBUF_INLINE size_t execbuf_signature_size(const execbuf_signature *signature) {
    return offsetof(execbuf_signature, arguments) + signature->count;
}

/* Which bits of a signature's first word say something. */
EXECBUF_INLINE uint64_t execbuf_signature_mask(const execbuf_signature *signature) {
    return signature->count >= 4 ? UINT64_MAX : ((uint64_t)1 << 8 * execbuf_signature_size(signature)) - 1;
}

EXECBUF_INLINE uint64_t execbuf_mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;
    return hash ^ hash >> 32;
}

/* The hash of a signature, whose last words overlap, and a direction.
 *
 * In: signature: with at most EXECBUF_MAX_ARGUMENTS. */
EXECBUF_INLINE uint64_t execbuf_recent_hash(const execbuf_signature *signature, execbuf_abi entered) {
    size_t size = execbuf_signature_size(signature);
    uint64_t first = execbuf_signature_word(signature, 0) & execbuf_signature_mask(signature);
    uint64_t hash = execbuf_mix((uint64_t)entered, first);
    for (size_t at = 8; at < size; at += 8) {
        hash = execbuf_mix(hash, execbuf_signature_word(signature, at + 8 <= size ? at : size - 8));
    }
    return hash;
}

/* Whether two signatures say the same. As above. */
EXECBUF_INLINE bool execbuf_signature_same(const execbuf_signature *one, const execbuf_signature *other) {
    size_t size = execbuf_signature_size(one);
    uint64_t differs =
        (execbuf_signature_word(one, 0) ^ execbuf_signature_word(other, 0)) & execbuf_signature_mask(one);
    for (size_t at = 8; at < size && differs == 0; at += 8) {
        size_t word = at + 8 <= size ? at : size - 8;
        differs = execbuf_signature_word(one, word) ^ execbuf_signature_word(other, word);
    }
    return differs == 0;
}

/* The body of a signature that was used lately, or NULL: at either of two places. With the pool locked.
 *
 * In: signature: any bytes.
 *     entered:   one of the two, by name. */
EXECBUF_INLINE execbuf_body *execbuf_body_recall(const execbuf_bodies *bodies,
                                                 const execbuf_signature *signature, execbuf_abi entered) {
    if (EXECBUF_RARE(signature->count > EXECBUF_MAX_ARGUMENTS)) {
        return NULL;
    }
    uint64_t hash = execbuf_recent_hash(signature, entered);
    const execbuf_recent *known = &bodies->recent[hash & (EXECBUF_RECENT - 2)];
    if (known->hash != hash || known->body == NULL) {
        known++;
    }
    bool same = known->hash == hash && known->body != NULL && known->body->shape.entered == entered &&
                execbuf_signature_same(&known->signature, signature);
    return same ? known->body : NULL;
}

/* The body of a signature, if there is one, or NULL. With the pool locked.
 *
 * In: signature: any bytes.
 *     entered:   one of the two, by name. */
execbuf_body *execbuf_body_find(execbuf_bodies *bodies, const execbuf_signature *signature,
                                execbuf_abi entered);

/* Gives a pool that is not locked a body for a signature, with one user more.
 *
 * Returns: EXECBUF_OK; errors of execbuf_signature_parse for a signature that is none, or NULL, and of
 *          execbuf_pool_publish; EXECBUF_E_NO_MEMORY.
 * In:  entered: one of the two, by name.
 * Out: out:     the body. */
execbuf_status execbuf_body_get(struct execbuf_pool *pool, const execbuf_signature *signature,
                                execbuf_abi entered, execbuf_body **out, execbuf_error *error);

/* Takes a user from the body that begins at an address, and returns true, if it has another one. With the
 * pool locked. */
bool execbuf_body_leave_others(execbuf_bodies *bodies, const uint8_t *entry);

/* Takes a user from the body that begins at an address; without users it goes. The pool is not locked. */
void execbuf_body_leave(struct execbuf_pool *pool, const uint8_t *entry);

#endif
