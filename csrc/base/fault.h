/*
 * Fault injection, for tests only. Where a system call or an allocation could fail and something is to be
 * done about it, the code asks XB_FAULT(name) first, and behaves as if the call had failed with the code
 * that this returns, unless that is 0. Two names stand for ways to behave: "flip" (refused) and "stale". In
 * an is_active build it is the constant 0, and the compiler removes the rest.
 */
#ifndef XB_BASE_FAULT_H
#define XB_BASE_FAULT_H

#include <stdint.h>

#ifdef EXECBUF_FAULT_INJECTION
/* Defined by the test program: the code that the call of this name is to fail with now, or 0. */
int32_t xb_fault(const char *call);
#define XB_FAULT(call) xb_fault(call)
#else
#define XB_FAULT(call) 0
#endif

#endif
