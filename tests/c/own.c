/* After a fork: both processes change code that existed before, each in memory of its own. Linux only. */

#include "check.h"

#if COPIES_REGIONS

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "own.h"
#include "pool_helpers.h"

static execbuf_pool *pool;
static execbuf old;
static execbuf others[2000];

/* Makes a pool and publishes a function that returns 1. False, with a SKIP: it has no regions. */
static bool make_pool(void) {
    pool = new_pool();
    old = publish(pool, 1);
    bool has_regions = stats_of(pool).regions == 1;
    if (!has_regions) {
        (void)fprintf(stderr, "SKIP: forks: there are no regions here\n");
        release(&old);
        execbuf_pool_free(pool);
    }
    return has_regions;
}

static void end_pool(void) {
    release(&old);
    CHECK(stats_of(pool).live == 0 && stats_of(pool).frozen == 0);
    execbuf_pool_free(pool);
}

static void rewrite(execbuf *buffer, uint32_t value) {
    code made = returning(value);
    CHECK(execbuf_rewrite(buffer, 0, made.bytes, made.length, NULL) == EXECBUF_OK);
    CHECK(call(buffer, 0) == (int)value);
}

/* ---- Rewriting ---- */

static execbuf constant;
static atomic_uint stop;

static void *run_until_stopped(void *argument) {
    (void)argument;
    while (atomic_load(&stop) == 0) {
        for (int i = 0; i < 100; i++) {
            CHECK(call(&constant, 0) == 77);
        }
    }
    return NULL;
}

