/* For the programs that tests/thunk_compilers generates. They make calls through thunks; the compiler's own
 * support for the two conventions compiles both the caller and the target. And they call the targets by
 * execbuf_call, and by closures; on AArch64 they do nothing else. crossing.c is the part of the program that
 * is not generated.
 */
#ifndef CROSSING_H
#define CROSSING_H

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "execbuf.h"

#if defined(__x86_64__)
#define SYSV64 __attribute__((sysv_abi))
#define WIN64 __attribute__((ms_abi))

/* Compilers have builtins for variable arguments of the convention that is not the system's. */
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
#endif

/* The convention of this system. */
#define NATIVE
#define NATIVE_LIST va_list
#define NATIVE_START va_start
#define NATIVE_ARGUMENT va_arg

/* The arguments and the result of the current call, 64 bits each. The upper bits of small integers are
 * garbage, as the conventions allow; volatile keeps compilers from clearing them. */
extern volatile uint64_t sent[EXECBUF_MAX_ARGUMENTS];
extern volatile uint64_t sent_result;

/* The same for values that are not words of 64 bits: that of the result, then those of the arguments. */
#define MAX_VALUE 320
extern uint8_t sent_values[EXECBUF_MAX_ARGUMENTS + 1][MAX_VALUE];
extern uint8_t got_values[EXECBUF_MAX_ARGUMENTS + 1][MAX_VALUE];

/* A vector of 128 bits. */
typedef float vector __attribute__((vector_size(16)));

/* What the target received: its arguments (small integers as its compiler widens them, floats as their bits),
 * how many there were, and whether the stack was aligned. */
extern uint64_t got[EXECBUF_MAX_ARGUMENTS];
extern unsigned got_count;
extern unsigned is_aligned;

/* How many addresses of values, which the target received, are no multiples of 16. */
extern unsigned misaligned;

/* True: execbuf_thunk_new makes the thunks, and the last ones are kept, so that stubs share adapters. False:
 * execbuf_thunk_emit makes them. */
extern int shares;

/* Publishes a thunk for a target, and chooses the arguments and the result at random. The target has the
 * other convention than the caller.
 *
 * Returns: a function to call instead of the thunk. It sets the preserved registers, calls the thunk and
 *          stores the registers.
 * In: text:   the signature of caller and target.
 *     moved:  the signature that the thunk is made for.
 *     caller: the convention of the caller.
 *     target: the function that the thunk calls. */
void (*prepare(const char *text, const char *moved, execbuf_abi caller, void (*target)(void)))(void);

/* Calls a target with execbuf_call, with arguments and a result that are chosen at random. check_value and
 * conclude_call follow. The slots, and values that slots have the addresses of, end where a page does, before
 * one that cannot be accessed; bytes of slots that do not matter are random.
 *
 * In: text:   the signature of the target.
 *     abi:    its convention.
 *     target: the function. */
void call_packed(const char *text, execbuf_abi abi, void (*target)(void));

/* As prepare, but the function to call is one that inserts or drops an argument, a pointer. It calls the
 * thunk with the same convention; or the target, without a thunk, if that is EXECBUF_ABI_NATIVE.
 *
 * In: text:     the signature of the target, and of the caller if drops.
 *     position: of the pointer in it. The target gets another value there than `sent`.
 *     drops:    the caller passes the pointer, too: it is dropped, and then inserted. */
void (*prepare_closure(const char *text, execbuf_abi caller, void (*target)(void), unsigned position,
                       int drops))(void);

/* As prepare, but the function to call drops an argument, and calls the target without a thunk.
 *
 * In: longer:   the signature of the caller.
 *     text:     the signature of the target.
 *     position: of the argument in the longer one. */
void (*prepare_shorter(const char *longer, const char *text, execbuf_abi caller, void (*target)(void),
                       unsigned position))(void);

/* As prepare, but the function to call is a closure that calls a handler, and there is no target: the handler
 * takes what it gets from the slots. It checks that its context is right, the slots aligned, and the result's
 * memory zero; and it changes the values that it gets by address. Every other time it writes no result, and
 * what is sent is zero.
 *
 * In: text:   the signature of the closure.
 *     caller: its convention. */
void (*prepare_handler(const char *text, execbuf_abi caller))(void);

/* Checks that a value that was received is the one that was sent: each byte for which the mask has a '1'.
 *
 * In: number: 0 for the result, else that of the argument, counted from 1. */
void check_value(unsigned number, const char *mask);

/* A copy of a value of sent_values that ends where a page does, before one that cannot be accessed. For
 * number 0 it is memory for a result, with other bytes. */
void *at_end(unsigned number, size_t size);

/* Checks the address that a function returned, which got `where` for its result, and the bytes before that.
 */
void check_address(const void *returned, const void *where);

/* Fails to compile unless two sizes are the same. */
#define SAME_SIZE(one, other) (void)sizeof(char[(one) == (other) ? 1 : -1])

/* Checks what the target received, the result (widened as its type says) and the preserved registers. */
void conclude(uint64_t result);

/* The same for call_packed, which has kept the result; and that nothing that it was given has changed. */
void conclude_call(void);

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

/* For a target, after it has stored its arguments: checks the alignment of its stack. The macros below
 * overwrite all registers that its convention does not preserve. */
#define LOOK_AT_STACK(count)                                                                                 \
    do {                                                                                                     \
        _Alignas(16) volatile char probe[16] = {0};                                                          \
        uintptr_t address = (uintptr_t)probe;                                                                \
        __asm__ volatile("" : "+r"(address));                                                                \
        is_aligned = address % 16 == 0;                                                                      \
        got_count = (count);                                                                                 \
    } while (0)

#if defined(__x86_64__)
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
#if defined(_WIN32)
#define CLOBBER_NATIVE CLOBBER_WIN64
#else
#define CLOBBER_NATIVE CLOBBER_SYSV64
#endif
#else /* AArch64 */
#define CLOBBER_NATIVE()                                                                                     \
    __asm__ volatile("mov x0, #-1\n\tmov x1, x0\n\tmov x2, x0\n\tmov x3, x0\n\tmov x4, x0\n\t"               \
                     "mov x5, x0\n\tmov x6, x0\n\tmov x7, x0\n\tmov x8, x0\n\tmov x9, x0\n\t"                \
                     "mov x10, x0\n\tmov x11, x0\n\tmov x12, x0\n\tmov x13, x0\n\tmov x14, x0\n\t"           \
                     "mov x15, x0\n\tmov x16, x0\n\tmov x17, x0\n\tmovi v0.16b, #255\n\t"                    \
                     "movi v1.16b, #255\n\tmovi v2.16b, #255\n\tmovi v3.16b, #255\n\t"                       \
                     "movi v4.16b, #255\n\tmovi v5.16b, #255\n\tmovi v6.16b, #255\n\t"                       \
                     "movi v7.16b, #255\n\tmovi v16.16b, #255"                                               \
                     :                                                                                       \
                     :                                                                                       \
                     : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12",      \
                       "x13", "x14", "x15", "x16", "x17", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7",    \
                       "v16")
#endif

#endif
