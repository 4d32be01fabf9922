/* Thunks: leaves of bodies, in a pool. */

#include "error.h"
#include "pool.h"
#include "room.h"
#include "signature.h"

/* The pool for those who have none; it stays for ever. Guarded by the process's lock. */
static execbuf_pool *common;

/* Finds the common pool, or makes it. */
static execbuf_status common_pool(execbuf_pool **out, execbuf_error *error) {
    execbuf_prim_lock();
    execbuf_pool *pool = common;
    execbuf_prim_unlock();
    *out = pool;
    if (pool != NULL) {
        return EXECBUF_OK;
    }
    execbuf_pool_options options = {NULL, "execbuf thunks"};
    execbuf_status status = execbuf_pool_new(&pool, &options, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    execbuf_prim_lock();
    execbuf_pool *other = common;
    if (other == NULL) {
        common = pool;
    }
    execbuf_prim_unlock();
    if (other != NULL) {
        execbuf_pool_free(pool); /* another thread was faster */
    }
    *out = other != NULL ? other : pool;
    return EXECBUF_OK;
}

/* The kind of leaf that is to be tried first. */
static size_t guess(const execbuf_body *body, const void *target) {
    const uint8_t *entry = (const uint8_t *)body->code.entry;
    return execbuf_leaf_fits(EXECBUF_LEAF_NEAR, entry, target, entry) ? EXECBUF_LEAF_NEAR
                                                                      : EXECBUF_LEAF_TARGET_FAR;
}

/* Writes a leaf of this length to its slot, or gives the slot back if what it names is too far away. */
static bool try_leaf(const execbuf_region *region, execbuf *out, size_t length, const void *target,
                     const uint8_t *body) {
    const uint8_t *start = (const uint8_t *)out->entry;
    bool fits = execbuf_leaf_fits(length, start, target, body);
    if (fits) {
        uint8_t code[EXECBUF_MOST_LEAF];
        execbuf_leaf_emit(code, length, start, target, body);
        execbuf_pool_write_leaf(region, out, code);
    } else {
        (void)execbuf_pool_release(out);
    }
    return fits;
}

/* Publishes a leaf where no slot was free, or the kind of leaf was too short. The kind of a leaf with pages
 * of its own is that of any address. */
static execbuf_status publish_slowly(execbuf_pool *pool, execbuf *out, size_t length, const void *target,
                                     const uint8_t *body, execbuf_error *error) {
    const execbuf_region *region;
    while ((region = execbuf_pool_take_leaf_slowly(pool, length, out)) != NULL) {
        if (try_leaf(region, out, length, target, body)) {
            return execbuf_error_none(error);
        }
        length = EXECBUF_LEAF_FAR;
    }
    uint8_t code[EXECBUF_MOST_LEAF];
    execbuf_leaf_emit(code, EXECBUF_LEAF_FAR, NULL, target, body);
    return execbuf_pool_make_own(pool, out, code, EXECBUF_LEAF_FAR, body, error);
}

/* A thunk that crosses. */
static execbuf_status cross(execbuf_pool *pool, execbuf *out, const execbuf_shape *shape, const void *target,
                            execbuf_error *error) {
    const execbuf_region *region = NULL;
    size_t length = EXECBUF_LEAF_FAR;
    execbuf_pool_lock(pool);
    execbuf_body *body = execbuf_body_find(&pool->bodies, shape);
    if (body != NULL) {
        body->users++;
        length = guess(body, target);
        region = execbuf_pool_take_leaf(pool, length, out);
    }
    execbuf_pool_unlock(pool);
    if (body == NULL) {
        execbuf_status status = execbuf_body_make(pool, shape, &body, error);
        if (status != EXECBUF_OK) {
            return status;
        }
        length = guess(body, target);
    }
    const uint8_t *entry = (const uint8_t *)body->code.entry;
    if (region != NULL && try_leaf(region, out, length, target, entry)) {
        return execbuf_error_none(error);
    }
    execbuf_status status = publish_slowly(pool, out, length, target, entry, error);
    if (status != EXECBUF_OK) {
        execbuf_body_leave(pool, entry);
    }
    return status;
}

/* A thunk that only jumps. */
static execbuf_status jump(execbuf_pool *pool, execbuf *out, const void *target, execbuf_error *error) {
    uint8_t code[EXECBUF_MOST_LEAF];
    execbuf_leaf_emit(code, EXECBUF_LEAF_JUMP, NULL, target, NULL);
    return execbuf_pool_publish(pool, out, code, EXECBUF_LEAF_JUMP, error);
}

execbuf_status execbuf_thunk_new(execbuf *out, execbuf_pool *pool, const execbuf_signature *signature,
                                 execbuf_abi entered, execbuf_abi abi, const void *target,
                                 execbuf_error *error) {
    static const execbuf no_buffer = {NULL, 0, 0};
    if (out == NULL || target == NULL) {
        if (out != NULL) {
            *out = no_buffer;
        }
        return execbuf_error_set(error, EXECBUF_E_NULL, out == NULL ? "out" : "target", 0);
    }
    *out = no_buffer;
    entered = execbuf_abi_known(entered);
    abi = execbuf_abi_known(abi);
    if (!execbuf_abi_is_one(entered) || !execbuf_abi_is_one(abi) ||
        execbuf_prim_abi == EXECBUF_ABI_NATIVE) { /* not on x86-64 */
        return execbuf_error_set(error, EXECBUF_E_ABI, execbuf_abi_is_one(entered) ? "abi" : "entered", 0);
    }
    execbuf_shape shape;
    if (signature == NULL || !execbuf_shape_of(&shape, signature, entered)) {
        return execbuf_signature_check(signature, error);
    }
    if (pool == NULL) {
        execbuf_status status = common_pool(&pool, error);
        if (status != EXECBUF_OK) {
            return status;
        }
    }
    return entered == abi ? jump(pool, out, target, error) : cross(pool, out, &shape, target, error);
}
