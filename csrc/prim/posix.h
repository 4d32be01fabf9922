/* What the Unix platform files share: page size, error names, the lock, fork handlers, plain mappings. */
#ifndef EXECBUF_POSIX_H
#define EXECBUF_POSIX_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault.h"
#include "inline.h"
#include "prim.h"

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif
/* Without it an address is a hint. On Linux the number is part of the kernel's ABI (4.17), and older kernels
 * ignore it. */
#if defined(__linux__)
#define POSIX_NO_REPLACE 0x100000
#else
#define POSIX_NO_REPLACE 0
#endif

/* Whether the call of this name is to fail for a test; sets errno then. */
static bool posix_fault(const char *call) {
    int32_t code = EXECBUF_FAULT(call);
    (void)call;
    if (code != 0) {
        errno = (int)code;
    }
    return code != 0;
}

static execbuf_prim_result posix_failed(const char *call) {
    return execbuf_prim_failed(call, (int32_t)errno);
}

/* mmap; NULL and errno on failure. Adds MAP_ANONYMOUS for fd -1. */
static void *posix_mmap(void *address, size_t size, int protection, int flags, int fd) {
    if (posix_fault("mmap")) {
        return NULL;
    }
    void *base = mmap(address, size, protection, fd < 0 ? flags | MAP_ANONYMOUS : flags, fd, 0);
    return base == MAP_FAILED ? NULL : base;
}

static execbuf_prim_result posix_mprotect(void *base, size_t size, int protection) {
    bool done = !posix_fault("mprotect") && mprotect(base, size, protection) == 0;
    return done ? execbuf_prim_ok() : posix_failed("mprotect");
}

static execbuf_prim_result posix_munmap(void *base, size_t size) {
    bool done = !posix_fault("munmap") && munmap(base, size) == 0;
    return done ? execbuf_prim_ok() : posix_failed("munmap");
}

static size_t posix_page_size(void) {
    long size = sysconf(_SC_PAGESIZE);
    return size > 0 ? (size_t)size : 4096;
}

bool execbuf_prim_is_exhaustion(int32_t code) {
    return code == ENOMEM || code == EMFILE || code == ENFILE || code == EFBIG || code == EAGAIN ||
           code == ENOSPC;
}

const char *execbuf_prim_error_name(int32_t code) {
    switch (code) {
    case EACCES: return "EACCES";
    case EAGAIN: return "EAGAIN";
    case EBADF: return "EBADF";
    case EBUSY: return "EBUSY";
    case EFAULT: return "EFAULT";
    case EFBIG: return "EFBIG";
    case EINTR: return "EINTR";
    case EINVAL: return "EINVAL";
    case EIO: return "EIO";
    case EMFILE: return "EMFILE";
    case ENFILE: return "ENFILE";
    case ENODEV: return "ENODEV";
    case ENOMEM: return "ENOMEM";
    case ENOSPC: return "ENOSPC";
    case ENOSYS: return "ENOSYS";
    case EOVERFLOW: return "EOVERFLOW";
    case EPERM: return "EPERM";
    default: return NULL;
    }
}

size_t execbuf_prim_trim(void *base, size_t size, size_t keep) {
    return posix_munmap((char *)base + keep, size - keep).call == NULL ? keep : size;
}

execbuf_prim_result execbuf_prim_release(void *base, size_t size) {
    return posix_munmap(base, size);
}

/* mmap at this address and no other. NULL and errno on failure; EEXIST if something is there. */
static void *posix_mmap_at(void *address, size_t size, int protection, int flags, int fd) {
    void *base = posix_mmap(address, size, protection, flags, fd);
    if (base != NULL && base != address) { /* without POSIX_NO_REPLACE it is only a hint */
        (void)munmap(base, size);
        errno = EEXIST;
        base = NULL;
    }
    return base;
}

/* Whether another address may do after a hint, with errno. Too low a hint is EPERM. ENOMEM is a lack of
 * memory below the stack, but above it may only say that address space ends. */
static bool posix_goes_on(uintptr_t hint, size_t size) {
    uintptr_t stack = (uintptr_t)&stack;
    bool may_be_the_end = size > stack || hint > stack - size;
    return errno == EEXIST || errno == EINVAL || errno == EPERM || (errno == ENOMEM && may_be_the_end);
}

/* mmap where every byte is within 2 GiB of an address, or anywhere if that is NULL. NULL and errno on
 * failure; errno is EDOM if there is no room. */
