/* The library and the process it runs in: what happens when the process forks. */
#ifndef XB_API_PROCESS_H
#define XB_API_PROCESS_H

#include "../base/compiler.h"
#include "../include/execbuf.h"

XB_PRIVATE_BEGIN

/* Notices if this process was made by raw clone(2), and registers the library's fork handlers. Public
 * functions call it before they make anything that a fork must not damage: a buffer or a pool. Cheap after
 * the first success.
 *
 * Returns: EXECBUF_OK, and *error is as it was, EXECBUF_E_NO_MEMORY or EXECBUF_E_DENIED. */
execbuf_status xb_process_ready(execbuf_error *error);

XB_PRIVATE_END

#endif
