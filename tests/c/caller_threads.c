/* Callers in several threads, and in both processes after a fork. */

#include "check.h"

#if defined(HAS_CLOSURES)

#include <pthread.h>
#if !defined(_WIN32)
#include "child.h"
#endif

static execbuf_caller *caller_of(const char *text, execbuf_abi abi) {
    execbuf_caller *caller;
    execbuf_error error;
    execbuf_signature *signature = parsed(text);
    CHECK(execbuf_caller_new(&caller, signature, abi, &error) == EXECBUF_OK && error.status == EXECBUF_OK);
    execbuf_signature_free(signature);
    return caller;
}

static int64_t add(int64_t one, int64_t other) {
    return one + other;
}

static void check_adds(const execbuf_caller *caller, int64_t number) {
    execbuf_slot arguments[2];
    execbuf_slot result;
    arguments[0].i = number;
    arguments[1].i = 1;
    execbuf_call(caller, (execbuf_function)add, arguments, &result);
    CHECK(result.i == number + 1);
}

/* Makes, uses and frees callers, and uses one that all threads have. */
static void *work(void *shared) {
    static const char *const texts[] = {"l(ll)", "p(ll)", "l(lL)"};
    for (int i = 0; i < 300; i++) {
        execbuf_caller *own = caller_of(texts[i % 3], EXECBUF_ABI_NATIVE);
        execbuf_caller_free(caller_of(i % 2 == 0 ? "v(ld)" : "v(dl)", EXECBUF_ABI_NATIVE));
        check_adds(own, i);
        check_adds((const execbuf_caller *)shared, i);
        execbuf_caller_free(own);
    }
    return shared;
}

static void threads_share_a_caller(void) {
    pthread_t threads[4];
    execbuf_caller *shared = caller_of("l(ll)", EXECBUF_ABI_NATIVE);
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, work, shared) == 0);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    execbuf_caller_free(shared);
}

static void *make_in_thread(void *out) {
    *(execbuf_caller **)out = caller_of("l(ll)", EXECBUF_ABI_NATIVE);
    return out;
}

/* A caller lives on when the thread that made it has ended, and another thread frees it. */
static void a_caller_outlives_its_thread(void) {
    pthread_t thread;
    execbuf_caller *caller;
    CHECK(pthread_create(&thread, NULL, make_in_thread, &caller) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    check_adds(caller, 41);
    execbuf_caller_free(caller);
}

#if !defined(_WIN32)
static void both_processes_call_after_a_fork(void) {
    for (int i = 0; i < 3; i++) {
        execbuf_caller *caller = caller_of("l(ll)", EXECBUF_ABI_NATIVE);
        pid_t child = fork();
        CHECK(child >= 0);
        check_adds(caller, 1);
        execbuf_caller *made = caller_of("l(ll)", EXECBUF_ABI_NATIVE);
        execbuf_caller *other = caller_of("l(lllll)", EXECBUF_ABI_NATIVE);
        check_adds(made, 2);
        execbuf_caller_free(caller);
        check_adds(made, 3);
        execbuf_caller_free(made);
        execbuf_caller_free(other);
        if (child == 0) {
            end_child(true);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
}
#endif

int main(void) {
    RUN(threads_share_a_caller);
    RUN(a_caller_outlives_its_thread);
#if !defined(_WIN32)
    RUN(both_processes_call_after_a_fork);
#endif
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: callers in threads: there are none here\n");
    return 0;
}

#endif
