/* The two views of a region: the same memory mapped twice, executable at one address and writable at the
 * other (at the same address where the processor gives threads different rights). */
#ifndef XB_EXEC_VIEW_H
#define XB_EXEC_VIEW_H

#include "../base/compiler.h"
#include "../prim/prim.h"
#include "park.h"

XB_PRIVATE_BEGIN

/* Maps a region's views by the first backend of the platform that works. Each has to pass the self-test in
 * its new region, whose first page is filled with traps afterwards; the rest of the region holds zeros.
 *
 * Returns: EXECBUF_OK;
 *          EXECBUF_E_NO_MEMORY, EXECBUF_E_DENIED, EXECBUF_E_TOO_FAR
 *          EXECBUF_E_UNSUPPORTED         the platform has no regions;
 *          EXECBUF_E_READ_IMPLIES_EXEC.
 * Out: views:   the views, of xb_prim_query().region_size bytes each; unchanged on failure. Unmap them with
 *               xb_views_free.
 *      backend: the backend; unchanged on failure.
 * In:  near_to: as for xb_prim_stage.
 *      name:    as for xb_prim_map_region.
 * Out: error:   the report, not NULL. On success it lists the attempts that failed before. */
execbuf_status xb_views_new(xb_prim_views *views, execbuf_backend *backend, const void *near_to,
                            const char *name, execbuf_error *error);

/* Unmaps a region's views, now or, if the system refuses, in a later call; then calls done(owner).
 *
 * In: views: the views; rw is NULL in the child of a fork, which did not inherit it.
 *     size:  the size of each.
 *     node, done, owner: as for xb_unmap_or_park. */
void xb_views_free(const xb_prim_views *views, size_t size, xb_parked *node, void (*done)(void *owner),
                   void *owner);

/* Whether a backend can map views: maps a region and runs the self-test in it. The process's lock is not
 * held. */
xb_result xb_selftest_views(execbuf_backend backend);

XB_PRIVATE_END

#endif
