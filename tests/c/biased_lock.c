/* The biased lock of pools: one owner, who takes it all the time, and visitors. ThreadSanitizer runs this
 * too; no lock has an owner there. */

#include "../../csrc/prim/lock.h"

#include "pool_threads.h"

enum { MOST_MUTEXES = 500 };
static xb_biased_lock mutexes[MOST_MUTEXES];
static uint32_t mutex_count;
static uint64_t counters[MOST_MUTEXES]; /* not atomic: each guarded by its mutex */
static atomic_uint visitors_in_round[MOST_MUTEXES];
static atomic_uint owned[MOST_MUTEXES];
enum { VISITS = 12 }; /* by each of two visitors: the ownership ends at 16 of them */

static void count_one(uint32_t round) {
    xb_lock(&mutexes[round]);
    uint64_t seen = counters[round];
    if (seen % 8 == 0) {
        (void)sched_yield(); /* now and then another thread runs in between */
    }
    counters[round] = seen + 1;
    xb_unlock(&mutexes[round]);
}

static void *own_mutexes(void *argument) {
    static uint64_t added[MOST_MUTEXES];
    (void)argument;
    for (uint32_t round = 0; round < mutex_count; round++) {
        count_one(round); /* the first who has it owns it */
        added[round] = 1;
        atomic_store(&owned[round], 1);
        while (atomic_load(&visitors_in_round[round]) < 2) {
            xb_lock(&mutexes[round]);
            counters[round]++;
            xb_unlock(&mutexes[round]);
            added[round]++;
        }
        xb_lock(&mutexes[round]);
        CHECK(counters[round] == added[round] + 2 * (uint64_t)VISITS);
        xb_unlock(&mutexes[round]);
    }
    return NULL;
}

static void *visit_mutexes(void *argument) {
    uint32_t spins = (uint32_t)(uintptr_t)argument;
    for (uint32_t round = 0; round < mutex_count; round++) {
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
    return argument == NULL ? own_mutexes(argument) : visit_mutexes(argument);
}

static void a_mutex_has_one_thread_at_a_time(void) {
    mutex_count = some(MOST_MUTEXES);
    for (uint32_t round = 0; round < mutex_count; round++) {
        xb_biased_lock_init(&mutexes[round]);
    }
    in_threads(3, own_or_visit);
}

int main(void) {
    (void)alarm(120);
    look_at_speed();
    RUN(a_mutex_has_one_thread_at_a_time);
    (void)printf("ok\n");
    return 0;
}
