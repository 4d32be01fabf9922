/* Threads that publish, rewrite and free buffers at the same time, free copies of one handle, and fork.
 * ThreadSanitizer runs this, too. */

#include "check.h"
#include "meet.h"

#include <pthread.h>
#include <sched.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 300 };

static execbuf shared;
static int wins[THREADS];

static void *work(void *argument) {
    uint32_t thread = (uint32_t)(uintptr_t)argument;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        code made = returning(thread * ROUNDS + round);
        code other = returning(round);
        execbuf buffer;
        CHECK(execbuf_new(&buffer, made.bytes, made.length, NULL) == EXECBUF_OK);
        CHECK(call(&buffer, 0) == (int)(thread * ROUNDS + round));
        CHECK(execbuf_rewrite(&buffer, 0, other.bytes, other.length, NULL) == EXECBUF_OK);
        CHECK(call(&buffer, 0) == (int)round);
        CHECK(call(&shared, 0) == 7);
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    }
    return NULL;
}

/* All threads free a copy of one handle; exactly one succeeds. */
static void *compete(void *argument) {
    execbuf copy = shared;
    wins[(uintptr_t)argument] = execbuf_free(&copy) == EXECBUF_OK;
    return NULL;
}

static void in_threads(void *(*function)(void *), void (*meanwhile)(void)) {
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, function, (void *)i) == 0);
    }
    if (meanwhile != NULL) {
        meanwhile();
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* Forks a child that uses the library. If it inherits a lock as locked, it hangs until the alarm kills it. */
static void fork_one(void) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        code two = returning(2);
        execbuf buffer;
        (void)alarm(seconds(60));
        int right = execbuf_new(&buffer, two.bytes, two.length, NULL) == EXECBUF_OK &&
                    call(&buffer, 0) == 2 && call(&shared, 0) == 7 && execbuf_free(&buffer) == EXECBUF_OK;
        _exit(right ? 0 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void fork_some(void) {
    for (int i = 0; i < 20; i++) {
        fork_one();
    }
}

/* The process's lock; see csrc/prim/prim.h. */
void xb_prim_lock(void);
void xb_prim_unlock(void);

static atomic_uint arrivals;

static void *hold_the_lock(void *argument) {
    (void)argument;
    xb_prim_lock();
    meet(&arrivals);
    /* Long enough for the other thread to fork, if the fork does not wait for the lock. */
    for (int i = 0; i < 20000; i++) {
        (void)sched_yield();
    }
    xb_prim_unlock();
    return NULL;
}

/* A fork waits until no other thread holds the lock. */
static void fork_while_the_lock_is_held(void) {
    pthread_t holder;
    CHECK(pthread_create(&holder, NULL, hold_the_lock, NULL) == 0);
    meet(&arrivals);
    fork_one();
    CHECK(pthread_join(holder, NULL) == 0);
}

/* The fork handler of a program, which runs while the library holds its lock for the fork. */
static int use_handlers;
static int handled;

static void use_in_a_fork_handler(void) {
    if (!use_handlers) {
        return;
    }
    code one = returning(1);
    execbuf buffer;
    CHECK(execbuf_new(&buffer, one.bytes, one.length, NULL) == EXECBUF_OK && call(&buffer, 0) == 1);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    handled++;
}

/* A lock of the program, held when it publishes and across a fork. */
static pthread_mutex_t program_lock = PTHREAD_MUTEX_INITIALIZER;
static int stop;

static void lock_program(void) {
    (void)pthread_mutex_lock(&program_lock);
}

static void unlock_program(void) {
    (void)pthread_mutex_unlock(&program_lock);
}

static void *publish_under_the_programs_lock(void *argument) {
    code one = returning(1);
    (void)argument;
    for (int stopped = 0; !stopped;) {
        execbuf buffer;
        lock_program();
        CHECK(execbuf_new(&buffer, one.bytes, one.length, NULL) == EXECBUF_OK);
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        stopped = stop;
        unlock_program();
        (void)sched_yield(); /* lets other threads take the lock */
    }
    return NULL;
}

static void fork_while_the_program_holds_its_lock(void) {
    pthread_t publisher;
    CHECK(pthread_create(&publisher, NULL, publish_under_the_programs_lock, NULL) == 0);
    for (int i = 0; i < 2; i++) {
        fork_some();
    }
    lock_program();
    stop = 1;
    unlock_program();
    CHECK(pthread_join(publisher, NULL) == 0);
}

int main(void) {
    (void)alarm(seconds(300));
    /* Before the first use of the library. */
    CHECK(pthread_atfork(lock_program, unlock_program, unlock_program) == 0);
    CHECK(pthread_atfork(use_in_a_fork_handler, use_in_a_fork_handler, use_in_a_fork_handler) == 0);
    code seven = returning(7);
    CHECK(execbuf_new(&shared, seven.bytes, seven.length, NULL) == EXECBUF_OK);
    in_threads(work, fork_some);
    fork_while_the_lock_is_held();
    use_handlers = 1;
    fork_some();
    CHECK(handled == 2 * 20); /* before and after each fork; children count in their own memory */
    use_handlers = 0;
    fork_while_the_program_holds_its_lock();
    in_threads(compete, NULL);
    CHECK(wins[0] + wins[1] + wins[2] + wins[3] == 1);
    (void)printf("ok\n");
    return 0;
}
