/* Unix systems without a file of their own: FreeBSD, NetBSD, OpenBSD, illumos. One backend, in place. */

#include "posix.h"

#include "few_facts.h"
#include "inplace.h"
#include "noowner.h"
#include "noregion.h"

#define STAGED (PROT_READ | PROT_WRITE)

/* NetBSD wants to be told of a later protection change (PaX MPROTECT, mmap(2)). */
#if defined(PROT_MPROTECT)
#define FUTURE_EXEC PROT_MPROTECT(PROT_EXEC)
#else
#define FUTURE_EXEC 0
#endif

execbuf_prim_info execbuf_prim_query(void) {
    execbuf_prim_info info = {
        .page_size = posix_page_size(),
        .can_replace = false,
        .backend_count = 1,
        .backends = {EXECBUF_BACKEND_FLIP},
    };
    return info;
}

execbuf_prim_result execbuf_prim_stage(size_t size, const void *near_to, void **base) {
    *base = posix_mmap_near(near_to, size, STAGED | FUTURE_EXEC, MAP_PRIVATE, -1);
    return *base != NULL ? execbuf_prim_ok() : posix_mmap_failed();
}

void execbuf_prim_begin_write(void) {}
void execbuf_prim_end_write(void) {}

execbuf_prim_result execbuf_prim_commit(execbuf_backend backend, void *base, size_t size) {
    (void)backend;
    execbuf_prim_result result = posix_mprotect(base, size, PROT_READ | PROT_EXEC);
    if (result.call == NULL) {
        __builtin___clear_cache((char *)base, (char *)base + size);
    }
    return result;
}

execbuf_prim_result execbuf_prim_reopen(void *base, size_t size) {
    return posix_mprotect(base, size, STAGED);
}
