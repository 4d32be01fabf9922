/* Bodies of thunks. */

#include "body.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "prim/fault.h"
#include "room.h"
#include "signature.h"

#define FIRST_BUCKETS 16U

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

static size_t bucket_of_shape(const execbuf_bodies *bodies, const execbuf_shape *shape) {
    return shape->hash & (bodies->buckets - 1);
}

static size_t bucket_at_entry(const execbuf_bodies *bodies, const void *entry) {
    return ((uintptr_t)entry / EXECBUF_GRANULE) & (bodies->buckets - 1);
}

static execbuf_body *find(const execbuf_bodies *bodies, const execbuf_shape *shape) {
    execbuf_body *body = bodies->count > 0 ? bodies->of_shape[bucket_of_shape(bodies, shape)] : NULL;
    while (body != NULL && !same_shape(&body->shape, shape)) {
        body = body->next_of_shape;
    }
    return body;
}

static execbuf_body *find_at(const execbuf_bodies *bodies, const void *entry) {
    execbuf_body *body = bodies->count > 0 ? bodies->at_entry[bucket_at_entry(bodies, entry)] : NULL;
    while (body != NULL && body->code.entry != entry) {
        body = body->next_at_entry;
    }
    return body;
}

/* Adds a body; there are buckets. */
static void add(execbuf_bodies *bodies, execbuf_body *body) {
    execbuf_body **of_shape = &bodies->of_shape[bucket_of_shape(bodies, &body->shape)];
    execbuf_body **at_entry = &bodies->at_entry[bucket_at_entry(bodies, body->code.entry)];
    body->next_of_shape = *of_shape;
    body->next_at_entry = *at_entry;
    *of_shape = body;
    *at_entry = body;
    bodies->count++;
}

static void take_out(execbuf_bodies *bodies, const execbuf_body *body) {
    execbuf_body **link = &bodies->of_shape[bucket_of_shape(bodies, &body->shape)];
    while (*link != body) {
        link = &(*link)->next_of_shape;
    }
    *link = body->next_of_shape;
    link = &bodies->at_entry[bucket_at_entry(bodies, body->code.entry)];
    while (*link != body) {
        link = &(*link)->next_at_entry;
    }
    *link = body->next_at_entry;
    for (uint32_t i = 0; i < EXECBUF_RECENT; i++) {
        if (bodies->recent[i].body == body) {
            bodies->recent[i].body = NULL;
        }
    }
    bodies->count--;
    if (bodies->count == 0) {
        free((void *)bodies->of_shape);
        bodies->of_shape = NULL;
        bodies->at_entry = NULL;
        bodies->buckets = 0;
    }
}

/* Makes room in the tables for one more. False: no memory. A full table still works, only slower, if it has
 * buckets at all. */
static bool make_room(execbuf_bodies *bodies) {
    execbuf_bodies old = *bodies;
    size_t buckets = old.buckets == 0 ? FIRST_BUCKETS : 2 * old.buckets;
    if (old.count < old.buckets) {
        return true;
    }
    bool fails = EXECBUF_FAULT("calloc") != 0;
    execbuf_body **memory =
        fails ? NULL : (execbuf_body **)calloc(2 * buckets, sizeof *memory); /* NOLINT: of pointers */
    if (memory == NULL) {
        return old.buckets > 0;
    }
    bodies->of_shape = memory;
    bodies->at_entry = memory + buckets;
    bodies->buckets = buckets;
    bodies->count = 0;
    for (size_t i = 0; i < old.buckets; i++) {
        for (execbuf_body *body = old.of_shape[i]; body != NULL;) {
            execbuf_body *next = body->next_of_shape;
            add(bodies, body);
            body = next;
        }
    }
    free((void *)old.of_shape);
    return true;
}

/* ---- Making and giving up ---- */

/* Tells unwinders and debuggers of a body. */
static void announce(execbuf_body *body, const execbuf_frame *frame) {
    const char *name = body->shape.entered == EXECBUF_ABI_SYSV64 ? "execbuf_thunk_sysv64_to_win64"
                                                                 : "execbuf_thunk_win64_to_sysv64";
    (void)execbuf_unwind_dwarf(body->dwarf, frame, body->code.entry);
    body->function.code = (const uint8_t *)body->code.entry;
    body->function.length = frame->length;
    body->function.fde = body->dwarf + EXECBUF_FDE_OFFSET;
    body->function.xdata = (frame->length + 3) & ~3U;
    execbuf_prim_tell_unwinder(&body->function);
    execbuf_prim_lock();
    execbuf_debug_add(&body->debug, frame, body->code.entry, name);
    execbuf_prim_unlock();
}

/* Frees a body that is in no table. */
static void give_up(execbuf_body *body) {
    execbuf_prim_lock();
    execbuf_debug_remove(&body->debug);
    execbuf_prim_unlock();
    execbuf_prim_forget_function(&body->function);
    (void)execbuf_free(&body->code);
    free(body);
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
        announce(body, &frame);
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
    execbuf_pool_lock(pool);
    *out = find(&pool->bodies, shape);
    if (*out == NULL && make_room(&pool->bodies)) {
        add(&pool->bodies, body);
        *out = body;
    }
    if (*out != NULL) {
        (*out)->users++;
    }
    execbuf_pool_unlock(pool);
    if (*out != body) {
        give_up(body); /* another thread was faster, or there is no memory for the tables */
    }
    return *out != NULL ? EXECBUF_OK : execbuf_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
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
        if (signature->count <= EXECBUF_MOST_RECALLED) {
            execbuf_recent key = execbuf_recent_key(signature);
            key.body = body;
            pool->bodies.recent[execbuf_recent_index(&key, entered)] = key;
        }
    }
    execbuf_pool_unlock(pool);
    *out = body;
    return body != NULL ? EXECBUF_OK : make(pool, &shape, out, error);
}

bool execbuf_body_leave_others(const execbuf_bodies *bodies, const uint8_t *entry) {
    execbuf_body *body = find_at(bodies, entry);
    bool others = body != NULL && body->users > 1;
    if (others) {
        body->users--;
    }
    return others;
}

void execbuf_body_leave(execbuf_pool *pool, const uint8_t *entry) {
    execbuf_pool_lock(pool);
    execbuf_body *body = find_at(&pool->bodies, entry);
    bool last = body != NULL && --body->users == 0;
    if (last) {
        take_out(&pool->bodies, body);
    }
    execbuf_pool_unlock(pool);
    if (last) {
        give_up(body);
    }
}
