/* Stubs for AArch64: the inline part of the contract in ../machine.h. Pure.
 *
 * A stub loads its target's address into x16 and jumps to its adapter. It changes nothing else but x17, so
 * that it needs no unwind table: wherever it is interrupted, the return address is in x30. Any call may
 * change both registers (AAPCS64, 6.1.1), and where pages are guarded, a jump by one of them may lead to a
 * bti c. */
#ifndef XB_THUNK_AARCH64_STUB_H
#define XB_THUNK_AARCH64_STUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../../base/compiler.h"

/* Stubs that jump to an adapter by a distance skip its bti c. */
#define XB_ADAPTER_START 4

/* The kinds of stubs, by their lengths in bytes:
 *
 *                         the target is at    the adapter is at
 *     XB_STUB_NEAR        a distance of       a distance of        fits in the smallest slots
 *                         33 bits             28 bits
 *     XB_STUB_TARGET_FAR  any address         a distance of
 *                                             28 bits
 *     XB_STUB_FAR         any address         any address
 *     XB_STUB_JUMP        any address         -                    jumps to the target itself */
#define XB_STUB_NEAR 16U
#define XB_STUB_TARGET_FAR 24U
#define XB_STUB_FAR 32U
#define XB_STUB_JUMP 20U

/* Where stubs have addresses: of the target, and of the adapter. */
#define XB_STUB_TARGET_AT 16U
#define XB_STUB_ADAPTER_AT 24U

/* Whether a distance of less than `reach` leads to target from each byte of the 64 KiB behind start: a span
 * is not larger, so it holds for a stub in a span that begins at start. Any addresses. */
static inline bool xb_stub_is_within(uint64_t reach, const void *start, const void *target) {
    const uint64_t left = reach - 0x20000;
    return (uint64_t)(uintptr_t)target - (uint64_t)(uintptr_t)start + left < 2 * left;
}

/* The same for adrp, which reaches 4 GiB. */
static inline bool xb_stub_reaches(const void *start, const void *target) {
    return xb_stub_is_within((uint64_t)1 << 32, start, target);
}

/* Whether a stub of this length that begins in the 64 KiB behind start reaches what it refers to: b reaches
 * 128 MiB. */
static inline bool xb_stub_fits(size_t length, const void *start, const void *target, const void *adapter) {
    return (length != XB_STUB_NEAR || xb_stub_reaches(start, target)) &&
           (length > XB_STUB_TARGET_FAR || xb_stub_is_within((uint64_t)1 << 27, start, adapter));
}

/* The code of a stub, then traps: words whose lowest byte is the first in memory. */
typedef struct xb_stub {
    uint64_t words[4];
} xb_stub;

/* Two instructions, as a word. */
XB_INLINE uint64_t xb_stub_pair(uint32_t first, uint32_t second) {
    return (uint64_t)first | (uint64_t)second << 32;
}

/* adrp x16, target; from this address */
XB_INLINE uint32_t xb_stub_adrp(uint64_t from, uint64_t target) {
    uint64_t pages = (target >> 12) - (from >> 12);
    return 0x90000010U | (uint32_t)(pages & 3) << 29 | (uint32_t)(pages >> 2 & 0x7ffff) << 5;
}

/* add x16, x16, the distance of target from the start of its page */
XB_INLINE uint32_t xb_stub_add(uint64_t target) {
    return 0x91000210U | (uint32_t)(target & 0xfff) << 10;
}

/* b target; from this address */
XB_INLINE uint32_t xb_stub_b(uint64_t from, uint64_t target) {
    return 0x14000000U | (uint32_t)((target - from) >> 2 & 0x3ffffff);
}

/* Makes a stub. length is a constant at each call; what is left after inlining are a few constants, shifts
 * and ORs on registers.
 *
 * In: length:  the stub's kind.
 *     start:   the address it will have; unused by XB_STUB_FAR and XB_STUB_JUMP.
 *     target:  the function.
 *     adapter: the adapter's address; unused by XB_STUB_JUMP. */
