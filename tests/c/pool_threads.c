/* Threads and pools: the mutex with its owner, one pool for many threads, handing code over, forks in
 * between. For ThreadSanitizer, too, for which no mutex has an owner. */

#include "../../csrc/prim/lock.h"

#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4 };

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FEWER 10
#endif
#endif
#if !defined(FEWER)
#define FEWER 1
#endif

/* Less to do for valgrind, where one thread runs at a time and pools have no regions, and for
 * ThreadSanitizer, whose search for deadlocks allows a thread 63 locks: a fork takes the mutexes of all
 * pools. */
static execbuf_pool *new_pool(void) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    return pool;
}

static int is_slow; /* valgrind; and emulators, which have no regions */

static void look_at_speed(void) {
    execbuf_pool *pool = new_pool();
    code zero = returning(0);
    execbuf buffer;
    CHECK(execbuf_pool_publish(pool, &buffer, zero.bytes, zero.length, NULL) == EXECBUF_OK);
    is_slow = under_valgrind();
#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
    is_slow |= stats_of(pool).regions == 0;
#endif
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

static uint32_t some(uint32_t many) {
    return is_slow ? many / 20 + 1 : many / FEWER;
}

static execbuf publish(execbuf_pool *pool, uint32_t value) {
    code made = returning(value % 2048);
    execbuf buffer;
    CHECK(execbuf_pool_publish(pool, &buffer, made.bytes, made.length, NULL) == EXECBUF_OK);
    return buffer;
}

/* It is still there, and nobody else's code is in its place. */
static void check(const execbuf *buffer, uint32_t value) {
    code made = returning(value % 2048);
    CHECK(call(buffer, 0) == (int)(value % 2048));
    CHECK(memcmp(buffer->entry, made.bytes, made.length) == 0);
}

static void release(execbuf *buffer) {
    CHECK(execbuf_free(buffer) == EXECBUF_OK);
}

static void in_threads(uint32_t count, void *(*body)(void *)) {
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < count; i++) {
        CHECK(pthread_create(&threads[i], NULL, body, (void *)i) == 0); /* NOLINT */
    }
    for (uint32_t i = 0; i < count; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* ---- The mutex itself: an owner who comes all the time, and visitors ---- */

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

/* ---- Pools ---- */

static execbuf_pool *shared;
static atomic_uint finished;

/* Publishes, calls, rewrites and frees, always with some pieces of code at once. */
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
        if (round % 16 == 3) { /* reserve and publish */
            code made = returning(values[i]);
            CHECK(execbuf_pool_reserve(pool, &buffers[i], 16 + round % 3000, NULL) == EXECBUF_OK);
            CHECK(execbuf_publish(&buffers[i], made.bytes, made.length, NULL) == EXECBUF_OK);
        } else if (round % 16 == 9) { /* larger */
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

static void *use_a_pool_of_its_own(void *argument) {
    execbuf_pool *pool = new_pool();
    use(pool, (uint32_t)(uintptr_t)argument, some(8000));
    CHECK(stats_of(pool).live == 0);
    execbuf_pool_free(pool);
    return NULL;
}

static void check_empty(execbuf_pool *pool) {
    execbuf_pool_stats stats = stats_of(pool);
    CHECK(stats.live == 0 && stats.bytes == 0 && stats.dedicated == 0); /* no update was lost */
    execbuf_pool_free(pool);
}

static void one_pool_serves_all_threads(void) {
    shared = new_pool();
    in_threads(THREADS, use_the_shared_pool);
    check_empty(shared);
}

static void each_thread_may_have_its_pool(void) {
    in_threads(THREADS, use_a_pool_of_its_own);
}

/* An owner who publishes and frees without end, and visitors who come some times and go. */
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
        CHECK(stats.live == 0 && stats.bytes == 0);
    }
    return NULL;
}

static void *visit_pools(void *argument) {
    uint32_t me = (uint32_t)(uintptr_t)argument;
    for (uint32_t round = 0; round < pool_count; round++) {
        while (atomic_load(&current) != round + 1) {
            (void)sched_yield();
        }
        for (uint32_t i = 0; i < 5; i++) { /* up to 20 visits by both */
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

static void an_owner_may_be_visited(void) {
    pool_count = some(MOST_POOLS);
    for (uint32_t i = 0; i < pool_count; i++) {
        visited[i] = new_pool(); /* all at once, so that each has a mutex that nobody had before */
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

static void another_thread_may_free(void) {
    shared = new_pool();
    in_threads(2, hand_over);
    check_empty(shared);
}

/* A pool is given up while other threads free what it published: it ends once. */
enum { KINDS = 3 };
static execbuf last[KINDS];
static pthread_barrier_t together;

static void *give_up(void *argument) {
    static uint8_t large[3U << 20];
    uint32_t rounds = some(300);
    for (uint32_t round = 0; round < rounds; round++) {
        if (argument == NULL) {
            shared = new_pool();
            /* One region that is full, one more that is empty, and pages of its own. */
            last[0] = publish(shared, 1);
            CHECK(execbuf_pool_publish(shared, &last[1], large, sizeof large, NULL) == EXECBUF_OK);
            CHECK(execbuf_pool_reserve(shared, &last[2], 100000, NULL) == EXECBUF_OK);
            if (round % 3 != 0) {
                release(&last[0]);
                release(&last[2]);
            }
        }
        (void)pthread_barrier_wait(&together);
        if (argument == NULL) {
            execbuf_pool_free(shared);
        } else {
            for (volatile uint32_t spin = 0; spin < round * 131 % 3000; spin++) {
            }
            for (int i = 0; i < KINDS; i++) {
                release(&last[i]);
            }
        }
        (void)pthread_barrier_wait(&together);
        if (argument == NULL) {
            /* Had it ended twice, both of these were one. */
            execbuf_pool *one = new_pool();
            execbuf_pool *other = new_pool();
            CHECK(one != other);
            execbuf_pool_free(one);
            execbuf_pool_free(other);
        }
    }
    return NULL;
}

static void a_pool_ends_once(void) {
    CHECK(pthread_barrier_init(&together, NULL, 2) == 0);
    in_threads(2, give_up);
    CHECK(pthread_barrier_destroy(&together) == 0);
}

/* ---- fork ---- */

static execbuf inherited;
static int use_handlers;
static execbuf room;
static atomic_uint stop;

/* What a child of a fork may do: call, publish, free what it has and what it inherited. Hangs, and dies of
 * the alarm, if a mutex was left locked. */
static void use_in_child(void) {
    (void)alarm(60);
    code three = returning(3);
    execbuf_error error;
    execbuf buffer;
    CHECK(call(&inherited, 0) == 7);
    CHECK(execbuf_pool_publish(shared, &buffer, three.bytes, three.length, NULL) == EXECBUF_OK);
    CHECK(call(&buffer, 0) == 3 && execbuf_free(&buffer) == EXECBUF_OK);
    int frozen = stats_of(shared).frozen > 0;
    execbuf_status wanted = frozen ? EXECBUF_E_FROZEN : EXECBUF_OK;
    CHECK(execbuf_rewrite(&inherited, 0, three.bytes, three.length, &error) == wanted);
    CHECK(call(&inherited, 0) == (frozen ? 7 : 3));
    CHECK(execbuf_publish(&room, three.bytes, three.length, &error) == wanted);
    CHECK(execbuf_free(&inherited) == EXECBUF_OK && execbuf_free(&room) == EXECBUF_OK);
#if defined(__linux__)
    /* Those of the child's own new regions. Emulators have no regions, and inherit what another thread tries.
     */
    CHECK(under_valgrind() || stats_of(shared).regions == 0 ||
          count_mappings("w-s") <= 1U + (use_handlers != 0));
#endif
    execbuf_pool *pool = new_pool();
    buffer = publish(pool, 4);
    CHECK(call(&buffer, 0) == 4 && execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

static void fork_one(void) {
    inherited = publish(shared, 7);
    CHECK(execbuf_pool_reserve(shared, &room, 64, NULL) == EXECBUF_OK);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        use_in_child();
        /* No ordinary end, at which valgrind would call it a leak what other threads of the parent were just
         * about to make. */
        (void)kill(getpid(), SIGKILL);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(!WIFSIGNALED(status) || WTERMSIG(status) != SIGALRM);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    check(&inherited, 7);
    code five = returning(5);
    CHECK(execbuf_publish(&room, five.bytes, five.length, NULL) == EXECBUF_OK && call(&room, 0) == 5);
    release(&room);
    release(&inherited);
}

static void *publish_until_stopped(void *argument) {
    uint32_t thread = (uint32_t)(uintptr_t)argument;
    execbuf_pool *own = new_pool();
    while (atomic_load(&stop) == 0) {
        execbuf one = publish(shared, thread);
        execbuf two = publish(own, thread + 100);
        check(&one, thread);
        check(&two, thread + 100);
        release(&one);
        release(&two);
    }
    check_empty(own);
    return NULL;
}

/* Older AddressSanitizers leave their allocator locked in the child, if another thread was in it. */
static int allocates_after_fork(void) {
#if defined(__SANITIZE_ADDRESS__)
    return 0;
#elif defined(__has_feature)
    return !__has_feature(address_sanitizer);
#else
    return 1;
#endif
}

static void forks_happen_while_others_publish(void) {
    if (!allocates_after_fork()) {
        (void)printf(
            "SKIP: forks while others publish: the sanitizer's allocator can't be used after them\n");
        return;
    }
    pthread_t threads[THREADS];
    shared = new_pool();
    atomic_store(&stop, 0);
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, publish_until_stopped, (void *)i) == 0); /* NOLINT */
    }
    uint32_t forks = some(40);
    for (uint32_t i = 0; i < forks; i++) {
        fork_one();
    }
    atomic_store(&stop, 1);
    for (uint32_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(stats_of(shared).frozen <= 1);
    check_empty(shared);
}

/* The program's fork handlers use a pool: some run while the library has all its locks for the fork, since
 * they were registered before it was loaded, some before and after. */
static int handled;
static execbuf from_handler;

static void use_pool_in_handler(int early) {
    if (!use_handlers) {
        return;
    }
    execbuf buffer = publish(shared, 11);
    check(&buffer, 11);
    release(&buffer);
    /* One that lives across the fork, and is freed by the next handler. Not for an early one: what that frees
     * in the parent is not frozen yet. */
    if (!early && from_handler.id != 0) {
        check(&from_handler, 12);
        release(&from_handler);
    } else if (!early) {
        from_handler = publish(shared, 12);
    }
    execbuf_pool *pool = new_pool();
    buffer = publish(pool, 13);
    check(&buffer, 13);
    execbuf_pool_free(pool);
    release(&buffer);
    handled++;
}

static void early_handler(void) {
    use_pool_in_handler(1);
}

static void late_handler(void) {
    use_pool_in_handler(0);
}

__attribute__((constructor(101))) static void register_early(void) {
    CHECK(pthread_atfork(early_handler, early_handler, early_handler) == 0);
}

static void fork_handlers_may_use_pools(void) {
    CHECK(pthread_atfork(late_handler, late_handler, late_handler) == 0);
    shared = new_pool();
    use_handlers = 1;
    for (int i = 0; i < 10; i++) {
        fork_one();
    }
    use_handlers = 0;
    CHECK(handled == 4 * 10);
    check_empty(shared);
}

int main(void) {
    (void)alarm(120);
    look_at_speed();
    RUN(a_mutex_has_one_thread_at_a_time);
    RUN(one_pool_serves_all_threads);
    RUN(each_thread_may_have_its_pool);
    RUN(an_owner_may_be_visited);
    RUN(another_thread_may_free);
    RUN(a_pool_ends_once);
    RUN(forks_happen_while_others_publish);
    RUN(fork_handlers_may_use_pools);
    (void)printf("ok\n");
    return 0;
}
