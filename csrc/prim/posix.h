/* What the Unix platform files share: page size, error names, the lock, fork handlers, plain mappings. */
#ifndef EXECBUF_POSIX_H
#define EXECBUF_POSIX_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault.h"
#include "prim.h"

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

/* The errno that injected faults report. */
#define EXECBUF_INJECTED_ERRNO ENOMEM

static execbuf_prim_result posix_failed(const char *call) {
    return execbuf_prim_failed(call, (int32_t)errno);
}

/* mmap; NULL and errno on failure. Adds MAP_ANONYMOUS for fd -1. */
static void *posix_mmap(void *address, size_t size, int protection, int flags, int fd) {
    if (EXECBUF_FAULT("mmap")) {
        errno = EXECBUF_INJECTED_ERRNO;
        return NULL;
    }
    void *base = mmap(address, size, protection, fd < 0 ? flags | MAP_ANONYMOUS : flags, fd, 0);
    return base == MAP_FAILED ? NULL : base;
}

static execbuf_prim_result posix_mprotect(void *base, size_t size, int protection) {
    if (EXECBUF_FAULT("mprotect")) {
        return execbuf_prim_failed("mprotect", EXECBUF_INJECTED_ERRNO);
    }
    return mprotect(base, size, protection) == 0 ? execbuf_prim_ok() : posix_failed("mprotect");
}

static execbuf_prim_result posix_munmap(void *base, size_t size) {
    if (EXECBUF_FAULT("munmap")) {
        return execbuf_prim_failed("munmap", EXECBUF_INJECTED_ERRNO);
    }
    return munmap(base, size) == 0 ? execbuf_prim_ok() : posix_failed("munmap");
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

static pthread_mutex_t posix_mutex = PTHREAD_MUTEX_INITIALIZER;
static void (*posix_in_child)(void);

void execbuf_prim_lock(void) {
    (void)pthread_mutex_lock(&posix_mutex);
}

void execbuf_prim_unlock(void) {
    (void)pthread_mutex_unlock(&posix_mutex);
}

static void posix_after_fork_in_child(void) {
    posix_in_child();
    execbuf_prim_unlock();
}

execbuf_prim_result execbuf_prim_on_fork(void (*in_child)(void)) {
    /* No lock may be held here: a fork in another thread would leave it locked in its child for ever.
     * A thread that comes second does not wait for the first one; it need not. */
    enum { UNREGISTERED, REGISTERING, REGISTERED };
    static atomic_int state = UNREGISTERED;
    int expected = UNREGISTERED;
    if (!atomic_compare_exchange_strong(&state, &expected, REGISTERING)) {
        return execbuf_prim_ok();
    }
    posix_in_child = in_child;
    int code = EXECBUF_FAULT("pthread_atfork")
                   ? EXECBUF_INJECTED_ERRNO
                   : pthread_atfork(execbuf_prim_lock, execbuf_prim_unlock, posix_after_fork_in_child);
    atomic_store(&state, code == 0 ? REGISTERED : UNREGISTERED);
    return code == 0 ? execbuf_prim_ok() : execbuf_prim_failed("pthread_atfork", (int32_t)code);
}

#endif
