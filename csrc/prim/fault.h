/*
 * Fault injection, for tests only. Every function in the platform files that makes a system call, and every
 * allocation, asks EXECBUF_FAULT(name) first, and behaves as if the call had failed if it says so. In an
 * ordinary build the question is the constant 0 and the compiler removes it.
 */
#ifndef EXECBUF_FAULT_H
#define EXECBUF_FAULT_H

#ifdef EXECBUF_FAULT_INJECTION
#include <stdbool.h>
/* Defined by the test program: whether the call of this name is to fail now. */
bool execbuf_fault(const char *call);
#define EXECBUF_FAULT(call) execbuf_fault(call)
#else
#define EXECBUF_FAULT(call) 0
#endif

#endif
