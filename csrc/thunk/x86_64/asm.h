/* An assembler for the few instructions of x86-64 that adapters consist of: one function for each, named by
 * its mnemonic. Pure.
 *
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, chapter 2 "Instruction
 * Format" and the page of each instruction. An instruction with a register and an r/m operand is
 *
 *     [prefix] [REX] opcode ModRM [SIB] [displacement]
 *
 *     REX      0100WRXB   W: operands of 64 bits; R: bit 3 of reg; X: bit 3 of the index; B: bit 3 of rm
 *     ModRM    mmrrrmmm   mod, the lower three bits of reg, the lower three bits of rm
 *     SIB      00xxxbbb   the lower three bits of the index (4: none) and of the base
 *     displacement        of 8 or 32 bits, as mod says
 *
 * A SIB follows if rm is memory that has an index or is relative to rsp; rm is 4 then. */
#ifndef XB_THUNK_X86_64_ASM_H
#define XB_THUNK_X86_64_ASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../base/x86_64.h"

/* Code that is being written. Bytes behind the capacity are counted and not written. */
typedef struct xb_asm {
    uint8_t *out;
    uint32_t length; /* of the code so far */
    uint32_t capacity;
    uint32_t scratch; /* a vector register that code which copies values may change */
} xb_asm;

/* An r/m operand: a register, or memory at [base + offset], or at [base + r10 + offset]. */
typedef struct xb_operand {
    bool is_memory;
    bool is_indexed; /* by r10 */
    uint32_t reg;    /* the register or the base; as a base neither rbp, r12 nor r13, but rsp may be one */
    uint32_t offset; /* if it is memory; a negative one is 2^32 less */
} xb_operand;

static inline xb_operand xb_asm_reg(uint32_t reg) {
    xb_operand operand = {false, false, 0, 0};
    operand.reg = reg;
    return operand;
}

static inline xb_operand xb_asm_memory(uint32_t base, uint32_t offset) {
    xb_operand operand = {true, false, 0, 0};
    operand.reg = base;
    operand.offset = offset;
    return operand;
}

static inline xb_operand xb_asm_stack(uint32_t offset) {
    return xb_asm_memory(XB_RSP, offset);
}

static inline xb_operand xb_asm_indexed(uint32_t base, uint32_t offset) {
    xb_operand operand = xb_asm_memory(base, offset);
    operand.is_indexed = true;
    return operand;
}

/* ---- Encoding ---- */

#define XB_REX 0x40U
#define XB_REX_W 0x48U
#define XB_REX_R 0x44U
#define XB_REX_X 0x42U
#define XB_REX_B 0x41U
#define XB_MOD_DISP8 0x40U
#define XB_MOD_DISP32 0x80U
#define XB_MOD_REGISTER 0xc0U
#define XB_RM_SIB 4U      /* rm: a SIB byte follows */
#define XB_SIB_NONE 0x20U /* no index */

static inline void xb_asm_byte(xb_asm *to, uint32_t byte) {
    if (to->length < to->capacity) {
        to->out[to->length] = (uint8_t)byte;
    }
    to->length++;
}

/* A number of so many bytes, little-endian. */
static inline void xb_asm_number(xb_asm *to, uint64_t value, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++) {
        xb_asm_byte(to, (uint32_t)(value >> 8 * i) & 0xff);
    }
}

/* A number of 8 bits if it is below 0x80, so that its sign is not extended, else of 32 bits. */
static inline void xb_asm_short_number(xb_asm *to, uint32_t value) {
    xb_asm_number(to, value, value < 0x80 ? 1 : 4);
}

/* ModRM and what follows it, for memory. */
static inline void xb_asm_memory_operand(xb_asm *to, uint32_t reg, xb_operand rm) {
    uint32_t base = rm.reg & 7;
    bool has_sib = rm.is_indexed || base == XB_RSP;
    uint32_t mod = rm.offset < 0x80 ? XB_MOD_DISP8 : XB_MOD_DISP32;
    xb_asm_byte(to, mod | (reg & 7) << 3 | (has_sib ? XB_RM_SIB : base));
    if (has_sib) {
        xb_asm_byte(to, (rm.is_indexed ? (XB_R10 & 7) << 3 : XB_SIB_NONE) | base);
    }
    xb_asm_short_number(to, rm.offset);
}

