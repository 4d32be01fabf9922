/* Random operations of threads and processes, compared with a model: threads publish, call, change and free
 * each other's code, end, and fork at any moment.
 *
 * EXECBUF_MODEL_SEED sets the seed of the random numbers, which is printed. EXECBUF_MODEL_SECONDS lets the
 * test go on for so long, with the seeds that follow. A seed decides what each thread does, but not in which
 * order the threads do it. */

#include "random_model.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

/* ---- A buffer that several threads free at the same time ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* it is not held while the buffer is freed */
static execbuf contested;                                 /* guarded by the mutex */
static atomic_uint offered;                               /* how many buffers there were */
static atomic_uint won;                                   /* how many frees succeeded */

static execbuf exchange(const execbuf *next) {
    CHECK(pthread_mutex_lock(&mutex) == 0);
    execbuf old = contested;
    contested = next != NULL ? *next : old;
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    return old;
}

static void free_contested(execbuf copy) {
    if (copy.id != 0) {
        execbuf_status status = execbuf_free(&copy);
        CHECK(status == EXECBUF_OK || status == EXECBUF_E_STALE);
        atomic_fetch_add(&won, status == EXECBUF_OK);
    }
}

static void offer(worker *me) {
    shared_pool *entered = enter_pool(me);
    const size_t length = below(me, 1000) == 0 ? MOST_LENGTH : 100;
    execbuf next;
    CHECK(execbuf_pool_publish(entered->pool, &next, me->bytes, length, NULL) == EXECBUF_OK);
    leave_pool(entered);
    free_contested(exchange(&next));
    atomic_fetch_add(&offered, 1);
    for (volatile uint32_t spin = below(me, 150); spin > 0; spin--) {
    }
}

/* Waits a moment for another thread to offer a buffer. */
static void await_offer(void) {
    const unsigned seen = atomic_load(&offered);
    for (uint32_t tries = 0; tries < 1000 && atomic_load(&offered) == seen; tries++) {
    }
}

/* Offers buffers and frees some, or waits for those of other threads and frees them. */
static void contest(worker *me) {
    const bool offers = below(me, 2) == 0;
    for (uint32_t i = 0; i < 50; i++) {
        if (offers) {
            offer(me);
        } else {
            await_offer();
        }
        if (!offers || below(me, 2) == 0) {
            free_contested(exchange(NULL));
        }
    }
}

/* ---- Processes ---- */

static bool can_fork; /* while there are other threads */
static uint32_t thread_count;

/* What was done, by all processes. */
typedef struct counts {
    atomic_uint operations;
    atomic_uint forks;
} counts;

static counts *total;

static void await_child(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    if (status != 0) {
        (void)fprintf(stderr, "the child %ld ended with the status 0x%x\n", (long)child, (unsigned)status);
    }
    CHECK(status == 0);
}

static void await_children(worker *me) {
    while (me->child_count > 0) {
        await_child(me->children[--me->child_count]);
    }
}

/* Whether this process knows of all buffers: no ancestor forked while other threads were using some. */
static bool knows_all = true;

/* Makes the table of the parent that of its child, in which other threads do not go on with what they did. */
static void inherit(worker *me) {
    for (uint32_t i = 0; i < CELLS; i++) {
        unsigned state = atomic_load(&cells[i].state);
        atomic_store(&cells[i].state, state > IDLE ? IDLE : state); /* one that is TAKEN stays so */
    }
    for (uint32_t i = 0; i < POOLS; i++) {
        if (atomic_load(&pools[i].users) < 0) {
            pools[i].pool = new_random_pool(me);
        }
        atomic_store(&pools[i].users, 0);
    }
    knows_all &= thread_count == 1;
    thread_count = 1;
}

static void check_all(worker *me) {
    for (uint32_t i = 0; i < CELLS; i++) {
        if (atomic_load(&cells[i].state) == IDLE) {
            check_cell(me, &cells[i]);
        }
    }
}

