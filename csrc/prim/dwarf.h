/* Unwinders that take DWARF: libgcc's and LLVM's. Both have functions for code that comes at run time, but
 * not the same ones, and not every program is linked with them. */
#ifndef EXECBUF_DWARF_H
#define EXECBUF_DWARF_H

#include <dlfcn.h>
#include <string.h>

#include "fault.h"
#include "prim.h"

/* An unwinder's functions: LLVM's two take an FDE; libgcc's take a list of FDEs up to a zero, and memory of
 * ours for an object of theirs (__register_frame, which both have, gets it by a malloc that libgcc does not
 * check). What we give serves both. NULL: there are none. */
struct dwarf_unwinder {
    void (*add)(uintptr_t fde);
    void (*remove)(uintptr_t fde);
    void (*register_info)(const void *list, void *object);
    void *(*deregister_info)(const void *list);
};

static const struct dwarf_unwinder dwarf_none;

#if defined(__APPLE__)

extern void __register_frame(const void *);   /* NOLINT(bugprone-reserved-identifier) */
extern void __deregister_frame(const void *); /* NOLINT(bugprone-reserved-identifier) */

static void apple_add(uintptr_t fde) {
    __register_frame((const void *)fde);
}

static void apple_remove(uintptr_t fde) {
    __deregister_frame((const void *)fde);
}

/* They are in a library that every program has, and are LLVM's. */
static struct dwarf_unwinder dwarf_find(void) {
    return (struct dwarf_unwinder){apple_add, apple_remove, NULL, NULL};
}

#else

extern void __unw_add_dynamic_fde(uintptr_t);                 /* NOLINT(bugprone-reserved-identifier) */
extern void __unw_remove_dynamic_fde(uintptr_t);              /* NOLINT(bugprone-reserved-identifier) */
extern void __register_frame_info(const void *, void *);      /* NOLINT(bugprone-reserved-identifier) */
extern void *__deregister_frame_info(const void *);           /* NOLINT(bugprone-reserved-identifier) */
extern void _Unwind_Resume(void *) __attribute__((noreturn)); /* NOLINT(bugprone-reserved-identifier) */

#pragma weak __unw_add_dynamic_fde
#pragma weak __unw_remove_dynamic_fde
#pragma weak __register_frame_info
#pragma weak __deregister_frame_info
#pragma weak _Unwind_Resume
#pragma weak dlopen /* older C libraries have these in another library, and static ones not at all */
#pragma weak dlsym
#pragma weak dladdr

/* Puts the address of a library's symbol, or NULL, to *function, which is a pointer to a function: ISO C has
 * no cast for this. */
static void dwarf_symbol(void *library, const char *name, void *function) {
    void *found = dlsym(library, name);
    memcpy(function, (const void *)&found, sizeof found);
}

static struct dwarf_unwinder dwarf_of(void *library) {
    struct dwarf_unwinder found;
    dwarf_symbol(library, "__unw_add_dynamic_fde", (void *)&found.add);
    dwarf_symbol(library, "__unw_remove_dynamic_fde", (void *)&found.remove);
    dwarf_symbol(library, "__register_frame_info", (void *)&found.register_info);
    dwarf_symbol(library, "__deregister_frame_info", (void *)&found.deregister_info);
    return found;
}

static bool dwarf_is_there(const struct dwarf_unwinder *unwinder) {
    return (unwinder->add != NULL && unwinder->remove != NULL) ||
           (unwinder->register_info != NULL && unwinder->deregister_info != NULL);
}

/* Whether two functions are in the same library or program. True if nobody can say. */
static bool dwarf_are_neighbours(const void *one, const void *other) {
    Dl_info of_one;
    Dl_info of_other;
    return dladdr == NULL || dladdr(one, &of_one) == 0 || dladdr(other, &of_other) == 0 ||
           of_one.dli_fbase == of_other.dli_fbase;
}

/* Whether LLVM's functions are those of the unwinder that the program calls, which may also be libgcc's while
 * LLVM's is there for somebody else. */
static bool dwarf_is_llvm(const struct dwarf_unwinder *unwinder) {
    const void *add;
    const void *resume;
    void (*const function)(void *) = _Unwind_Resume;
    memcpy((void *)&add, (const void *)&unwinder->add, sizeof add);
    memcpy((void *)&resume, (const void *)&function, sizeof resume);
    return add != NULL && unwinder->remove != NULL &&
           (unwinder->register_info == NULL || resume == NULL || dwarf_are_neighbours(add, resume));
}

/* The unwinder of the program, or of a library that is loaded already, or libgcc's, which the C library
 * itself loads for backtrace. */
static struct dwarf_unwinder dwarf_find(void) {
    struct dwarf_unwinder found = {__unw_add_dynamic_fde, __unw_remove_dynamic_fde, __register_frame_info,
                                   __deregister_frame_info};
    bool can_search = dlopen != NULL && dlsym != NULL;
    if (!dwarf_is_there(&found) && can_search) {
        found = dwarf_of(RTLD_DEFAULT);
    }
    if (!dwarf_is_there(&found) && can_search) {
        void *libgcc = dlopen("libgcc_s.so.1", RTLD_LAZY);
        found = libgcc != NULL ? dwarf_of(libgcc) : dwarf_none;
    }
    if (dwarf_is_llvm(&found)) {
        found.register_info = NULL;
    } else {
        found.add = NULL;
    }
    return dwarf_is_there(&found) ? found : dwarf_none;
}

#endif

/* How many threads are in the unwinder's functions on our behalf. */
static unsigned dwarf_busy;

/* A fork came while another thread was, so in this process nobody ends it: its locks may be taken for ever.
 */
static bool dwarf_lost;

void execbuf_prim_unwinder_after_fork(void) {
    if (__atomic_load_n(&dwarf_busy, __ATOMIC_SEQ_CST) != 0) {
        __atomic_store_n(&dwarf_busy, 0, __ATOMIC_SEQ_CST);
        dwarf_lost = true;
    }
}

execbuf_prim_result execbuf_prim_tell_unwinder(execbuf_prim_function *function) {
    struct dwarf_unwinder unwinder = dwarf_lost ? dwarf_none : dwarf_find();
    function->remove = unwinder.add != NULL ? unwinder.remove : NULL;
    function->deregister = unwinder.deregister_info;
    __atomic_fetch_add(&dwarf_busy, 1, __ATOMIC_SEQ_CST);
    if (unwinder.add != NULL) {
        unwinder.add((uintptr_t)function->fde);
    } else if (unwinder.register_info != NULL) {
        unwinder.register_info(function->fde, function->object);
    }
    __atomic_fetch_sub(&dwarf_busy, 1, __ATOMIC_SEQ_CST);
    return execbuf_prim_ok();
}

bool execbuf_prim_forget_function(execbuf_prim_function *function) {
    bool told = function->remove != NULL || function->deregister != NULL;
    if (told && dwarf_lost) {
        return false;
    }
    __atomic_fetch_add(&dwarf_busy, 1, __ATOMIC_SEQ_CST);
    if (function->remove != NULL) {
        function->remove((uintptr_t)function->fde);
    } else if (told) {
        (void)function->deregister(function->fde);
    }
    __atomic_fetch_sub(&dwarf_busy, 1, __ATOMIC_SEQ_CST);
    return true;
}

#endif
