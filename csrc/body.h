/*
 * Bodies: what the thunks of a pool have in common that cross in one direction with arguments of one shape.
 * They are code of the pool like any other, and known to unwinders and debuggers.
 *
 * A body lives as long as it has users: leaves, or whoever is about to publish one.
 */
#ifndef EXECBUF_BODY_H
#define EXECBUF_BODY_H

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

/* The bodies of a pool, guarded by its mutex: two tables, by shape and by entry, of as many buckets. */
typedef struct execbuf_bodies {
    execbuf_body **of_shape;
    execbuf_body **at_entry;
    size_t buckets; /* a power of two, or 0 */
    size_t count;
} execbuf_bodies;

/* The shape of a signature. False: execbuf_signature_check will say what is wrong with it.
 *
 * In: entered: one of the two. */
bool execbuf_shape_of(execbuf_shape *shape, const execbuf_signature *signature, execbuf_abi entered);

/* The body of a shape, or NULL. With the pool locked. */
execbuf_body *execbuf_body_find(const execbuf_bodies *bodies, const execbuf_shape *shape);

/* Gives a pool that is not locked a body of a shape, with one user more.
 *
 * Returns: EXECBUF_OK; errors of execbuf_pool_publish; EXECBUF_E_NO_MEMORY.
 * Out: out: the body. */
execbuf_status execbuf_body_make(struct execbuf_pool *pool, const execbuf_shape *shape, execbuf_body **out,
                                 execbuf_error *error);

/* Takes a user from the body that begins at an address, and returns true, if it has another one. With the
 * pool locked. */
bool execbuf_body_leave_others(const execbuf_bodies *bodies, const uint8_t *entry);

/* Takes a user from the body that begins at an address; without users it goes. The pool is not locked. */
void execbuf_body_leave(struct execbuf_pool *pool, const uint8_t *entry);

#endif