/* Frees all buffers and pools. The process has no other threads. */
static void free_all(worker *me) {
    for (uint32_t i = 0; i < CELLS; i++) {
        if (atomic_load(&cells[i].state) == IDLE) {
            free_cell(me, &cells[i]);
        }
    }
    if (knows_all) {
        free_contested(contested);
        memset(&contested, 0, sizeof contested);
    }
    for (uint32_t i = 0; i < POOLS; i++) {
        execbuf_pool_stats stats = stats_of(pools[i].pool);
        CHECK(!knows_all ||
              (stats.live == 0 && execbuf_pool_code_bytes(pools[i].pool) == 0 && stats.dedicated == 0));
        execbuf_pool_free(pools[i].pool);
    }
}

static void take_steps(worker *me);

/* What a child does. All that it inherited is as it was, whatever the parent does meanwhile. */
static void live_as_child(worker *me) {
    (void)alarm(seconds(200));
    me->depth++;
    me->child_count = 0;
    inherit(me);
    check_all(me);
    me->steps = below(me, below(me, 8) == 0 ? 2000 : 100);
    take_steps(me);
    await_children(me);
    check_all(me);
    if (below(me, 2) == 0) {
        free_all(me);
    }
    /* At the end of a process, valgrind would report the memory of threads of the parent as leaks. */
    if (under_valgrind() || below(me, 8) == 0) {
        (void)execl("/bin/true", "true", (char *)NULL);
    }
    _exit(0);
}

/* Forks. A child of a raw clone relies on its parent to wait, and the parent on having no other threads. */
static void make_child(worker *me) {
    bool is_raw = false;
    const uint32_t rest = below(me, 1U << 31);
    if (me->child_count == MOST_CHILDREN) {
        await_children(me);
    }
    atomic_fetch_add(&total->forks, 1);
#if defined(__linux__)
    is_raw = thread_count == 1 && below(me, 4) == 0;
    pid_t child = is_raw ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
#else
    pid_t child = fork();
#endif
    CHECK(child >= 0);
    if (child == 0) {
        me->random += rest;
        live_as_child(me);
    }
    if (is_raw || below(me, 3) == 0) {
        await_child(child);
    } else {
        me->children[me->child_count++] = child;
    }
}

/* ---- Steps ---- */

/* One operation. A thread publishes more often at some times than at others, so the table fills and empties.
 */
static void operate(worker *me) {
    if (below(me, 200) == 0) {
        me->publishing = 10 + below(me, 45);
    }
    const uint32_t chosen = below(me, 100);
    if (chosen < me->publishing) {
        switch (below(me, 12)) {
        case 0: publish_batch(me); break;
        case 1: reserve_cell(me); break;
        case 2: make_thunk(me); break;
        default: publish_cell(me); break;
        }
    } else if (chosen < 60) {
        free_some(me);
    } else if (chosen < 75) {
        change_cell(me);
    } else if (chosen < 97) {
        call_cell(me);
    } else if (chosen < 99) {
        free_stale(me);
    } else if (below(me, 4) == 0) {
        replace_pool(me);
    } else {
        look_at_pool(me);
    }
}

static void take_steps(worker *me) {
    const bool may_fork = (thread_count == 1 || can_fork) && me->depth < 3;
    const uint32_t fork_every = me->depth == 0 ? 400 : 100;
    for (uint32_t step = 0; step < me->steps; step++) {
        if (may_fork && below(me, fork_every) == 0) {
            make_child(me);
        } else if (me->depth == 0 && below(me, 40) == 0 && !under_thread_sanitizer()) {
            contest(me); /* a race of the program, which ThreadSanitizer reports */
        } else {
            operate(me);
        }
    }
    atomic_fetch_add(&total->operations, me->steps);
}

/* ---- Threads ---- */

/* Threads one after the other: each one begins the next one and ends. */
typedef struct chain {
    pthread_t newest;
    pthread_t before; /* the one before it, unless it is the first one */
    uint64_t random;
    uint32_t left; /* how many come after it */
    bool is_first;
} chain;

static pthread_cond_t one_has_ended = PTHREAD_COND_INITIALIZER;
static uint32_t chains_left; /* guarded by the mutex */

static void begin_worker(worker *me, uint64_t random) {
    memset(me, 0, sizeof *me);
    me->random = random;
    me->publishing = 40;
    me->bytes = (uint8_t *)calloc(1, ROOM);
    CHECK(me->bytes != NULL);
}

