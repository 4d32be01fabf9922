/* Which unwinder the program has. */
#ifndef EXECBUF_TEST_WHICH_UNWINDER_H
#define EXECBUF_TEST_WHICH_UNWINDER_H

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>
#include <unwind.h>

#if defined(__cplusplus)
extern "C" {
#endif
__attribute__((weak)) int __unw_step(void *cursor); /* NOLINT: a function of LLVM's */
#if defined(__cplusplus)
}
#endif

/* Whether it is LLVM's, which does not find its way out of a signal handler everywhere. */
static inline bool unwinder_is_llvms(void) {
    return __unw_step != NULL;
}

/* Whether it is the shared library of libgcc, which glibc uses for backtrace and pthread_cancel. */
static inline bool unwinder_is_that_of_glibc(void) {
    _Unwind_Reason_Code (*own)(_Unwind_Trace_Fn, void *) = _Unwind_Backtrace;
    void *library = dlopen("libgcc_s.so.1", RTLD_LAZY);
    const void *function = library != NULL ? dlsym(library, "_Unwind_Backtrace") : NULL;
    return function != NULL && memcmp((const void *)&function, (const void *)&own, sizeof own) == 0;
}

#endif
