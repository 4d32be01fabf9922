/* Where two threads wait for each other. (macOS has no pthread_barrier_t.) */
#ifndef MEET_H
#define MEET_H

#include <sched.h>
#include <stdatomic.h>

/* Returns when both threads have called this as often as each other.
 *
 * In/out: arrivals  how often either thread has called this; 0 at first */
static inline void meet(atomic_uint *arrivals) {
    const unsigned both = (atomic_fetch_add(arrivals, 1) | 1U) + 1;
    while ((int)(atomic_load(arrivals) - both) < 0) {
        (void)sched_yield();
    }
}

#endif
