/* Closures that several threads make and free, and forks. */

#include "bind.h"

#if defined(HAS_CLOSURES)

#include <pthread.h>
#include <stdbool.h>

static void *make_and_free(void *pool) {
    int64_t sum = 0;
    for (int i = 0; i < 5000; i++) {
        execbuf closure = adder((execbuf_pool *)pool, &sum);
        CHECK(call_one(&closure, 1) == i + 1 && execbuf_free(&closure) == EXECBUF_OK);
    }
    return NULL;
}

static void threads_make_closures(void) {
    execbuf_pool *pool = new_pool();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, make_and_free, pool) == 0);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    execbuf_pool_free(pool);
}

static void *free_all(void *closures) {
    for (int i = 0; i < 1000; i++) {
        CHECK(execbuf_free((execbuf *)closures + i) == EXECBUF_OK);
    }
    return NULL;
}

static void another_thread_frees_closures(void) {
    static execbuf closures[1000];
    execbuf_pool *pool = new_pool();
    int64_t sum = 0;
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < 1000; i++) {
            closures[i] = adder(pool, &sum);
        }
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, free_all, closures) == 0 && pthread_join(thread, NULL) == 0);
        CHECK(stats_of(pool).live == 1);
    }
    execbuf_pool_free(pool);
}

#if !defined(_WIN32)
#include "child.h"

static void expect_success(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* The cells are private: each process has its own context. */
static void both_processes_use_closures_after_a_fork(void) {
    execbuf_pool *pool = new_pool();
    int64_t sums[2] = {0, 0};
    for (int i = 0; i < 20; i++) {
        sums[0] = 0;
        execbuf first = adder(pool, &sums[0]);
        execbuf second = adder(pool, &sums[0]);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK(execbuf_rebind(&first, &sums[1]) == EXECBUF_OK);
            CHECK(call_one(&first, 100) == sums[1] && sums[0] == 0);
            CHECK(execbuf_free(&second) == EXECBUF_OK);
        } else {
            expect_success(child);
        }
        execbuf third = adder(pool, &sums[0]);
        CHECK(call_one(&third, 42) == 42);
        if (child == 0) {
            CHECK(execbuf_free(&first) == EXECBUF_OK && execbuf_free(&third) == EXECBUF_OK);
            execbuf_pool_free(pool);
            end_child(true);
        }
        CHECK(call_one(&first, 1) == 43 && call_one(&second, 1) == 44);
        CHECK(execbuf_free(&first) == EXECBUF_OK && execbuf_free(&second) == EXECBUF_OK);
        CHECK(execbuf_free(&third) == EXECBUF_OK && stats_of(pool).live == 1);
    }
    execbuf_pool_free(pool);
}

static void a_child_without_the_pools_memory_makes_new_closures(void) {
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    options.not_inherited = 1;
    execbuf_pool *pool;
    execbuf_status status = execbuf_pool_new(&pool, &options, NULL);
    if (status == EXECBUF_E_UNSUPPORTED) {
        (void)fprintf(stderr, "SKIP: closures in a pool that children do not get: there are none here\n");
        return;
    }
    CHECK(status == EXECBUF_OK);
    int64_t sum = 0;
    execbuf old = adder(pool, &sum);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execbuf closure = adder(pool, &sum);
        CHECK(call_one(&closure, 42) == 42 && execbuf_free(&closure) == EXECBUF_OK);
        CHECK(execbuf_rebind(&old, &sum) == EXECBUF_E_NOT_INHERITED && execbuf_free(&old) == EXECBUF_OK);
        execbuf_pool_free(pool);
        end_child(true);
    }
    expect_success(child);
    CHECK(call_one(&old, 1) == 1 && execbuf_free(&old) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

static void *make_until_told(void *stops) {
    int64_t sum = 0;
    while (!__atomic_load_n((bool *)stops, __ATOMIC_SEQ_CST)) {
        execbuf closure = adder(NULL, &sum);
        execbuf_free(&closure);
    }
    return NULL;
}

static void a_process_forks_while_closures_are_made(void) {
    if (under_address_sanitizer() || under_thread_sanitizer()) {
        (void)fprintf(stderr,
                      "SKIP: forks while closures are made: malloc of sanitizers may wait for ever in "
                      "the child\n");
        return;
    }
    bool stops = false;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, make_until_told, &stops) == 0);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            (void)make_and_free(NULL);
            end_child(true);
        }
        expect_success(child);
    }
    __atomic_store_n(&stops, true, __ATOMIC_SEQ_CST);
    CHECK(pthread_join(thread, NULL) == 0);
}
#endif

int main(void) {
    RUN(threads_make_closures);
    RUN(another_thread_frees_closures);
#if !defined(_WIN32)
    RUN(both_processes_use_closures_after_a_fork);
    RUN(a_child_without_the_pools_memory_makes_new_closures);
    RUN(a_process_forks_while_closures_are_made);
#endif
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: closures: there are none here\n");
    return 0;
}

#endif
