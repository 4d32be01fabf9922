/*
 * The ladder: tries the platform's backends in order, lets each prove itself, and remembers which one
 * works. Ranges of pages are as prim.h describes them.
 */
#ifndef XB_EXEC_LADDER_H
#define XB_EXEC_LADDER_H

#include "../base/trap.h"
#include "../prim/prim.h"

/* From the start of a mapping to the first entry in it, in bytes: room for what sanitizers read before a
 * function (LLVM issue 65253). */
#define XB_ENTRY_OFFSET 16U

/* What the self-tests say. */
#define XB_SELFTEST_WRONG "self-test: the code written was not the code that ran"
#define XB_SELFTEST_STALE "self-test: old code ran after a rewrite, as in some emulators"

/* Calls the code at entry, which xb_isa_constant wrote. */
int xb_selftest_call(const uint8_t *entry);

/* Lets a backend prove itself on a page of its own: write, call, rewrite, call. */
xb_result xb_selftest_pages(execbuf_backend backend);

/* Adds an attempt to a report, and draws the conclusion from all so far: if one failed for want of something,
 * then with more of it that one would have worked. Else the last refusal counts. */
void xb_ladder_add_attempt(execbuf_error *error, execbuf_backend backend, xb_result result);

/* In the child of a fork, which may be about to give up rights: what worked in the parent proves nothing.
 * Called with the lock held. */
void xb_ladder_forget(void);

/* To be called before pages are staged: whether code can be published at all.
 *
 * Returns: EXECBUF_OK, EXECBUF_E_UNSUPPORTED or EXECBUF_E_READ_IMPLIES_EXEC. */
execbuf_status xb_ladder_check(execbuf_error *error);

/* Commits staged pages by the given backend, or by the first that works if it is NONE. Ends what
 * xb_prim_begin_write began. On failure the pages are still staged.
 *
 * Returns: EXECBUF_OK; EXECBUF_E_NO_MEMORY if an attempt failed for want of something;
 *          EXECBUF_E_DENIED. */
execbuf_status xb_ladder_publish(execbuf_backend backend, void *base, size_t size, execbuf_error *error);

/* Overwrites length bytes from offset on of the committed pages at base, by the given backend, or
 * by the first that works if it is NONE.
 *
 * Returns: EXECBUF_OK; EXECBUF_E_NO_MEMORY or EXECBUF_E_DENIED with the pages as they were;
 *          EXECBUF_E_LOST with the pages' old content, staged. */
execbuf_status xb_ladder_rewrite(execbuf_backend backend, void *base, size_t size, size_t offset,
                                 const void *code, size_t length, execbuf_error *error);

#endif
