/* The self-test: write, call, rewrite, call. A backend must pass it before it is used.
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

/* Runs the self-test.
 *
 * Returns: success; the failure of write; XB_SELFTEST_WRONG or XB_SELFTEST_STALE.
 * In: write:  writes code; called twice.
 *     target: the argument of write.
 *     entry:  the entry of the code that write wrote. */
xb_result xb_selftest(xb_selftest_write write, const void *target, const uint8_t *entry);

/* Runs the self-test of a backend for dedicated mappings on a temporary page.
 *
 * Preconditions: the process's lock is not held.
 * Returns: success, or the call that failed. */
xb_result xb_selftest_pages(execbuf_backend backend);

XB_PRIVATE_END

#endif
