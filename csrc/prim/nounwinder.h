/* For platforms without thunks: there is nothing to unwind. */
#ifndef EXECBUF_NOUNWINDER_H
#define EXECBUF_NOUNWINDER_H

#include "prim.h"

void execbuf_prim_tell_unwinder(execbuf_prim_function *function) {
    (void)function;
}

void execbuf_prim_forget_function(execbuf_prim_function *function) {
    (void)function;
}

#endif
