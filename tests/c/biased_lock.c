/* Biased locks (csrc/prim/lock.h): an owner that takes the lock all the time, two visitors, and the next
 * owner; and fairness. */

#include "../../csrc/prim/lock.h"

#include "pool_threads.h"

enum { MOST_LOCKS = 500 };
static xb_biased_lock locks[MOST_LOCKS];
static uint32_t lock_count;
static uint64_t counters[MOST_LOCKS]; /* not atomic: each is guarded by its lock */
static atomic_uint visitors_in_round[MOST_LOCKS];
static atomic_uint owned[MOST_LOCKS];
enum { VISITS = 12 }; /* by each of two visitors */

static void count_one(uint32_t round) {
    xb_lock(&locks[round]);
    uint64_t seen = counters[round];
    if (seen % 8 == 0) {
        (void)sched_yield(); /* lets another thread run while the lock is held */
    }
    counters[round] = seen + 1;
    xb_unlock(&locks[round]);
}

static void *own_locks(void *argument) {
    static uint64_t added[MOST_LOCKS];
    (void)argument;
    for (uint32_t round = 0; round < lock_count; round++) {
        CHECK(!xb_has_owner(&locks[round]));
        bool can_own = xb_lock_own(&locks[round]);
        CHECK(xb_is_owner(&locks[round]) == can_own && xb_has_owner(&locks[round]) == can_own);
        atomic_store(&owned[round], 1);
        while (atomic_load(&visitors_in_round[round]) < 2) {
            xb_lock(&locks[round]);
            counters[round]++;
            xb_unlock(&locks[round]);
            added[round]++;
        }
        xb_lock(&locks[round]);
        CHECK(counters[round] == added[round] + 2 * (uint64_t)VISITS);
        xb_unlock(&locks[round]);
        CHECK(xb_is_owner(&locks[round]) == can_own); /* whatever the number of visits */
        if (can_own && round % 2 != 0) {
            xb_lock_slow(&locks[round]);
            xb_lock_disown(&locks[round]);
            xb_unlock_slow(&locks[round]);
            CHECK(!xb_has_owner(&locks[round]));
            count_one(round);
        }
    }
    return NULL;
}

static void *visit_locks(void *argument) {
    uint32_t spins = (uint32_t)(uintptr_t)argument;
    for (uint32_t round = 0; round < lock_count; round++) {
        while (atomic_load(&owned[round]) == 0) {
            (void)sched_yield();
        }
        for (uint32_t i = 0; i < VISITS; i++) {
            count_one(round);
            for (volatile uint32_t spin = 0; spin < (round * 7 + i * spins) % 200; spin++) {
            }
        }
        atomic_fetch_add(&visitors_in_round[round], 1);
    }
    return NULL;
}

static void *own_or_visit(void *argument) {
    return argument == NULL ? own_locks(argument) : visit_locks(argument);
}

static void a_biased_lock_excludes_owner_and_visitors(void) {
    lock_count = some(MOST_LOCKS);
    for (uint32_t round = 0; round < lock_count; round++) {
        xb_biased_lock_init(&locks[round]);
    }
    in_threads(3, own_or_visit);
}

/* ---- Fairness ---- */

static atomic_uint arrived; /* the round in which the other thread comes for the lock, from 1 */
static atomic_uint served;  /* the last round in which it had the lock */

static void *come_once_in_each_round(void *unused) {
    for (uint32_t round = 1; round <= lock_count; round++) {
        while (atomic_load(&arrived) < round) {
            (void)sched_yield();
        }
        xb_lock_slow(&locks[0]);
        atomic_store(&served, round);
        xb_unlock_slow(&locks[0]);
    }
    return unused;
}

/* A thread that releases the lock and comes back at once is much faster than one that has to wake up first.
 */
static void a_thread_that_comes_back_at_once_lets_another_have_its_turn(void) {
    pthread_mutex_t *gate = (pthread_mutex_t *)(void *)locks[0].gate;
    xb_biased_lock_init(&locks[0]);
    lock_count = some(MOST_LOCKS);
    pthread_t other;
    CHECK(pthread_create(&other, NULL, come_once_in_each_round, NULL) == 0);
    for (uint32_t round = 1; round <= lock_count; round++) {
        xb_lock_slow(&locks[0]);
        atomic_store(&arrived, round);
        while (pthread_mutex_trylock(gate) == 0) { /* the other thread has not come yet */
            CHECK(pthread_mutex_unlock(gate) == 0);
            (void)sched_yield();
        }
        xb_unlock_slow(&locks[0]);
        xb_lock_slow(&locks[0]);
        CHECK(atomic_load(&served) == round);
        xb_unlock_slow(&locks[0]);
    }
    CHECK(pthread_join(other, NULL) == 0);
}

#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
#if __has_include(<linux/filter.h>)
#define HAS_FILTERS 1
#endif
#endif

#if defined(HAS_FILTERS)

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

static atomic_int is_owned;
static atomic_int is_visited;

/* Installs a filter for the calling thread that refuses membarrier. False: the system cannot do that. */
static bool refuse_membarrier(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 &&
           syscall(SYS_membarrier, 0, 0, 0) == -1 && errno == EPERM;
}

static int64_t microseconds(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void *visit_without_membarrier(void *argument) {
    while (atomic_load(&is_owned) == 0) {
        (void)sched_yield();
    }
    if (!xb_has_owner(&locks[0]) || !refuse_membarrier()) {
        (void)fprintf(stderr, "SKIP: a visit without membarrier: no biased locks, or no seccomp filters\n");
    } else {
        int64_t start = microseconds();
        CHECK(pthread_cancel(pthread_self()) == 0); /* the wait is no cancellation point either */
        xb_lock(&locks[0]);
        CHECK(microseconds() - start >= 20000 && locks[0].owner == XB_NO_OWNER);
        xb_unlock(&locks[0]);
        CHECK(!xb_lock_own(&locks[0])); /* no lock any more */
    }
    atomic_store(&is_visited, 1);
    return argument;
}

static void do_nothing(int number) {
    (void)number;
}

/* A signal ends a sleep early; the wait that stands for a membarrier must last all the same. */
static void a_visit_without_membarrier_outlasts_signals(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = do_nothing;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    xb_biased_lock_init(&locks[0]);
    pthread_t visitor;
    CHECK(pthread_create(&visitor, NULL, visit_without_membarrier, NULL) == 0);
    (void)xb_lock_own(&locks[0]);
    atomic_store(&is_owned, 1);
    while (atomic_load(&is_visited) == 0) {
        CHECK(pthread_kill(visitor, SIGUSR1) == 0);
        (void)sched_yield();
    }
    CHECK(pthread_join(visitor, NULL) == 0);
}

#endif

int main(void) {
    (void)alarm(seconds(120));
    look_at_speed();
    RUN(a_biased_lock_excludes_owner_and_visitors);
    RUN(a_thread_that_comes_back_at_once_lets_another_have_its_turn);
#if defined(HAS_FILTERS)
    RUN(a_visit_without_membarrier_outlasts_signals);
#else
    (void)fprintf(stderr, "SKIP: a visit without membarrier: no seccomp filters\n");
#endif
    (void)printf("ok\n");
    return 0;
}
