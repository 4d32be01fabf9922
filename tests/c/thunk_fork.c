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

static void wait_if_told(void) {
    while (__atomic_load_n(&waits, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&is_inside, true, __ATOMIC_SEQ_CST);
        (void)sched_yield();
    }
}

void __register_frame_info(const void *list, void *object) {
    CHECK(list != NULL && object != NULL);
    wait_if_told();
    registered++;
}

void *__deregister_frame_info(const void *list) {
    CHECK(list != NULL);
    wait_if_told();
    deregistered++;
    return NULL;
}

static int minus(int one, int other) {
    return one - other;
}

/* Makes a thunk. It is never called. */
static execbuf make_in(execbuf_pool *pool, const char *text) {
    int (*function)(int, int) = minus;
    const void *target;
    execbuf thunk;
    memcpy((void *)&target, (const void *)&function, sizeof target);
    execbuf_signature *signature = parsed(text);
    CHECK(execbuf_thunk_new(pool, &thunk, signature, EXECBUF_ABI_WIN64, EXECBUF_ABI_SYSV64, target, NULL) ==
          EXECBUF_OK);
    execbuf_signature_free(signature);
    return thunk;
}

/* As above, in a pool of its own. */
static execbuf make(const char *text) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    execbuf thunk = make_in(pool, text);
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

/* Whether a child may be made without fork handlers. Those of ThreadSanitizer see to it that no other thread
 * holds its locks. */
static bool can_fork_raw(void) {
    if (under_thread_sanitizer()) {
        (void)fprintf(stderr,
                      "SKIP: a fork without handlers: ThreadSanitizer may wait for ever in the child\n");
    }
    return !under_thread_sanitizer();
}

/* Starts a thread that enters the unwinder, and waits there. */
static pthread_t start(void *(*function)(void *), void *data) {
    pthread_t thread;
    registered = 0;
    deregistered = 0;
    is_inside = false;
    waits = true;
    CHECK(pthread_create(&thread, NULL, function, data) == 0);
    while (!__atomic_load_n(&is_inside, __ATOMIC_SEQ_CST)) {
        (void)sched_yield();
    }
    return thread;
}

