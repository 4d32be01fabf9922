/* Pools and threads: one pool for many threads, owners and visitors of a pool, and code that one thread
 * publishes and another frees. */

#include "meet.h"
#include "pool_threads.h"

static execbuf_pool *shared;
static atomic_uint finished;

/* For ThreadSanitizer: the first pool sets the fork mark up, which other threads read. */
static void *make_a_first_pool(void *argument) {
    static atomic_uint arrivals;
    meet(&arrivals);
    for (uint32_t i = 0; i < 20; i++) {
        execbuf_pool *pool;
        CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
        execbuf buffer = publish(pool, i);
        release(&buffer);
        execbuf_pool_free(pool);
    }
    return argument;
}

static void two_threads_can_make_the_first_pool(void) {
    in_threads(2, make_a_first_pool);
}

/* Publishes, calls, rewrites and frees code. Up to 40 buffers are live at the same time. */
static void use(execbuf_pool *pool, uint32_t thread, uint32_t rounds) {
    enum { LIVE = 40 };
    execbuf buffers[LIVE];
    uint32_t values[LIVE];
    memset(buffers, 0, sizeof buffers);
    for (uint32_t round = 0; round < rounds; round++) {
        uint32_t i = round * 7 % LIVE;
        if (buffers[i].id != 0) {
            check(&buffers[i], values[i]);
            release(&buffers[i]);
        }
        values[i] = thread * 500 + round % 500;
        if (round % 16 == 3) { /* reserves, then publishes */
            code made = returning(values[i]);
            CHECK(execbuf_pool_reserve(pool, &buffers[i], 16 + round % 3000, NULL) == EXECBUF_OK);
            CHECK(execbuf_publish(&buffers[i], made.bytes, made.length, NULL) == EXECBUF_OK);
        } else if (round % 16 == 9) { /* larger code, possibly in a dedicated mapping */
            static const uint8_t zeros[20000];
            code made = returning(values[i]);
            CHECK(execbuf_pool_publish(pool, &buffers[i], zeros, 100 + round * 13 % 19000, NULL) ==
                  EXECBUF_OK);
            CHECK(execbuf_rewrite(&buffers[i], 0, made.bytes, made.length, NULL) == EXECBUF_OK);
        } else {
            buffers[i] = publish(pool, values[i]);
        }
        check(&buffers[i], values[i]);
        execbuf_place place;
        if (round % 8 == 0) {
            CHECK(finds(pool, buffers[i].entry, &place) && place.entry == buffers[i].entry);
            CHECK(stats_of(pool).live >= 1);
        }
    }
    for (uint32_t i = 0; i < LIVE; i++) {
        if (buffers[i].id != 0) {
            check(&buffers[i], values[i]);
            release(&buffers[i]);
        }
    }
}

static void *use_the_shared_pool(void *argument) {
    use(shared, (uint32_t)(uintptr_t)argument, some(8000));
    return NULL;
}

static void *use_a_private_pool(void *argument) {
    execbuf_pool *pool = new_pool();
    use(pool, (uint32_t)(uintptr_t)argument, some(8000));
    CHECK(stats_of(pool).live == 0);
    execbuf_pool_free(pool);
    return NULL;
}

static void threads_can_share_a_pool(void) {
    shared = new_pool();
    in_threads(THREADS, use_the_shared_pool);
    check_empty(shared);
}

static void each_thread_can_have_a_pool(void) {
    in_threads(THREADS, use_a_private_pool);
}

/* The owner of an arena publishes and frees all the time, while two visitors publish a few times. */
enum { MOST_POOLS = 100 };
static execbuf_pool *visited[MOST_POOLS];
static uint32_t pool_count;
static atomic_uint current;

static void *own_pools(void *argument) {
    (void)argument;
    for (uint32_t round = 0; round < pool_count; round++) {
        execbuf first = publish(visited[round], 1);
        atomic_store(&finished, 0);
        atomic_store(&current, round + 1);
        uint32_t value = 0;
        while (atomic_load(&finished) < 2) {
            execbuf one = publish(visited[round], value);
            execbuf two = publish(visited[round], value + 1);
            check(&one, value);
            release(&one);
            check(&two, value + 1);
            release(&two);
            value = (value + 1) % 1000;
        }
        check(&first, 1);
        release(&first);
        execbuf_pool_stats stats = stats_of(visited[round]);
        CHECK(stats.live == 0 && execbuf_pool_code_bytes(visited[round]) == 0);
    }
    return NULL;
}

