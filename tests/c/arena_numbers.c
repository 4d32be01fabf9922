/* The numbers of arenas: a process has 32,767 of them, and arenas that are over serve every thread. */

#include "../../csrc/pool/pool.h"
#include "../../csrc/pool/registry.h"

#include "pool_threads.h"

#include <sys/wait.h>

static execbuf_pool *pools[XB_MAX_ARENAS];
static uint32_t pool_count;

/* Makes pools in which this thread has an arena, but no memory for code, until no number is left. */
static void use_all_numbers(void) {
    execbuf_status status = EXECBUF_OK;
    pool_count = 0;
    while (status == EXECBUF_OK) {
        xb_arena *arena;
        pools[pool_count] = new_pool();
        status = xb_pool_claim(pools[pool_count++], &arena, &error);
        CHECK(pool_count <= XB_MAX_ARENAS - 1 || status != EXECBUF_OK);
    }
    CHECK(status == EXECBUF_E_TOO_MANY_POOLS && error.status == status);
}

static void *free_pools(void *unused) {
    while (pool_count > 0) {
        execbuf_pool_free(pools[--pool_count]);
    }
    return unused;
}

/* Publishes in several pools at the same time. Tells by its result whether the thread has an arena of its own
 * in each. */
static void *use_pools(void *unused) {
    enum { COUNT = 20 };
    (void)unused;
    execbuf_pool *used[COUNT];
    execbuf buffers[COUNT];
    bool owns_all = true;
    for (uint32_t i = 0; i < COUNT; i++) {
        used[i] = new_pool();
        buffers[i] = publish(used[i], i);
        owns_all &= xb_is_owner(&used[i]->arenas->lock);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        check(&buffers[i], i);
        release(&buffers[i]);
        execbuf_pool_free(used[i]);
    }
    return owns_all ? &pool_count : NULL;
}

static bool in_thread(void *(*function)(void *)) {
    pthread_t thread;
    void *result = NULL;
    CHECK(pthread_create(&thread, NULL, function, NULL) == 0 && pthread_join(thread, &result) == 0);
    return result != NULL;
}

/* Whether this thread can own locks here. */
static bool can_own(void) {
    return use_pools(NULL) != NULL;
}

static void what_a_thread_has_used_serves_every_other_one(void) {
    bool owns = can_own();
    use_all_numbers();
    (void)free_pools(NULL);
    CHECK(in_thread(use_pools) == owns);
    CHECK(in_thread(use_pools) == owns);
    CHECK(can_own() == owns);
}

/* The owner of these arenas lives, and did not end them. */
static void what_another_thread_has_ended_serves_every_thread(void) {
    bool owns = can_own();
    use_all_numbers();
    (void)in_thread(free_pools);
    (void)in_thread(use_pools); /* perhaps without owning */
    CHECK(can_own() == owns);
    (void)in_thread(use_pools);
    CHECK(can_own() == owns);
}

static atomic_uint step;

static void wait_for(uint32_t number) {
    while (atomic_load(&step) < number) {
        (void)sched_yield();
    }
}

static void *use_numbers_and_end(void *unused) {
    use_all_numbers();
    atomic_store(&step, 1);
    wait_for(2);
    return unused;
}

static void what_is_reserved_for_a_thread_serves_others_when_it_ends(void) {
    bool owns = can_own();
    pthread_t other;
    CHECK(pthread_create(&other, NULL, use_numbers_and_end, NULL) == 0);
    wait_for(1);
    (void)free_pools(NULL);
    execbuf_pool *lent = new_pool();
    execbuf buffer = publish(lent, 1);
    (void)use_pools(NULL);
    atomic_store(&step, 2);
    CHECK(pthread_join(other, NULL) == 0);
    CHECK(can_own() == owns && in_thread(use_pools) == owns);
    check(&buffer, 1);
    release(&buffer);
    execbuf_pool_free(lent);
    use_all_numbers(); /* none is lost */
    CHECK(pool_count > XB_MAX_ARENAS - 100);
    (void)free_pools(NULL);
}

/* The child has one thread, which can own all locks. */
static void a_child_can_use_what_other_threads_have_ended(void) {
    bool owns = can_own();
    use_all_numbers();
    (void)in_thread(free_pools);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(in_thread(use_pools) == owns && can_own() == owns);
        use_all_numbers();
        CHECK(pool_count > XB_MAX_ARENAS - 100);
        (void)free_pools(NULL);
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void) {
    (void)alarm(seconds(120));
    look_at_speed();
    if (is_slow || FEWER > 1) {
        (void)fprintf(stderr, "SKIP: all numbers of arenas: they take too long here\n");
        return 0;
    }
    RUN(what_a_thread_has_used_serves_every_other_one);
    RUN(what_another_thread_has_ended_serves_every_thread);
    RUN(what_is_reserved_for_a_thread_serves_others_when_it_ends);
    RUN(a_child_can_use_what_other_threads_have_ended);
    (void)printf("ok\n");
    return 0;
}
