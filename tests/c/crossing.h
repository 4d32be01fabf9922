/* What the programs share that tests/thunk_compilers generates: calls through thunks, whose both ends are
 * what a compiler makes of its own support for the two conventions. crossing.c is the fixed part.
 */
#ifndef CROSSING_H
#define CROSSING_H

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "execbuf.h"

#define SYSV64 __attribute__((sysv_abi))
#define WIN64 __attribute__((ms_abi))

/* Compilers have builtins for the convention that is not the system's. */
#if defined(_WIN32)
#define WIN64_LIST va_list
#define WIN64_START va_start
#define WIN64_ARGUMENT va_arg
#define SYSV64_LIST __builtin_sysv_va_list
#define SYSV64_START __builtin_sysv_va_start
#define SYSV64_ARGUMENT __builtin_va_arg
#else
#define SYSV64_LIST va_list
#define SYSV64_START va_start
#define SYSV64_ARGUMENT va_arg
#define WIN64_LIST __builtin_ms_va_list
#define WIN64_START __builtin_ms_va_start
#define WIN64_ARGUMENT __builtin_va_arg
#endif

/* What the current call's arguments and result are, all 64 bits of each: the upper bits of small integers are
 * dirty, and volatile keeps compilers from cleaning them. */
extern volatile uint64_t sent[EXECBUF_MAX_ARGUMENTS];
extern volatile uint64_t sent_result;

/* What the target reports: its arguments, small integers widened by its compiler, floats as their bits; how
 * many there are; and whether its stack is aligned. */
extern uint64_t got[EXECBUF_MAX_ARGUMENTS];
extern unsigned got_count;
extern unsigned is_aligned;

/* Whether thunks are made by execbuf_thunk_new, and some of them are kept meanwhile, so that they share code
 * if it is alike; else by execbuf_thunk_emit. */
extern int shares;

/* Publishes a thunk of a signature for a target, and chooses what is sent. The thunk is called by one
 * convention, the target is of the other.
 *
 * Returns: a function that is called instead of the thunk, and sees to the registers.
 * In: text:  the signature of both.
 *     moved: the signature by which the thunk moves the arguments. */
void (*prepare(const char *text, const char *moved, execbuf_abi caller, void (*target)(void)))(void);

/* Looks at what the target got, at the bits of the result, widened by its type, and at the registers. */
void conclude(uint64_t result);

static inline uint64_t bits_of_f64(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline uint64_t bits_of_f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline double f64_of(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float f32_of(uint64_t bits) {
    uint32_t low = (uint32_t)bits;
    float value;
    memcpy(&value, &low, sizeof value);
    return value;
}

/* In a target, after it has stored its arguments: looks at the alignment of its stack, and overwrites what
 * its convention lets it overwrite. */
#define LOOK_AT_STACK(count)                                                                                 \
    do {                                                                                                     \
        _Alignas(16) volatile char probe[16] = {0};                                                          \
        uintptr_t address = (uintptr_t)probe;                                                                \
        __asm__ volatile("" : "+r"(address));                                                                \
        is_aligned = address % 16 == 0;                                                                      \
        got_count = (count);                                                                                 \
    } while (0)

#define CLOBBER_VECTORS_0_TO_5                                                                               \
    "pcmpeqd %%xmm0, %%xmm0\n\tmovaps %%xmm0, %%xmm1\n\tmovaps %%xmm0, %%xmm2\n\tmovaps %%xmm0, %%xmm3\n\t"  \
    "movaps %%xmm0, %%xmm4\n\tmovaps %%xmm0, %%xmm5\n\t"
#define CLOBBER_VECTORS_6_TO_15                                                                              \
    "movaps %%xmm0, %%xmm6\n\tmovaps %%xmm0, %%xmm7\n\tmovaps %%xmm0, %%xmm8\n\tmovaps %%xmm0, %%xmm9\n\t"   \
    "movaps %%xmm0, %%xmm10\n\tmovaps %%xmm0, %%xmm11\n\tmovaps %%xmm0, %%xmm12\n\t"                         \
    "movaps %%xmm0, %%xmm13\n\tmovaps %%xmm0, %%xmm14\n\tmovaps %%xmm0, %%xmm15\n\t"
#define CLOBBER_BOTH                                                                                         \
    "movq $-1, %%rax\n\tmovq %%rax, %%rcx\n\tmovq %%rax, %%rdx\n\tmovq %%rax, %%r8\n\t"                      \
    "movq %%rax, %%r9\n\tmovq %%rax, %%r10\n\tmovq %%rax, %%r11\n\t"
#define BOTH_LIST                                                                                            \
    "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5"

#define CLOBBER_SYSV64()                                                                                     \
    __asm__ volatile(CLOBBER_BOTH CLOBBER_VECTORS_0_TO_5 CLOBBER_VECTORS_6_TO_15                             \
                     "movq %%rax, %%rdi\n\tmovq %%rax, %%rsi"                                                \
                     :                                                                                       \
                     :                                                                                       \
                     : BOTH_LIST, "rdi", "rsi", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",   \
                       "xmm13", "xmm14", "xmm15")
#define CLOBBER_WIN64() __asm__ volatile(CLOBBER_BOTH CLOBBER_VECTORS_0_TO_5 : : : BOTH_LIST)

#endif