/* Lets the thread go on, and checks that the child has ended itself. */
static void join(pthread_t thread, pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    __atomic_store_n(&waits, false, __ATOMIC_SEQ_CST);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void fork_during_registration(bool raw) {
    execbuf before = make("i(dd)");
    execbuf slow;
    pthread_t thread = start(make_slowly, &slow);
    pid_t child = make_child(raw);
    CHECK(child >= 0);
    if (child == 0) {
        (void)alarm(seconds(20)); /* kills the child if it waits for the unwinder */
        CHECK(execbuf_free(&before) == EXECBUF_OK);
        execbuf after = make("i(ff)");
        CHECK(execbuf_free(&after) == EXECBUF_OK);
        CHECK(registered == 0 && deregistered == 0);
        /* Not exit: valgrind would report what stays registered with the unwinder as leaks. */
        (void)kill(getpid(), SIGKILL);
    }
    join(thread, child);
    CHECK(execbuf_free(&slow) == EXECBUF_OK && execbuf_free(&before) == EXECBUF_OK);
    CHECK(registered == 1 && deregistered == 2);
}

static void a_child_does_not_call_an_interrupted_unwinder(void) {
    fork_during_registration(false);
    if (can_fork_raw()) {
        fork_during_registration(true);
    }
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

/* ---- A fork while spans of adapters are given back ---- */

static execbuf_pool *crowded;

static execbuf_pool_stats stats_of_crowded(void) {
    execbuf_pool_stats stats = EXECBUF_POOL_STATS_INIT;
    CHECK(execbuf_pool_get_stats(crowded, &stats) == EXECBUF_OK);
    return stats;
}

static void *publish(void *buffer) {
    CHECK(execbuf_pool_publish(crowded, (execbuf *)buffer, "\xc3", 1, NULL) == EXECBUF_OK);
    return NULL;
}

static execbuf thunks[1024];

/* Makes many thunks, each with another adapter. */
static void make_many(void) {
    for (size_t i = 0; i < 1024; i++) {
        char text[] = "i(iiiiiiiiii)";
        for (size_t bit = 0; bit < 10; bit++) {
            text[2 + bit] = (i >> bit & 1) != 0 ? 'd' : 'i';
        }
        thunks[i] = make_in(crowded, text);
    }
}

static void make_and_free_many(void) {
    make_many();
    for (size_t i = 0; i < 1024; i++) {
        CHECK(execbuf_free(&thunks[i]) == EXECBUF_OK);
    }
}

static execbuf old;
static execbuf published;
static int lists; /* of regions that are left */
static size_t mapped;

/* Fills the thread's part of the pool with adapters, frees them, and publishes: their spans go when most are
 * freed, or at the latest then. */
static void *publish_after_many(void *unused) {
    __atomic_store_n(&waits, false, __ATOMIC_SEQ_CST);
    (void)publish(&old);
    make_and_free_many();
    mapped = stats_of_crowded().mapped; /* reclaims, too */
    make_many();
    lists = registered - deregistered;
    registered = 0;
    deregistered = 0;
    __atomic_store_n(&waits, true, __ATOMIC_SEQ_CST);
    for (size_t i = 0; i < 1024; i++) {
        CHECK(execbuf_free(&thunks[i]) == EXECBUF_OK);
    }
    static const uint8_t other_size[100] = {0xc3}; /* no slot of this size is free */
    CHECK(execbuf_pool_publish(crowded, &published, other_size, sizeof other_size, NULL) == EXECBUF_OK);
    return unused;
}

/* Another thread takes that part of the pool over. */
static void *make_again(void *unused) {
    make_and_free_many();
    return unused;
}

static void fork_during_removal(bool raw) {
    static const execbuf nothing = {NULL, 0, 0};
    CHECK(execbuf_pool_new(&crowded, NULL, NULL) == EXECBUF_OK && publish(&old) == NULL);
    bool has_regions = stats_of_crowded().regions != 0;
    CHECK(execbuf_free(&old) == EXECBUF_OK);
    execbuf_pool_free(crowded);
    if (!has_regions) {
        (void)fprintf(stderr, "SKIP: a fork while a span goes: there are no regions here\n");
        return;
    }
    CHECK(execbuf_pool_new(&crowded, NULL, NULL) == EXECBUF_OK);
    published = nothing;
    pthread_t thread = start(publish_after_many, NULL);
    pid_t child = make_child(raw);
    CHECK(child >= 0);
    if (child == 0) {
        (void)alarm(20);
        execbuf after;
        CHECK(execbuf_free(&old) == EXECBUF_OK);
        CHECK(execbuf_free(&published) == EXECBUF_OK); /* no buffer yet, or one that may be freed */
        for (size_t i = 0; i < 1024; i++) {
            (void)execbuf_free(&thunks[i]); /* one of them may have been freed just before */
        }
        CHECK(stats_of_crowded().live == 0 && publish(&after) == NULL);
        CHECK(stats_of_crowded().live == 1 && stats_of_crowded().frozen == 0);
        CHECK(stats_of_crowded().bookkeeping < 1 << 20);
        CHECK(execbuf_free(&after) == EXECBUF_OK && deregistered == 0);
        execbuf_pool_free(crowded);
        (void)kill(getpid(), SIGKILL);
    }
    join(thread, child);
    CHECK(deregistered > 0);
    CHECK(pthread_create(&thread, NULL, make_again, NULL) == 0 && pthread_join(thread, NULL) == 0);
    CHECK(stats_of_crowded().frozen == (raw || COPIES_REGIONS ? 0 : 1));
    CHECK(!raw || stats_of_crowded().mapped == mapped);
    CHECK(execbuf_free(&published) == EXECBUF_OK && execbuf_free(&old) == EXECBUF_OK);
    CHECK(stats_of_crowded().live == 0 && stats_of_crowded().frozen == 0);
    execbuf_pool_free(crowded);
    CHECK(deregistered == lists + registered);
}

static void a_fork_may_come_while_spans_of_adapters_are_given_back(void) {
    fork_during_removal(false);
    if (can_fork_raw()) {
        fork_during_removal(true);
    }
}

/* ---- Thunks in regions that a fork has shared ---- */

static int call_thunk(const execbuf *thunk, int one, int other) {
    int (*function)(int, int) __attribute__((ms_abi));
    memcpy((void *)&function, (const void *)&thunk->entry, sizeof thunk->entry);
    return function(one, other);
}

static void use_thunks(execbuf *before, size_t count) {
    for (size_t i = 0; i < count; i++) {
        CHECK(call_thunk(&before[i], 50, (int)i) == 50 - (int)i);
    }
    execbuf same = make_in(crowded, "i(ii)");   /* shares the adapter that existed before */
    execbuf other = make_in(crowded, "i(iiI)"); /* has one of its own; minus ignores the third argument */
    CHECK(call_thunk(&same, 9, 4) == 5 && call_thunk(&other, 8, 5) == 3);
    for (size_t i = 0; i < count; i++) {
        CHECK(execbuf_free(&before[i]) == EXECBUF_OK);
    }
    CHECK(call_thunk(&same, 9, 4) == 5 && call_thunk(&other, 8, 5) == 3);
    CHECK(execbuf_free(&same) == EXECBUF_OK && execbuf_free(&other) == EXECBUF_OK);
    CHECK(stats_of_crowded().live == 0);
    execbuf_pool_free(crowded);
}

static void both_processes_make_and_free_thunks_after_a_fork(void) {
    enum { BEFORE = 20 };
    execbuf before[BEFORE];
    CHECK(execbuf_pool_new(&crowded, NULL, NULL) == EXECBUF_OK);
    for (size_t i = 0; i < BEFORE; i++) {
        before[i] = make_in(crowded, "i(ii)");
    }
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)alarm(seconds(20));
        use_thunks(before, BEFORE);
        _exit(0);
    }
    use_thunks(before, BEFORE); /* at the same time */
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main(void) {
    RUN(both_processes_make_and_free_thunks_after_a_fork);
    RUN(a_fork_may_come_while_spans_of_adapters_are_given_back);
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