static void run_and_rewrite(uint32_t first, uint32_t rounds) {
    pthread_t threads[2];
    atomic_store(&stop, 0);
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, run_until_stopped, NULL) == 0);
    }
    for (uint32_t i = 0; i < rounds; i++) {
        rewrite(&old, first + i % 500);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

static void rewrite_in_child(void) {
    CHECK(call(&old, 0) == 1);
    run_and_rewrite(1000, 20);
}

/* 10,000 rewrites in each process, 20 after each fork; or as many forks as EXECBUF_ROUNDS says. */
static void both_processes_rewrite_one_function_while_threads_run_in_its_region(void) {
    if (!make_pool()) {
        return;
    }
    constant = publish(pool, 77);
    const char *wanted = getenv("EXECBUF_ROUNDS");
    const int rounds = wanted != NULL ? atoi(wanted) : is_emulated() ? 5 : 500; /* NOLINT */
    for (int round = 0; round < rounds; round++) {
        (void)alarm(seconds(120));
        rewrite(&old, 1);
        waiting made = fork_waiting(NULL); /* keeps the memory shared in both processes */
        waiting other = fork_waiting(rewrite_in_child);
        go_on(&other); /* both rewrite at the same time */
        run_and_rewrite(2, 20);
        int last = call(&old, 0);
        join(&other);
        CHECK(call(&old, 0) == last && call(&constant, 0) == 77);
        finish(&made);
    }
    release(&constant);
    end_pool();
}

static uint32_t depth;

static void rewrite_and_fork(void) {
    uint32_t mine = 100 + depth;
    CHECK(call(&old, 0) == (int)(depth == 0 ? 1 : mine - 1));
    rewrite(&old, mine);
    if (depth < 4) {
        depth++;
        waiting made = fork_waiting(rewrite_and_fork);
        rewrite(&others[0], mine);
        finish(&made);
        CHECK(call(&others[0], 0) == (int)mine);
    }
    CHECK(call(&old, 0) == (int)mine);
}

static void children_of_children_have_their_own_code(void) {
    if (!make_pool()) {
        return;
    }
    others[0] = publish(pool, 2);
    depth = 0;
    in_child(rewrite_and_fork);
    CHECK(call(&old, 0) == 1 && call(&others[0], 0) == 2);
    release(&others[0]);
    end_pool();
}

/* ---- What is kept, and what is copied ---- */

static size_t writable_views(void) {
    return count_mappings("w-s");
}

static void a_thousand_forks_leave_no_mappings(void) {
    if (!make_pool()) {
        return;
    }
    in_child(NULL); /* the family of the first fork is one mapping */
    maps before = look();
    const unsigned long memory = memory_at(old.entry);
    const int forks = is_emulated() ? 50 : 1000;
    for (int i = 0; i < forks; i++) {
        others[i] = publish(pool, (uint32_t)i);
        in_child(NULL);
    }
    CHECK(under_valgrind() || memory == memory_at(old.entry)); /* nothing was copied */
    maps after = look();
    CHECK(hides_maps() || after.count <= before.count + 4); /* as the pool grows: a second region, the heap */
    CHECK(stats_of(pool).regions <= 2 && stats_of(pool).frozen == 0);
    for (int i = 0; i < forks; i++) {
        CHECK(call(&others[i], 0) == i);
        release(&others[i]);
    }
    end_pool();
}

static void children_that_live_leave_one_region(void) {
    enum { CHILDREN = 30 };
    waiting children[CHILDREN];
    if (!make_pool()) {
        return;
    }
    for (uint32_t i = 0; i < CHILDREN; i++) {
        children[i] = fork_waiting(NULL);
        others[i] = publish(pool, i);
        CHECK(stats_of(pool).regions == 1 && stats_of(pool).frozen == 0);
        CHECK(writable_views() == 1 || hides_maps());
    }
    for (uint32_t i = 0; i < CHILDREN; i++) {
        CHECK(call(&others[i], 0) == (int)i);
        release(&others[i]);
        finish(&children[i]);
    }
    end_pool();
}

/* A child that lives for long, and a region that it never saw. */
static void an_old_child_does_not_make_later_regions_look_shared(void) {
    if (!make_pool()) {
        return;
    }
    waiting first = fork_waiting(NULL);
    rewrite(&old, 2); /* a copy */
    const unsigned long memory = memory_at(old.entry);
    for (uint32_t i = 3; i < 20; i++) {
        in_child(NULL);
        rewrite(&old, i);
        CHECK(memory_at(old.entry) == memory);
    }
    finish(&first);
    end_pool();
}

static void become_a_program(void) {
    (void)execl("/bin/true", "true", (char *)NULL);
    _exit(1);
}

static void fork_and_exec_copies_nothing(void) {
    if (!make_pool()) {
        return;
    }
    const unsigned long memory = memory_at(old.entry);
    for (uint32_t i = 0; i < 10; i++) {
        in_child(become_a_program);
        rewrite(&old, i);
        CHECK(memory_at(old.entry) == memory);
    }
    end_pool();
}

static void a_copy_has_no_room_for_what_is_gone(void) {
    if (!make_pool()) {
        return;
    }
    for (size_t i = 0; i < 2000; i++) {
        others[i] = publish(pool, 5);
    }
    waiting made = fork_waiting(NULL);
    for (size_t i = 0; i < 2000; i++) {
        release(&others[i]);
    }
    const size_t resident = stats_of(pool).resident;
    rewrite(&old, 3);
    CHECK(stats_of(pool).resident < resident || !can_hide());
    const uint8_t *page = (const uint8_t *)old.entry - (uintptr_t)old.entry % 4096;
    CHECK(holds_traps(page - 4096, 4096) && holds_traps(page + 4096, 4096)); /* of freed code */
    for (size_t i = 0; i < 2000; i++) {                                      /* the room is used again */
        others[i] = publish(pool, (uint32_t)i);
    }
    for (size_t i = 0; i < 2000; i++) {
        CHECK(call(&others[i], 0) == (int)i);
        release(&others[i]);
    }
    CHECK(call(&old, 0) == 3);
    finish(&made);
    end_pool();
}

static void a_failed_fork_changes_nothing_in_child(void) {
    if (!make_pool()) {
        return;
    }
    struct rlimit none = {0, 0};
    if (setgid(65534) != 0 || setuid(65534) != 0 || setrlimit(RLIMIT_NPROC, &none) != 0) {
        (void)fprintf(stderr, "SKIP: a failed fork: not root\n");
        return;
    }
    execbuf reserved;
    CHECK(execbuf_pool_reserve(pool, &reserved, 100, NULL) == EXECBUF_OK);
    const unsigned long memory = memory_at(old.entry);
    pid_t failed = fork();
    if (failed == 0) {
        _exit(0);
    }
    CHECK(failed < 0 && errno == EAGAIN);
    CHECK(stats_of(pool).frozen == 0);
    code five = returning(5);
    CHECK(execbuf_publish(&reserved, five.bytes, five.length, NULL) == EXECBUF_OK);
    rewrite(&old, 2);
    execbuf other = publish(pool, 6);
    CHECK(call(&reserved, 0) == 5 && call(&other, 0) == 6 && memory_at(old.entry) == memory);
    CHECK(stats_of(pool).regions == 1);
}

static void a_failed_fork_changes_nothing(void) {
    in_child(a_failed_fork_changes_nothing_in_child);
}

/* ---- Reserving, freeing, quarantine ---- */

static execbuf reserved;

static void fill(uint32_t value) {
    code made = returning(value);
    CHECK(holds_traps(reserved.entry, 64));
    CHECK(execbuf_publish(&reserved, made.bytes, made.length, NULL) == EXECBUF_OK);
    CHECK(call(&reserved, 0) == (int)value && call(&old, 0) == 1);
}

static void fill_in_child(void) {
    fill(9);
}

static void both_processes_fill_what_was_reserved_before(void) {
    for (int parent_first = 0; parent_first < 2; parent_first++) {
        if (!make_pool()) {
            return;
        }
        CHECK(execbuf_pool_reserve(pool, &reserved, 64, NULL) == EXECBUF_OK);
        waiting made = fork_waiting(fill_in_child);
        if (parent_first) {
            fill(8);
        }
        finish(&made);
        if (!parent_first) {
            fill(8);
        }
        CHECK(call(&reserved, 0) == 8);
        release(&reserved);
        end_pool();
    }
}

static const void *freed_before;
static const void *freed_after;

static void look_at_freed_code(void) {
    CHECK(holds_traps(freed_before, 16));
    CHECK(call(&others[1], 0) == 11); /* the parent has freed its own */
    release(&others[1]);
    rewrite(&old, 5); /* a copy: the freed slot gets its traps */
    CHECK(holds_traps(freed_after, 16) && holds_traps(freed_before, 16));
}

static void freed_code_traps_when_the_region_is_ones_own(void) {
    if (!make_pool()) {
        return;
    }
    others[0] = publish(pool, 10);
    others[1] = publish(pool, 11);
    others[2] = publish(pool, 12);
    freed_before = others[0].entry;
    freed_after = others[1].entry;
    release(&others[0]);
    waiting made = fork_waiting(look_at_freed_code);
    CHECK(holds_traps(freed_before, 16));
    release(&others[1]);
    CHECK(!holds_traps(freed_after, 16)); /* the child runs it */
    finish(&made);
    const unsigned long memory = memory_at(old.entry);
    const void *entry = others[2].entry;
    release(&others[2]); /* adopts the region */
    CHECK(holds_traps(freed_after, 16) && holds_traps(entry, 16) && holds_traps(freed_before, 16));
    CHECK(memory_at(old.entry) == memory && call(&old, 0) == 1);
    end_pool();
}

/* Frees and publishes so much that slots leave quarantine and are used again. */
static void churn(void) {
    for (uint32_t round = 0; round < 20; round++) {
        for (size_t i = 0; i < 2000; i++) {
            CHECK(call(&others[i], 0) == (int)((i + round) % 2048));
            release(&others[i]);
            others[i] = publish(pool, (uint32_t)i + round + 1);
        }
    }
    CHECK(call(&old, 0) == 1);
}

static void quarantine_goes_on_in_both_processes(void) {
    if (!make_pool()) {
        return;
    }
    for (size_t i = 0; i < 2000; i++) {
        others[i] = publish(pool, (uint32_t)i);
    }
    for (size_t i = 0; i < 2000; i += 2) { /* they are in quarantine during the fork */
        release(&others[i]);
        others[i] = publish(pool, (uint32_t)i);
    }
    waiting made = fork_waiting(churn);
    go_on(&made);
    churn();
    join(&made);
    CHECK(stats_of(pool).resident < 400 * 1024); /* 2,000 slots of 16 bytes, and quarantine */
    for (size_t i = 0; i < 2000; i++) {
        release(&others[i]);
    }
    end_pool();
}

int main(void) {
    (void)alarm(seconds(120));
    (void)read_maps(); /* if /proc is not mounted, this ends the test before it forks */
    RUN(both_processes_rewrite_one_function_while_threads_run_in_its_region);
    RUN(children_of_children_have_their_own_code);
    RUN(a_thousand_forks_leave_no_mappings);
    RUN(children_that_live_leave_one_region);
    RUN(an_old_child_does_not_make_later_regions_look_shared);
    RUN(fork_and_exec_copies_nothing);
    RUN(a_copy_has_no_room_for_what_is_gone);
    RUN(a_failed_fork_changes_nothing);
    RUN(both_processes_fill_what_was_reserved_before);
    RUN(freed_code_traps_when_the_region_is_ones_own);
    RUN(quarantine_goes_on_in_both_processes);
    (void)printf("ok\n");
    return 0;
}

#else
int main(void) {
    (void)fprintf(stderr, "SKIP: regions after a fork: only Linux copies them\n");
    return 0;
}

#endif
