/* Fences for all threads (membarrier): when the process is registered for them, and how many the ends of
 * threads take. Linux only. */

#include "../../csrc/pool/pool.h"

#include "pool_faults.h"

#if !LADDER
int main(void) {
    return 0;
}
#else

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 32)
#include <sys/single_threaded.h>
#else
static const char __libc_single_threaded; /* 0: other C libraries do not tell */
#endif

#include "child.h"
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

/* ---- Registration ---- */

enum { QUERY = 0, PRIVATE_EXPEDITED = 8 }; /* of membarrier(2) */

/* Publishes two pieces of code in new pools. */
static void publish_two(void) {
    execbuf_pool *one_pool;
    execbuf_pool *other_pool;
    CHECK(execbuf_pool_new(&one_pool, NULL, &error) == EXECBUF_OK);
    CHECK(execbuf_pool_new(&other_pool, NULL, &error) == EXECBUF_OK);
    execbuf one = publish_in(one_pool, 1);
    execbuf other = publish_in(other_pool, 2);
    CHECK(call(&one, 0) == 1 && call(&other, 0) == 2);
}

static atomic_bool has_published;

static void *publish_and_stay(void *unused) {
    publish_two();
    atomic_store(&has_published, true);
    (void)pause();
    return unused;
}

static bool is_registered(void) {
    return syscall(SYS_membarrier, PRIVATE_EXPEDITED, 0, 0) == 0;
}

static void publish_beside_another_thread(void) {
    pthread_t other;
    CHECK(pthread_create(&other, NULL, publish_and_stay, NULL) == 0);
    while (!atomic_load(&has_published)) {
        (void)sched_yield();
    }
    publish_two();
    end_child(!is_registered());
}

static void publish_alone(void) {
    bool is_alone = __libc_single_threaded != 0; /* not with ThreadSanitizer, which makes a thread */
    publish_two();
    _exit(is_registered() || !is_alone ? 0 : 1);
}

/* How a child ends in which nothing has been published yet. */
static int end_of(void (*act)(void)) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        act();
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* To register a process with several threads, the kernel takes 10 ms or more. */
static void publishing_registers_for_fences_only_while_there_is_one_thread(void) {
    long commands = syscall(SYS_membarrier, QUERY, 0, 0);
    if (commands < 0 || (commands & PRIVATE_EXPEDITED) == 0) {
        (void)fprintf(stderr, "SKIP: registration for fences: no membarrier\n");
        return;
    }
    CHECK(end_of(publish_beside_another_thread) == 0);
    CHECK(end_of(publish_alone) == 0);
}

/* ---- The end of a thread ---- */

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
    RUN(publishing_registers_for_fences_only_while_there_is_one_thread); /* before all that publishes */
    RUN(a_thread_that_ends_makes_one_fence_for_all_its_arenas);
    (void)printf("ok\n");
    return 0;
}
#endif
