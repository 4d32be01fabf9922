/* The part of crossing.c that is assembly: wrappers of calls, which set the registers that a call preserves,
 * and store them behind it. */
#ifndef CROSSING_REGISTERS_H
#define CROSSING_REGISTERS_H

#include <stddef.h>
#include <stdint.h>

#include "execbuf.h"

#if defined(__x86_64__)

/* Preserved registers: those of both conventions, then rdi and rsi, then xmm6 to xmm15, which only Win64
 * preserves. The values before a call, those set for it, and those after it. */
typedef struct registers {
    uint64_t general[8];
    uint64_t vector[10][2];
} registers;

__attribute__((used)) registers registers_before;
__attribute__((used)) registers registers_set;
__attribute__((used)) registers registers_after;
__attribute__((used)) void *wrapped;
__attribute__((used)) void *wrapped_return;

/* Call wrapped with preserved registers set. The signature can be any: the stack is passed on unchanged, so
 * the return address is kept in wrapped_return during the call. */
void wrapper_sysv64(void);
void wrapper_win64(void);

#define GENERAL(each, where)                                                                                 \
    each("rbx", where, "0") each("rbp", where, "8") each("r12", where, "16") each("r13", where, "24")        \
        each("r14", where, "32") each("r15", where, "40")
#define MORE(each, where) each("rdi", where, "48") each("rsi", where, "56")
#define VECTORS(each, where)                                                                                 \
    each("xmm6", where, "64") each("xmm7", where, "80") each("xmm8", where, "96") each("xmm9", where, "112") \
        each("xmm10", where, "128") each("xmm11", where, "144") each("xmm12", where, "160")                  \
            each("xmm13", where, "176") each("xmm14", where, "192") each("xmm15", where, "208")
#define STORE(reg, where, offset) "movq %" reg ", " where "+" offset "(%rip)\n\t"
#define LOAD(reg, where, offset) "movq " where "+" offset "(%rip), %" reg "\n\t"
#define STORE_VECTOR(reg, where, offset) "movups %" reg ", " where "+" offset "(%rip)\n\t"
#define LOAD_VECTOR(reg, where, offset) "movups " where "+" offset "(%rip), %" reg "\n\t"
#define CALL "popq wrapped_return(%rip)\n\t"
#define RETURN "jmp *wrapped_return(%rip)\n\t"

__asm__(".text\n\t.globl wrapper_sysv64\nwrapper_sysv64:\n\t" CALL GENERAL(STORE, "registers_before")
            GENERAL(LOAD, "registers_set") "call *wrapped(%rip)\n\t" GENERAL(STORE, "registers_after")
                GENERAL(LOAD, "registers_before") RETURN);
__asm__(".text\n\t.globl wrapper_win64\nwrapper_win64:\n\t" CALL GENERAL(STORE, "registers_before")
            MORE(STORE, "registers_before") VECTORS(STORE_VECTOR, "registers_before")
                GENERAL(LOAD, "registers_set") MORE(LOAD, "registers_set")
                    VECTORS(LOAD_VECTOR, "registers_set") "call *wrapped(%rip)\n\t" GENERAL(STORE,
                                                                                            "registers_after")
                        MORE(STORE, "registers_after") VECTORS(STORE_VECTOR, "registers_after")
                            GENERAL(LOAD, "registers_before") MORE(LOAD, "registers_before")
                                VECTORS(LOAD_VECTOR, "registers_before") RETURN);

/* The handler of the closures: handle, but on Windows it first overwrites the 32 bytes of the stack that
 * belong to a Win64 function. */
void handle(void *given, const execbuf_slot *arguments, execbuf_slot *result);
#if defined(_WIN32)
void handler(void *given, const execbuf_slot *arguments, execbuf_slot *result);
__asm__(".text\n\t.globl handler\nhandler:\n\tmovq $-1, 8(%rsp)\n\tmovq $-1, 16(%rsp)\n\t"
        "movq $-1, 24(%rsp)\n\tmovq $-1, 32(%rsp)\n\tjmp handle\n\t");
#else
#define handler handle
#endif

#if defined(_WIN32)
#define NATIVE_ABI EXECBUF_ABI_WIN64
#define wrapper_native wrapper_win64
#else
#define NATIVE_ABI EXECBUF_ABI_SYSV64
#define wrapper_native wrapper_sysv64
#endif

/* How many bytes of the registers a call by a convention preserves. */
static size_t size_of_preserved(execbuf_abi abi) {
    return abi == EXECBUF_ABI_WIN64 ? sizeof(registers) : 6 * sizeof(uint64_t);
}

#else /* AArch64 */

/* x19 to x28, and the lower halves of v8 to v15. */
typedef struct registers {
    uint64_t general[10];
    uint64_t vector[8];
} registers;

__attribute__((used)) registers registers_before;
__attribute__((used)) registers registers_set;
__attribute__((used)) registers registers_after;
__attribute__((used)) void *wrapped;
__attribute__((used)) void *wrapped_return;

#define NATIVE_ABI EXECBUF_ABI_NATIVE
void wrapper_native(void);

/* Registers at the address in x9. */
#define ALL(each)                                                                                            \
    each("x19, x20", "0") each("x21, x22", "16") each("x23, x24", "32") each("x25, x26", "48")               \
        each("x27, x28", "64") each("d8, d9", "80") each("d10, d11", "96") each("d12, d13", "112")           \
            each("d14, d15", "128")
#define STORE(pair, offset) "stp " pair ", [x9, #" offset "]\n\t"
#define LOAD(pair, offset) "ldp " pair ", [x9, #" offset "]\n\t"
#define ADDRESS(symbol) "adrp x9, " symbol "\n\tadd x9, x9, :lo12:" symbol "\n\t"

__asm__(".text\n\t.globl wrapper_native\nwrapper_native:\n\t" ADDRESS(
    "wrapped_return") "str x30, [x9]\n\t" ADDRESS("registers_before") ALL(STORE) ADDRESS("registers_set")
            ALL(LOAD) ADDRESS("wrapped") "ldr x9, [x9]\n\tblr x9\n\t" ADDRESS("registers_after") ALL(STORE)
                ADDRESS("registers_before") ALL(LOAD) ADDRESS("wrapped_return") "ldr x30, [x9]\n\tret\n\t");

static size_t size_of_preserved(execbuf_abi abi) {
    (void)abi;
    return sizeof(registers);
}

#endif

#endif