XB_INLINE xb_stub xb_stub_make(size_t length, const void *start, const void *target, const void *adapter) {
    const uint32_t bti_c = 0xd503245f;       /* bti c */
    const uint32_t brk = 0xd4200000;         /* brk #0 */
    const uint32_t ldr_target = 0x58000070;  /* ldr x16, XB_STUB_TARGET_AT: 12 bytes behind it */
    const uint32_t ldr_adapter = 0x58000091; /* ldr x17, XB_STUB_ADAPTER_AT: 16 bytes behind it */
    const uint32_t ldr_next = 0x58000050;    /* ldr x16, what is behind the next instruction */
    const uint32_t br_x16 = 0xd61f0200;      /* br x16 */
    const uint32_t br_x17 = 0xd61f0220;      /* br x17 */
    const uint64_t traps = xb_stub_pair(brk, brk);
    uint64_t from = (uintptr_t)start;
    uint64_t address = (uintptr_t)target;
    uint64_t adapter_start = (uint64_t)(uintptr_t)adapter + XB_ADAPTER_START;
    xb_stub stub = {{traps, traps, traps, traps}};
    switch (length) {
    case XB_STUB_NEAR:
        stub.words[0] = xb_stub_pair(bti_c, xb_stub_adrp(from + 4, address));
        stub.words[1] = xb_stub_pair(xb_stub_add(address), xb_stub_b(from + 12, adapter_start));
        break;
    case XB_STUB_TARGET_FAR:
        stub.words[0] = xb_stub_pair(bti_c, ldr_target);
        stub.words[1] = xb_stub_pair(xb_stub_b(from + 8, adapter_start), brk);
        stub.words[2] = address;
        break;
    case XB_STUB_FAR:
        stub.words[0] = xb_stub_pair(bti_c, ldr_target);
        stub.words[1] = xb_stub_pair(ldr_adapter, br_x17);
        stub.words[2] = address;
        stub.words[3] = (uintptr_t)adapter;
        break;
    default: /* XB_STUB_JUMP */
        stub.words[0] = xb_stub_pair(bti_c, ldr_next);
        stub.words[1] = xb_stub_pair(br_x16, (uint32_t)address);
        stub.words[2] = xb_stub_pair((uint32_t)(address >> 32), brk);
        break;
    }
    return stub;
}

/* The instruction at an offset of a stub. */
static inline uint32_t xb_stub_instruction(const uint8_t *stub, size_t offset) {
    uint32_t instruction;
    memcpy(&instruction, stub + offset, sizeof instruction);
    return instruction;
}

/* Reads a signed number from bits of an instruction: the lowest bit, and how many there are. */
static inline uint64_t xb_stub_signed(uint32_t instruction, uint32_t lowest, uint32_t count) {
    uint64_t sign = (uint64_t)1 << (count - 1);
    uint64_t bits = instruction >> lowest & (2 * sign - 1);
    return (bits ^ sign) - sign;
}

/* Reads the address of its adapter from a stub that has one: the inverse of xb_stub_make.
 *
 * In: stub:   its code, where it can be read.
 *     length: its length.
 *     start:  the address where it runs. */
static inline const uint8_t *xb_stub_adapter(const uint8_t *stub, size_t length, const void *start) {
    uint64_t adapter;
    if (length == XB_STUB_FAR) {
        memcpy(&adapter, stub + XB_STUB_ADAPTER_AT, sizeof adapter);
    } else { /* the distance of a b */
        size_t place = length == XB_STUB_NEAR ? 12 : 8;
        uint64_t words = xb_stub_signed(xb_stub_instruction(stub, place), 0, 26);
        adapter = (uintptr_t)start + place + 4 * words - XB_ADAPTER_START;
    }
    return (const uint8_t *)(uintptr_t)adapter; /* NOLINT(performance-no-int-to-ptr) */
}

/* Reads the address that a stub with an adapter loads into x16. The arguments are those of xb_stub_adapter.
 */
static inline const void *xb_stub_operand(const uint8_t *stub, size_t length, const void *start) {
    uint64_t operand;
    if (length == XB_STUB_NEAR) { /* the pages of an adrp, and the bytes of an add */
        uint32_t adrp = xb_stub_instruction(stub, 4);
        uint64_t pages = 4 * xb_stub_signed(adrp, 5, 19) + (adrp >> 29 & 3);
        uint64_t from = ((uint64_t)(uintptr_t)start + 4) & ~(uint64_t)0xfff;
        operand = from + (pages << 12) + (xb_stub_instruction(stub, 8) >> 10 & 0xfff);
    } else {
        memcpy(&operand, stub + XB_STUB_TARGET_AT, sizeof operand);
    }
    return (const void *)(uintptr_t)operand; /* NOLINT(performance-no-int-to-ptr) */
}

#endif
