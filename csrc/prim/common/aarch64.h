/* Cache maintenance of AArch64 for memory that is written at one address and executed at another. */
#ifndef XB_PRIM_COMMON_AARCH64_H
#define XB_PRIM_COMMON_AARCH64_H

#include <stddef.h>
#include <stdint.h>

#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))

/* The sequence of the Arm Architecture Reference Manual, B2.4.4:
 *
 *     dc cvau, rw…    clean the data cache, by the addresses that were written
 *     dsb ish         wait until that is done on all processors
 *     ic ivau, rx…    invalidate the instruction cache, by the addresses that will be executed
 *     dsb ish         wait
 *     isb             discard what this processor has fetched
 *
 * CTR_EL0 holds the sizes of the cache lines, as the logarithm of their number of words. The cores of a
 * machine may differ, and the kernel then reports the smallest; reading it each time needs no state. Its
 * flags that make steps unnecessary (IDC, DIC) are ignored. */
static inline void aarch64_sync(const uint8_t *rx, const uint8_t *rw, size_t size) {
    uint64_t ctr;
    __asm__ volatile("mrs %0, ctr_el0" : "=r"(ctr));
    uintptr_t data_line = (uintptr_t)4 << (ctr >> 16 & 15);
    uintptr_t instruction_line = (uintptr_t)4 << (ctr & 15);
    uintptr_t end = (uintptr_t)rw + size;
    for (uintptr_t at = (uintptr_t)rw & ~(data_line - 1); at < end; at += data_line) {
        __asm__ volatile("dc cvau, %0" : : "r"(at) : "memory");
    }
    __asm__ volatile("dsb ish" : : : "memory");
    end = (uintptr_t)rx + size;
    for (uintptr_t at = (uintptr_t)rx & ~(instruction_line - 1); at < end; at += instruction_line) {
        __asm__ volatile("ic ivau, %0" : : "r"(at) : "memory");
    }
    __asm__ volatile("dsb ish\n\tisb" : : : "memory");
}

#endif

#endif
