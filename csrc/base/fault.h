/* Fault injection, for tests only.
 *
 * Before each system call or allocation whose failure is handled, the code asks XB_FAULT(name). If the answer
 * is not 0, it behaves as if the call had failed with that error code, and does not make the call. Two names
 * are no calls: "flip" (the system says that it refuses the flip backend) and "stale" (an emulator runs old
 * code after a rewrite). In all other builds XB_FAULT is the constant 0, and the compiler removes the rest.
 */
#ifndef XB_BASE_FAULT_H
#define XB_BASE_FAULT_H

#include <stdint.h>

#ifdef EXECBUF_FAULT_INJECTION
/* Defined by the test program. Returns the error code with which this call fails now, or 0. */
int32_t xb_fault(const char *call);
#define XB_FAULT(call) xb_fault(call)
#else
#define XB_FAULT(call) 0
#endif

#endif
