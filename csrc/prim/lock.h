/* What is inline because each piece of code that a pool publishes needs it: taking a mutex, cache maintenance
 * and barriers, which on many platforms are nothing. */
#ifndef EXECBUF_INLINE_H
#define EXECBUF_INLINE_H

#include "prim.h"

#if defined(__GNUC__) && !defined(_WIN32)

/* What stands for this thread in mutexes; 0 before its first use of one, and between the handlers of a fork.
 */
extern __thread uintptr_t execbuf_prim_self __attribute__((tls_model("initial-exec")));

/* The owner's way; mutex.h says how it works. False: this thread is not the owner, or another one has the
 * mutex. */
static inline bool execbuf_try_lock(execbuf_prim_mutex *mutex) {
    if (__atomic_load_n(&mutex->owner, __ATOMIC_RELAXED) != execbuf_prim_self) {
        return false;
    }
    __atomic_store_n(&mutex->busy, 1, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* for the compiler */
    bool locked = __atomic_load_n(&mutex->asked, __ATOMIC_ACQUIRE) == 0;
    if (!locked) {
        __atomic_store_n(&mutex->busy, 0, __ATOMIC_RELEASE);
    }
    return locked;
}

/* Ends what execbuf_try_lock began. */
static inline void execbuf_unlock_owned(execbuf_prim_mutex *mutex) {
    __atomic_store_n(&mutex->busy, 0, __ATOMIC_RELEASE);
}

/* The owner of a mutex that has none, no thread's execbuf_prim_self; and how many visits of others end
 * ownership. */
#define EXECBUF_NOBODY ((uintptr_t)1)
#define EXECBUF_MANY_VISITS 16U
#define EXECBUF_NEVER_OWNED UINT32_MAX /* instead of visits, where no mutex has an owner */

/* Whether this thread owns a mutex, or may come to own it; or no thread may own any. */
static inline bool execbuf_may_own(const execbuf_prim_mutex *mutex) {
    uintptr_t owner = __atomic_load_n(&mutex->owner, __ATOMIC_RELAXED);
    uint32_t visits = __atomic_load_n(&mutex->visits, __ATOMIC_RELAXED);
    return owner == (uintptr_t)&execbuf_prim_self ||
           (owner == EXECBUF_NOBODY && (visits < EXECBUF_MANY_VISITS || visits == EXECBUF_NEVER_OWNED));
}

static inline void execbuf_lock(execbuf_prim_mutex *mutex) {
    if (!execbuf_try_lock(mutex)) {
        execbuf_prim_mutex_lock(mutex);
    }
}

static inline void execbuf_unlock(execbuf_prim_mutex *mutex) {
    /* Busy may also be what the owner writes while it finds out that another thread, this one, has the mutex.
     */
    if (__atomic_load_n(&mutex->busy, __ATOMIC_RELAXED) != 0 &&
        __atomic_load_n(&mutex->owner, __ATOMIC_RELAXED) == execbuf_prim_self) {
        execbuf_unlock_owned(mutex);
    } else {
        execbuf_prim_mutex_unlock(mutex);
    }
}

#else

static inline bool execbuf_try_lock(execbuf_prim_mutex *mutex) {
    execbuf_prim_mutex_lock(mutex);
    return true;
}

static inline void execbuf_unlock_owned(execbuf_prim_mutex *mutex) {
    execbuf_prim_mutex_unlock(mutex);
}

static inline bool execbuf_may_own(const execbuf_prim_mutex *mutex) {
    (void)mutex;
    return true;
}

static inline void execbuf_lock(execbuf_prim_mutex *mutex) {
    execbuf_prim_mutex_lock(mutex);
}

static inline void execbuf_unlock(execbuf_prim_mutex *mutex) {
    execbuf_prim_mutex_unlock(mutex);
}

#endif

/* Whether both views of a region are one, so that writing takes execbuf_prim_begin_write. */
#if defined(__APPLE__)
#define EXECBUF_ONE_VIEW 1
#else
#define EXECBUF_ONE_VIEW 0
#endif

/* execbuf_prim_sync, which has nothing to do on x86 but for Windows, where emulators want to know. */
static inline void execbuf_sync(const uint8_t *rx, const uint8_t *rw, size_t size) {
#if (defined(__x86_64__) || defined(__i386__)) && !defined(_WIN32)
    (void)rx;
    (void)rw;
    (void)size;
#else
    execbuf_prim_sync(rx, rw, size);
#endif
}

/* The barrier after code was written at an address that never held other code, where the architecture wants
 * one. RISC-V's execbuf_prim_sync reaches all threads. */
static inline void execbuf_fresh_barrier(void) {
#if !defined(__x86_64__) && !defined(__i386__) && !defined(_M_X64) && !defined(_M_IX86) && !defined(__riscv)
    execbuf_prim_barrier();
#endif
}

#endif
