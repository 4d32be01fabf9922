/* What C11 has no word for: finding a bit, a function that is inline for certain, or for certain not (because
 * it is rare, or because its caller, which calls it last, then needs no stack), a condition that is rarely
 * true, memory that will be written soon, and a volatile object that is read while another thread writes it,
 * with all that was written before. */
#ifndef XB_BASE_BITS_H
#define XB_BASE_BITS_H

#include <stdint.h>

#if defined(__GNUC__)
#define XB_INLINE static inline __attribute__((always_inline))
#define XB_COLD static __attribute__((noinline, cold))
#define XB_NOINLINE static __attribute__((noinline))
#define XB_UNLIKELY(condition) __builtin_expect((condition), 0)
#define XB_PREFETCH_WRITE(address) __builtin_prefetch((address), 1)
#define XB_LOAD_ACQUIRE(object) __atomic_load_n(&(object), __ATOMIC_ACQUIRE)
#define XB_STORE_RELEASE(object, value) __atomic_store_n(&(object), (value), __ATOMIC_RELEASE)
#else
#define XB_INLINE static inline
#define XB_COLD static
#define XB_NOINLINE static
#define XB_UNLIKELY(condition) (condition)
#define XB_PREFETCH_WRITE(address) ((void)(address))
#define XB_LOAD_ACQUIRE(object) (object) /* MSVC, for x86 */
#define XB_STORE_RELEASE(object, value) ((void)((object) = (value)))
#endif

/* The number of the lowest bit that is set. value is not 0. */
static inline uint32_t xb_lowest_bit(uint64_t value) {
#if defined(__GNUC__)
    return (uint32_t)__builtin_ctzll(value);
#else
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

/* The number of the highest bit that is set. value is not 0. */
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
