/* What differs between instruction sets: the trap that fills unused memory, and the self-test's function. */
#ifndef XB_BASE_ISA_H
#define XB_BASE_ISA_H

#include <stddef.h>
#include <stdint.h>

/* XB_TRAP_BYTES: one trap instruction, as the bytes that are repeated; XB_TRAP_SIZE of them.
 *
 * xb_isa_constant: writes a function "int f(void)" that returns value, which is less than 2048, and
 * returns its length, at most XB_ISA_CONSTANT_SIZE. */
#define XB_ISA_CONSTANT_SIZE 8

#if defined(__x86_64__) || defined(_M_X64) || defined(__i386__) || defined(_M_IX86)

#define XB_TRAP_SIZE 1
#define XB_TRAP_BYTES 0xcc /* int3 */

static inline size_t xb_isa_constant(uint8_t *code, uint32_t value) {
    code[0] = 0xb8; /* mov eax, imm32 */
    code[1] = (uint8_t)value;
    code[2] = (uint8_t)(value >> 8);
    code[3] = 0;
    code[4] = 0;
    code[5] = 0xc3; /* ret */
    return 6;
}

#elif defined(__aarch64__) || defined(_M_ARM64) || defined(__riscv)

static inline void xb_isa_word(uint8_t *code, uint32_t instruction) {
    code[0] = (uint8_t)instruction;
    code[1] = (uint8_t)(instruction >> 8);
    code[2] = (uint8_t)(instruction >> 16);
    code[3] = (uint8_t)(instruction >> 24);
}

#if defined(__riscv)

#define XB_TRAP_SIZE 4
#define XB_TRAP_BYTES 0x73, 0x00, 0x10, 0x00 /* ebreak */

static inline size_t xb_isa_constant(uint8_t *code, uint32_t value) {
    xb_isa_word(code, 0x00000513U | value << 20); /* addi a0, zero, value */
    xb_isa_word(code + 4, 0x00008067U);           /* ret */
    return 8;
}

#else

#define XB_TRAP_SIZE 4
#define XB_TRAP_BYTES 0x00, 0x00, 0x20, 0xd4 /* brk #0 */

static inline size_t xb_isa_constant(uint8_t *code, uint32_t value) {
    xb_isa_word(code, 0x52800000U | value << 5); /* mov w0, #value */
    xb_isa_word(code + 4, 0xd65f03c0U);          /* ret */
    return 8;
}

#endif

#else

/* Another instruction set: prim.c picks the stub, so that none of this is used. */
#define XB_ISA_UNKNOWN
#define XB_TRAP_SIZE 1
#define XB_TRAP_BYTES 0

static inline size_t xb_isa_constant(uint8_t *code, uint32_t value) {
    code[0] = (uint8_t)value;
    return 1;
}

#endif

#endif
