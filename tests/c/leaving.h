/* What tests need that leave functions by exceptions, longjmp and backtraces. */
#ifndef EXECBUF_TEST_LEAVING_H
#define EXECBUF_TEST_LEAVING_H

#include "check.h"

#include <csetjmp>

#if !defined(_WIN32)
#include <unwind.h>
#endif

/* The convention that the program does not have. */
#if defined(_WIN32)
static const execbuf_abi FOREIGN = EXECBUF_ABI_SYSV64;
#else
static const execbuf_abi FOREIGN = EXECBUF_ABI_WIN64;
#endif

/* How many conventions functions can have here. */
#if defined(__x86_64__)
static const int CONVENTIONS = 2;
#else
static const int CONVENTIONS = 1;
#endif

/* Values that are kept across a call that does not return normally. They are more than there are preserved
 * registers, and the compiler does not know them, so each preserved general register contains one. */
#define IN_REGISTERS                                                                                         \
    __asm__ volatile("" : "+r"(n0), "+r"(n1), "+r"(n2), "+r"(n3), "+r"(n4), "+r"(n5));                       \
    __asm__ volatile("" : "+r"(n6), "+r"(n7), "+r"(n8), "+r"(n9), "+r"(n10))
#define HOLD_VALUES                                                                                          \
    long n0 = 7, n1 = 14, n2 = 21, n3 = 28, n4 = 35, n5 = 42, n6 = 49, n7 = 56, n8 = 63, n9 = 70, n10 = 77;  \
    IN_REGISTERS
#define CHECK_VALUES                                                                                         \
    IN_REGISTERS;                                                                                            \
    CHECK(n0 == 7 && n1 == 14 && n2 == 21 && n3 == 28 && n4 == 35 && n5 == 42);                              \
    CHECK(n6 == 49 && n7 == 56 && n8 == 63 && n9 == 70 && n10 == 77)

struct surprise {
    double number;
};

struct large {
    unsigned char bytes[200];
};

static int destroyed;
struct guard {
    ~guard() {
        destroyed++;
    }
};

/* The number that is thrown by a call; 0: none is. */
template <typename C> __attribute__((noinline)) static double caught_from(const C &call) {
    double caught = 0;
    HOLD_VALUES;
    try {
        guard kept;
        call();
    } catch (const surprise &thrown) {
        caught = thrown.number;
    }
    CHECK_VALUES;
    return caught;
}

static std::jmp_buf place;

#if !defined(_WIN32)

static void *return_address;
static bool seen; /* whether a backtrace has contained return_address */

static inline _Unwind_Reason_Code visit(_Unwind_Context *context, void *) {
    seen = seen || reinterpret_cast<void *>(_Unwind_GetIP(context)) == return_address; // NOLINT
    return _URC_NO_REASON;
}

#endif

#endif
