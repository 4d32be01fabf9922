/* Stubs of thunks: each tells a adapter one target. A stub is caller_abi instead of the target. Pure. */
#ifndef XB_THUNK_X86_64_STUB_H
#define XB_THUNK_X86_64_STUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../../base/compiler.h"

/* Where stubs near to a adapter jump: behind its endbr64. */
#define XB_ADAPTER_START 4

/* There are four kinds, each with its length: for a target and a adapter that are near, so that the stub is
 * as small as a slot; for a adapter that is near; for any; and without a adapter, a jump to the target. */
#define XB_STUB_NEAR 16U
#define XB_STUB_TARGET_FAR 19U
#define XB_STUB_FAR 27U
#define XB_STUB_JUMP 17U

/* Whether a stub within 64 KiB behind an address can jump to another one, and can load it: by a distance of
 * 32 bits with its sign. */
static inline bool xb_stub_reaches(const void *start, const void *target) {
    const uintptr_t reach = 0x7ffe0000;
    return (uintptr_t)target - (uintptr_t)start + reach < 2 * reach;
}

/* Whether a stub of this length there reaches what it has to. */
static inline bool xb_stub_fits(size_t length, const void *start, const void *target, const void *adapter) {
    return (length != XB_STUB_NEAR || xb_stub_reaches(start, target)) &&
           (length > XB_STUB_TARGET_FAR || xb_stub_reaches(start, adapter));
}

/* The code of a stub, with traps behind its end. */
typedef struct xb_stub {
    uint64_t words[4]; /* with the first byte lowest */
} xb_stub;

/* The distance from behind an operand of 32 bits, at this offset of a stub. */
XB_INLINE uint64_t xb_stub_distance(uintptr_t target, const void *start, size_t offset) {
    return (uint32_t)(target - ((uintptr_t)start + offset + 4));
}

/* Makes a stub. Inline, so that all that is left are constants, which no processor has to read again.
 *
 * In: length: its length, which says what it reaches.
 *     start:  the address it will have; of the last two kinds, any.
 *     target: the function.
 *     adapter:   the adapter. */
XB_INLINE xb_stub xb_stub_make(size_t length, const void *start, const void *target, const void *adapter) {
#define OPERAND_4 0, 0, 0, 0
#define OPERAND_8 0, 0, 0, 0, 0, 0, 0, 0
    static const uint8_t near_[XB_STUB_NEAR] = {
        0xf3, 0x0f,      0x1e, 0xfa,      /*  0: endbr64 */
        0x4c, 0x8d,      0x1d, OPERAND_4, /*  4: lea r11, [rip + distance of the target] */
        0xe9, OPERAND_4,                  /* 11: jmp adapter */
    };
    static const uint8_t target_far[XB_STUB_TARGET_FAR] = {
        0xf3, 0x0f,      0x1e,      0xfa, /*  0: endbr64 */
        0x49, 0xbb,      OPERAND_8,       /*  4: mov r11, target */
        0xe9, OPERAND_4,                  /* 14: jmp adapter */
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
    uintptr_t start_of_body = (uintptr_t)adapter + XB_ADAPTER_START;
    uintptr_t address = (uintptr_t)target;
    xb_stub stub = {{int3, int3, int3, int3}};
    switch (length) {
    case XB_STUB_NEAR: {
        uint64_t to_target = xb_stub_distance(address, start, 7);
        memcpy(&stub, near_, sizeof near_);
        stub.words[0] |= to_target << 56;
        stub.words[1] |= to_target >> 8 | xb_stub_distance(start_of_body, start, 12) << 32;
        break;
    }
    case XB_STUB_TARGET_FAR: {
        uint64_t to_body = xb_stub_distance(start_of_body, start, 15);
        memcpy(&stub, target_far, sizeof target_far);
        stub.words[0] |= (uint64_t)address << 48;
        stub.words[1] |= (uint64_t)address >> 16 | to_body << 56;
        stub.words[2] |= to_body >> 8;
        break;
    }
    case XB_STUB_FAR:
        memcpy(&stub, far_, sizeof far_);
        stub.words[0] |= (uint64_t)address << 48;
        stub.words[1] |= (uint64_t)address >> 16;
        stub.words[2] |= (uintptr_t)adapter;
        break;
    default:
        memcpy(&stub, jump, sizeof jump);
        stub.words[0] |= (uint64_t)address << 48;
        stub.words[1] |= (uint64_t)address >> 16;
        break;
    }
    return stub;
}

/* The adapter of a stub that has one.
 *
 * In: stub:   its code, anywhere.
 *     length: its length.
 *     start:  its address. */
static inline const uint8_t *xb_stub_adapter(const uint8_t *stub, size_t length, const void *start) {
    uint64_t adapter = 0;
    if (length == XB_STUB_FAR) {
        memcpy(&adapter, stub + 16, sizeof adapter);
    } else {
        uint32_t distance;
        memcpy(&distance, stub + length - 4, sizeof distance);
        adapter = (uintptr_t)start + length + (uint64_t)(int64_t)(int32_t)distance - XB_ADAPTER_START;
    }
    return (const uint8_t *)(uintptr_t)adapter; /* NOLINT(performance-no-int-to-ptr) */
}

#endif
