/*
 * Bodies: what the thunks of a pool have in common that cross in one direction with arguments of one shape.
 * They are code of the pool like any other, and known to unwinders and debuggers.
 *
 * A body lives as long as it has users: leaves, or whoever is about to publish one.
 */
#ifndef EXECBUF_BODY_H
#define EXECBUF_BODY_H

#include <string.h>

#include "bits.h"
#include "debug.h"
#include "prim/prim.h"

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

/* A short signature by all that it says, and its body: all but its direction. */
typedef struct execbuf_recent {
    uint64_t key[2];
    execbuf_body *body; /* or NULL */
} execbuf_recent;

#define EXECBUF_RECENT 8U /* a power of two */

/* The bodies of a pool, guarded by its mutex: two tables, by shape and by entry, of as many buckets; and what
 * was asked for lately. */
typedef struct execbuf_bodies {
    execbuf_body **of_shape;
    execbuf_body **at_entry;
    size_t buckets; /* a power of two, or 0 */
    size_t count;
    execbuf_recent recent[EXECBUF_RECENT];
} execbuf_bodies;

/* Longer signatures are not recalled. */
#define EXECBUF_MOST_RECALLED 12U

/* The first bytes of a signature, with zeros behind its last argument. Others have the same key only if they
 * are the same. */
EXECBUF_INLINE execbuf_recent execbuf_recent_key(const execbuf_signature *signature) {
    static const uint8_t mask[32] = {255, 255, 255, 255, 255, 255, 255, 255,
                                     255, 255, 255, 255, 255, 255, 255, 255};
    const uint8_t *from = mask + EXECBUF_MOST_RECALLED - signature->count;
    execbuf_recent key;
    uint64_t keep[2];
    memcpy(key.key, signature, sizeof key.key);
    memcpy(keep, from, sizeof keep);
    key.key[0] &= keep[0];
    key.key[1] &= keep[1];
    key.body = NULL;
    return key;
}

/* Where the body of a key is, if it is recalled. */
EXECBUF_INLINE uint32_t execbuf_recent_index(const execbuf_recent *key, execbuf_abi entered) {
    uint64_t mixed =
        (key->key[0] + (uint64_t)entered) * 0x9e3779b97f4a7c15 ^ key->key[1] * 0xc2b2ae3d27d4eb4f;
    return (uint32_t)(mixed >> 32) & (EXECBUF_RECENT - 1);
}

/* The body of a signature, if it was asked for lately, or NULL. With the pool locked.
 *
 * In: signature: any bytes.
 *     entered:   one of the two, by name. */
EXECBUF_INLINE execbuf_body *execbuf_body_recall(const execbuf_bodies *bodies,
                                                 const execbuf_signature *signature, execbuf_abi entered) {
    if (signature->count > EXECBUF_MOST_RECALLED) {
        return NULL;
    }
    execbuf_recent key = execbuf_recent_key(signature);
    const execbuf_recent *known = &bodies->recent[execbuf_recent_index(&key, entered)];
    execbuf_body *body = known->body;
    bool same = known->key[0] == key.key[0] && known->key[1] == key.key[1];
    return same && body != NULL && body->shape.entered == entered ? body : NULL;
}

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
bool execbuf_body_leave_others(const execbuf_bodies *bodies, const uint8_t *entry);

/* Takes a user from the body that begins at an address; without users it goes. The pool is not locked. */
void execbuf_body_leave(struct execbuf_pool *pool, const uint8_t *entry);

#endif
