/* Public functions on pools. Each checks its arguments and calls pool/. */

#include <string.h>

#include "../base/compiler.h"
#include "../base/error.h"
#include "../base/handle.h"
#include "../base/sized.h"
#include "../exec/choice.h"
#include "../exec/ladder.h"
#include "../pool/put.h"
#include "../pool/query.h"
#include "../prim/prim.h"
#include "buffer.h"
#include "describe.h"
#include "placement.h"
#include "pool.h"
#include "process.h"
#include "roomy.h"

/* ---- Making and freeing pools ---- */

execbuf_status xb_api_pool_new(execbuf_pool **out, const xb_pool_options *options, execbuf_error *error) {
    execbuf_status status = xb_process_ready(error);
    if (status == EXECBUF_OK) {
        status = xb_ladder_check(error);
    }
    if (status != EXECBUF_OK) {
        return status;
    }
    if (!xb_choice_allows_any(options->backends)) {
        return xb_error_set(error, EXECBUF_E_BACKENDS, "backends", 0);
    }
    if (options->not_inherited && !xb_prim_query().keeps_from_children) {
        return xb_error_set(error, EXECBUF_E_UNSUPPORTED, "not_inherited", 0);
    }
    xb_pool_options known = *options;
    known.key = XB_PRIM_NO_KEY;
    xb_result result = options->has_key ? xb_prim_get_key(&known.key) : xb_ok();
    if (result.call != NULL) {
        return xb_error_set(error, EXECBUF_E_UNSUPPORTED, result.call, result.code);
    }
    *out = xb_pool_new(&known);
    return *out != NULL ? xb_error_ok(error) : xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
}

execbuf_status execbuf_pool_new(execbuf_pool **out, const execbuf_pool_options *options,
                                execbuf_error *error) {
    execbuf_pool_options known = EXECBUF_POOL_OPTIONS_INIT;
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = NULL;
    if (options != NULL && !xb_sized_read(&known, options, sizeof known)) {
        return xb_error_set(error, EXECBUF_E_VERSION, "options", 0);
    }
    if (known.protection_key > 1 || known.not_inherited > 1 || known.reserved != 0) {
        const char *culprit = known.protection_key > 1  ? "protection_key"
                              : known.not_inherited > 1 ? "not_inherited"
                                                        : "reserved";
        return xb_error_set(error, EXECBUF_E_VERSION, culprit, 0);
    }
    xb_pool_options checked = {XB_ANYWHERE,
                               known.reach,
                               known.name != NULL ? known.name : "execbuf",
                               known.backends,
                               known.protection_key == 1,
                               XB_PRIM_NO_KEY,
                               known.not_inherited == 1};
    if (strlen(checked.name) > EXECBUF_POOL_NAME_MAX) {
        return xb_error_set(error, EXECBUF_E_TOO_LARGE, "name", 0);
    }
    execbuf_status status = xb_api_window(&known.placement, &checked.window, error);
    return status == EXECBUF_OK ? xb_api_pool_new(out, &checked, error) : status;
}

void execbuf_pool_free(execbuf_pool *pool) {
    if (pool != NULL) {
        xb_pool_free(pool);
    }
}

/* ---- Publishing ---- */

/* The report of execbuf_pool_publish if an argument is NULL. Not inlined: the fast path has to stay small. */
XB_COLD execbuf_status refuse_null(const execbuf_pool *pool, execbuf *out, execbuf_error *error) {
    if (out != NULL) {
        *out = xb_no_buffer;
    }
    const char *culprit = pool == NULL ? "pool" : out == NULL ? "out" : "code";
    return xb_error_set(error, EXECBUF_E_NULL, culprit, 0);
}

execbuf_status execbuf_pool_publish(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                                    execbuf_error *error) {
    if (XB_UNLIKELY(pool == NULL || out == NULL || code == NULL)) {
        return refuse_null(pool, out, error);
    }
    return xb_pool_put(pool, out, code, length, error);
}