static void *visit_pools(void *argument) {
    uint32_t me = (uint32_t)(uintptr_t)argument;
    for (uint32_t round = 0; round < pool_count; round++) {
        while (atomic_load(&current) != round + 1) {
            (void)sched_yield();
        }
        for (uint32_t i = 0; i < 5; i++) { /* up to 20 visits by both threads */
            execbuf buffer = publish(visited[round], me * 100 + i);
            check(&buffer, me * 100 + i);
            if (i % 2 == 0) {
                (void)sched_yield();
            }
            release(&buffer);
        }
        atomic_fetch_add(&finished, 1);
    }
    return NULL;
}

static void *own_or_visit_pools(void *argument) {
    return argument == NULL ? own_pools(argument) : visit_pools(argument);
}

static void visitors_can_use_the_pool_of_an_owner(void) {
    pool_count = some(MOST_POOLS);
    for (uint32_t i = 0; i < pool_count; i++) {
        visited[i] = new_pool(); /* all at the beginning, so that no lock had an owner before */
    }
    in_threads(3, own_or_visit_pools);
    for (uint32_t i = 0; i < pool_count; i++) {
        check_empty(visited[i]);
    }
}

/* ---- Handing code over ---- */

enum { QUEUE = 64 };
static execbuf queue[QUEUE];
static uint32_t queued_values[QUEUE];
static atomic_uint put;
static atomic_uint taken;

static void *hand_over(void *argument) {
    uint32_t total = some(20000);
    for (uint32_t i = 0; i < total; i++) {
        if (argument == NULL) {
            while (i - atomic_load(&taken) >= QUEUE) {
                (void)sched_yield();
            }
            queue[i % QUEUE] = publish(shared, i);
            queued_values[i % QUEUE] = i;
            atomic_store(&put, i + 1);
        } else {
            while (atomic_load(&put) <= i) {
                (void)sched_yield();
            }
            check(&queue[i % QUEUE], queued_values[i % QUEUE]);
            release(&queue[i % QUEUE]);
            atomic_store(&taken, i + 1);
        }
    }
    return NULL;
}

static void another_thread_can_free_code(void) {
    shared = new_pool();
    in_threads(2, hand_over);
    check_empty(shared);
}

/* One thread frees a pool while another one frees its last buffers: the pool ends exactly once. */
enum { KINDS = 3 };
static execbuf last[KINDS];
static atomic_uint arrivals;

static void *free_at_the_same_time(void *argument) {
    static uint8_t large[3U << 20];
    uint32_t rounds = some(300);
    for (uint32_t round = 0; round < rounds; round++) {
        if (argument == NULL) {
            shared = new_pool();
            /* A buffer in a region, one with a dedicated mapping, and a reserved one. */
            last[0] = publish(shared, 1);
            CHECK(execbuf_pool_publish(shared, &last[1], large, sizeof large, NULL) == EXECBUF_OK);
            CHECK(execbuf_pool_reserve(shared, &last[2], 100000, NULL) == EXECBUF_OK);
            if (round % 3 != 0) {
                release(&last[0]);
                release(&last[2]);
            }
        }
        meet(&arrivals);
        if (argument == NULL) {
            execbuf_pool_free(shared);
        } else {
            for (volatile uint32_t spin = 0; spin < round * 131 % 3000; spin++) {
            }
            for (int i = 0; i < KINDS; i++) {
                release(&last[i]);
            }
        }
        meet(&arrivals);
        if (argument == NULL) {
            /* If the pool had ended twice, these two would be the same. */
            execbuf_pool *one = new_pool();
            execbuf_pool *other = new_pool();
            CHECK(one != other);
            execbuf_pool_free(one);
            execbuf_pool_free(other);
        }
    }
    return NULL;
}

static void concurrent_frees_end_a_pool_once(void) {
    in_threads(2, free_at_the_same_time);
}

int main(void) {
    (void)alarm(seconds(120));
    RUN(two_threads_can_make_the_first_pool); /* before any other pool is made */
    look_at_speed();
    RUN(threads_can_share_a_pool);
    RUN(each_thread_can_have_a_pool);
    RUN(visitors_can_use_the_pool_of_an_owner);
    RUN(another_thread_can_free_code);
    RUN(concurrent_frees_end_a_pool_once);
    (void)printf("ok\n");
    return 0;
}
