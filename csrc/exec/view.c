/* Mapping and unmapping the two views of regions, and the self-test of views.
 *
 * Views are temporary mappings until they have passed the self-test. From then on the caller owns them and
 * provides the node that parks them. The process's lock is not held on entry. */

#include "view.h"

#include <string.h>

#include "../base/error.h"
#include "../base/fault.h"
#include "../base/trap.h"
#include "../prim/report.h"
#include "choice.h"
#include "ladder.h"
#include "layout.h"
#include "selftest.h"

/* The writable view if this process has it as a separate mapping, otherwise NULL. */
static void *separate_rw(const xb_prim_views *views) {
    return views->rw != views->rx ? views->rw : NULL;
}

/* An xb_selftest_write for views: writes to page 0 through the writable view. */
static xb_result write_view(const void *target, const uint8_t *code, size_t length, bool again) {
    const xb_prim_views *views = (const xb_prim_views *)target;
    if (again && XB_FAULT("stale") != 0) {
        return xb_ok(); /* behave as an emulator that keeps running the old code */
    }
    xb_prim_begin_write(views->key);
    memcpy(views->rw + XB_ENTRY_OFFSET, code, length);
    xb_prim_end_write(views->key);
    xb_prim_sync(views->rx + XB_ENTRY_OFFSET, views->rw + XB_ENTRY_OFFSET, length);
    return xb_ok();
}

/* Runs the self-test in page 0 of a region, then fills the page with traps. It is never used again. */
static xb_result test_views(const xb_prim_views *views) {
    size_t page = xb_prim_query().page_size;
    xb_prim_begin_write(views->key);
    xb_result result = xb_prim_populate(views->rw, page);
    xb_prim_end_write(views->key);
    if (result.call == NULL) {
        result = xb_selftest(write_view, views, views->rx + XB_ENTRY_OFFSET, true);
    }
    if (result.call == NULL) {
        xb_prim_begin_write(views->key);
        xb_fill_traps(views->rw, page);
        xb_prim_end_write(views->key);
        xb_prim_sync(views->rx, views->rw, page);
    }
    return result;
}

/* Maps a region's views. If children do not get them, no fork comes between mapping the executable view and
 * that request: a child that had the view could read code that is written later. */
static xb_result map_both(execbuf_backend backend, size_t size, const xb_prim_window *window,
                          const char *name, xb_prim_views *views) {
    if (!views->not_inherited) {
        return xb_prim_map_region(backend, size, window, name, views);
    }
    xb_prim_lock(); /* a fork holds it */
    xb_result result = xb_prim_map_region(backend, size, window, name, views);
    bool is_mapped = result.call == NULL;
    if (is_mapped) {
        result = xb_prim_keep_from_children(views->rx, size);
    }
    xb_prim_unlock();
    if (is_mapped && result.call != NULL) {
        xb_unmap_temporary(views->rx, separate_rw(views), size);
    }
    return result;
}

/* Maps a region's views and runs the self-test in them. */
static xb_result map_views(execbuf_backend backend, size_t size, const xb_prim_window *window,
                           const char *name, xb_prim_views *views) {
    xb_prim_lock();
    xb_prim_arm_fork_mark(); /* a child does not inherit the writable view */
    xb_prim_unlock();
    xb_result result = xb_may_map_temporary();
    if (result.call == NULL) {
        result = map_both(backend, size, window, name, views);
    }
    if (result.call == NULL) {
        result = test_views(views);
        if (result.call != NULL) {
            xb_unmap_temporary(views->rx, separate_rw(views), size);
        }
    }
    return result;
}

xb_result xb_selftest_views(execbuf_backend backend) {
    size_t size = xb_prim_query().smallest_region;
    xb_prim_views views = {NULL, NULL, XB_PRIM_NO_KEY, false};
    xb_result result = map_views(backend, size, NULL, "execbuf", &views);
    if (result.call == NULL) {
        xb_unmap_temporary(views.rx, separate_rw(&views), size);
    }
    return result;
}

execbuf_status xb_views_new(xb_prim_views *views, execbuf_backend *backend, size_t size,
                            const xb_prim_window *window, const char *name, uint32_t backends,
                            execbuf_error *error) {
    uint32_t allowed = xb_choice_of(backends);
    xb_prim_info info = xb_prim_query();
    if (info.pool_backend_count == 0) {
        return xb_error_set(error, EXECBUF_E_UNSUPPORTED, NULL, 0);
    }
    xb_result result = xb_ok();
    execbuf_status status = xb_prim_check_process(&result);
    if (status != EXECBUF_OK) {
        return xb_error_set(error, status, result.call, result.code);
    }
    (void)xb_error_set(error, EXECBUF_OK, NULL, 0);
    for (size_t i = 0; i < info.pool_backend_count; i++) {
        if (!xb_has_backend(allowed, info.pool_backends[i])) {
            xb_ladder_add_excluded(error, info.pool_backends[i]);
            continue;
        }
        xb_prim_views mapped = {NULL, NULL, XB_PRIM_NO_KEY, false};
        mapped.key = views->key;
        mapped.not_inherited = views->not_inherited;
        result = map_views(info.pool_backends[i], size, window, name, &mapped);
        if (result.call == NULL) {
            *views = mapped;
            *backend = info.pool_backends[i];
            error->status = EXECBUF_OK;
            error->os_error = 0;
            error->culprit = NULL;
            return EXECBUF_OK;
        }
        xb_ladder_add_attempt(error, info.pool_backends[i], xb_error_status(result), result);
    }
    return error->status;
}

void xb_views_free(const xb_prim_views *views, size_t size, xb_parked *node, void (*done)(void *owner),
                   void *owner) {
    xb_unmap_or_park(node, views->rx, separate_rw(views), size, done, owner);
}
