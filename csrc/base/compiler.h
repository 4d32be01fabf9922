/* What the compiler is asked for beyond C11, with a harmless fallback for compilers that lack it. */
#ifndef XB_BASE_COMPILER_H
#define XB_BASE_COMPILER_H

/* XB_INLINE            a function that is inlined at every call
 * XB_NOINLINE          a function that is never inlined: its caller ends in a tail call to it, and saves no
 * registers XB_COLD              a function that runs rarely: never inlined, kept away from hot code
 * XB_UNLIKELY          a condition that is rarely true
 * XB_PREFETCH_WRITE    fetches memory that is about to be written
 * XB_LOAD_ACQUIRE, XB_STORE_RELEASE   access to an object that another thread accesses at the same time */
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

/* Between these two, declarations are hidden: they are not exported from a shared library, whatever flags it
 * is compiled with. Headers put them around their declarations, after their #include lines. */
#if defined(__GNUC__) && !defined(_WIN32)
#define XB_PRIVATE_BEGIN _Pragma("GCC visibility push(hidden)")
#define XB_PRIVATE_END _Pragma("GCC visibility pop")
#else
#define XB_PRIVATE_BEGIN
#define XB_PRIVATE_END
#endif

#endif
