/* Biased locks: locks whose owner, one thread, needs no atomic read-modify-write and no system call to take
 * them.
 *
 * A biased lock contains a lock of the system, the inner lock. A thread becomes its owner by xb_lock_own, and
 * stays it until xb_lock_disown, at the latest when it ends. All other threads are visitors. There are three
 * ways to hold the lock:
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
 * Guests are threads that change, by atomic operations only, what the owner does not mind being changed while
 * it holds the lock by the fast path. They exclude all that have the inner lock, and those exclude them:
 *
 *     guest    guests + 1              others   have the inner lock
 *              load  asked                      store asked = 1
 *              0: it is inside                  membarrier(2)
 *              1: guests - 1,                   load guests, until no guest is inside
 *                 become a visitor
 *
 * So whoever has the inner lock is alone, be it a visitor or the owner; and an owner takes the inner lock
 * (xb_lock_slow) to change what guests read.
 *
 * The inner lock need not be fair: a thread that releases it and comes back at once can have it again before
 * a thread that waits has woken up. The gate is a second lock of the system against that. Who comes for the
 * inner lock takes the gate first, and has it until it has the inner lock:
 *
 *     lock the gate, lock the inner lock, unlock the gate
 *
 * So nobody passes a thread that waits for the inner lock. A thread that waits for the gate can be passed
 * while it wakes up. (Windows has no gate: without fences, nobody has the inner lock for long.)
 *
 * A visit takes some microseconds, and leaves the owner as fast as before. Where there is no membarrier, no
 * lock ever has an owner; asked is always 1 in a lock without owner. */
#ifndef XB_PRIM_LOCK_H
#define XB_PRIM_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/compiler.h"

XB_PRIVATE_BEGIN

typedef struct xb_biased_lock {
    /* The lower half: how many guests are inside; the rest: see xb_leave_as_guest. */
    uint64_t guests XB_ALIGNED_8;
    /* The inner lock, a pthread_mutex_t or an SRWLOCK, and the gate, a pthread_mutex_t (none on Windows).
     * They are between the two sides, so that guests do not take the owner's cache line away. */
    uint64_t inner[8];
    uint64_t gate[8];
    uintptr_t owner; /* a thread (its xb_this_thread) or XB_NO_OWNER */
    uint32_t busy;   /* written by the owner: it is on its fast path */
    uint32_t asked;  /* 1 while a thread has, or waits for, the inner lock to be alone */
} xb_biased_lock;

/* Makes a lock that nobody holds and that has no owner, in memory of any content. */
void xb_biased_lock_init(xb_biased_lock *lock);

/* Makes the calling thread the owner of a lock that has none. The thread calls xb_lock_disown before it ends.
 *
 * Returns: false if this cannot be here: locks have no owners. */
bool xb_lock_own(xb_biased_lock *lock);

/* Takes a lock that its owner holds by xb_lock_slow away from it. */
void xb_lock_disown(xb_biased_lock *lock);

/* The slow paths of xb_lock and xb_unlock: with the inner lock, alone. */
void xb_lock_slow(xb_biased_lock *lock);
void xb_unlock_slow(xb_biased_lock *lock);

/* The parts of xb_lock_slow, for who takes many locks with one fence: xb_lock_ask for each of them, then
 * xb_lock_fence, then xb_lock_await for each. xb_unlock_slow releases each. */
void xb_lock_ask(xb_biased_lock *lock);
void xb_lock_fence(void);
void xb_lock_await(xb_biased_lock *lock);

#define XB_NO_OWNER ((uintptr_t)1)

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

/* Enters as a guest.
 *
 * Returns: false if the lock has no owner, or a thread is alone or wants to be. */
static inline bool xb_enter_as_guest(xb_biased_lock *lock) {
    (void)__atomic_fetch_add(&lock->guests, 1, __ATOMIC_SEQ_CST);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    bool is_inside = __atomic_load_n(&lock->asked, __ATOMIC_ACQUIRE) == 0;
    if (!is_inside) {
        (void)__atomic_fetch_sub(&lock->guests, 1, __ATOMIC_RELEASE);
    }
    return is_inside;
}

/* Leaves, and adds a number (less than 2^31) to a sum that all guests share.
 *
 * Returns: the sum. */
static inline uint32_t xb_leave_as_guest(xb_biased_lock *lock, uint32_t added) {
    uint64_t change = ((uint64_t)added << 32) - 1;
    return (uint32_t)((__atomic_fetch_add(&lock->guests, change, __ATOMIC_RELEASE) + change) >> 32);
}

/* The sum. */
static inline uint32_t xb_guests_sum(const xb_biased_lock *lock) {
    return (uint32_t)(__atomic_load_n(&lock->guests, __ATOMIC_RELAXED) >> 32);
}

/* Sets the sum to 0. The calling thread is alone. (A guest that finds it so may come and go meanwhile.) */
static inline void xb_clear_guests_sum(xb_biased_lock *lock) {
    (void)__atomic_fetch_and(&lock->guests, UINT32_MAX, __ATOMIC_RELAXED);
}

#else /* no owners: every lock is its inner lock, and all threads are alike */

static inline uintptr_t xb_this_thread(void) {
    return 0;
}

static inline bool xb_try_lock_biased(xb_biased_lock *lock) {
    xb_lock_slow(lock);
    return true;
}

static inline void xb_unlock_biased(xb_biased_lock *lock) {
    xb_unlock_slow(lock);
}

static inline bool xb_enter_as_guest(xb_biased_lock *lock) {
    (void)lock;
    return false;
}

static inline uint32_t xb_leave_as_guest(xb_biased_lock *lock, uint32_t added) {
    (void)lock;
    (void)added;
    return 0;
}

static inline uint32_t xb_guests_sum(const xb_biased_lock *lock) {
    (void)lock;
    return 0;
}

static inline void xb_clear_guests_sum(xb_biased_lock *lock) {
    (void)lock;
}

static inline void xb_lock(xb_biased_lock *lock) {
    xb_lock_slow(lock);
}

static inline void xb_unlock(xb_biased_lock *lock) {
    xb_unlock_slow(lock);
}

#endif

/* Whether the calling thread is the owner. */
static inline bool xb_is_owner(const xb_biased_lock *lock) {
    return XB_LOAD_RELAXED(lock->owner) == xb_this_thread();
}

/* Whether the lock has an owner. */
static inline bool xb_has_owner(const xb_biased_lock *lock) {
    return XB_LOAD_RELAXED(lock->owner) != XB_NO_OWNER;
}

XB_PRIVATE_END

#endif
