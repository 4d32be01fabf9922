/* A platform that execbuf does not know: everything links, and says "unsupported" at run time. */

#include "few_facts.h"
#include "inline.h"
#include "inplace.h"
#include "noregion.h"
#include "nounwinder.h"

execbuf_prim_info execbuf_prim_query(void) {
    execbuf_prim_info info = {0};
    info.page_size = 4096; /* a size that some page has */
    return info;
}

bool execbuf_prim_is_exhaustion(int32_t code) {
    (void)code;
    return false;
}

const char *execbuf_prim_error_name(int32_t code) {
    (void)code;
    return NULL;
}

execbuf_prim_result execbuf_prim_stage(size_t size, const void *near_to, void **base) {
    (void)size;
    (void)near_to;
    *base = NULL;
    return execbuf_prim_failed("stage", 0);
}

void execbuf_prim_begin_write(void) {}
void execbuf_prim_end_write(void) {}

execbuf_prim_result execbuf_prim_commit(execbuf_backend backend, void *base, size_t size) {
    (void)backend;
    (void)base;
    (void)size;
    return execbuf_prim_failed("commit", 0);
}

execbuf_prim_result execbuf_prim_reopen(void *base, size_t size) {
    (void)base;
    (void)size;
    return execbuf_prim_failed("reopen", 0);
}

size_t execbuf_prim_trim(void *base, size_t size, size_t keep) {
    (void)base;
    (void)keep;
    return size;
}

execbuf_prim_result execbuf_prim_release(void *base, size_t size) {
    (void)base;
    (void)size;
    return execbuf_prim_failed("release", 0);
}

/* No buffer ever exists here, so there is nothing to guard. */
void execbuf_prim_lock(void) {}
void execbuf_prim_unlock(void) {}

#if defined(__GNUC__) && !defined(_WIN32)
__thread uintptr_t execbuf_prim_self; /* for inline.h */
#endif

void execbuf_prim_mutex_init(execbuf_prim_mutex *mutex) {
    mutex->owner = 0;
}

void execbuf_prim_mutex_lock(execbuf_prim_mutex *mutex) {
    (void)mutex;
}

void execbuf_prim_mutex_unlock(execbuf_prim_mutex *mutex) {
    (void)mutex;
}

execbuf_prim_result execbuf_prim_on_fork(const execbuf_prim_fork_hooks *hooks) {
    (void)hooks;
    return execbuf_prim_ok();
}