static void *run_thread(void *argument) {
    chain *mine = (chain *)argument;
    worker me;
    CHECK(mine->is_first || pthread_join(mine->before, NULL) == 0);
    begin_worker(&me, mine->random);
    me.steps = 1 + below(&me, 2 * some(800));
    take_steps(&me);
    await_children(&me);
    free(me.bytes);
    if (mine->left > 0) {
        mine->left--;
        mine->is_first = false;
        mine->random = me.random;
        mine->before = pthread_self();
        CHECK(pthread_create(&mine->newest, NULL, run_thread, mine) == 0);
    } else {
        CHECK(pthread_mutex_lock(&mutex) == 0);
        chains_left--;
        CHECK(pthread_cond_signal(&one_has_ended) == 0 && pthread_mutex_unlock(&mutex) == 0);
    }
    return NULL;
}

static void run_threads(worker *me, uint32_t count) {
    chain chains[THREADS];
    chains_left = count;
    for (uint32_t i = 0; i < count; i++) {
        chains[i].random = me->random + ((uint64_t)i << 56);
        chains[i].left = is_slow ? 2 : 6;
        chains[i].is_first = true;
        CHECK(pthread_create(&chains[i].newest, NULL, run_thread, &chains[i]) == 0);
    }
    CHECK(pthread_mutex_lock(&mutex) == 0);
    while (chains_left > 0) {
        CHECK(pthread_cond_wait(&one_has_ended, &mutex) == 0);
    }
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(pthread_join(chains[i].newest, NULL) == 0);
    }
}

/* ---- Rounds ---- */

/* Begins with an empty table, and ends with one. */
static void run_round(uint64_t seed, uint32_t threads) {
    worker me;
    (void)printf("EXECBUF_MODEL_SEED=%llu, threads: %u\n", (unsigned long long)seed, threads);
    (void)fflush(stdout);
    (void)alarm(seconds(300));
    begin_worker(&me, seed);
    for (uint32_t i = 0; i < POOLS; i++) {
        pools[i].pool = new_random_pool(&me);
    }
    thread_count = threads;
    if (threads > 1) {
        run_threads(&me, threads);
    } else {
        me.steps = some(8000);
        take_steps(&me);
        await_children(&me);
    }
    thread_count = 1;
    check_all(&me);
    free_all(&me);
    const unsigned frees = atomic_load(&won);
    CHECK(frees >= atomic_load(&offered) && frees <= 2 * atomic_load(&offered));
    free(me.bytes);
}

/* Of the environment; 0: it is not set. */
static uint64_t number_in(const char *name) {
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : 0;
}

int main(void) {
    static const uint32_t threads[] = {THREADS, 2, 1};
    const time_t start = time(NULL);
    const time_t duration = (time_t)number_in("EXECBUF_MODEL_SECONDS");
    uint64_t seed = number_in("EXECBUF_MODEL_SEED");
    seed = seed != 0 ? seed : (uint64_t)start * 1000003 + (uint64_t)getpid();
    look_at_speed();
    can_fork = (!is_slow || is_emulated() || under_valgrind()) && !under_address_sanitizer() &&
               !under_thread_sanitizer(); /* whose malloc may wait for ever in the child */
    if (!can_fork) {
        (void)fprintf(stderr, "SKIP: forks while there are other threads: sanitizers and emulators of "
                              "processes may hang\n");
    }
    total = (counts *)mmap(NULL, sizeof *total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(total != MAP_FAILED); /* NOLINT */
    execbuf_pool *first = new_pool();
    execbuf kept = publish(first, 1);
    for (size_t i = 0; i < sizeof other_bytes; i++) {
        other_bytes[i] = (uint8_t)(i * 31 + i / 256);
    }
    const maps before = look_at_code();
    uint32_t round = 0;
    do {
        run_round(seed + round, threads[(seed + round) % 3]);
        maps after = look_at_code();
        /* A fork may leave pages by which processes know whether others live (families). */
        CHECK(after.count <= before.count + 7 && after.bytes <= before.bytes + 7 * 65536);
        round++;
    } while (round < 3 || time(NULL) < start + duration);
    CHECK(call(&kept, 0) == 1);
    release(&kept);
    execbuf_pool_free(first);
    (void)printf("rounds: %u, operations: %u, forks: %u\nok\n", round, atomic_load(&total->operations),
                 atomic_load(&total->forks));
    return 0;
}
