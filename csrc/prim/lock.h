/* What is inline because each piece of code that a pool publishes needs it: taking a mutex, cache maintenance
 * and barriers, which on many platforms are nothing. */
#ifndef XB_PRIM_LOCK_H
#define XB_PRIM_LOCK_H

#include "prim.h"

#if defined(__GNUC__) && !defined(_WIN32)

/* What stands for this thread in mutexes; 0 before its first use of one, and between the handlers of a fork.
 */
extern __thread uintptr_t xb_prim_thread __attribute__((tls_model("initial-exec")));

/* The owner's way; mutex.h says how it works. False: this thread is not the owner, or another one has the
 * mutex. */
static inline bool xb_try_lock_biased(xb_biased_lock *mutex) {
    if (__atomic_load_n(&mutex->owner, __ATOMIC_RELAXED) != xb_prim_thread) {
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

/* Ends what xb_try_lock_biased began. */
static inline void xb_unlock_biased(xb_biased_lock *mutex) {
    __atomic_store_n(&mutex->busy, 0, __ATOMIC_RELEASE);
}

/* The owner of a mutex that has none, no thread's xb_prim_thread; and how many visits of others end
 * ownership. */
#define XB_NOBODY ((uintptr_t)1)
#define XB_MAX_VISITS 16U
#define XB_NEVER_BIASED UINT32_MAX /* instead of visits, where no mutex has an owner */

/* Whether this thread owns a mutex, or may come to own it; or no thread may own any. */
static inline bool xb_may_bias(const xb_biased_lock *mutex) {
    uintptr_t owner = __atomic_load_n(&mutex->owner, __ATOMIC_RELAXED);
    uint32_t visits = __atomic_load_n(&mutex->visits, __ATOMIC_RELAXED);
    return owner == (uintptr_t)&xb_prim_thread ||
           (owner == XB_NOBODY && (visits < XB_MAX_VISITS || visits == XB_NEVER_BIASED));
}

static inline void xb_lock(xb_biased_lock *mutex) {
    if (!xb_try_lock_biased(mutex)) {
        xb_lock_slow(mutex);
    }
}

static inline void xb_unlock(xb_biased_lock *mutex) {
    /* Busy may also be what the owner writes while it finds out that another thread, this one, has the mutex.
     */
    if (__atomic_load_n(&mutex->busy, __ATOMIC_RELAXED) != 0 &&
        __atomic_load_n(&mutex->owner, __ATOMIC_RELAXED) == xb_prim_thread) {
        xb_unlock_biased(mutex);
    } else {
        xb_unlock_slow(mutex);
    }
}

#else

static inline bool xb_try_lock_biased(xb_biased_lock *mutex) {
    xb_lock_slow(mutex);
    return true;
}

static inline void xb_unlock_biased(xb_biased_lock *mutex) {
    xb_unlock_slow(mutex);
}

static inline bool xb_may_bias(const xb_biased_lock *mutex) {
    (void)mutex;
    return true;
}

static inline void xb_lock(xb_biased_lock *mutex) {
    xb_lock_slow(mutex);
}

static inline void xb_unlock(xb_biased_lock *mutex) {
    xb_unlock_slow(mutex);
}

#endif

/* Whether both views of a region are one, so that writing takes xb_prim_begin_write. */
#if defined(__APPLE__)
#define XB_ONE_VIEW 1
#else
#define XB_ONE_VIEW 0
#endif

/* xb_prim_sync, which has nothing to do on x86 but for Windows, where emulators want to know. */
static inline void xb_sync(const uint8_t *rx, const uint8_t *rw, size_t size) {
#if (defined(__x86_64__) || defined(__i386__)) && !defined(_WIN32)
    (void)rx;
    (void)rw;
    (void)size;
#else
    xb_prim_sync(rx, rw, size);
#endif
}

/* The barrier after code was written at an address that never held other code, where the architecture wants
 * one. RISC-V's xb_prim_sync reaches all threads. */
static inline void xb_fresh_barrier(void) {
#if !defined(__x86_64__) && !defined(__i386__) && !defined(_M_X64) && !defined(_M_IX86) && !defined(__riscv)
    xb_prim_barrier();
#endif
}

#endif
