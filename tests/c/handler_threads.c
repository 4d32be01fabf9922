/* Closures for run-time signatures in several threads, and in both processes after a fork. */

#include "bind.h"

#if defined(HAS_CLOSURES)

#include <pthread.h>
#if !defined(_WIN32)
#include "child.h"
#endif

static void add(void *context, const execbuf_slot *arguments, execbuf_slot *result) {
    result->i = __atomic_add_fetch((int64_t *)context, arguments[0].i, __ATOMIC_RELAXED);
}

static execbuf handled(execbuf_pool *pool, const char *text, int64_t *sum) {
    execbuf_signature *signature = parsed(text);
    execbuf closure;
    CHECK(execbuf_closure_new(pool, &closure, signature, EXECBUF_ABI_NATIVE, add, sum, NULL) == EXECBUF_OK);
    execbuf_signature_free(signature);
    return closure;
}

static execbuf_pool *pool;
static execbuf shared;
static int64_t shared_sum;

static void *work(void *unused) {
    static const char *const texts[] = {"l(l)", "l(ld)", "l(li)"};
    int64_t sum = 0;
    for (int i = 0; i < 3000; i++) {
        execbuf closure = handled(i % 2 == 0 ? pool : NULL, texts[i % 3], &sum);
        CHECK(call_one(&closure, 1) == i + 1 && execbuf_free(&closure) == EXECBUF_OK);
        CHECK(call_one(&shared, 1) > 0);
    }
    return unused;
}

static void threads_make_and_call_closures(void) {
    pthread_t threads[4];
    pool = new_pool();
    shared = handled(pool, "l(l)", &shared_sum);
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, work, NULL) == 0);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(shared_sum == 12000 && execbuf_free(&shared) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

static void *free_it(void *closure) {
    CHECK(execbuf_free((execbuf *)closure) == EXECBUF_OK);
    return closure;
}

static void another_thread_frees_a_closure(void) {
    pthread_t thread;
    int64_t sum = 0;
    pool = new_pool();
    for (int i = 0; i < 50; i++) {
        execbuf closure = handled(pool, "l(l)", &sum);
        CHECK(pthread_create(&thread, NULL, free_it, &closure) == 0 && pthread_join(thread, NULL) == 0);
        CHECK(stats_of(pool).live == 1);
    }
    execbuf_pool_free(pool);
}

#if !defined(_WIN32)
/* The cells are private: each process has its own context. */
static void both_processes_use_closures_after_a_fork(void) {
    int64_t sums[2] = {0, 0};
    pool = new_pool();
    for (int i = 0; i < 10; i++) {
        int status;
        execbuf old = handled(pool, "l(l)", &sums[0]);
        sums[0] = 0;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK(execbuf_rebind(&old, &sums[1]) == EXECBUF_OK);
            CHECK(call_one(&old, 100) == sums[1] && sums[0] == 0);
        } else {
            CHECK(waitpid(child, &status, 0) == child && status == 0);
            CHECK(call_one(&old, 1) == 1);
        }
        execbuf made = handled(pool, "l(ll)", &sums[0]);
        int64_t before = sums[0];
        CHECK(call_one(&made, 2) == before + 2);
        CHECK(execbuf_free(&made) == EXECBUF_OK && execbuf_free(&old) == EXECBUF_OK);
        if (child == 0) {
            execbuf_pool_free(pool);
            end_child(true);
        }
    }
    execbuf_pool_free(pool);
}
#endif

int main(void) {
    RUN(threads_make_and_call_closures);
    RUN(another_thread_frees_a_closure);
#if !defined(_WIN32)
    RUN(both_processes_use_closures_after_a_fork);
#endif
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: closures for run-time signatures: there are none here\n");
    return 0;
}

#endif
