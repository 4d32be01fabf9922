/* Arenas: each thread that publishes in a pool has one; frees by other threads; threads that end. */

#include "../../csrc/pool/pool.h"
#include "../../csrc/pool/reclaim.h"

#include "meet.h"
#include "pool_threads.h"

#include <sys/mman.h>

static execbuf_pool *shared;

static bool has_arenas(void) {
    return xb_has_owner(&shared->arenas->lock);
}

static uint32_t count_arenas(void) {
    uint32_t count = 0;
    for (const xb_arena *arena = shared->arenas; arena != NULL; arena = arena->next) {
        count++;
    }
    return count;
}

static void in_thread(void *(*function)(void *), void *argument) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, function, argument) == 0 && pthread_join(thread, NULL) == 0);
}

/* ---- Threads that come and go ---- */

static execbuf kept;

static void *publish_one(void *argument) {
    kept = publish(shared, (uint32_t)(uintptr_t)argument);
    return NULL;
}

static void *publish_and_meet(void *argument) {
    static atomic_uint arrivals;
    execbuf own = publish(shared, (uint32_t)(uintptr_t)argument);
    while (atomic_load(&arrivals) < 2) { /* both have an arena at the same time */
        static atomic_uint once[2];
        if (atomic_exchange(&once[(uintptr_t)argument], 1) == 0) {
            atomic_fetch_add(&arrivals, 1);
        }
        (void)sched_yield();
    }
    check(&own, (uint32_t)(uintptr_t)argument);
    release(&own);
    return NULL;
}

static void each_thread_has_an_arena_and_leaves_it_to_the_next_one(void) {
    shared = new_pool();
    in_threads(2, publish_and_meet);
    CHECK(count_arenas() == 1 || count_arenas() == 2);
    for (uintptr_t i = 0; i < 300; i++) {
        in_thread(publish_one, (void *)i); /* NOLINT */
        check(&kept, (uint32_t)i);
        release(&kept);
    }
    CHECK(count_arenas() <= 2);
    check_empty(shared);
}

#if defined(__linux__)
#include <sys/mman.h>

enum { FAR_THREADS = 8, STACK_SIZE = 1 << 20 };

static void *publish_and_stay(void *argument) {
    static atomic_uint arrivals;
    execbuf own = publish(shared, (uint32_t)(uintptr_t)argument);
    atomic_fetch_add(&arrivals, 1);
    while (atomic_load(&arrivals) < FAR_THREADS) {
        (void)sched_yield();
    }
    execbuf second = publish(shared, (uint32_t)(uintptr_t)argument + 1);
    check(&own, (uint32_t)(uintptr_t)argument);
    release(&own);
    release(&second);
    return NULL;
}

/* Their thread pointers differ in the upper bits only. The table of threads grows until each has a place of
 * its own. */
