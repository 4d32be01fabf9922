/* An assembler for the few instructions of AArch64 that adapters consist of. Pure.
 *
 * Source: Arm Architecture Reference Manual for A-profile, C6.2 and C7.2. Every instruction is a word. Rd, Rt
 * are in the bits 0 to 4, Rn in 5 to 9, Rm in 16 to 20; an offset of a load or store is in 10 to 21, in units
 * of its size. The number 31 is sp or, where that makes no sense, zero. */
#ifndef XB_THUNK_AARCH64_ASM_H
#define XB_THUNK_AARCH64_ASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Registers, by the numbers that instructions encode them with. */
#define XB_ARM_X0 0U
#define XB_ARM_FP 29U
#define XB_ARM_SP 31U
#define XB_ARM_ZERO 31U

/* Code that is being written. Bytes behind the capacity are counted and not written. */
typedef struct xb_arm_asm {
    uint8_t *out;
    uint32_t length; /* of the code so far */
    uint32_t capacity;
} xb_arm_asm;

static inline void xb_arm_word(xb_arm_asm *to, uint32_t word) {
    if (to->length + 4 <= to->capacity) {
        for (uint32_t i = 0; i < 4; i++) {
            to->out[to->length + i] = (uint8_t)(word >> 8 * i);
        }
    }
    to->length += 4;
}

/* An instruction with Rd or Rt, Rn, and an immediate of 12 bits. */
static inline void xb_arm_immediate(xb_arm_asm *to, uint32_t opcode, uint32_t d, uint32_t n, uint32_t value) {
    xb_arm_word(to, opcode | value << 10 | n << 5 | d);
}

/* ---- Loads and stores ---- */

/* How a load is encoded, without operands. The store of the same kind has other bits 22 and 23. */
#define XB_ARM_LDRB 0x39400000U    /* ldrb wt */
#define XB_ARM_LDRSB 0x39c00000U   /* ldrsb wt */
#define XB_ARM_LDRH 0x79400000U    /* ldrh wt */
#define XB_ARM_LDRSH 0x79c00000U   /* ldrsh wt */
#define XB_ARM_LDR_W 0xb9400000U   /* ldr wt */
#define XB_ARM_LDRSB_X 0x39800000U /* ldrsb xt */
#define XB_ARM_LDRSH_X 0x79800000U /* ldrsh xt */
#define XB_ARM_LDRSW 0xb9800000U   /* ldrsw xt */
#define XB_ARM_LDR_X 0xf9400000U   /* ldr xt */
#define XB_ARM_LDR_S 0xbd400000U   /* ldr st */
#define XB_ARM_LDR_D 0xfd400000U   /* ldr dt */
#define XB_ARM_LDR_Q 0x3dc00000U   /* ldr qt */

/* The size of what a load reads, in bytes. */
static inline uint32_t xb_arm_size(uint32_t load) {
    return load == XB_ARM_LDR_Q ? 16 : 1U << (load >> 30);
}

/* Load to a register from [n + offset]. offset is a multiple of the size, below 4096 times it. */
static inline void xb_arm_ldr(xb_arm_asm *to, uint32_t load, uint32_t t, uint32_t n, uint32_t offset) {
    xb_arm_immediate(to, load, t, n, offset / xb_arm_size(load));
}

/* Store of a register to [n + offset]; not for those that extend a sign. offset as above. */
static inline void xb_arm_str(xb_arm_asm *to, uint32_t load, uint32_t t, uint32_t n, uint32_t offset) {
    uint32_t opcode = load == XB_ARM_LDR_Q ? 0x3d800000U : load & ~0x00c00000U;
    xb_arm_immediate(to, opcode, t, n, offset / xb_arm_size(load));
}

/* ldr qt, [xn, xm] */
static inline void xb_arm_ldr_q_at(xb_arm_asm *to, uint32_t t, uint32_t n, uint32_t m) {
    xb_arm_word(to, 0x3ce06800U | m << 16 | n << 5 | t);
}

