/* Biased locks: an owner that takes the lock all the time, and two visitors (csrc/prim/lock.h). Under
 * ThreadSanitizer no lock has an owner. */

#include "../../csrc/prim/lock.h"

#include "pool_threads.h"

enum { MOST_LOCKS = 500 };
static xb_biased_lock locks[MOST_LOCKS];
static uint32_t lock_count;
static uint64_t counters[MOST_LOCKS]; /* not atomic: each is guarded by its lock */
static atomic_uint visitors_in_round[MOST_LOCKS];
static atomic_uint owned[MOST_LOCKS];
enum { TURNS = 8 };   /* the thread that takes a lock so many times in a row becomes its owner */
enum { VISITS = 12 }; /* by each of two visitors; after 16 visits the lock has no owner any more */

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
        for (uint32_t i = 0; i < TURNS; i++) {
            count_one(round);
        }
        added[round] = TURNS;
        CHECK(locks[round].owner != XB_NO_OWNER || locks[round].visits == XB_NEVER_BIASED);
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

int main(void) {
    (void)alarm(120);
    look_at_speed();
    RUN(a_biased_lock_excludes_owner_and_visitors);
    (void)printf("ok\n");
    return 0;
}
