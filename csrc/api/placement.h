/* From execbuf_placement to addresses. */
#ifndef XB_API_PLACEMENT_H
#define XB_API_PLACEMENT_H

#include "../base/compiler.h"
#include "../include/execbuf.h"
#include "../prim/prim.h"

XB_PRIVATE_BEGIN

/* Initialises an xb_prim_window. */
#define XB_ANYWHERE                                                                                          \
    { 0, UINTPTR_MAX, 0 }

/* Computes the window of a placement.
 *
 * Returns: EXECBUF_OK;
 *          EXECBUF_E_NULL       there is a distance, but no address;
 *          EXECBUF_E_TOO_FAR    no address satisfies all conditions.
 * Out: window: the window; unchanged on failure.
 *      error:  the report, or NULL. */
execbuf_status xb_api_window(const execbuf_placement *placement, xb_prim_window *window,
                             execbuf_error *error);

XB_PRIVATE_END

#endif
