/* macOS. On x86-64 pages change their protection. On arm64 the processor has a per-thread switch: MAP_JIT
 * pages are executable for the threads that have write protection on, and writable, not executable, for a
 * thread that has it off (Apple, "Porting just-in-time compilers to Apple silicon"). */

#include "posix.h"

#include <TargetConditionals.h>
#include <libkern/OSCacheControl.h>

#include "few_facts.h"
#include "inplace.h"
#include "noowner.h"

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
#if TARGET_OS_OSX && defined(__aarch64__)
        .pool_backend_count = 1,
        .pool_backends = {BACKEND},
        .region_size = (size_t)8 << 20,
#endif
    };
    return info;
}

execbuf_prim_result execbuf_prim_stage(size_t size, const void *near_to, void **base) {
#if defined(__aarch64__)
    /* The kernel takes the protection of MAP_JIT pages as the most that any thread may get. */
    *base = posix_mmap_near(near_to, size, STAGED | PROT_EXEC, MAP_PRIVATE | MAP_JIT, -1);
#else
    *base = posix_mmap_near(near_to, size, STAGED, MAP_PRIVATE, -1);
#endif
    return *base != NULL ? execbuf_prim_ok() : posix_mmap_failed();
}

/* Only on arm64: both views are the same MAP_JIT pages. */
execbuf_prim_result execbuf_prim_map_region(execbuf_backend backend, size_t size, const void *near_to,
                                            const char *name, execbuf_prim_views *views) {
    (void)backend;
    (void)name;
    void *base;
    execbuf_prim_result result = execbuf_prim_stage(size, near_to, &base);
    views->rx = (uint8_t *)base;
    views->rw = (uint8_t *)base;
    return result;
}

void execbuf_prim_sync(const uint8_t *rx, const uint8_t *rw, size_t size) {
    (void)rw;
    sys_icache_invalidate((void *)(uintptr_t)rx, size);
}

void execbuf_prim_barrier(void) {} /* sys_icache_invalidate reaches all processors */

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
