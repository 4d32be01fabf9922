/* An assembler for the few instructions of x86-64 that adapters consist of: one function for each, named by
 * its mnemonic. Pure.
 *
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, chapter 2 "Instruction
 * Format" and the page of each instruction. An instruction with a register and an r/m operand is
 *
 *     [prefix] [REX] opcode ModRM [SIB] [displacement]
 *
 *     REX      0100WRXB   W: operands of 64 bits; R: bit 3 of reg; X: unused here; B: bit 3 of rm
 *     ModRM    mmrrrmmm   mod, the lower three bits of reg, the lower three bits of rm
 *     SIB      0x24       [rsp]: follows if rm is memory, which is always relative to rsp here
 *     displacement        of 8 or 32 bits, as mod says */
#ifndef XB_THUNK_X86_64_ASM_H
#define XB_THUNK_X86_64_ASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../base/x86_64.h"

/* Code that is being written. The caller sees to it that there is space. */
typedef struct xb_asm {
    uint8_t *out;
    uint32_t length; /* of the code so far */
} xb_asm;

/* An r/m operand: a register, or memory at [rsp + offset]. */
typedef struct xb_operand {
    bool is_memory;
    uint32_t reg;    /* if it is a register: its number */
    uint32_t offset; /* if it is memory */
} xb_operand;

static inline xb_operand xb_asm_reg(uint32_t reg) {
    xb_operand operand = {false, 0, 0};
    operand.reg = reg;
    return operand;
}

static inline xb_operand xb_asm_stack(uint32_t offset) {
    xb_operand operand = {true, XB_RSP, 0};
    operand.offset = offset;
    return operand;
}

/* ---- Encoding ---- */

#define XB_REX 0x40U
#define XB_REX_W 0x48U
#define XB_REX_R 0x44U
#define XB_REX_B 0x41U
#define XB_MOD_DISP8 0x40U
#define XB_MOD_DISP32 0x80U
#define XB_MOD_REGISTER 0xc0U
#define XB_SIB_RSP 0x24U

static inline void xb_asm_byte(xb_asm *to, uint32_t byte) {
    to->out[to->length++] = (uint8_t)byte;
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

/* An instruction with a register and an r/m operand.
 *
 * In: prefix: a prefix byte, or 0 for none.
 *     rex:    the REX prefix that the instruction needs whatever its operands are, or 0.
 *     opcode: one byte; or two, of which the first is 0f. */
static inline void xb_asm_reg_rm(xb_asm *to, uint32_t prefix, uint32_t rex, uint32_t opcode, uint32_t reg,
                                 xb_operand rm) {
    rex |= (reg >= 8 ? XB_REX_R : 0) | (rm.reg >= 8 ? XB_REX_B : 0);
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
    uint32_t low_bits = (reg & 7) << 3 | (rm.reg & 7);
    if (rm.is_memory) {
        xb_asm_byte(to, (rm.offset < 0x80 ? XB_MOD_DISP8 : XB_MOD_DISP32) | low_bits);
        xb_asm_byte(to, XB_SIB_RSP);
        xb_asm_short_number(to, rm.offset);
    } else {
        xb_asm_byte(to, XB_MOD_REGISTER | low_bits);
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

/* ---- Branches ---- */

/* endbr64: where branch targets are tracked (Intel CET), an indirect branch may lead here. Elsewhere a nop.
 */
static inline void xb_asm_endbr64(xb_asm *to) {
    xb_asm_number(to, 0xfa1e0ff3, 4);
}

/* call r11 */
static inline void xb_asm_call_r11(xb_asm *to) {
    xb_asm_reg_rm(to, 0, 0, 0xff, 2, xb_asm_reg(XB_R11));
}

/* jmp r11 */
static inline void xb_asm_jmp_r11(xb_asm *to) {
    xb_asm_reg_rm(to, 0, 0, 0xff, 4, xb_asm_reg(XB_R11));
}

/* ret */
static inline void xb_asm_ret(xb_asm *to) {
    xb_asm_byte(to, 0xc3);
}

#endif
