/* For platforms without thunks: there is nothing to unwind. */
#ifndef EXECBUF_NOUNWINDER_H
#define EXECBUF_NOUNWINDER_H

#include "prim.h"

execbuf_prim_result execbuf_prim_tell_unwinder(execbuf_prim_function *function) {
    (void)function;
    return execbuf_prim_ok();
}

bool execbuf_prim_forget_function(execbuf_prim_function *function) {
    (void)function;
    return true;
}

void execbuf_prim_unwinder_after_fork(void) {}

#endif
