/* macOS. On x86-64 pages change their protection. On arm64 the processor has a per-thread switch: MAP_JIT
 * pages are executable for the threads that have write protection on, and writable, not executable, for a
 * thread that has it off (Apple, "Porting just-in-time compilers to Apple silicon"). */

#include "posix.h"

#include <TargetConditionals.h>
#include <libkern/OSCacheControl.h>

#include "inplace.h"

#if defined(__aarch64__)
#define BACKEND EXECBUF_BACKEND_MAP_JIT
#else
#define BACKEND EXECBUF_BACKEND_FLIP
#endif
#define STAGED (PROT_READ | PROT_WRITE)

execbuf_prim_info execbuf_prim_query(void) {
    execbuf_prim_info info = {
        .page_size = posix_page_size(),
        .can_replace = false,
#if TARGET_OS_OSX
        .backend_count = 1,
#else
        .backend_count = 0, /* iOS and its kin let only debugged or entitled programs do this */
#endif
        .backends = {BACKEND},
    };
    return info;
}

execbuf_prim_result execbuf_prim_stage(size_t size, void **base) {
#if defined(__aarch64__)
    /* The kernel takes the protection of MAP_JIT pages as the most that any thread may get. */
    *base = posix_mmap(NULL, size, STAGED | PROT_EXEC, MAP_PRIVATE | MAP_JIT, -1);
#else
    *base = posix_mmap(NULL, size, STAGED, MAP_PRIVATE, -1);
#endif
    return *base != NULL ? execbuf_prim_ok() : posix_failed("mmap");
}

/* pthread_jit_write_protect_np is declared for macOS alone. */
static void write_protect(int on) {
#if defined(__aarch64__) && TARGET_OS_OSX
    pthread_jit_write_protect_np(on);
#else
    (void)on;
#endif
}

void execbuf_prim_begin_write(void) {
    write_protect(0);
}

void execbuf_prim_end_write(void) {
    write_protect(1);
}

execbuf_prim_result execbuf_prim_commit(execbuf_backend backend, void *base, size_t size) {
    execbuf_prim_result result = execbuf_prim_ok();
    write_protect(1);
    if (backend == EXECBUF_BACKEND_FLIP) {
        result = posix_mprotect(base, size, PROT_READ | PROT_EXEC);
    }
    if (result.call == NULL) {
        sys_icache_invalidate(base, size);
    }
    return result;
}

execbuf_prim_result execbuf_prim_reopen(void *base, size_t size) {
#if defined(__aarch64__)
    (void)base;
    (void)size;
    return execbuf_prim_ok(); /* execbuf_prim_begin_write does it */
#else
    return posix_mprotect(base, size, STAGED);
#endif
}
