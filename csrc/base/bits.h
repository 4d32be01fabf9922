/* Bit scans. */
#ifndef XB_BASE_BITS_H
#define XB_BASE_BITS_H

#include <stdint.h>

/* Index of the lowest bit that is set; bit 0 is the least significant. value is not 0. */
static inline uint32_t xb_lowest_bit(uint64_t value) {
#if defined(__GNUC__)
    return (uint32_t)__builtin_ctzll(value);
#else
    /* Binary search: if the lower half is all zero, the bit is in the upper half. */
    uint32_t bit = 0;
    for (uint32_t half = 32; half > 0; half /= 2) {
        if ((value & (((uint64_t)1 << half) - 1)) == 0) {
            value >>= half;
            bit += half;
        }
    }
    return bit;
#endif
}

/* Index of the highest bit that is set. value is not 0. */
static inline uint32_t xb_highest_bit(uint64_t value) {
#if defined(__GNUC__)
    return 63U - (uint32_t)__builtin_clzll(value);
#else
    uint32_t bit = 0;
    for (uint32_t half = 32; half > 0; half /= 2) {
        if (value >> half != 0) {
            value >>= half;
            bit += half;
        }
    }
    return bit;
#endif
}

#endif
