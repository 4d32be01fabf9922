/* Instruction sets: the few instructions that portable code writes itself. For each one:
 *
 *   XB_TRAP_SIZE       size of a trap instruction, in bytes: 1 or 4
 *   XB_TRAP_WORD       four bytes of trap instructions, as array initialisers
 *   xb_isa_constant()  writes the function that self-tests call
 *
 * XB_ISA_UNKNOWN is defined if this is none of them. */
#ifndef XB_BASE_ISA_H
#define XB_BASE_ISA_H

#include <stddef.h>
#include <stdint.h>

/* The most bytes that xb_isa_constant writes. */
#define XB_ISA_CONSTANT_SIZE 12

/* Writes the machine code of "int f(void) { return value; }".
 *
 * Returns: the length of the code, in bytes.
 * Out: code   at least XB_ISA_CONSTANT_SIZE bytes
 * In:  value  less than 2048, which fits an immediate operand everywhere */
static inline size_t xb_isa_constant(uint8_t *code, uint32_t value);

#if defined(__x86_64__) || defined(_M_X64) || defined(__i386__) || defined(_M_IX86)

#define XB_ISA_ELF_MACHINE 62 /* EM_X86_64 */
#define XB_TRAP_SIZE 1
#define XB_TRAP_WORD 0xcc, 0xcc, 0xcc, 0xcc /* int3 four times */

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

/* Writes an instruction of 32 bits. Both sets store instructions in little-endian order, whatever the order
 * of data. */
static inline void xb_isa_word(uint8_t *code, uint32_t instruction) {
    code[0] = (uint8_t)instruction;
    code[1] = (uint8_t)(instruction >> 8);
    code[2] = (uint8_t)(instruction >> 16);
    code[3] = (uint8_t)(instruction >> 24);
}

#if defined(__riscv)

#define XB_ISA_ELF_MACHINE 243 /* EM_RISCV */
#define XB_TRAP_SIZE 4
#define XB_TRAP_WORD 0x73, 0x00, 0x10, 0x00 /* ebreak */

static inline size_t xb_isa_constant(uint8_t *code, uint32_t value) {
    xb_isa_word(code, 0x00000513U | value << 20); /* addi a0, zero, value */
    xb_isa_word(code + 4, 0x00008067U);           /* ret */
    return 8;
}

#else

#define XB_ISA_ELF_MACHINE 183 /* EM_AARCH64 */
#define XB_TRAP_SIZE 4
#define XB_TRAP_WORD 0x00, 0x00, 0x20, 0xd4 /* brk #0 */

static inline size_t xb_isa_constant(uint8_t *code, uint32_t value) {
    xb_isa_word(code, 0xd503245fU);                  /* bti c: may be called, where pages are guarded */
    xb_isa_word(code + 4, 0x52800000U | value << 5); /* mov w0, #value */
    xb_isa_word(code + 8, 0xd65f03c0U);              /* ret */
    return 12;
}

#endif

#else

/* prim.c picks the stub, which supports no backend, so that nothing here is used at run time. */
#define XB_ISA_UNKNOWN
#define XB_ISA_ELF_MACHINE 0 /* EM_NONE */
#define XB_TRAP_SIZE 1
#define XB_TRAP_WORD 0, 0, 0, 0

static inline size_t xb_isa_constant(uint8_t *code, uint32_t value) {
    code[0] = (uint8_t)value;
    return 1;
}

#endif

#endif
