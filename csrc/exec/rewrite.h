/* Changing published pages with one given backend. */
#ifndef XB_EXEC_REWRITE_H
#define XB_EXEC_REWRITE_H

#include "../base/compiler.h"
#include "../prim/prim.h"

XB_PRIVATE_BEGIN

/* A change of published pages: code replaces the length bytes at offset. */
typedef struct xb_rewrite {
    void *base; /* whole pages within one mapping */
    size_t size;
    size_t offset;    /* from base */
    const void *code; /* may lie in the pages themselves */
    size_t length;
    uint32_t backends;  /* the set of those that the ladder may use; 0: all */
    bool not_inherited; /* the children of a fork do not have the pages */
    bool is_private;    /* only flip has published the pages, so no other process sees writes to them */
} xb_rewrite;

/* Changes published pages with the given backend. No other backend is tried.
 *
 * Preconditions: no other thread changes the pages or runs code in them; the process's lock is not held.
 * Returns: EXECBUF_OK                               the pages are published with the change;
 *          EXECBUF_E_NO_MEMORY, EXECBUF_E_DENIED    the pages are as they were;
 *          EXECBUF_E_LOST                           the pages have their old content but are not executable,
 *                                                   only staged. Only if they were rewritten in place.
 * Out: error: the report; not NULL. */
execbuf_status xb_rewrite_pages(execbuf_backend backend, const xb_rewrite *change, execbuf_error *error);

XB_PRIVATE_END

#endif
