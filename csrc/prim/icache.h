/* Cache maintenance on the fast path of publishing in a pool. On x86 outside of Windows all of it is nothing,
 * so it is inline. */
#ifndef XB_PRIM_ICACHE_H
#define XB_PRIM_ICACHE_H

#include "prim.h"

/* 1 if both views of a region are at the same address, so that each write needs xb_prim_begin_write. Else 0,
 * and xb_prim_begin_write does nothing. */
#if defined(__APPLE__)
#define XB_ONE_VIEW 1
#else
#define XB_ONE_VIEW 0
#endif

/* As xb_prim_sync. x86 keeps its instruction caches coherent by itself. On Windows the call is made
 * all the same: the program may run in an emulator, which needs to know. */
static inline void xb_sync(const uint8_t *rx, const uint8_t *rw, size_t size) {
#if (defined(__x86_64__) || defined(__i386__)) && !defined(_WIN32)
    (void)rx;
    (void)rw;
    (void)size;
#else
    xb_prim_sync(rx, rw, size);
#endif
}

/* The barrier after xb_sync, if the addresses never held other code since the last barrier. x86 needs none,
 * since no processor can have fetched old instructions from there. On RISC-V, xb_prim_sync reaches all
 * threads already. */
static inline void xb_fresh_barrier(void) {
#if !defined(__x86_64__) && !defined(__i386__) && !defined(_M_X64) && !defined(_M_IX86) && !defined(__riscv)
    (void)xb_prim_barrier();
#endif
}

#endif
