/* Bodies of thunks. */

#include "adapter.h"

#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../base/fault.h"
#include "../pool/alloc.h"
#include "../call/signature.h"

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

/* The shape of a signature; its hash is FNV-1a. False: execbuf_signature_check will say what is wrong with
 * it. */
static bool shape_of(execbuf_shape *shape, const execbuf_signature *signature, execbuf_abi entered) {
    const uint64_t prime = 0x100000001b3;
    const uint8_t *kinds = entered == EXECBUF_ABI_SYSV64 ? kinds_to_win64 : kinds_to_sysv;
    uint32_t count = signature->count;
    /* Rare enough to be looked at twice. */
    bool valid = count <= EXECBUF_MAX_ARGUMENTS && signature->result <= EXECBUF_TYPE_F64 &&
                 (signature->variadic == 0 || execbuf_signature_check(signature, NULL) == EXECBUF_OK);
    uint64_t hash = (0xcbf29ce484222325 ^ (uint64_t)entered) * prime;
    hash = (hash ^ (signature->variadic != 0)) * prime;
    for (uint32_t i = 0; i < count && valid; i++) {
        uint8_t type = signature->arguments[i];
        uint8_t kind = kinds[type & 15];
        shape->signature.arguments[i] = kind;
        hash = (hash ^ kind) * prime;
        valid = kind != NONE && type < 16;
    }
    shape->hash = hash ^ hash >> 32;
    shape->entered = entered;
    shape->signature.result = EXECBUF_TYPE_VOID; /* no result is moved */
    shape->signature.count = (uint8_t)count;
    shape->signature.variadic = signature->variadic != 0;
    shape->signature.fixed = (uint8_t)count;
    return valid;
}

/* There are few, and a call would take longer. */
static bool same_arguments(const execbuf_shape *one, const execbuf_shape *other) {
    uint32_t i = 0;
    while (i < one->signature.count && one->signature.arguments[i] == other->signature.arguments[i]) {
        i++;
    }
    return i == one->signature.count;
}

static bool same_shape(const execbuf_shape *one, const execbuf_shape *other) {
    return one->hash == other->hash && one->entered == other->entered &&
           one->signature.count == other->signature.count &&
           one->signature.variadic == other->signature.variadic && same_arguments(one, other);
}

/* ---- Tables ---- */

/* How many bytes two tables of so many buckets take. */
static size_t size_of_tables(size_t buckets) {
    return 2 * buckets * sizeof(void *);
}

static size_t bucket_count(const execbuf_bodies *bodies) {
    return bodies->buckets != NULL ? bodies->bucket_count : EXECBUF_FIRST_BUCKETS;
}

static execbuf_body **bucket_of_shape(execbuf_bodies *bodies, const execbuf_shape *shape) {
    execbuf_body **buckets = bodies->buckets != NULL ? bodies->buckets : bodies->first;
    return &buckets[shape->hash & (bucket_count(bodies) - 1)];
}

static execbuf_body **bucket_at_entry(execbuf_bodies *bodies, const void *entry) {
    execbuf_body **buckets = bodies->buckets != NULL ? bodies->buckets : bodies->first;
    size_t count = bucket_count(bodies);
    return &buckets[count + (((uintptr_t)entry / EXECBUF_GRANULE) & (count - 1))];
}

static execbuf_body *find(execbuf_bodies *bodies, const execbuf_shape *shape) {
    execbuf_body *body = *bucket_of_shape(bodies, shape);
    while (body != NULL && !same_shape(&body->shape, shape)) {
        body = body->next_of_shape;
    }
    return body;
}

static execbuf_body *find_at(execbuf_bodies *bodies, const void *entry) {
    execbuf_body *body = *bucket_at_entry(bodies, entry);
    while (body != NULL && body->code.entry != entry) {
        body = body->next_at_entry;
    }
    return body;
}

static void add(execbuf_bodies *bodies, execbuf_body *body) {
    execbuf_body **of_shape = bucket_of_shape(bodies, &body->shape);
    execbuf_body **at_entry = bucket_at_entry(bodies, body->code.entry);
    body->next_of_shape = *of_shape;
    body->next_at_entry = *at_entry;
    *of_shape = body;
    *at_entry = body;
    bodies->count++;
}

/* Takes a body out.
 *
 * Returns: memory that is to be freed when the pool is unlocked, or NULL. */
