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

#if defined(__APPLE__)

/* They are in a library that every program has. */
static dwarf_function dwarf_find(const char *name, dwarf_function linked) {
    (void)name;
    return linked;
}

#else

#pragma weak __register_frame
#pragma weak __deregister_frame
#pragma weak dlopen /* older C libraries have these in another library, and static ones not at all */
#pragma weak dlsym

/* A function of the unwinder: that of the program, or of a library that is loaded already, or of libgcc,
 * which the C library itself loads for backtrace. NULL: there is none. */
static dwarf_function dwarf_find(const char *name, dwarf_function linked) {
    if (linked != NULL || dlopen == NULL || dlsym == NULL) {
        return linked;
    }
    void *found = dlsym(RTLD_DEFAULT, name);
    if (found == NULL) {
        void *library = dlopen("libgcc_s.so.1", RTLD_LAZY);
        found = library != NULL ? dlsym(library, name) : NULL;
    }
    dwarf_function function;
    memcpy(&function, (const void *)&found, sizeof function); /* ISO C has no cast for this */
    return function;
}

#endif

/* LLVM's unwinder takes an FDE, libgcc's a list of FDEs and CIEs up to a zero: what is given serves both. */
void execbuf_prim_tell_unwinder(execbuf_prim_function *function) {
    dwarf_function tell = dwarf_find("__register_frame", __register_frame);
    function->handle = NULL;
    if (tell != NULL && dwarf_find("__deregister_frame", __deregister_frame) != NULL) {
        function->handle = (void *)function->fde; /* NOLINT: the unwinder has no const, but changes nothing */
        tell(function->handle);
    }
}

void execbuf_prim_forget_function(execbuf_prim_function *function) {
    if (function->handle != NULL) {
        dwarf_find("__deregister_frame", __deregister_frame)(function->handle);
    }
}

#endif