/* An instruction with a register and an r/m operand.
 *
 * In: prefix: a prefix byte, or 0 for none.
 *     rex:    the REX prefix that the instruction needs whatever its operands are, or 0.
 *     opcode: one byte; or two, of which the first is 0f. */
static inline void xb_asm_reg_rm(xb_asm *to, uint32_t prefix, uint32_t rex, uint32_t opcode, uint32_t reg,
                                 xb_operand rm) {
    rex |= (reg >= 8 ? XB_REX_R : 0) | (rm.reg >= 8 ? XB_REX_B : 0) | (rm.is_indexed ? XB_REX_X : 0);
    if (prefix != 0) {
        xb_asm_byte(to, prefix);
    }
    if (rex != 0) {
        xb_asm_byte(to, rex);
    }
    if (opcode > 0xff) {
        xb_asm_byte(to, opcode >> 8);
    }
    xb_asm_byte(to, opcode & 0xff);
    if (rm.is_memory) {
        xb_asm_memory_operand(to, reg, rm);
    } else {
        xb_asm_byte(to, XB_MOD_REGISTER | (reg & 7) << 3 | (rm.reg & 7));
    }
}

/* ---- Moves of general registers ---- */

/* mov reg64, r/m64 */
static inline void xb_asm_mov(xb_asm *to, uint32_t reg, xb_operand rm) {
    xb_asm_reg_rm(to, 0, XB_REX_W, 0x8b, reg, rm);
}

/* mov r/m64, reg64 */
static inline void xb_asm_mov_store(xb_asm *to, xb_operand rm, uint32_t reg) {
    xb_asm_reg_rm(to, 0, XB_REX_W, 0x89, reg, rm);
}

/* mov qword m64, 0 */
static inline void xb_asm_mov_store_zero(xb_asm *to, xb_operand memory) {
    xb_asm_reg_rm(to, 0, XB_REX_W, 0xc7, 0, memory);
    xb_asm_number(to, 0, 4);
}

/* mov reg32, r/m32 */
static inline void xb_asm_mov_32(xb_asm *to, uint32_t reg, xb_operand rm) {
    xb_asm_reg_rm(to, 0, 0, 0x8b, reg, rm);
}

/* mov r/m32, reg32 */
static inline void xb_asm_mov_store_32(xb_asm *to, xb_operand rm, uint32_t reg) {
    xb_asm_reg_rm(to, 0, 0, 0x89, reg, rm);
}

/* mov r/m16, reg16 */
static inline void xb_asm_mov_store_16(xb_asm *to, xb_operand rm, uint32_t reg) {
    xb_asm_reg_rm(to, 0x66, 0, 0x89, reg, rm);
}

/* mov r/m8, reg8. The REX prefix as for movzx. */
static inline void xb_asm_mov_store_8(xb_asm *to, xb_operand rm, uint32_t reg) {
    xb_asm_reg_rm(to, 0, XB_REX, 0x88, reg, rm);
}

/* lea reg64, memory */
static inline void xb_asm_lea(xb_asm *to, uint32_t reg, xb_operand memory) {
    xb_asm_reg_rm(to, 0, XB_REX_W, 0x8d, reg, memory);
}

/* or reg64, r/m64 */
static inline void xb_asm_or(xb_asm *to, uint32_t reg, xb_operand rm) {
    xb_asm_reg_rm(to, 0, XB_REX_W, 0x0b, reg, rm);
}

/* shl reg64, count */
static inline void xb_asm_shl(xb_asm *to, uint32_t reg, uint32_t count) {
    xb_asm_reg_rm(to, 0, XB_REX_W, 0xc1, 4, xb_asm_reg(reg));
    xb_asm_byte(to, count);
}

/* shr reg64, count */
static inline void xb_asm_shr(xb_asm *to, uint32_t reg, uint32_t count) {
    xb_asm_reg_rm(to, 0, XB_REX_W, 0xc1, 5, xb_asm_reg(reg));
    xb_asm_byte(to, count);
}

/* mov r10d, imm32 */
static inline void xb_asm_mov_r10d(xb_asm *to, uint32_t value) {
    xb_asm_byte(to, XB_REX_B);
    xb_asm_byte(to, 0xb8 | (XB_R10 & 7));
    xb_asm_number(to, value, 4);
}

