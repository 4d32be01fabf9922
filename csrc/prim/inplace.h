/* What the platforms share that have one backend, nothing to check beforehand, no way to replace pages in one
 * step, and no way to tell a child made without fork handlers. */
#ifndef EXECBUF_INPLACE_H
#define EXECBUF_INPLACE_H

#include "prim.h"

execbuf_status execbuf_prim_check_process(execbuf_prim_result *result) {
    (void)result;
    return EXECBUF_OK;
}

execbuf_prim_result execbuf_prim_check_backend(execbuf_backend backend) {
    (void)backend;
    return execbuf_prim_ok();
}

execbuf_prim_result execbuf_prim_replace(void *target, void *source, size_t size) {
    (void)target;
    (void)source;
    (void)size;
    return execbuf_prim_failed("replace", 0);
}

void execbuf_prim_arm_canary(void) {}

bool execbuf_prim_lock_in_clone(void) {
    return false;
}

#endif
