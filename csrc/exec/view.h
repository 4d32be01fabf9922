/* The two views of a region: the same memory mapped at two addresses, executable at one and writable at the
 * other. Where the processor gives each thread its own rights (macOS on arm64), both are one mapping. */
#ifndef XB_EXEC_VIEW_H
#define XB_EXEC_VIEW_H

#include "../base/compiler.h"
#include "../prim/prim.h"
#include "park.h"

XB_PRIVATE_BEGIN

/* Maps a region's views with the platform's first backend that works: one that passes the self-test in the
 * new region. Page 0 of the region is filled with traps afterwards; the other pages are zero.
 *
 * Returns: EXECBUF_OK;
 *          EXECBUF_E_NO_MEMORY            at least one backend failed because something ran out;
 *          EXECBUF_E_TOO_FAR              there is no address space in the window;
 *          EXECBUF_E_DENIED               the system refused every backend, or all are excluded;
 *          EXECBUF_E_UNSUPPORTED          the platform has no regions;
 *          EXECBUF_E_READ_IMPLIES_EXEC    the personality makes readable memory executable.
 * In/out: views:    its key is that of the writable view, and not_inherited is given. The views; unchanged on
 *                   failure. Unmap them with xb_views_free.
 * Out:    backend:  the backend; unchanged on failure.
 * In:     size:     of each view, as for xb_prim_map_region.
 *         window:   where rx is, as for xb_prim_stage.
 *         name:     as for xb_prim_map_region.
 *         backends: the set of backends that may be used; 0: all.
 * Out:    error:    the report, not NULL. On success it lists the attempts that failed before. */
execbuf_status xb_views_new(xb_prim_views *views, execbuf_backend *backend, size_t size,
                            const xb_prim_window *window, const char *name, uint32_t backends,
                            execbuf_error *error);

/* Unmaps a region's views, now or, if the system refuses, during a later call. Then calls done(owner).
 *
 * In: views: the views; rw is NULL in the child of a fork, which did not inherit it.
 *     size:  the size of each.
 *     node, done, owner: as for xb_unmap_or_park. */
void xb_views_free(const xb_prim_views *views, size_t size, xb_parked *node, void (*done)(void *owner),
                   void *owner);

/* Runs the self-test of a backend for regions, in a temporary region.
 *
 * Returns: success, or the call that failed. */
xb_result xb_selftest_views(execbuf_backend backend);

XB_PRIVATE_END

#endif
