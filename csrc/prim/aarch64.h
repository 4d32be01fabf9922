/* Cache maintenance of AArch64 for memory with two addresses. */
#ifndef XB_PRIM_AARCH64_H
#define XB_PRIM_AARCH64_H

#include "prim.h"

#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
/* Arm ARM, B2.4.4: clean the data cache by the address that was written, wait, invalidate the instruction
 * cache by the address that is to be executed, wait. The line sizes are read each time, since they can differ
 * between the cores of one machine; the kernel then gives the smallest. The barriers are there whatever the
 * caches are like. */
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
