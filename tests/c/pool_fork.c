/* Forks while other threads use pools, and fork handlers that use them. */

#include "pool_threads.h"

#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>

static execbuf_pool *shared;
static execbuf inherited;
static int use_handlers;
static execbuf room;
static atomic_uint stop;

/* What a child of a fork may do: call, publish, free what it has and what it inherited. Hangs, and dies of
 * the alarm, if a mutex was left locked. */
static void use_in_child(void) {
    (void)alarm(60);
    code three = returning(3);
    execbuf buffer;
    CHECK(call(&inherited, 0) == 7);
    CHECK(execbuf_pool_publish(shared, &buffer, three.bytes, three.length, NULL) == EXECBUF_OK);
    CHECK(call(&buffer, 0) == 3 && execbuf_free(&buffer) == EXECBUF_OK);
    int frozen = stats_of(shared).frozen > 0;
    execbuf_status wanted = frozen ? EXECBUF_E_FROZEN : EXECBUF_OK;
    CHECK(execbuf_rewrite(&inherited, 0, three.bytes, three.length, &error) == wanted);
    CHECK(call(&inherited, 0) == (frozen ? 7 : 3));
    CHECK(execbuf_publish(&room, three.bytes, three.length, &error) == wanted);
    CHECK(execbuf_free(&inherited) == EXECBUF_OK && execbuf_free(&room) == EXECBUF_OK);
#if defined(__linux__)
    /* Those of the child's own new regions. Emulators have no regions, and inherit what another thread tries.
     */
    CHECK(under_valgrind() || stats_of(shared).regions == 0 ||
          count_mappings("w-s") <= 1U + (use_handlers != 0));
#endif
    execbuf_pool *pool = new_pool();
    buffer = publish(pool, 4);
    CHECK(call(&buffer, 0) == 4 && execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

static void fork_one(void) {
    inherited = publish(shared, 7);
    CHECK(execbuf_pool_reserve(shared, &room, 64, NULL) == EXECBUF_OK);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        use_in_child();
        /* No ordinary end, at which valgrind would call it a leak what other threads of the parent were just
         * about to make. */
        (void)kill(getpid(), SIGKILL);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(!WIFSIGNALED(status) || WTERMSIG(status) != SIGALRM);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    check(&inherited, 7);
    code five = returning(5);
    CHECK(execbuf_publish(&room, five.bytes, five.length, NULL) == EXECBUF_OK && call(&room, 0) == 5);
    release(&room);
    release(&inherited);
}

static void *publish_until_stopped(void *argument) {
    uint32_t thread = (uint32_t)(uintptr_t)argument;
    execbuf_pool *own = new_pool();
    while (atomic_load(&stop) == 0) {
        execbuf one = publish(shared, thread);
        execbuf two = publish(own, thread + 100);
        check(&one, thread);
        check(&two, thread + 100);
        release(&one);
        release(&two);
    }
    check_empty(own);
    return NULL;
}

/* Older AddressSanitizers leave their allocator locked in the child, if another thread was in it. */
static int allocates_after_fork(void) {
#if defined(__SANITIZE_ADDRESS__)
    return 0;
#elif defined(__has_feature)
    return !__has_feature(address_sanitizer);
#else
    return 1;
#endif
}

static void forks_happen_while_others_publish(void) {
    if (!allocates_after_fork()) {
        (void)printf(
            "SKIP: forks while others publish: the sanitizer's allocator can't be used after them\n");
        return;
    }
    pthread_t threads[THREADS];
    shared = new_pool();
    atomic_store(&stop, 0);
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, publish_until_stopped, (void *)i) == 0); /* NOLINT */
    }
    uint32_t forks = some(40);
    for (uint32_t i = 0; i < forks; i++) {
        fork_one();
    }
    atomic_store(&stop, 1);
    for (uint32_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(stats_of(shared).frozen <= 1);
    check_empty(shared);
}

/* The program's fork handlers use a pool: some run while the library has all its locks for the fork, since
 * they were registered before it was loaded, some before and after. */
static int handled;
static execbuf from_handler;

static void use_pool_in_handler(int early) {
    if (!use_handlers) {
        return;
    }
    execbuf buffer = publish(shared, 11);
    check(&buffer, 11);
    release(&buffer);
    /* One that lives across the fork, and is freed by the next handler. Not for an early one: what that frees
     * in the parent is not frozen yet. */
    if (!early && from_handler.id != 0) {
        check(&from_handler, 12);
        release(&from_handler);
    } else if (!early) {
        from_handler = publish(shared, 12);
    }
    execbuf_pool *pool = new_pool();
    buffer = publish(pool, 13);
    check(&buffer, 13);
    execbuf_pool_free(pool);
    release(&buffer);
    handled++;
}

static void early_handler(void) {
    use_pool_in_handler(1);
}

static void late_handler(void) {
    use_pool_in_handler(0);
}

__attribute__((constructor(101))) static void register_early(void) {
    CHECK(pthread_atfork(early_handler, early_handler, early_handler) == 0);
}

static void fork_handlers_may_use_pools(void) {
    CHECK(pthread_atfork(late_handler, late_handler, late_handler) == 0);
    shared = new_pool();
    use_handlers = 1;
    for (int i = 0; i < 10; i++) {
        fork_one();
    }
    use_handlers = 0;
    CHECK(handled == 4 * 10);
    check_empty(shared);
}

int main(void) {
    (void)alarm(120);
    look_at_speed();
    RUN(forks_happen_while_others_publish);
    RUN(fork_handlers_may_use_pools);
    (void)printf("ok\n");
    return 0;
}
