/* The self-test: write, call, and for a backend that is to rewrite code, also rewrite and call. A backend
 * must pass it before it is used.
 *
 * It detects systems that refuse one of the steps, and emulators that keep running the old code after a
 * rewrite. */
#ifndef XB_EXEC_SELFTEST_H
#define XB_EXEC_SELFTEST_H

#include "../base/compiler.h"
#include "../prim/prim.h"

XB_PRIVATE_BEGIN

/* The names in place of a failed call, if every call succeeded but the wrong code ran. */
#define XB_SELFTEST_WRONG "self-test: the code written was not the code that ran"
#define XB_SELFTEST_STALE "self-test: old code ran after a rewrite, as in some emulators"

/* Makes code executable at target. again is false for the first code and true for the code that replaces it.
 */
typedef xb_result (*xb_selftest_write)(const void *target, const uint8_t *code, size_t length, bool again);

/* Runs the self-test. Its second half, the rewrite, is run if rewrites is true.
 *
 * Returns: success; the failure of write; XB_SELFTEST_WRONG or XB_SELFTEST_STALE.
 * In: write:    writes code; called once or twice.
 *     target:   the argument of write.
 *     entry:    the entry of the code that write wrote.
 *     rewrites: whether to test a rewrite, too. */
xb_result xb_selftest(xb_selftest_write write, const void *target, const uint8_t *entry, bool rewrites);

/* Runs the self-test of a backend for dedicated mappings on a temporary page.
 *
 * Preconditions: the process's lock is not held.
 * Returns: success, or the call that failed.
 * In: rewrites: as for xb_selftest. Publishing must not depend on what only a rewrite needs (on Linux,
 *               mremap). */
xb_result xb_selftest_pages(execbuf_backend backend, bool rewrites);

XB_PRIVATE_END

#endif
