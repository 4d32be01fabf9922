/* What C11 has no word for: finding a bit, a function that is inline for certain, or for certain not (because
 * it is rare, or because its caller, which calls it last, then needs no stack), a condition that is rarely
 * true, memory that will be written soon, and a volatile object that is read while another thread writes it,
 * with all that was written before. */
#ifndef EXECBUF_BITS_H
#define EXECBUF_BITS_H

#include <stdint.h>

#if defined(__GNUC__)
#define EXECBUF_INLINE static inline __attribute__((always_inline))
#define EXECBUF_OUTLINE static __attribute__((noinline, cold))
#define EXECBUF_LAST static __attribute__((noinline))
#define EXECBUF_RARE(condition) __builtin_expect((condition), 0)
#define EXECBUF_PREFETCH_TO_WRITE(address) __builtin_prefetch((address), 1)
#define EXECBUF_READ(object) __atomic_load_n(&(object), __ATOMIC_ACQUIRE)
#define EXECBUF_WRITE(object, value) __atomic_store_n(&(object), (value), __ATOMIC_RELEASE)
#else
#define EXECBUF_INLINE static inline
#define EXECBUF_OUTLINE static
#define EXECBUF_LAST static
#define EXECBUF_RARE(condition) (condition)
#define EXECBUF_PREFETCH_TO_WRITE(address) ((void)(address))
#define EXECBUF_READ(object) (object) /* MSVC, for x86 */
#define EXECBUF_WRITE(object, value) ((void)((object) = (value)))
#endif

/* The number of the lowest bit that is set. value is not 0. */
static inline uint32_t execbuf_lowest_bit(uint64_t value) {
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
static inline uint32_t execbuf_highest_bit(uint64_t value) {
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