/* sub r10, 16 */
static inline void xb_asm_sub_r10_16(xb_asm *to) {
    xb_asm_reg_rm(to, 0, XB_REX_W, 0x83, 5, xb_asm_reg(XB_R10));
    xb_asm_byte(to, 16);
}

/* movzx reg32, r/m8. With a REX prefix, the registers 6 and 7 are sil and dil; without one, dh and bh. */
static inline void xb_asm_movzx_byte(xb_asm *to, uint32_t reg, xb_operand rm) {
    xb_asm_reg_rm(to, 0, XB_REX, 0x0fb6, reg, rm);
}

/* movzx reg32, r/m16 */
static inline void xb_asm_movzx_word(xb_asm *to, uint32_t reg, xb_operand rm) {
    xb_asm_reg_rm(to, 0, 0, 0x0fb7, reg, rm);
}

/* movsx reg32, r/m8. The REX prefix as above. */
static inline void xb_asm_movsx_byte(xb_asm *to, uint32_t reg, xb_operand rm) {
    xb_asm_reg_rm(to, 0, XB_REX, 0x0fbe, reg, rm);
}

/* movsx reg32, r/m16 */
static inline void xb_asm_movsx_word(xb_asm *to, uint32_t reg, xb_operand rm) {
    xb_asm_reg_rm(to, 0, 0, 0x0fbf, reg, rm);
}

/* movsx reg64, r/m8 */
static inline void xb_asm_movsx_byte_64(xb_asm *to, uint32_t reg, xb_operand rm) {
    xb_asm_reg_rm(to, 0, XB_REX_W, 0x0fbe, reg, rm);
}

/* movsx reg64, r/m16 */
static inline void xb_asm_movsx_word_64(xb_asm *to, uint32_t reg, xb_operand rm) {
    xb_asm_reg_rm(to, 0, XB_REX_W, 0x0fbf, reg, rm);
}

/* movsxd reg64, r/m32 */
static inline void xb_asm_movsxd(xb_asm *to, uint32_t reg, xb_operand rm) {
    xb_asm_reg_rm(to, 0, XB_REX_W, 0x63, reg, rm);
}

/* mov eax, imm32 */
static inline void xb_asm_mov_eax(xb_asm *to, uint32_t value) {
    xb_asm_byte(to, 0xb8);
    xb_asm_number(to, value, 4);
}

/* mov r11, imm64 */
static inline void xb_asm_mov_r11(xb_asm *to, uint64_t value) {
    xb_asm_byte(to, XB_REX_W | XB_REX_B);
    xb_asm_byte(to, 0xb8 | (XB_R11 & 7));
    xb_asm_number(to, value, 8);
}

/* ---- Moves of vector registers ---- */

/* movsd xmm, m64 */
static inline void xb_asm_movsd(xb_asm *to, uint32_t xmm, xb_operand memory) {
    xb_asm_reg_rm(to, 0xf2, 0, 0x0f10, xmm, memory);
}

/* movsd m64, xmm */
static inline void xb_asm_movsd_store(xb_asm *to, xb_operand memory, uint32_t xmm) {
    xb_asm_reg_rm(to, 0xf2, 0, 0x0f11, xmm, memory);
}

/* movaps xmm, xmm/m128. Memory is aligned to 16. */
static inline void xb_asm_movaps(xb_asm *to, uint32_t xmm, xb_operand rm) {
    xb_asm_reg_rm(to, 0, 0, 0x0f28, xmm, rm);
}

/* movaps m128, xmm. Memory is aligned to 16. */
static inline void xb_asm_movaps_store(xb_asm *to, xb_operand memory, uint32_t xmm) {
    xb_asm_reg_rm(to, 0, 0, 0x0f29, xmm, memory);
}

/* movq reg64, xmm */
static inline void xb_asm_movq(xb_asm *to, uint32_t reg, uint32_t xmm) {
    xb_asm_reg_rm(to, 0x66, XB_REX_W, 0x0f7e, xmm, xb_asm_reg(reg));
}

/* movq xmm, reg64 */
static inline void xb_asm_movq_from(xb_asm *to, uint32_t xmm, uint32_t reg) {
    xb_asm_reg_rm(to, 0x66, XB_REX_W, 0x0f6e, xmm, xb_asm_reg(reg));
}

/* movss xmm, m32 */
static inline void xb_asm_movss(xb_asm *to, uint32_t xmm, xb_operand memory) {
    xb_asm_reg_rm(to, 0xf3, 0, 0x0f10, xmm, memory);
}

