/* Stubs for x86-64: the inline part of the contract in machine.h. Pure.
 *
 * A stub loads its target's address into r11 and jumps to its adapter. It changes nothing else but r10, so
 * that it needs no unwind table: wherever it is interrupted, the return address is at [rsp]. */
#ifndef XB_THUNK_X86_64_STUB_H
#define XB_THUNK_X86_64_STUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../../base/compiler.h"

/* Stubs that jump to an adapter by a distance skip its endbr64. */
#define XB_ADAPTER_START 4

/* The kinds of stubs, by their lengths in bytes:
 *
 *                         the target is at    the adapter is at
 *     XB_STUB_NEAR        a 32-bit distance   a 32-bit distance    fits in the smallest slots
 *     XB_STUB_TARGET_FAR  any address         a 32-bit distance
 *     XB_STUB_FAR         any address         any address
 *     XB_STUB_JUMP        any address         -                    jumps to the target itself */
#define XB_STUB_NEAR 16U
#define XB_STUB_TARGET_FAR 19U
#define XB_STUB_FAR 27U
#define XB_STUB_JUMP 17U

/* Whether a 32-bit distance reaches target from each byte of the 64 KiB behind start: a span is not larger,
 * so it holds for a stub in a span that begins at start. Any addresses. */
static inline bool xb_stub_reaches(const void *start, const void *target) {
    const uintptr_t reach = 0x7ffe0000; /* 2 GiB less 128 KiB */
    return (uintptr_t)target - (uintptr_t)start + reach < 2 * reach;
}

/* Whether a stub of this length that begins in the 64 KiB behind start reaches what it refers to. */
static inline bool xb_stub_fits(size_t length, const void *start, const void *target, const void *adapter) {
    return (length != XB_STUB_NEAR || xb_stub_reaches(start, target)) &&
           (length > XB_STUB_TARGET_FAR || xb_stub_reaches(start, adapter));
}

/* The code of a stub, then traps: words whose lowest byte is the first in memory. */
typedef struct xb_stub {
    uint64_t words[4];
} xb_stub;

/* The value of a 32-bit operand at this offset of a stub: the distance from the operand's end to target. */
XB_INLINE uint64_t xb_stub_distance(uintptr_t target, const void *start, size_t offset) {
    return (uint32_t)(target - ((uintptr_t)start + offset + 4));
}

/* Makes a stub from its template, by setting the operands, which are 0 there. length is a constant at each
 * call; what is left after inlining are a few constants, shifts and ORs on registers: no processor has to
 * wait for bytes that it has just written and reads again as words.
 *
 * In: length:  the stub's kind.
 *     start:   the address it will have; unused by XB_STUB_FAR and XB_STUB_JUMP.
 *     target:  the function.
 *     adapter: the adapter's address; unused by XB_STUB_JUMP. */