/* str qt, [xn, xm] */
static inline void xb_arm_str_q_at(xb_arm_asm *to, uint32_t t, uint32_t n, uint32_t m) {
    xb_arm_word(to, 0x3ca06800U | m << 16 | n << 5 | t);
}

/* ---- Others ---- */

/* mov xd, xm */
static inline void xb_arm_mov(xb_arm_asm *to, uint32_t d, uint32_t m) {
    xb_arm_word(to, 0xaa0003e0U | m << 16 | d);
}

/* mov vd.16b, vm.16b */
static inline void xb_arm_mov_vector(xb_arm_asm *to, uint32_t d, uint32_t m) {
    xb_arm_word(to, 0x4ea01c00U | m << 16 | m << 5 | d);
}

/* mov xd, value; below 65536 */
static inline void xb_arm_movz(xb_arm_asm *to, uint32_t d, uint32_t value) {
    xb_arm_word(to, 0xd2800000U | value << 5 | d);
}

/* mov xd, value; of 32 bits: movz, and movk if it is not below 65536 */
static inline void xb_arm_mov_number(xb_arm_asm *to, uint32_t d, uint32_t value) {
    xb_arm_movz(to, d, value & 0xffff);
    if (value > 0xffff) {
        xb_arm_word(to, 0xf2a00000U | (value >> 16) << 5 | d);
    }
}

/* movi vd.2d, #0 */
static inline void xb_arm_zero_vector(xb_arm_asm *to, uint32_t d) {
    xb_arm_word(to, 0x6f00e400U | d);
}

/* add xd, xn, value; below 4096. Also mov to or from sp, if the value is 0. */
static inline void xb_arm_add(xb_arm_asm *to, uint32_t d, uint32_t n, uint32_t value) {
    xb_arm_immediate(to, 0x91000000U, d, n, value);
}

/* sub xd, xn, value; below 4096 */
static inline void xb_arm_sub(xb_arm_asm *to, uint32_t d, uint32_t n, uint32_t value) {
    xb_arm_immediate(to, 0xd1000000U, d, n, value);
}

/* An extension of a register, from bits 0 to `last`: sxtb xd, wn and others. */
static inline void xb_arm_extend(xb_arm_asm *to, uint32_t d, bool is_signed, uint32_t last) {
    uint32_t opcode = is_signed ? 0x93400000U : 0xd3400000U; /* sbfm or ubfm xd, xn, #0, #last */
    xb_arm_immediate(to, opcode, d, d, last);
}

/* cbnz xt, to an earlier place in the code */
static inline void xb_arm_cbnz_back(xb_arm_asm *to, uint32_t t, uint32_t place) {
    uint32_t words = (place - to->length) / 4; /* modulo 2^30; 19 bits are used */
    xb_arm_word(to, 0xb5000000U | (words & 0x7ffff) << 5 | t);
}

/* bti c: an indirect call may lead here, where pages are guarded. Elsewhere a nop. */
static inline void xb_arm_bti_c(xb_arm_asm *to) {
    xb_arm_word(to, 0xd503245fU);
}

/* stp x29, x30, [sp, -size]!; size is a multiple of 8, at most 512 */
static inline void xb_arm_push_frame(xb_arm_asm *to, uint32_t size) {
    xb_arm_word(to, 0xa9807bfdU | (0x80 - size / 8) << 15);
}

/* ldp x29, x30, [sp], size; below 512 */
static inline void xb_arm_pop_frame(xb_arm_asm *to, uint32_t size) {
    xb_arm_word(to, 0xa8c07bfdU | size / 8 << 15);
}

/* blr xn */
static inline void xb_arm_blr(xb_arm_asm *to, uint32_t n) {
    xb_arm_word(to, 0xd63f0000U | n << 5);
}

/* br xn. Where pages are guarded, it may lead to a bti c if the register is x16 or x17. */
static inline void xb_arm_br(xb_arm_asm *to, uint32_t n) {
    xb_arm_word(to, 0xd61f0000U | n << 5);
}

/* ret */
static inline void xb_arm_ret(xb_arm_asm *to) {
    xb_arm_word(to, 0xd65f03c0U);
}

#endif