/* movss m32, xmm */
static inline void xb_asm_movss_store(xb_asm *to, xb_operand memory, uint32_t xmm) {
    xb_asm_reg_rm(to, 0xf3, 0, 0x0f11, xmm, memory);
}

/* movups xmm, m128 */
static inline void xb_asm_movups(xb_asm *to, uint32_t xmm, xb_operand memory) {
    xb_asm_reg_rm(to, 0, 0, 0x0f10, xmm, memory);
}

/* movups m128, xmm */
static inline void xb_asm_movups_store(xb_asm *to, xb_operand memory, uint32_t xmm) {
    xb_asm_reg_rm(to, 0, 0, 0x0f11, xmm, memory);
}

/* xorps xmm, xmm */
static inline void xb_asm_xorps(xb_asm *to, uint32_t xmm) {
    xb_asm_reg_rm(to, 0, 0, 0x0f57, xmm, xb_asm_reg(xmm));
}

/* punpcklqdq xmm, other: the lower half of the other becomes the upper half. */
static inline void xb_asm_punpcklqdq(xb_asm *to, uint32_t xmm, uint32_t other) {
    xb_asm_reg_rm(to, 0x66, 0, 0x0f6c, xmm, xb_asm_reg(other));
}

/* psrldq xmm, 8: the upper half becomes the lower half. */
static inline void xb_asm_psrldq_8(xb_asm *to, uint32_t xmm) {
    xb_asm_reg_rm(to, 0x66, 0, 0x0f73, 3, xb_asm_reg(xmm));
    xb_asm_byte(to, 8);
}

/* ---- The stack ---- */

/* push reg64, of the first eight */
static inline void xb_asm_push(xb_asm *to, uint32_t reg) {
    xb_asm_byte(to, 0x50 | reg);
}

/* pop reg64, of the first eight */
static inline void xb_asm_pop(xb_asm *to, uint32_t reg) {
    xb_asm_byte(to, 0x58 | reg);
}

/* The opcode of arithmetic with an immediate, of 8 bits or of 32; reg in ModRM says which operation. */
static inline void xb_asm_rsp_immediate(xb_asm *to, uint32_t operation, uint32_t value) {
    xb_asm_reg_rm(to, 0, XB_REX_W, value < 0x80 ? 0x83 : 0x81, operation, xb_asm_reg(XB_RSP));
    xb_asm_short_number(to, value);
}

/* sub rsp, value */
static inline void xb_asm_sub_rsp(xb_asm *to, uint32_t value) {
    xb_asm_rsp_immediate(to, 5, value);
}

/* add rsp, value */
static inline void xb_asm_add_rsp(xb_asm *to, uint32_t value) {
    xb_asm_rsp_immediate(to, 0, value);
}

/* leave: mov rsp, rbp; pop rbp */
static inline void xb_asm_leave(xb_asm *to) {
    xb_asm_byte(to, 0xc9);
}

/* ---- Branches ---- */

/* endbr64: where branch targets are tracked (Intel CET), an indirect branch may lead here. Elsewhere a nop.
 */
static inline void xb_asm_endbr64(xb_asm *to) {
    xb_asm_number(to, 0xfa1e0ff3, 4);
}

/* call r/m64 */
static inline void xb_asm_call(xb_asm *to, xb_operand rm) {
    xb_asm_reg_rm(to, 0, 0, 0xff, 2, rm);
}

/* jmp r/m64 */
static inline void xb_asm_jmp(xb_asm *to, xb_operand rm) {
    xb_asm_reg_rm(to, 0, 0, 0xff, 4, rm);
}

/* call r11 */
static inline void xb_asm_call_r11(xb_asm *to) {
    xb_asm_call(to, xb_asm_reg(XB_R11));
}

/* jmp r11 */
static inline void xb_asm_jmp_r11(xb_asm *to) {
    xb_asm_jmp(to, xb_asm_reg(XB_R11));
}

/* jnz to an earlier place in the code, at most 126 bytes before */
static inline void xb_asm_jnz_back(xb_asm *to, uint32_t place) {
    xb_asm_byte(to, 0x75);
    xb_asm_byte(to, (place - to->length - 1) & 0xff);
}

/* ret */
static inline void xb_asm_ret(xb_asm *to) {
    xb_asm_byte(to, 0xc3);
}

#endif