XB_INLINE xb_stub xb_stub_make(size_t length, const void *start, const void *target, const void *adapter) {
#define OPERAND_4 0, 0, 0, 0
#define OPERAND_8 0, 0, 0, 0, 0, 0, 0, 0
    static const uint8_t near_[XB_STUB_NEAR] = {
        0xf3, 0x0f,      0x1e, 0xfa,      /*  0: endbr64 */
        0x4c, 0x8d,      0x1d, OPERAND_4, /*  4: lea r11, [rip + distance of the target] */
        0xe9, OPERAND_4,                  /* 11: jmp adapter + XB_ADAPTER_START */
    };
    static const uint8_t target_far[XB_STUB_TARGET_FAR] = {
        0xf3, 0x0f,      0x1e,      0xfa, /*  0: endbr64 */
        0x49, 0xbb,      OPERAND_8,       /*  4: mov r11, target */
        0xe9, OPERAND_4,                  /* 14: jmp adapter + XB_ADAPTER_START */
    };
    static const uint8_t far_[XB_STUB_FAR] = {
        0xf3, 0x0f, 0x1e,      0xfa, /*  0: endbr64 */
        0x49, 0xbb, OPERAND_8,       /*  4: mov r11, target */
        0x49, 0xba, OPERAND_8,       /* 14: mov r10, adapter */
        0x41, 0xff, 0xe2,            /* 24: jmp r10 */
    };
    static const uint8_t jump[XB_STUB_JUMP] = {
        0xf3, 0x0f, 0x1e,      0xfa, /*  0: endbr64 */
        0x49, 0xbb, OPERAND_8,       /*  4: mov r11, target */
        0x41, 0xff, 0xe3,            /* 14: jmp r11 */
    };
#undef OPERAND_4
#undef OPERAND_8
    const uint64_t int3 = 0xcccccccccccccccc;
    uintptr_t adapter_start = (uintptr_t)adapter + XB_ADAPTER_START;
    uintptr_t address = (uintptr_t)target;
    xb_stub stub = {{int3, int3, int3, int3}};
    /* Byte n of a stub is bits 8 * (n % 8) and up of word n / 8. */
    switch (length) {
    case XB_STUB_NEAR: {
        uint64_t to_target = xb_stub_distance(address, start, 7);
        memcpy(&stub, near_, sizeof near_);
        stub.words[0] |= to_target << 56; /* bytes 7 to 10 */
        stub.words[1] |= to_target >> 8;
        stub.words[1] |= xb_stub_distance(adapter_start, start, 12) << 32; /* bytes 12 to 15 */
        break;
    }
    case XB_STUB_TARGET_FAR: {
        uint64_t to_adapter = xb_stub_distance(adapter_start, start, 15);
        memcpy(&stub, target_far, sizeof target_far);
        stub.words[0] |= (uint64_t)address << 48; /* bytes 6 to 13 */
        stub.words[1] |= (uint64_t)address >> 16;
        stub.words[1] |= to_adapter << 56; /* bytes 15 to 18 */
        stub.words[2] |= to_adapter >> 8;
        break;
    }
    case XB_STUB_FAR:
        memcpy(&stub, far_, sizeof far_);
        stub.words[0] |= (uint64_t)address << 48; /* bytes 6 to 13 */
        stub.words[1] |= (uint64_t)address >> 16;
        stub.words[2] |= (uintptr_t)adapter; /* bytes 16 to 23 */
        break;
    default: /* XB_STUB_JUMP */
        memcpy(&stub, jump, sizeof jump);
        stub.words[0] |= (uint64_t)address << 48; /* bytes 6 to 13 */
        stub.words[1] |= (uint64_t)address >> 16;
        break;
    }
    return stub;
}

/* Reads the address of its adapter from a stub that has one: the inverse of xb_stub_make.
 *
 * In: stub:   its code, where it can be read.
 *     length: its length.
 *     start:  the address where it runs. */
static inline const uint8_t *xb_stub_adapter(const uint8_t *stub, size_t length, const void *start) {
    uint64_t adapter = 0;
    if (length == XB_STUB_FAR) {
        memcpy(&adapter, stub + 16, sizeof adapter);
    } else { /* the last four bytes are the distance of a jmp */
        uint32_t distance;
        memcpy(&distance, stub + length - 4, sizeof distance);
        adapter = (uintptr_t)start + length + (uint64_t)(int64_t)(int32_t)distance - XB_ADAPTER_START;
    }
    return (const uint8_t *)(uintptr_t)adapter; /* NOLINT(performance-no-int-to-ptr) */
}

/* Reads the address that a stub with an adapter loads into r11. The arguments are those of xb_stub_adapter.
 */
static inline const void *xb_stub_operand(const uint8_t *stub, size_t length, const void *start) {
    uint64_t operand;
    if (length == XB_STUB_NEAR) { /* the distance in a lea that ends at byte 11 */
        uint32_t distance;
        memcpy(&distance, stub + 7, sizeof distance);
        operand = (uintptr_t)start + 11 + (uint64_t)(int64_t)(int32_t)distance;
    } else { /* the number in a mov */
        memcpy(&operand, stub + 6, sizeof operand);
    }
    return (const void *)(uintptr_t)operand; /* NOLINT(performance-no-int-to-ptr) */
}

#endif
