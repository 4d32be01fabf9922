/* How many fences for all threads (membarrier) the ends of threads take. Linux only. */

#include "../../csrc/pool/pool.h"

#include "pool_faults.h"

#if !LADDER
int main(void) {
    return 0;
}
#else

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "meet.h"

enum { POOLS = 40, LARGE = 20000, LARGE_COUNT = 70 };

static execbuf_pool *pools[POOLS];
static execbuf freed[POOLS];
static execbuf kept[POOLS];
static execbuf large[LARGE_COUNT];
static atomic_uint arrivals;
static atomic_uint fences;
static bool has_owners;

static void count_fences(const char *call) {
    if (strcmp(call, "fence") == 0) {
        atomic_fetch_add(&fences, 1);
    }
}

static execbuf publish_in(execbuf_pool *in, uint32_t value) {
    code made = returning(value);
    execbuf out;
    CHECK(execbuf_pool_publish(in, &out, made.bytes, made.length, &error) == EXECBUF_OK);
    return out;
}

/* Owns an arena in each pool until another thread has freed code there, and ends. */
static void *own_arenas(void *unused) {
    static const uint8_t bytes[LARGE] = {0};
    for (uint32_t i = 0; i < POOLS; i++) {
        freed[i] = publish_in(pools[i], i);
        kept[i] = publish_in(pools[i], i + 1);
    }
    has_owners = xb_is_owner(&pools[0]->arenas->lock);
    for (uint32_t i = 0; i < LARGE_COUNT; i++) {
        CHECK(execbuf_pool_publish(pools[POOLS - 1], &large[i], bytes, LARGE, &error) == EXECBUF_OK);
    }
    meet(&arrivals);
    meet(&arrivals);
    watch = count_fences;
    return unused;
}

static void make_pools(void) {
    execbuf_pool_options options = options_of(NULL, "reach");
    options.reach = (size_t)64 << 20;
    for (uint32_t i = 0; i < POOLS; i++) {
        CHECK(execbuf_pool_new(&pools[i], i % 2 == 0 ? NULL : &options, &error) == EXECBUF_OK);
    }
}

/* What other threads have freed is not lost, and regions without code go. */
static void a_thread_that_ends_makes_one_fence_for_all_its_arenas(void) {
    make_pools();
    pthread_t owner;
    CHECK(pthread_create(&owner, NULL, own_arenas, NULL) == 0);
    meet(&arrivals);
    for (uint32_t i = 0; i < POOLS; i++) {
        CHECK(execbuf_free(&freed[i]) == EXECBUF_OK);
    }
    for (uint32_t i = 0; i < LARGE_COUNT; i++) {
        CHECK(execbuf_free(&large[i]) == EXECBUF_OK);
    }
    meet(&arrivals);
    CHECK(pthread_join(owner, NULL) == 0);
    watch = NULL;
    if (!has_owners) {
        (void)fprintf(stderr, "SKIP: fences at the end of a thread: no membarrier\n");
    } else {
        CHECK(atomic_load(&fences) == 1);
    }
    for (uint32_t i = 0; i < POOLS; i++) {
        if (has_owners) { /* before statistics look for frees themselves */
            CHECK(!xb_has_owner(&pools[i]->arenas->lock) && xb_guests_sum(&pools[i]->arenas->lock) == 0);
        }
        execbuf next = publish_in(pools[i], i + 2);
        CHECK(call(&kept[i], 0) == (int)(i + 1) && call(&next, 0) == (int)(i + 2));
        CHECK(execbuf_free(&next) == EXECBUF_OK && stats_of(pools[i]).live == 1);
        CHECK(stats_of(pools[i]).regions <= 2);
        CHECK(execbuf_free(&kept[i]) == EXECBUF_OK);
        CHECK(stats_of(pools[i]).live == 0);
        execbuf_pool_free(pools[i]);
    }
}

int main(void) {
    (void)alarm(seconds(120));
    RUN(a_thread_that_ends_makes_one_fence_for_all_its_arenas);
    (void)printf("ok\n");
    return 0;
}
#endif
