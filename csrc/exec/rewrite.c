/* The two ways to change published pages: in a copy that replaces them, and in place.
 * xb_prim_info.can_replace says which one a platform uses. Where the first is refused, pages that flip has
 * published change in place.
 *
 * Both use one named backend and never try another: the ladder and the self-test call this file, so it must
 * not call them. The process's lock is not held on entry. */

#include "rewrite.h"

#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../base/fault.h"
#include "../prim/report.h"
#include "park.h"

/* Copies pages to staged ones, with the change. It is not inlined, because gcc would warn of a null copy on
 * platforms where xb_prim_stage always fails. */
XB_COLD void fill_copy(void *copy, const xb_rewrite *change) {
    xb_prim_begin_write(XB_PRIM_NO_KEY);
    memcpy(copy, change->base, change->size);
    memcpy((uint8_t *)copy + change->offset, change->code, change->length);
    xb_prim_end_write(XB_PRIM_NO_KEY);
}

/* Writes bytes to pages that were reopened, and publishes the pages. */
static xb_result write_reopened(execbuf_backend backend, const xb_rewrite *change, const void *bytes) {
    xb_prim_begin_write(XB_PRIM_NO_KEY);
    memmove((uint8_t *)change->base + change->offset, bytes, change->length);
    xb_prim_end_write(XB_PRIM_NO_KEY);
    return xb_prim_publish(backend, change->base, change->size);
}

/* Returns the pages to the staged state, changes them and publishes them. If that fails, restores the old
 * bytes and publishes those.
 *
 * In: old: memory for length bytes, the old ones. */
static execbuf_status rewrite_reopened(execbuf_backend backend, const xb_rewrite *change, uint8_t *old,
                                       execbuf_error *error) {
    memcpy(old, (const uint8_t *)change->base + change->offset, change->length);
    xb_result result = xb_prim_reopen(change->base, change->size);
    if (result.call != NULL) {
        return xb_error_from_system(error, result);
    }
    result = write_reopened(backend, change, change->code);
    if (result.call == NULL) {
        return xb_error_ok(error);
    }
    (void)xb_error_from_system(error, result);
    if (write_reopened(backend, change, old).call != NULL) {
        error->status = EXECBUF_E_LOST; /* the culprit stays that of the first failure */
    }
    return error->status;
}

static execbuf_status rewrite_in_place(execbuf_backend backend, const xb_rewrite *change,
                                       execbuf_error *error) {
    uint8_t few[64]; /* enough for the self-test, which therefore does not use the heap */
    if (change->length <= sizeof few) {
        return rewrite_reopened(backend, change, few, error);
    }
    uint8_t *many = XB_FAULT("malloc") != 0 ? NULL : (uint8_t *)malloc(change->length);
    if (many == NULL) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "malloc", 0);
    }
    execbuf_status status = rewrite_reopened(backend, change, many, error);
    free(many);
    return status;
}

/* Changes pages in place after the system refused to replace them. The copy was published a moment ago, so
 * publishing the pages again will hardly be refused. Only private pages are reopened: a write to them does
 * not reach a forked process. */
static execbuf_status rewrite_unreplaced(execbuf_backend backend, const xb_rewrite *change, xb_result refusal,
                                         execbuf_error *error) {
    bool may_reopen = change->is_private && backend == EXECBUF_BACKEND_FLIP;
    if (!may_reopen || xb_prim_is_exhaustion(refusal.code)) {
        return xb_error_from_system(error, refusal);
    }
    execbuf_status status = rewrite_in_place(backend, change, error);
    if (status == EXECBUF_OK) {
        (void)xb_prim_barrier(); /* other processors may have fetched the old code */
    }
    return status;
}

/* Copies the old pages, changes and publishes the copy, and moves it over the old pages in one step. The old
 * pages are not written, since a forked process may map them, too; and until that last step they stay as they
 * are. */
static execbuf_status rewrite_by_replacing(execbuf_backend backend, const xb_rewrite *change,
                                           execbuf_error *error) {
    void *copy = NULL;
    xb_result result = xb_may_map_temporary();
    if (result.call == NULL) {
        result = xb_prim_stage(change->size, NULL, &copy);
    }
    if (result.call == NULL && change->not_inherited) {
        result = xb_prim_keep_from_children(copy, change->size);
        if (result.call != NULL) {
            xb_unmap_temporary(copy, NULL, change->size);
        }
    }
    if (result.call != NULL) {
        return xb_error_from_system(error, result);
    }
    fill_copy(copy, change);
    result = xb_prim_publish(backend, copy, change->size);
    if (result.call != NULL) {
        xb_unmap_temporary(copy, NULL, change->size);
        return xb_error_from_system(error, result);
    }
    result = xb_prim_replace(change->base, copy, change->size);
    if (result.call != NULL) {
        xb_unmap_temporary(copy, NULL, change->size);
        return rewrite_unreplaced(backend, change, result, error);
    }
    return xb_error_ok(error);
}

execbuf_status xb_rewrite_pages(execbuf_backend backend, const xb_rewrite *change, execbuf_error *error) {
    return xb_prim_query().can_replace ? rewrite_by_replacing(backend, change, error)
                                       : rewrite_in_place(backend, change, error);
}
