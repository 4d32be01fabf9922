/* Unwinders that take DWARF: libgcc's and LLVM's. Both have a function for code that comes at run time, but
 * not every program is linked with it. */
#ifndef EXECBUF_DWARF_H
#define EXECBUF_DWARF_H

#include <dlfcn.h>
#include <string.h>

#include "fault.h"
#include "prim.h"

extern void __register_frame(void *);   /* NOLINT(bugprone-reserved-identifier) */
extern void __deregister_frame(void *); /* NOLINT(bugprone-reserved-identifier) */

typedef void (*dwarf_function)(void *);

/* An unwinder's functions. NULL: there is none. */
struct dwarf_unwinder {
    dwarf_function tell;
    dwarf_function forget;
};

#if defined(__APPLE__)

/* They are in a library that every program has. */
static struct dwarf_unwinder dwarf_find(void) {
    return (struct dwarf_unwinder){__register_frame, __deregister_frame};
}

#else

/* What the two call in LLVM's unwinder. Where that is linked as an archive, these are there, but those are
 * not: a weak reference takes nothing out of an archive. */
extern void __unw_add_dynamic_fde(uintptr_t);    /* NOLINT(bugprone-reserved-identifier) */
extern void __unw_remove_dynamic_fde(uintptr_t); /* NOLINT(bugprone-reserved-identifier) */

#pragma weak __register_frame
#pragma weak __deregister_frame
#pragma weak __unw_add_dynamic_fde
#pragma weak __unw_remove_dynamic_fde
#pragma weak dlopen /* older C libraries have these in another library, and static ones not at all */
#pragma weak dlsym

static void llvm_tell(void *fde) {
    __unw_add_dynamic_fde((uintptr_t)fde);
}

static void llvm_forget(void *fde) {
    __unw_remove_dynamic_fde((uintptr_t)fde);
}

static dwarf_function dwarf_symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    dwarf_function function;
    memcpy(&function, (const void *)&found, sizeof function); /* ISO C has no cast for this */
    return function;
}

static struct dwarf_unwinder dwarf_of(void *library) {
    return (struct dwarf_unwinder){dwarf_symbol(library, "__register_frame"),
                                   dwarf_symbol(library, "__deregister_frame")};
}

/* The unwinder of the program, or of a library that is loaded already, or libgcc's, which the C library
 * itself loads for backtrace. */
static struct dwarf_unwinder dwarf_find(void) {
    if (__register_frame != NULL && __deregister_frame != NULL) {
        return (struct dwarf_unwinder){__register_frame, __deregister_frame};
    }
    if (__unw_add_dynamic_fde != NULL && __unw_remove_dynamic_fde != NULL) {
        return (struct dwarf_unwinder){llvm_tell, llvm_forget};
    }
    if (dlopen == NULL || dlsym == NULL) {
        return (struct dwarf_unwinder){NULL, NULL};
    }
    struct dwarf_unwinder loaded = dwarf_of(RTLD_DEFAULT);
    if (loaded.tell != NULL && loaded.forget != NULL) {
        return loaded;
    }
    void *libgcc = dlopen("libgcc_s.so.1", RTLD_LAZY);
    return libgcc != NULL ? dwarf_of(libgcc) : loaded;
}

#endif

/* LLVM's unwinder takes an FDE, libgcc's a list of FDEs and CIEs up to a zero: what is given serves both. */
void execbuf_prim_tell_unwinder(execbuf_prim_function *function) {
    struct dwarf_unwinder unwinder = dwarf_find();
    function->handle = NULL;
    if (unwinder.tell != NULL && unwinder.forget != NULL) {
        function->handle = (void *)function->fde; /* NOLINT: the unwinder has no const, but changes nothing */
        function->forget = unwinder.forget;
        unwinder.tell(function->handle);
    }
}

void execbuf_prim_forget_function(execbuf_prim_function *function) {
    if (function->handle != NULL) {
        function->forget(function->handle);
    }
}

#endif