static void *take_out(execbuf_pool *pool, const execbuf_body *body) {
    execbuf_bodies *bodies = &pool->bodies;
    execbuf_body **link = bucket_of_shape(bodies, &body->shape);
    while (*link != body) {
        link = &(*link)->next_of_shape;
    }
    *link = body->next_of_shape;
    link = bucket_at_entry(bodies, body->code.entry);
    while (*link != body) {
        link = &(*link)->next_at_entry;
    }
    *link = body->next_at_entry;
    for (uint32_t i = 0; i < EXECBUF_RECENT; i++) {
        if (bodies->recent[i].body == body) {
            bodies->recent[i].body = NULL;
        }
    }
    pool->bookkeeping -= sizeof *body;
    bodies->count--;
    void *garbage = NULL;
    if (bodies->count == 0) {
        garbage = (void *)bodies->buckets;
        pool->bookkeeping -= size_of_tables(bodies->bucket_count);
        bodies->buckets = NULL;
        bodies->bucket_count = 0;
    }
    return garbage;
}

/* How many buckets there should be, if there should be more; else 0. */
static size_t more_buckets(const execbuf_bodies *bodies) {
    size_t buckets = bucket_count(bodies);
    return bodies->count >= buckets ? 2 * buckets : 0;
}

/* Moves all bodies to new tables with so many buckets.
 *
 * Returns: memory that is to be freed when the pool is unlocked, or NULL: the old tables. */
static void *rehash(execbuf_pool *pool, execbuf_body **buckets, size_t count) {
    execbuf_bodies *bodies = &pool->bodies;
    size_t before = bucket_count(bodies);
    execbuf_body **old = bodies->buckets;
    execbuf_body *all = NULL;
    for (size_t i = 0; i < before; i++) {
        execbuf_body **bucket = old != NULL ? &old[i] : &bodies->first[i];
        while (*bucket != NULL) {
            execbuf_body *body = *bucket;
            *bucket = body->next_of_shape;
            body->next_of_shape = all;
            all = body;
        }
    }
    memset((void *)bodies->first, 0, sizeof bodies->first);
    pool->bookkeeping += size_of_tables(count) - size_of_tables(bodies->bucket_count);
    bodies->buckets = buckets;
    bodies->bucket_count = count;
    bodies->count = 0;
    while (all != NULL) {
        execbuf_body *next = all->next_of_shape;
        add(bodies, all);
        all = next;
    }
    return (void *)old;
}

/* Sees to it that the tables of a pool, which is not locked, are large enough. Without memory they stay as
 * they are, which only makes them slower. */
static void grow(execbuf_pool *pool) {
    execbuf_pool_lock(pool);
    size_t count = more_buckets(&pool->bodies);
    execbuf_pool_unlock(pool);
    if (count == 0 || EXECBUF_FAULT("calloc") != 0) {
        return;
    }
    /* Without the lock, as in the table of buffers. */
    void *garbage = calloc(1, size_of_tables(count));
    execbuf_pool_lock(pool);
    if (garbage != NULL && more_buckets(&pool->bodies) == count) { /* no other thread was faster */
        garbage = rehash(pool, (execbuf_body **)garbage, count);
    }
    execbuf_pool_unlock(pool);
    free(garbage);
}

/* ---- Making and giving up ---- */

/* Tells unwinders and debuggers of a body. */
static execbuf_prim_result announce(execbuf_body *body, const execbuf_frame *frame) {
    const char *name = body->shape.entered == EXECBUF_ABI_SYSV64 ? "execbuf_thunk_sysv64_to_win64"
                                                                 : "execbuf_thunk_win64_to_sysv64";
    (void)execbuf_unwind_dwarf(body->dwarf, frame, body->code.entry, EXECBUF_FOR_UNWINDERS);
    body->function.code = (const uint8_t *)body->code.entry;
    body->function.length = frame->length;
    body->function.fde = body->dwarf + EXECBUF_FDE_OFFSET;
    body->function.xdata = (frame->length + 3) & ~3U;
    execbuf_prim_result result = execbuf_prim_tell_unwinder(&body->function);
    if (result.call == NULL) {
        execbuf_prim_lock();
        execbuf_debug_add(&body->debug, frame, body->code.entry, name);
        execbuf_prim_unlock();
    }
    return result;
}

/* Frees a body that is in no table. */
static void give_up(execbuf_body *body) {
    execbuf_prim_lock();
    execbuf_debug_remove(&body->debug);
    execbuf_prim_unlock();
    bool forgotten = execbuf_prim_forget_function(&body->function);
    (void)execbuf_free(&body->code);
    if (forgotten) {
        free(body);
    }
}

