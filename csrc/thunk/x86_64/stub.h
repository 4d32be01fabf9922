/* Leaves of thunks: each tells a body one target. A leaf is entered instead of the target. Pure. */
#ifndef EXECBUF_LEAF_H
#define EXECBUF_LEAF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../../base/bits.h"

/* Where leaves near to a body jump: behind its endbr64. */
#define EXECBUF_BODY_START 4

/* There are four kinds, each with its length: for a target and a body that are near, so that the leaf is as
 * small as a slot; for a body that is near; for any; and without a body, a jump to the target. */
#define EXECBUF_LEAF_NEAR 16U
#define EXECBUF_LEAF_TARGET_FAR 19U
#define EXECBUF_LEAF_FAR 27U
#define EXECBUF_LEAF_JUMP 17U

/* Whether a leaf within 64 KiB behind an address can jump to another one, and can load it: by a distance of
 * 32 bits with its sign. */
static inline bool execbuf_leaf_reaches(const void *start, const void *target) {
    const uintptr_t reach = 0x7ffe0000;
    return (uintptr_t)target - (uintptr_t)start + reach < 2 * reach;
}

/* Whether a leaf of this length there reaches what it has to. */
static inline bool execbuf_leaf_fits(size_t length, const void *start, const void *target, const void *body) {
    return (length != EXECBUF_LEAF_NEAR || execbuf_leaf_reaches(start, target)) &&
           (length > EXECBUF_LEAF_TARGET_FAR || execbuf_leaf_reaches(start, body));
}

/* The code of a leaf, with traps behind its end. */
typedef struct execbuf_leaf {
    uint64_t words[4]; /* with the first byte lowest */
} execbuf_leaf;

/* The distance from behind an operand of 32 bits, at this offset of a leaf. */
EXECBUF_INLINE uint64_t execbuf_leaf_distance(uintptr_t target, const void *start, size_t offset) {
    return (uint32_t)(target - ((uintptr_t)start + offset + 4));
}

/* Makes a leaf. Inline, so that all that is left are constants, which no processor has to read again.
 *
 * In: length: its length, which says what it reaches.
 *     start:  the address it will have; of the last two kinds, any.
 *     target: the function.
 *     body:   the body. */
EXECBUF_INLINE execbuf_leaf execbuf_leaf_make(size_t length, const void *start, const void *target,
                                              const void *body) {
#define OPERAND_4 0, 0, 0, 0
#define OPERAND_8 0, 0, 0, 0, 0, 0, 0, 0
    static const uint8_t near_[EXECBUF_LEAF_NEAR] = {
        0xf3, 0x0f,      0x1e, 0xfa,      /*  0: endbr64 */
        0x4c, 0x8d,      0x1d, OPERAND_4, /*  4: lea r11, [rip + distance of the target] */
        0xe9, OPERAND_4,                  /* 11: jmp body */
    };
    static const uint8_t target_far[EXECBUF_LEAF_TARGET_FAR] = {
        0xf3, 0x0f,      0x1e,      0xfa, /*  0: endbr64 */
        0x49, 0xbb,      OPERAND_8,       /*  4: mov r11, target */
        0xe9, OPERAND_4,                  /* 14: jmp body */
    };
    static const uint8_t far_[EXECBUF_LEAF_FAR] = {
        0xf3, 0x0f, 0x1e,      0xfa, /*  0: endbr64 */
        0x49, 0xbb, OPERAND_8,       /*  4: mov r11, target */
        0x49, 0xba, OPERAND_8,       /* 14: mov r10, body */
        0x41, 0xff, 0xe2,            /* 24: jmp r10 */
    };
    static const uint8_t jump[EXECBUF_LEAF_JUMP] = {
        0xf3, 0x0f, 0x1e,      0xfa, /*  0: endbr64 */
        0x49, 0xbb, OPERAND_8,       /*  4: mov r11, target */
        0x41, 0xff, 0xe3,            /* 14: jmp r11 */
    };
#undef OPERAND_4
#undef OPERAND_8
    const uint64_t int3 = 0xcccccccccccccccc;
    uintptr_t start_of_body = (uintptr_t)body + EXECBUF_BODY_START;
    uintptr_t address = (uintptr_t)target;
    execbuf_leaf leaf = {{int3, int3, int3, int3}};
    switch (length) {
    case EXECBUF_LEAF_NEAR: {
        uint64_t to_target = execbuf_leaf_distance(address, start, 7);
        memcpy(&leaf, near_, sizeof near_);
        leaf.words[0] |= to_target << 56;
        leaf.words[1] |= to_target >> 8 | execbuf_leaf_distance(start_of_body, start, 12) << 32;
        break;
    }
    case EXECBUF_LEAF_TARGET_FAR: {
        uint64_t to_body = execbuf_leaf_distance(start_of_body, start, 15);
        memcpy(&leaf, target_far, sizeof target_far);
        leaf.words[0] |= (uint64_t)address << 48;
        leaf.words[1] |= (uint64_t)address >> 16 | to_body << 56;
        leaf.words[2] |= to_body >> 8;
        break;
    }
    case EXECBUF_LEAF_FAR:
        memcpy(&leaf, far_, sizeof far_);
        leaf.words[0] |= (uint64_t)address << 48;
        leaf.words[1] |= (uint64_t)address >> 16;
        leaf.words[2] |= (uintptr_t)body;
        break;
    default:
        memcpy(&leaf, jump, sizeof jump);
        leaf.words[0] |= (uint64_t)address << 48;
        leaf.words[1] |= (uint64_t)address >> 16;
        break;
    }
    return leaf;
}

/* The body of a leaf that has one.
 *
 * In: leaf:   its code, anywhere.
 *     length: its length.
 *     start:  its address. */
static inline const uint8_t *execbuf_leaf_body(const uint8_t *leaf, size_t length, const void *start) {
    uint64_t body = 0;
    if (length == EXECBUF_LEAF_FAR) {
        memcpy(&body, leaf + 16, sizeof body);
    } else {
        uint32_t distance;
        memcpy(&distance, leaf + length - 4, sizeof distance);
        body = (uintptr_t)start + length + (uint64_t)(int64_t)(int32_t)distance - EXECBUF_BODY_START;
    }
    return (const uint8_t *)(uintptr_t)body; /* NOLINT(performance-no-int-to-ptr) */
}

#endif
