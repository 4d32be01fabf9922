/* The self-test: write, call, rewrite, call. A backend has to pass it before it is used.
 *
 * It detects systems that refuse a step (a policy, an emulator) and emulators that go on running the old code
 * after a rewrite. */
#ifndef XB_EXEC_SELFTEST_H
#define XB_EXEC_SELFTEST_H

#include "../base/compiler.h"
#include "../prim/prim.h"

XB_PRIVATE_BEGIN

/* The "calls" that fail if the self-test itself finds something wrong. */
#define XB_SELFTEST_WRONG "self-test: the code written was not the code that ran"
#define XB_SELFTEST_STALE "self-test: old code ran after a rewrite, as in some emulators"

/* Makes code executable at target: new code, or if again is true, code in place of the first. */
typedef xb_result (*xb_selftest_write)(const void *target, const uint8_t *code, size_t length, bool again);

/* Runs the self-test.
 *
 * Returns: success, the failure of write, or a failure of the names above.
 * In: write:  is called once with new code, and once again.
 *     target: for write.
 *     entry:  where the code that write wrote begins. */
xb_result xb_selftest(xb_selftest_write write, const void *target, const uint8_t *entry);

/* Runs the self-test of a backend for dedicated mappings, on a temporary page.
 *
 * Preconditions: the process's lock is not held. */
xb_result xb_selftest_pages(execbuf_backend backend);

XB_PRIVATE_END

#endif