static void *posix_mmap_near(const void *near_to, size_t size, int protection, int flags, int fd) {
    if (near_to == NULL) {
        return posix_mmap(NULL, size, protection, flags, fd);
    }
    const uintptr_t reach = (uintptr_t)0x7fff0000;
    const uintptr_t step = (uintptr_t)8 << 20;
    const uintptr_t origin = (uintptr_t)near_to & ~(uintptr_t)0xffff;
    for (uintptr_t distance = step; distance <= reach; distance += step) {
        /* Below first: a program's heap grows above it. */
        uintptr_t below = origin > distance && size <= reach + distance ? origin - distance : 0;
        uintptr_t above =
            distance + size <= reach && origin <= UINTPTR_MAX - distance - size ? origin + distance : 0;
        for (int side = 0; side < 2; side++) {
            uintptr_t hint = side == 0 ? below : above;
            if (hint == 0) {
                continue;
            }
            /* The address as a pointer, which is what mmap takes. */
            void *base =
                posix_mmap_at((void *)hint, size, protection, flags | POSIX_NO_REPLACE, fd); /* NOLINT */
            if (base != NULL || !posix_goes_on(hint, size)) {
                return base;
            }
        }
    }
    errno = EDOM;
    return NULL;
}

static execbuf_prim_result posix_mmap_failed(void) {
    return errno == EDOM ? execbuf_prim_failed(EXECBUF_PRIM_TOO_FAR, ENOMEM) : posix_failed("mmap");
}

static pthread_mutex_t posix_mutex = PTHREAD_MUTEX_INITIALIZER;
static const execbuf_prim_fork_hooks *_Atomic posix_hooks;

/* How many times over this thread is between the handlers of a fork, in which it has all locks. Other fork
 * handlers, which run in between, may use execbuf; and it does no harm that two threads register the
 * handlers. */
static __thread int posix_forking;

void execbuf_prim_lock(void) {
    if (posix_forking == 0) {
        (void)pthread_mutex_lock(&posix_mutex);
    }
}

void execbuf_prim_unlock(void) {
    if (posix_forking == 0) {
        (void)pthread_mutex_unlock(&posix_mutex);
    }
}

static void posix_before_fork(void) {
    execbuf_prim_lock();
    const execbuf_prim_fork_hooks *hooks = posix_forking == 0 ? atomic_load(&posix_hooks) : NULL;
    if (hooks != NULL) {
        hooks->before();
    }
    posix_forking++;
    execbuf_prim_self = 0; /* mutexes that this thread owns have to ask posix_forking, too */
}

static void posix_after_fork(bool in_child) {
    posix_forking--;
    const execbuf_prim_fork_hooks *hooks = posix_forking == 0 ? atomic_load(&posix_hooks) : NULL;
    if (hooks != NULL) {
        (in_child ? hooks->in_child : hooks->in_parent)();
    }
    execbuf_prim_unlock();
}

static void posix_after_fork_in_parent(void) {
    posix_after_fork(false);
}

static void posix_after_fork_in_child(void) {
    posix_after_fork(true);
}

static atomic_bool posix_registered;

/* 0, or an errno. No lock may be held here: a fork in another thread would leave it locked in its child for
 * ever. */
static int posix_register(void) {
    if (atomic_load(&posix_registered)) {
        return 0;
    }
    int code = (int)EXECBUF_FAULT("pthread_atfork");
    if (code == 0) {
        code = pthread_atfork(posix_before_fork, posix_after_fork_in_parent, posix_after_fork_in_child);
    }
    atomic_store(&posix_registered, code == 0);
    return code;
}

/* Before a fork the handlers run that were registered last first. Ours should come after those of the
 * program, which may take locks that it also holds when it calls execbuf; so they are registered as early as
 * can be. If that fails, the first use tries again. (The tests that make calls fail have only that.) */
#if !defined(EXECBUF_FAULT_INJECTION)
__attribute__((constructor)) static void posix_register_early(void) {
    (void)posix_register();
}
#endif

execbuf_prim_result execbuf_prim_on_fork(const execbuf_prim_fork_hooks *hooks) {
    atomic_store(&posix_hooks, hooks);
    int code = posix_register();
    return code == 0 ? execbuf_prim_ok() : execbuf_prim_failed("pthread_atfork", (int32_t)code);
}

#include "mutex.h"

#if defined(__x86_64__) && !defined(__ILP32__) && !defined(__CYGWIN__) /* which unwinds as Windows does */
#include "dwarf.h"
#else
#include "nounwinder.h"
#endif

#endif
