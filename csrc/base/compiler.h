/* Requests to the compiler that C11 has no words for. A compiler without them gets a fallback that is slower
 * at worst. No other portable file uses compiler extensions. */
#ifndef XB_BASE_COMPILER_H
#define XB_BASE_COMPILER_H

/* Before a function definition:
 *
 *   XB_INLINE    inlined at every call. For fast paths.
 *   XB_NOINLINE  never inlined. A fast path that ends in a tail call to such a function needs no stack frame
 *                and saves no registers.
 *   XB_COLD      never inlined, and placed apart from hot code. For paths that are taken rarely.
 *
 * These three are static. Before the declaration of an external function, for the same purposes:
 *
 *   XB_EXTERNAL_NOINLINE
 *   XB_EXTERNAL_COLD
 *
 * Before the definition of a function that calls machine code which is made or found at run time:
 *
 *   XB_UNCHECKED_CALLS  clang does not check the function's indirect calls. Its checks (-fsanitize=cfi, kcfi
 *                       and function) know only functions that were compiled together with the caller.
 *
 * In declarations of variables and members:
 *
 *   XB_ALIGNED_8        aligned to 8 bytes, also on 32 bits. Atomic operations on 64 bits need it
 *
 * In expressions:
 *
 *   XB_UNLIKELY(condition)           the condition, which is rarely true
 *   XB_PREFETCH_WRITE(address)       starts to load memory that will be written soon
 *   XB_LOAD_ACQUIRE(object)          reads an object that other threads write with XB_STORE_RELEASE
 *   XB_LOAD_RELAXED(object)          reads an object that other threads write; nothing else is ordered
 *   XB_STORE_RELEASE(object, value)  writes it: who reads this value also sees all that was written before
 *   XB_EXCHANGE_IF(object, expected, value)  writes it if it has the expected value, and returns whether it
 * had XB_FETCH_OR(object, bits)        sets bits, and returns what the object was before
 *   XB_FETCH_ADD(object, number)     adds to an object of 32 bits, and returns what it was before. In the one
 *                                    order of all these calls on an object, each sees what was written before
 *                                    those that came earlier */
#if defined(__GNUC__)
#define XB_INLINE static inline __attribute__((always_inline))
#define XB_NOINLINE static __attribute__((noinline))
#define XB_COLD static __attribute__((noinline, cold))
#define XB_EXTERNAL_NOINLINE __attribute__((noinline))
#define XB_EXTERNAL_COLD __attribute__((noinline, cold))
#define XB_ALIGNED_8 __attribute__((aligned(8)))
#define XB_UNLIKELY(condition) __builtin_expect((condition), 0)
#define XB_PREFETCH_WRITE(address) __builtin_prefetch((address), 1)
#define XB_LOAD_ACQUIRE(object) __atomic_load_n(&(object), __ATOMIC_ACQUIRE)
#define XB_LOAD_RELAXED(object) __atomic_load_n(&(object), __ATOMIC_RELAXED)
#define XB_STORE_RELEASE(object, value) __atomic_store_n(&(object), (value), __ATOMIC_RELEASE)
#define XB_EXCHANGE_IF(object, expected, value)                                                              \
    __atomic_compare_exchange_n(&(object), &(expected), (value), false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)
#define XB_FETCH_OR(object, bits) __atomic_fetch_or(&(object), (bits), __ATOMIC_ACQ_REL)
#define XB_FETCH_ADD(object, number) __atomic_fetch_add(&(object), (number), __ATOMIC_SEQ_CST)
#else
#define XB_INLINE static inline
#define XB_NOINLINE static
#define XB_COLD static
#define XB_EXTERNAL_NOINLINE
#define XB_EXTERNAL_COLD
#define XB_ALIGNED_8
#define XB_UNLIKELY(condition) (condition)
#define XB_PREFETCH_WRITE(address) ((void)(address))
/* MSVC: on x86, plain accesses of aligned words are ordered like this by the processor. The two of guests
 * (see prim/lock.h), which do not exist there, need not be atomic. */
#define XB_LOAD_ACQUIRE(object) (object)
#define XB_LOAD_RELAXED(object) (object)
#define XB_STORE_RELEASE(object, value) ((void)((object) = (value)))
#define XB_EXCHANGE_IF(object, expected, value) ((object) == (expected) ? ((object) = (value), true) : false)
#define XB_FETCH_OR(object, bits) (((object) |= (bits)) & ~(bits))
#if defined(_MSC_VER)
#include <intrin.h>
#define XB_FETCH_ADD(object, number)                                                                         \
    ((uint32_t)_InterlockedExchangeAdd((volatile long *)&(object), (long)(number)))
#else
#define XB_FETCH_ADD(object, number) (((object) += (number)) - (number))
#endif
#endif

#if defined(__clang__) && __clang_major__ >= 16 /* older versions warn of the unknown name */
#define XB_UNCHECKED_CALLS __attribute__((no_sanitize("cfi", "function", "kcfi")))
#elif defined(__clang__)
#define XB_UNCHECKED_CALLS __attribute__((no_sanitize("cfi", "function")))
#else
#define XB_UNCHECKED_CALLS
#endif

/* At file scope: the build fails with this text unless the constant condition holds. */
#if defined(__cplusplus)
#define XB_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define XB_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

/* Headers put XB_PRIVATE_BEGIN before and XB_PRIVATE_END after their declarations, but not around #include
 * lines. A shared library then exports nothing that is declared in between, whatever flags it is built with.
 *
 * Both are empty for object formats other than ELF and Mach-O: a DLL exports only what is marked. They are
 * also empty in C++, where the pragma would apply to types as well, and conflict with types that the public
 * header declares. */
#if defined(__GNUC__) && (defined(__ELF__) || defined(__MACH__)) && !defined(__cplusplus)
#define XB_PRIVATE_BEGIN _Pragma("GCC visibility push(hidden)")
#define XB_PRIVATE_END _Pragma("GCC visibility pop")
#else
#define XB_PRIVATE_BEGIN
#define XB_PRIVATE_END
#endif

#endif
