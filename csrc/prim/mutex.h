/* The mutex of the Unix platform files: what inline.h does not do.
 *
 * A mutex has an owner: the first thread that took it TURNS times in a row. (The one that makes a pool is
 * often not the one that uses it.) The owner writes busy, then reads asked; another thread, which also has to
 * have the system's lock, writes asked, then reads busy. Whoever comes second sees the other, if each one's
 * write is visible before its read. For the owner, who comes often, that would take a fence. Instead the
 * others make a system call that is a fence for all threads: membarrier(2). So the owner pays for two plain
 * writes, and the others pay dearly; after EXECBUF_MANY_VISITS of them there is no owner any more, and all
 * take the system's lock. */
#ifndef EXECBUF_MUTEX_H
#define EXECBUF_MUTEX_H

#include <sched.h>
#include <string.h>
#include <time.h>

#define TURNS 8U

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(((execbuf_prim_mutex *)0)->space), "the system's lock fits");

/* Sanitizers for threads do not know about membarrier. */
#if defined(__SANITIZE_THREAD__)
#define NO_OWNERS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NO_OWNERS 1
#endif
#endif
#if !defined(NO_OWNERS)
#define NO_OWNERS 0
#endif

/* Whether posix_fence_all works; asks the system to make it work. */
static bool posix_may_fence(void);

/* Makes the writes and reads of all threads that came before visible and done; false: it does not work. */
static bool posix_fence_all(void);

static pthread_mutex_t *inner(execbuf_prim_mutex *mutex) {
    return (pthread_mutex_t *)(void *)mutex->space;
}

__thread uintptr_t execbuf_prim_self;

static uintptr_t this_thread(void) {
    return (uintptr_t)&execbuf_prim_self;
}

/* Lets the next thread that takes the mutex often enough own it. */
static void await_owner(execbuf_prim_mutex *mutex) {
    mutex->visits = NO_OWNERS || !posix_may_fence() ? EXECBUF_NEVER_OWNED : 0;
    __atomic_store_n(&mutex->owner, EXECBUF_NOBODY, __ATOMIC_RELAXED);
    __atomic_store_n(&mutex->asked, 0, __ATOMIC_RELAXED);
}

void execbuf_prim_mutex_init(execbuf_prim_mutex *mutex) {
    memset(mutex, 0, sizeof *mutex);
    (void)pthread_mutex_init(inner(mutex), NULL);
    await_owner(mutex);
}

/* Waits until the owner has left, with the system's lock and asked set. */
static void wait_for_owner(execbuf_prim_mutex *mutex) {
    for (unsigned turns = 0; __atomic_load_n(&mutex->busy, __ATOMIC_ACQUIRE) != 0; turns++) {
        if (turns < 100) {
            (void)sched_yield();
        } else { /* the owner may have a lower priority */
            struct timespec pause = {0, 50000};
            (void)nanosleep(&pause, NULL);
        }
    }
}

/* Takes the system's lock, and the mutex from its owner. */
static void lock_inner(execbuf_prim_mutex *mutex) {
    (void)pthread_mutex_lock(inner(mutex));
    uintptr_t owner = __atomic_load_n(&mutex->owner, __ATOMIC_RELAXED);
    if (owner != EXECBUF_NOBODY && owner != this_thread()) {
        __atomic_store_n(&mutex->asked, 1, __ATOMIC_RELAXED);
        __atomic_store_n(&mutex->visits, mutex->visits + 1, __ATOMIC_RELAXED);
        if (!posix_fence_all()) {
            /* A filter that came later refuses it. Writes become visible within microseconds all the same. */
            struct timespec pause = {0, 20000000};
            (void)nanosleep(&pause, NULL);
            __atomic_store_n(&mutex->visits, EXECBUF_MANY_VISITS, __ATOMIC_RELAXED);
        }
        wait_for_owner(mutex);
        if (mutex->visits >= EXECBUF_MANY_VISITS) {
            /* A thread that still believes that it is the owner finds that it was asked, for ever. */
            __atomic_store_n(&mutex->owner, EXECBUF_NOBODY, __ATOMIC_RELAXED);
        }
    } else if (owner == EXECBUF_NOBODY && mutex->visits < EXECBUF_MANY_VISITS) {
        mutex->in_a_row = mutex->candidate == this_thread() ? mutex->in_a_row + 1 : 1;
        mutex->candidate = this_thread();
        if (mutex->in_a_row == TURNS) {
            __atomic_store_n(&mutex->owner, this_thread(), __ATOMIC_RELAXED);
        }
    }
}

void execbuf_prim_mutex_lock(execbuf_prim_mutex *mutex) {
    if (posix_forking == 0) {
        execbuf_prim_self = this_thread();
        lock_inner(mutex);
    }
}

void execbuf_prim_mutex_unlock(execbuf_prim_mutex *mutex) {
    if (posix_forking == 0) {
        uintptr_t owner = __atomic_load_n(&mutex->owner, __ATOMIC_RELAXED);
        if (owner != EXECBUF_NOBODY && owner != this_thread()) {
            __atomic_store_n(&mutex->asked, 0, __ATOMIC_RELEASE);
        }
        (void)pthread_mutex_unlock(inner(mutex));
    }
}

#endif
