/* A fork while another thread registers thunks with the unwinder. In the child that thread does not exist,
 * and the unwinder may stay locked, so the child must not call it any more. This program replaces the
 * unwinder with functions that wait and count. The first thunk in a pool is registered, and what was
 * registered for it is removed with the pool. */

#include "check.h"

#if defined(__x86_64__) && defined(__ELF__)

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif
#include <sys/wait.h>
#include <unistd.h>

static bool waits;
static bool is_inside;
static int registered;
static int deregistered;

void __register_frame_info(const void *list, void *object);
void *__deregister_frame_info(const void *list);

void __register_frame_info(const void *list, void *object) {
    CHECK(list != NULL && object != NULL);
    __atomic_store_n(&is_inside, true, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&waits, __ATOMIC_SEQ_CST)) {
        (void)sched_yield();
    }
    registered++;
}

void *__deregister_frame_info(const void *list) {
    CHECK(list != NULL);
    deregistered++;
    return NULL;
}

static int minus(int one, int other) {
    return one - other;
}

/* Makes a thunk in a pool of its own. It is never called. */
static execbuf make(const char *text) {
    int (*function)(int, int) = minus;
    const void *target;
    execbuf thunk;
    memcpy((void *)&target, (const void *)&function, sizeof target);
    execbuf_signature *signature = parsed(text);
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    CHECK(execbuf_thunk_new(pool, &thunk, signature, EXECBUF_ABI_WIN64, EXECBUF_ABI_SYSV64, target, NULL) ==
          EXECBUF_OK);
    execbuf_signature_free(signature);
    execbuf_pool_free(pool); /* its memory goes with the thunk */
    return thunk;
}

static void *make_slowly(void *thunk) {
    *(execbuf *)thunk = make("i(ii)");
    return NULL;
}

/* Forks, with the C library's fork handlers or (raw) without. */
static pid_t make_child(bool raw) {
#if defined(__linux__)
    if (raw) {
        return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    }
#endif
    (void)raw;
    return fork();
}

static void fork_during_registration(bool raw) {
    execbuf before = make("i(dd)");
    execbuf slow;
    pthread_t thread;
    registered = 0;
    deregistered = 0;
    is_inside = false;
    waits = true;
    CHECK(pthread_create(&thread, NULL, make_slowly, &slow) == 0);
    while (!__atomic_load_n(&is_inside, __ATOMIC_SEQ_CST)) {
        (void)sched_yield();
    }
    pid_t child = make_child(raw);
    CHECK(child >= 0);
    if (child == 0) {
        (void)alarm(20); /* kills the child if it waits for the unwinder */
        CHECK(execbuf_free(&before) == EXECBUF_OK);
        execbuf after = make("i(ff)");
        CHECK(execbuf_free(&after) == EXECBUF_OK);
        CHECK(registered == 0 && deregistered == 0);
        /* Not exit: valgrind would report what stays registered with the unwinder as leaks. */
        (void)kill(getpid(), SIGKILL);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    __atomic_store_n(&waits, false, __ATOMIC_SEQ_CST);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(execbuf_free(&slow) == EXECBUF_OK && execbuf_free(&before) == EXECBUF_OK);
    CHECK(registered == 1 && deregistered == 2);
}

static void a_child_does_not_call_an_interrupted_unwinder(void) {
    fork_during_registration(false);
    fork_during_registration(true);
}

static void a_child_calls_an_unwinder_that_was_not_interrupted(void) {
    execbuf before = make("i(dd)");
    deregistered = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(execbuf_free(&before) == EXECBUF_OK && deregistered == 1);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(execbuf_free(&before) == EXECBUF_OK && deregistered == 1);
}

int main(void) {
    RUN(a_child_does_not_call_an_interrupted_unwinder);
    RUN(a_child_calls_an_unwinder_that_was_not_interrupted);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: a fork during a registration with the unwinder: there are no thunks here, "
                          "or no such unwinder\n");
    return 0;
}

#endif
