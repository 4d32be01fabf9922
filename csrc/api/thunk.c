/* Thunks: leaves of bodies, in a pool. */

#include "../base/error.h"
#include "../thunk/x86_64/stub.h"
#include "../pool/slot.h"
#include "../pool/alloc.h"
#include "../call/signature.h"

/* The pool for those who have none; it stays for ever. Written with the process's lock. */
static execbuf_pool *volatile common;

/* Makes the common pool. */
static execbuf_status make_common_pool(execbuf_error *error) {
    execbuf_pool *pool;
    execbuf_pool_options options = {NULL, "execbuf thunks"};
    execbuf_status status = execbuf_pool_new(&pool, &options, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    execbuf_prim_lock();
    bool is_first = EXECBUF_READ(common) == NULL;
    if (is_first) {
        EXECBUF_WRITE(common, pool);
    }
    execbuf_prim_unlock();
    if (!is_first) {
        execbuf_pool_free(pool); /* another thread was faster */
    }
    return EXECBUF_OK;
}

/* Writes a leaf of this length to its slot, all of it. */
EXECBUF_INLINE void write_leaf(uint8_t *rw, const execbuf *out, size_t length, const void *target,
                               const void *body) {
    execbuf_leaf leaf = execbuf_leaf_make(length, out->entry, target, body);
    if (EXECBUF_ONE_VIEW) {
        execbuf_prim_begin_write();
    }
    memcpy(rw, &leaf.words[0], 8);
    memcpy(rw + 8, &leaf.words[1], 8);
    if (length > EXECBUF_LEAF_NEAR) {
        memcpy(rw + 16, &leaf.words[2], 8);
        memcpy(rw + 24, &leaf.words[3], 8);
    }
    if (EXECBUF_ONE_VIEW) {
        execbuf_prim_end_write();
    }
    execbuf_sync((const uint8_t *)out->entry, rw, length);
    execbuf_fresh_barrier();
}

/* Publishes a leaf where no slot was free, or those that were are too far away. One with pages of its own is
 * of the kind that can be anywhere. */
static execbuf_status publish(execbuf_pool *pool, execbuf *out, const void *target, const uint8_t *body,
                              execbuf_error *error) {
    size_t length = execbuf_leaf_reaches(body, target) ? EXECBUF_LEAF_NEAR : EXECBUF_LEAF_TARGET_FAR;
    uint8_t *rw;
    while ((rw = execbuf_room_take(pool, execbuf_class_of(length), length, EXECBUF_USE_LEAF, out)) != NULL) {
        if (execbuf_leaf_fits(length, out->entry, target, body)) {
            write_leaf(rw, out, length, target, body);
            return execbuf_error_none(error);
        }
        (void)execbuf_pool_release(out);
        length = EXECBUF_LEAF_FAR;
    }
    execbuf_leaf leaf = execbuf_leaf_make(EXECBUF_LEAF_FAR, NULL, target, body);
    return execbuf_pool_make_own(pool, out, leaf.words, EXECBUF_LEAF_FAR, body, error);
}

/* A thunk that crosses, but for what is frequent: its body may be new. */
static execbuf_status cross(execbuf_pool *pool, execbuf *out, const execbuf_signature *signature,
                            execbuf_abi entered, const void *target, execbuf_error *error) {
    execbuf_body *body;
    execbuf_status status = execbuf_body_get(pool, signature, entered, &body, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    const uint8_t *entry = (const uint8_t *)body->code.entry;
    status = publish(pool, out, target, entry, error);
    if (status != EXECBUF_OK) {
        execbuf_body_leave(pool, entry);
    }
    return status;
}

/* A thunk that only jumps. */
static execbuf_status jump(execbuf_pool *pool, execbuf *out, const execbuf_signature *signature,
                           const void *target, execbuf_error *error) {
    execbuf_status status = execbuf_signature_check(signature, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    execbuf_leaf leaf = execbuf_leaf_make(EXECBUF_LEAF_JUMP, NULL, target, NULL);
    return execbuf_pool_publish(pool, out, leaf.words, EXECBUF_LEAF_JUMP, error);
}

/* Whether a thunk between two conventions, by name, crosses on this machine. */
static bool is_crossing(execbuf_abi entered, execbuf_abi abi) {
    return execbuf_prim_abi != EXECBUF_ABI_NATIVE && entered != abi && execbuf_abi_is_one(entered) &&
           execbuf_abi_is_one(abi);
}

/* The whole of execbuf_thunk_new, with the conventions by name. */
EXECBUF_OUTLINE execbuf_status new_slowly(execbuf *out, execbuf_pool *pool,
                                          const execbuf_signature *signature, execbuf_abi entered,
                                          execbuf_abi abi, const void *target, execbuf_error *error) {
    static const execbuf no_buffer = {NULL, 0, 0};
    if (out == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = no_buffer;
    if (target == NULL || signature == NULL) {
        return execbuf_error_set(error, EXECBUF_E_NULL, target == NULL ? "target" : "signature", 0);
    }
    if (!execbuf_abi_is_one(entered) || !execbuf_abi_is_one(abi) ||
        execbuf_prim_abi == EXECBUF_ABI_NATIVE) { /* not on x86-64 */
        return execbuf_error_set(error, EXECBUF_E_ABI, execbuf_abi_is_one(entered) ? "abi" : "entered", 0);
    }
    if (pool == NULL) {
        execbuf_status status = make_common_pool(error);
        if (status != EXECBUF_OK) {
            return status;
        }
        pool = EXECBUF_READ(common);
    }
    return entered != abi ? cross(pool, out, signature, entered, target, error)
                          : jump(pool, out, signature, target, error);
}

/* Publishes a leaf of this length, and unlocks the pool. False: no slot is free where it fits. */
EXECBUF_INLINE bool publish_quickly(execbuf_pool *pool, execbuf *out, size_t length, const void *target,
                                    execbuf_body *body) {
    uint8_t *rw = NULL;
    const void *entry = body->code.entry;
    uint32_t class_ = execbuf_class_of(length);
    const execbuf_span *span = pool->classes[class_];
    if (span != NULL && execbuf_leaf_fits(length, span->start, target, entry)) {
        rw = execbuf_room_take_listed(pool, class_, length, EXECBUF_USE_LEAF, out);
    }
    body->users += rw != NULL;
    execbuf_pool_unlock(pool);
    if (rw != NULL) {
        write_leaf(rw, out, length, target, entry);
    }
    return rw != NULL;
}

/* What is frequent takes the lock once: the shape was used before, and a slot is free. */
execbuf_status execbuf_thunk_new(execbuf *out, execbuf_pool *pool, const execbuf_signature *signature,
                                 execbuf_abi entered, execbuf_abi abi, const void *target,
                                 execbuf_error *error) {
    entered = execbuf_abi_known(entered);
    abi = execbuf_abi_known(abi);
    pool = pool != NULL ? pool : EXECBUF_READ(common);
    if (EXECBUF_RARE(out == NULL || pool == NULL || signature == NULL || target == NULL ||
                     !is_crossing(entered, abi))) {
        return new_slowly(out, pool, signature, entered, abi, target, error);
    }
    execbuf_pool_lock(pool);
    execbuf_body *body = execbuf_body_recall(&pool->bodies, signature, entered);
    if (EXECBUF_RARE(body == NULL)) {
        body = execbuf_body_find(&pool->bodies, signature, entered);
    }
    bool done = false;
    if (EXECBUF_RARE(body == NULL)) {
        execbuf_pool_unlock(pool);
    } else if (execbuf_leaf_reaches(body->code.entry, target)) {
        done = publish_quickly(pool, out, EXECBUF_LEAF_NEAR, target, body);
    } else {
        done = publish_quickly(pool, out, EXECBUF_LEAF_TARGET_FAR, target, body);
    }
    return done ? execbuf_error_none(error) : new_slowly(out, pool, signature, entered, abi, target, error);
}