static void threads_can_have_stacks_that_are_far_apart(void) {
    pthread_t threads[FAR_THREADS];
    void *stacks[FAR_THREADS];
    uint32_t count = 0;
    shared = new_pool();
    for (uintptr_t i = 1; i < 500 && count < FAR_THREADS && sizeof(void *) == 8; i++) {
        void *wanted = (void *)((i << 19 << 19) + ((uintptr_t)STACK_SIZE << 8)); /* NOLINT */
        void *stack = mmap(wanted, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (stack == wanted) {
            stacks[count++] = stack;
        } else if (stack != MAP_FAILED) {
            CHECK(munmap(stack, STACK_SIZE) == 0);
        }
    }
    if (count < FAR_THREADS) {
        (void)fprintf(stderr, "SKIP: stacks that are far apart: there is not enough address space\n");
    }
    for (uintptr_t i = 0; i < count && count == FAR_THREADS; i++) {
        pthread_attr_t attributes;
        CHECK(pthread_attr_init(&attributes) == 0);
        CHECK(pthread_attr_setstack(&attributes, stacks[i], STACK_SIZE) == 0);
        CHECK(pthread_create(&threads[i], &attributes, publish_and_stay, (void *)i) == 0); /* NOLINT */
        CHECK(pthread_attr_destroy(&attributes) == 0);
    }
    for (uint32_t i = 0; i < count && count == FAR_THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    for (uint32_t i = 0; i < count; i++) {
        CHECK(munmap(stacks[i], STACK_SIZE) == 0);
    }
    CHECK(xb_pool_bookkeeping(shared) < 1 << 14);
    check_empty(shared);
}
#endif

/* ---- Frees by another thread ---- */

enum { MOST = 60000 };
static execbuf buffers[MOST];
static uint32_t buffer_count;

static void *free_all(void *unused) {
    for (uint32_t i = 0; i < buffer_count; i++) {
        execbuf copy = buffers[i];
        check(&copy, i);
        release(&copy);
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_E_STALE);
    }
    return unused;
}

/* The owner does not use its arena meanwhile, so the other thread gives the memory back. */
static void memory_comes_back_although_the_owner_is_idle(void) {
    shared = new_pool();
    buffer_count = some(MOST);
    for (uint32_t i = 0; i < buffer_count; i++) {
        buffers[i] = publish(shared, i);
    }
    size_t peak = shared->arenas->resident;
    in_thread(free_all, NULL);
    const xb_arena *arena = shared->arenas;
    if (arena->regions != NULL && has_arenas()) {
        CHECK(arena->resident <= peak && xb_guests_sum(&arena->lock) < 1 << 20);
    }
    execbuf_pool_stats stats = stats_of(shared);
    CHECK(stats.live == 0 && execbuf_pool_code_bytes(shared) == 0);
    execbuf next = publish(shared, 1);
    check(&next, 1);
    release(&next);
    check_empty(shared);
}

/* Many may leave before the first of them has locked the arena. */
static void one_guest_reclaims_each_mebibyte(void) {
    static xb_arena arena;
    xb_biased_lock *const lock = &arena.lock;
    xb_biased_lock_init(lock);
    arena.guests_shift = 20;
    if (!xb_lock_own(lock)) {
        (void)fprintf(stderr, "SKIP: guests: no membarrier\n");
        return;
    }
    uint32_t reclaims = 0;
    for (uint32_t i = 0; i < 100; i++) {
        const uint32_t size = 30000;
        CHECK(xb_enter_as_guest(lock));
        reclaims += xb_reclaim_is_overdue(&arena, xb_leave_as_guest(lock, size), size);
    }
    CHECK(reclaims == 2);
    xb_lock_slow(lock);
    xb_lock_disown(lock);
    xb_unlock_slow(lock);
}

/* ---- One thread publishes, another frees ---- */

enum { RING = 256 };
static execbuf ring[RING];
static atomic_uint written;
static atomic_uint freed;

static void *consume(void *argument) {
    uint32_t rounds = *(const uint32_t *)argument;
    for (uint32_t i = 0; i < rounds; i++) {
        while (atomic_load(&written) == i) {
            (void)sched_yield();
        }
        execbuf copy = ring[i % RING];
        check(&copy, i);
        release(&copy);
        CHECK(execbuf_free(&ring[i % RING]) == EXECBUF_E_STALE);
        atomic_store(&freed, i + 1);
    }
    return NULL;
}

static void what_another_thread_frees_is_used_again(void) {
    shared = new_pool();
    atomic_store(&written, 0);
    atomic_store(&freed, 0);
    uint32_t rounds = some(200000);
    pthread_t consumer;
    CHECK(pthread_create(&consumer, NULL, consume, &rounds) == 0);
    for (uint32_t i = 0; i < rounds; i++) {
        while (i - atomic_load(&freed) >= RING) {
            (void)sched_yield();
        }
        ring[i % RING] = publish(shared, i);
        atomic_store(&written, i + 1);
    }
    CHECK(pthread_join(consumer, NULL) == 0);
    execbuf_pool_stats stats = stats_of(shared);
    CHECK(stats.live == 0 && execbuf_pool_code_bytes(shared) == 0);
    CHECK(stats.resident < 4 << 20); /* all that was published needs more */
    check_empty(shared);
}

/* ---- Two threads free the same buffer ---- */

static execbuf contested;
static atomic_uint round_started;
static atomic_uint round_ended;
static execbuf_status of_other;

/* Both threads may fill the slot with traps at the same time: the same bytes, in memory that nobody runs or
 * reads before both are done. For ThreadSanitizer this is a race, so it does not look at what one of them
 * writes. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
#define IGNORE_WRITES_BEGIN() AnnotateIgnoreWritesBegin(__FILE__, __LINE__)
#define IGNORE_WRITES_END() AnnotateIgnoreWritesEnd(__FILE__, __LINE__)
#endif
#endif
#if !defined(IGNORE_WRITES_BEGIN)
#define IGNORE_WRITES_BEGIN() ((void)0)
#define IGNORE_WRITES_END() ((void)0)
#endif

static void *free_contested(void *argument) {
    uint32_t rounds = *(const uint32_t *)argument;
    for (uint32_t round = 1; round <= rounds; round++) {
        while (atomic_load(&round_started) < round) {
            (void)sched_yield();
        }
        execbuf copy = contested;
        IGNORE_WRITES_BEGIN();
        of_other = execbuf_free(&copy);
        IGNORE_WRITES_END();
        atomic_store(&round_ended, round);
    }
    return NULL;
}

/* Both may be told that they succeeded, but the slot is free once. */
static void a_race_of_two_frees_frees_once(void) {
    shared = new_pool();
    uint32_t rounds = some(20000);
    pthread_t other;
    CHECK(pthread_create(&other, NULL, free_contested, &rounds) == 0);
    for (uint32_t round = 1; round <= rounds; round++) {
        contested = publish(shared, round);
        execbuf copy = contested;
        atomic_store(&round_started, round);
        for (volatile uint32_t spin = 0; spin < round * 7 % 150; spin++) {
        }
        execbuf_status status = execbuf_free(&copy);
        CHECK(status == EXECBUF_OK || status == EXECBUF_E_STALE);
        while (atomic_load(&round_ended) < round) {
            (void)sched_yield();
        }
        CHECK(of_other == EXECBUF_OK || of_other == EXECBUF_E_STALE);
        CHECK(status == EXECBUF_OK || of_other == EXECBUF_OK);
        if (round % 64 == 0) {
            execbuf one = publish(shared, 1);
            execbuf two = publish(shared, 2);
            CHECK(one.entry != two.entry && stats_of(shared).live == 2);
            release(&one);
            release(&two);
        }
    }
    CHECK(pthread_join(other, NULL) == 0);
    CHECK(stats_of(shared).live == 0);
    check_empty(shared);
}

/* ---- The end of an arena ---- */

static void *free_kept(void *unused) {
    release(&kept);
    return unused;
}

static void *reclaim(void *arena) {
    (void)xb_reclaim((xb_arena *)arena, false);
    return NULL;
}

static bool has_regions(xb_arena *arena) {
    xb_arena_lock(arena);
    bool any = arena->regions != NULL;
    xb_arena_unlock(arena);
    return any;
}

/* A thread frees the last buffer, and waits for the process's lock when it has unlocked the arena, to end it.
 * Another one has freed the last buffer of another region just before, so it reclaims now. */
static void an_arena_ends_once(void) {
    shared = new_pool();
    kept = publish(shared, 1);
    xb_arena *arena = shared->arenas;
    execbuf_pool_free(shared);
    xb_prim_lock();
    pthread_t last;
    CHECK(pthread_create(&last, NULL, free_kept, NULL) == 0);
    while (has_regions(arena)) {
        (void)sched_yield();
    }
    in_thread(reclaim, arena); /* would wait for ever */
    xb_prim_unlock();
    CHECK(pthread_join(last, NULL) == 0);
}

static execbuf stale;
static atomic_bool is_over;

/* Each attempt holds the arena's lock, and there is no pause between two: the other thread gets it all the
 * same. */
static void *free_stale(void *unused) {
    while (!atomic_load(&is_over)) {
        execbuf copy = stale;
        CHECK(execbuf_free(&copy) == EXECBUF_E_STALE);
    }
    return unused;
}

/* ThreadSanitizer sees a race if the other thread reads the arena meanwhile. */
static void a_stale_handle_is_refused_while_its_arena_ends_and_begins_again(void) {
    pthread_t other;
    uint32_t rounds = some(2000);
    for (uint32_t round = 0; round < rounds; round++) {
        shared = new_pool();
        execbuf buffer = publish(shared, round);
        if (round == 0) {
            stale = buffer;
        }
        release(&buffer);
        execbuf_pool_free(shared);
        CHECK(round > 0 || pthread_create(&other, NULL, free_stale, NULL) == 0);
    }
    atomic_store(&is_over, true);
    CHECK(pthread_join(other, NULL) == 0);
}

int main(void) {
    (void)alarm(seconds(120));
    look_at_speed();
    RUN(each_thread_has_an_arena_and_leaves_it_to_the_next_one);
#if defined(__linux__)
    RUN(threads_can_have_stacks_that_are_far_apart);
#endif
    RUN(memory_comes_back_although_the_owner_is_idle);
    RUN(one_guest_reclaims_each_mebibyte);
    RUN(what_another_thread_frees_is_used_again);
    RUN(a_race_of_two_frees_frees_once);
    RUN(an_arena_ends_once);
    RUN(a_stale_handle_is_refused_while_its_arena_ends_and_begins_again);
    (void)printf("ok\n");
    return 0;
}