/* Checks the pointers of a batch, and sets the handles to all zero.
 *
 * In: input: what is published or reserved, an argument of this name. */
static execbuf_status begin_batch(const execbuf_pool *pool, execbuf *out, const void *input, const char *name,
                                  size_t count, execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = xb_no_buffer;
    }
    if (pool == NULL || input == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, pool == NULL ? "pool" : name, 0);
    }
    return EXECBUF_OK;
}

execbuf_status execbuf_pool_publish_batch(execbuf_pool *pool, execbuf *out, const execbuf_code *codes,
                                          size_t count, execbuf_error *error) {
    if (count == 0) { /* whatever the pointers are */
        return xb_error_ok(error);
    }
    execbuf_status status = begin_batch(pool, out, codes, "codes", count, error);
    if (status == EXECBUF_OK) {
        status = xb_api_check_codes(codes, count, error);
    }
    if (status == EXECBUF_OK && xb_api_may_need_room()) {
        return xb_api_publish_batch_with_room(pool, out, codes, count, error);
    }
    status = status == EXECBUF_OK ? xb_pool_put_batch(pool, out, codes, count, error) : status;
    return status == EXECBUF_OK ? xb_api_describe_batch(out, codes, count, error) : status;
}

execbuf_status execbuf_pool_reserve(execbuf_pool *pool, execbuf *out, size_t capacity, execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = xb_no_buffer;
    if (pool == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "pool", 0);
    }
    return xb_pool_reserve(pool, out, capacity, error);
}

execbuf_status execbuf_pool_reserve_batch(execbuf_pool *pool, execbuf *out, const execbuf_room *rooms,
                                          size_t count, execbuf_error *error) {
    if (count == 0) { /* whatever the pointers are */
        return xb_error_ok(error);
    }
    execbuf_status status = begin_batch(pool, out, rooms, "rooms", count, error);
    if (status != EXECBUF_OK) {
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        if (rooms[i].capacity == 0) {
            return xb_error_set_at(error, EXECBUF_E_EMPTY, "capacity", i);
        }
        if ((rooms[i].reserved[0] | rooms[i].reserved[1]) != 0) {
            return xb_error_set_at(error, EXECBUF_E_VERSION, "reserved", i);
        }
    }
    return xb_pool_reserve_batch(pool, out, rooms, count, error);
}

/* ---- Questions ---- */

/* A pool that is only asked is const for its user, although its lock changes. */
static execbuf_pool *lockable(const execbuf_pool *pool) {
    return (execbuf_pool *)pool;
}

execbuf_status execbuf_pool_lookup(const execbuf_pool *pool, execbuf_place *place, const void *address) {
    if (place != NULL && !xb_sized_is_valid(place)) {
        return EXECBUF_E_VERSION;
    }
    execbuf_place found = EXECBUF_PLACE_INIT;
    execbuf_status status = EXECBUF_E_NULL;
    if (pool != NULL) {
        status = xb_pool_find(pool, address, &found) ? EXECBUF_OK : EXECBUF_E_NOT_FOUND;
    }
    if (place != NULL) {
        xb_sized_write(place, &found, sizeof found);
    }
    return status;
}

const char *execbuf_pool_name(const execbuf_pool *pool) {
    return pool != NULL ? pool->name : "";
}

size_t execbuf_pool_code_bytes(const execbuf_pool *pool) {
    return pool != NULL ? xb_pool_code_bytes(lockable(pool)) : 0;
}

execbuf_status execbuf_pool_get_stats(const execbuf_pool *pool, execbuf_pool_stats *stats) {
    if (stats == NULL) {
        return EXECBUF_E_NULL;
    }
    if (!xb_sized_is_valid(stats)) {
        return EXECBUF_E_VERSION;
    }
    execbuf_pool_stats known = EXECBUF_POOL_STATS_INIT;
    if (pool != NULL) {
        xb_pool_stats(lockable(pool), &known);
    }
    xb_sized_write(stats, &known, sizeof known);
    return pool != NULL ? EXECBUF_OK : EXECBUF_E_NULL;
}
