/* Biased locks: locks for which the thread that takes them most, the owner, needs no atomic
 * read-modify-write and no system call.
 *
 * A biased lock contains a lock of the system, the inner lock. Its owner is the first thread that takes it
 * eight times in a row. (Not the first thread of all: who makes a pool often is not who uses it.) All other
 * threads are visitors. There are three ways to hold the lock:
 *
 *     who                        holds it while
 *     ------------------------   ------------------------------------------------------------
 *     the owner, fast path       busy is 1, and asked was 0 after busy was set
 *     the owner, if asked is 1   it has the inner lock
 *     a visitor                  it has the inner lock, asked is 1, and busy was 0 after that
 *
 * The inner lock excludes visitors from each other, and from an owner that saw asked. What is left is the
 * owner on its fast path against one visitor: Dekker's algorithm.
 *
 *     owner    store busy = 1          visitor  lock the inner lock
 *              load  asked                      store asked = 1
 *              0: it has the lock               membarrier(2)
 *              1: store busy = 0,               load busy, until it is 0
 *                 lock the inner lock           it has the lock
 *
 * At least one of the two must see the other's store. That needs a full fence between store and load on both
 * sides, or both may read the old value. The owner comes often and pays nothing: the visitor's membarrier is
 * a fence on every thread of the process, so whichever instruction the owner is at, either its store of busy
 * is visible to the visitor afterwards, or its load of asked comes afterwards and reads 1. (Compilers must
 * not exchange the owner's two accesses either, hence the signal fence.)
 *
 * A visit is expensive. After XB_MAX_VISITS of them the lock has no owner for good, and is its inner lock.
 * Where there is no membarrier, no lock ever has an owner. */
#ifndef XB_PRIM_LOCK_H
#define XB_PRIM_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/compiler.h"

XB_PRIVATE_BEGIN

typedef struct xb_biased_lock {
    uintptr_t owner;     /* a thread (its xb_this_thread) or XB_NO_OWNER */
    uintptr_t candidate; /* the thread that took the lock last, while it has no owner yet */
    uint32_t busy;       /* written by the owner: it is on its fast path */
    uint32_t asked;      /* written by visitors: the owner must take the inner lock */
    uint32_t visits;     /* how many visits there were, or XB_NEVER_BIASED */
    uint32_t in_a_row;   /* how many times in a row candidate took the lock */
    uint64_t space[8];   /* the inner lock: a pthread_mutex_t or an SRWLOCK */
} xb_biased_lock;

/* Makes a lock that nobody holds, in memory of any content. */
void xb_biased_lock_init(xb_biased_lock *lock);

/* The slow paths of xb_lock and xb_unlock: with the inner lock. The hook before a fork calls xb_lock_slow
 * itself, so that the lock is released by the slow path after the fork, too. */
void xb_lock_slow(xb_biased_lock *lock);
void xb_unlock_slow(xb_biased_lock *lock);

#if defined(__GNUC__) && !defined(_WIN32)

/* xb_this_thread where the compiler's code cannot read the thread pointer: any number but XB_NO_OWNER that no
 * other thread has at the same time. */
uintptr_t xb_prim_this_thread(void);

/* Stands for the calling thread as an owner: the thread pointer, which each ABI for ELF keeps in a register
 * (on x86 also in the first word of the memory that it points to).
 *
 * This is not the address of a thread-local variable, because no way to reach one suits all programs. In a
 * library that dlopen loads, fast access needs static TLS, of which glibc has little and musl has none to
 * spare; other access calls a function, which may allocate memory, and abort if there is none.
 *
 * The compiler must not keep the value across calls: a coroutine may continue in another thread. */
static inline uintptr_t xb_this_thread(void) {
#if defined(__ELF__) && defined(__x86_64__)
    uintptr_t self;
    __asm__ volatile("mov {%%fs:0, %0|%0, fs:[0]}" : "=r"(self)); /* AT&T's syntax | Intel's */
    return self;
#elif defined(__ELF__) && defined(__i386__)
    uintptr_t self;
    __asm__ volatile("mov {%%gs:0, %0|%0, gs:[0]}" : "=r"(self));
    return self;
#elif defined(__ELF__) && defined(__aarch64__)
    uintptr_t self;
    __asm__ volatile("mrs %0, tpidr_el0" : "=r"(self));
    return self;
#elif defined(__ELF__) && defined(__riscv)
    uintptr_t self;
    __asm__("mv %0, tp" : "=r"(self));
    return self;
#else
    return xb_prim_this_thread();
#endif
}

#define XB_NO_OWNER ((uintptr_t)1)
#define XB_MAX_VISITS 16U
#define XB_NEVER_BIASED UINT32_MAX

/* The owner's fast path.
 *
 * Returns: true if the calling thread now holds the lock; xb_unlock_biased or xb_unlock releases it. False
 *          if this thread is not the owner, or a visitor asked. */
static inline bool xb_try_lock_biased(xb_biased_lock *lock) {
    if (__atomic_load_n(&lock->owner, __ATOMIC_RELAXED) != xb_this_thread()) {
        return false;
    }
    __atomic_store_n(&lock->busy, 1, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* keeps the compiler from exchanging store and load */
    bool locked = __atomic_load_n(&lock->asked, __ATOMIC_ACQUIRE) == 0;
    if (!locked) {
        __atomic_store_n(&lock->busy, 0, __ATOMIC_RELEASE);
    }
    return locked;
}

/* Releases a lock that xb_try_lock_biased took. */
static inline void xb_unlock_biased(xb_biased_lock *lock) {
    __atomic_store_n(&lock->busy, 0, __ATOMIC_RELEASE);
}

/* True if the calling thread is the owner or can become it, or if no lock ever has an owner here. */
static inline bool xb_may_bias(const xb_biased_lock *lock) {
    uintptr_t owner = __atomic_load_n(&lock->owner, __ATOMIC_RELAXED);
    uint32_t visits = __atomic_load_n(&lock->visits, __ATOMIC_RELAXED);
    return owner == xb_this_thread() ||
           (owner == XB_NO_OWNER && (visits < XB_MAX_VISITS || visits == XB_NEVER_BIASED));
}

/* Takes the lock. It is not recursive, and may be held across system calls. */
static inline void xb_lock(xb_biased_lock *lock) {
    if (!xb_try_lock_biased(lock)) {
        xb_lock_slow(lock);
    }
}

/* Releases the lock, which the calling thread holds. */
static inline void xb_unlock(xb_biased_lock *lock) {
    /* busy alone does not show which path took the lock: if a visitor releases it, busy may be 1 for the
     * moment in which the owner tries its fast path. */
    if (__atomic_load_n(&lock->busy, __ATOMIC_RELAXED) != 0 &&
        __atomic_load_n(&lock->owner, __ATOMIC_RELAXED) == xb_this_thread()) {
        xb_unlock_biased(lock);
    } else {
        xb_unlock_slow(lock);
    }
}

#else /* no owners: every lock is its inner lock */

static inline bool xb_try_lock_biased(xb_biased_lock *lock) {
    xb_lock_slow(lock);
    return true;
}

static inline void xb_unlock_biased(xb_biased_lock *lock) {
    xb_unlock_slow(lock);
}

static inline bool xb_may_bias(const xb_biased_lock *lock) {
    (void)lock;
    return true;
}

static inline void xb_lock(xb_biased_lock *lock) {
    xb_lock_slow(lock);
}

static inline void xb_unlock(xb_biased_lock *lock) {
    xb_unlock_slow(lock);
}

#endif

XB_PRIVATE_END

#endif