/* Publishes the code of a body, with what Windows wants behind it, and announces it. */
static execbuf_status publish(execbuf_pool *pool, execbuf_body *body, execbuf_error *error) {
    uint8_t code[EXECBUF_MOST_BODY + EXECBUF_MOST_XDATA];
    execbuf_frame frame;
    execbuf_emit_body(code, &body->shape.signature, body->shape.entered, &frame);
    size_t length = frame.length;
    if (execbuf_prim_query().wants_xdata) {
        while (length % 4 != 0) {
            code[length++] = 0xcc; /* int3 */
        }
        length += execbuf_unwind_xdata(code + length, &frame);
    }
    execbuf_status status = execbuf_pool_publish(pool, &body->code, code, length, error);
    if (status == EXECBUF_OK) {
        execbuf_prim_result result = announce(body, &frame);
        if (result.call != NULL) {
            (void)execbuf_free(&body->code);
            status = execbuf_error_from_system(error, result);
        }
    }
    return status;
}

/* Makes a body, which another thread may have made meanwhile. As execbuf_body_get. */
static execbuf_status make(execbuf_pool *pool, const execbuf_shape *shape, execbuf_body **out,
                           execbuf_error *error) {
    execbuf_body *body = EXECBUF_FAULT("calloc") != 0 ? NULL : (execbuf_body *)calloc(1, sizeof *body);
    if (body == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    body->shape = *shape;
    execbuf_status status = publish(pool, body, error);
    if (status != EXECBUF_OK) {
        free(body);
        return status;
    }
    grow(pool);
    execbuf_pool_lock(pool);
    *out = find(&pool->bodies, shape);
    if (*out == NULL) {
        add(&pool->bodies, body);
        pool->bookkeeping += sizeof *body;
        *out = body;
    }
    (*out)->users++;
    execbuf_pool_unlock(pool);
    if (*out != body) {
        give_up(body); /* another thread was faster */
    }
    return EXECBUF_OK;
}

/* Remembers the body of a signature, and forgets the one that was remembered before the last. */
static void remember(execbuf_bodies *bodies, const execbuf_signature *signature, execbuf_body *body) {
    uint64_t hash = execbuf_recent_hash(signature, body->shape.entered);
    execbuf_recent *place = &bodies->recent[hash & (EXECBUF_RECENT - 2)];
    place[1] = place[0];
    place->hash = hash;
    place->body = body;
    memcpy(&place->signature, signature, execbuf_signature_size(signature));
}

execbuf_body *execbuf_body_find(execbuf_bodies *bodies, const execbuf_signature *signature,
                                execbuf_abi entered) {
    execbuf_shape shape;
    if (bodies->count == 0 || !shape_of(&shape, signature, entered)) {
        return NULL;
    }
    execbuf_body *body = find(bodies, &shape);
    if (body != NULL) {
        remember(bodies, signature, body);
    }
    return body;
}

execbuf_status execbuf_body_get(execbuf_pool *pool, const execbuf_signature *signature, execbuf_abi entered,
                                execbuf_body **out, execbuf_error *error) {
    execbuf_shape shape;
    if (signature == NULL || !shape_of(&shape, signature, entered)) {
        return execbuf_signature_check(signature, error);
    }
    execbuf_pool_lock(pool);
    execbuf_body *body = find(&pool->bodies, &shape);
    if (body != NULL) {
        body->users++;
    }
    execbuf_pool_unlock(pool);
    *out = body;
    return body != NULL ? EXECBUF_OK : make(pool, &shape, out, error);
}

bool execbuf_body_leave_others(execbuf_bodies *bodies, const uint8_t *entry) {
    execbuf_body *body = find_at(bodies, entry);
    bool others = body != NULL && body->users > 1;
    if (others) {
        body->users--;
    }
    return others;
}

void execbuf_body_leave(execbuf_pool *pool, const uint8_t *entry) {
    void *garbage = NULL;
    execbuf_pool_lock(pool);
    execbuf_body *body = find_at(&pool->bodies, entry);
    bool last = body != NULL && --body->users == 0;
    if (last) {
        garbage = take_out(pool, body);
    }
    execbuf_pool_unlock(pool);
    free(garbage);
    if (last) {
        give_up(body);
    }
}
