/* Forks while other threads use pools, and fork handlers that use them. */

#include "pool_threads.h"

#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>

static execbuf_pool *shared;
static execbuf inherited;
static int use_handlers;
static execbuf reserved;
static atomic_uint stop;

/* What a child does: it calls, publishes, and frees new and inherited buffers. If it inherits a lock as
 * locked, it hangs until the alarm kills it. */
static void use_in_child(void) {
    (void)alarm(seconds(60));
    code three = returning(3);
    execbuf buffer;
    CHECK(call(&inherited, 0) == 7);
    CHECK(execbuf_pool_publish(shared, &buffer, three.bytes, three.length, NULL) == EXECBUF_OK);
    CHECK(call(&buffer, 0) == 3 && execbuf_free(&buffer) == EXECBUF_OK);
    int frozen = !COPIES_REGIONS && stats_of(shared).frozen > 0;
    execbuf_status wanted = frozen ? EXECBUF_E_FROZEN : EXECBUF_OK;
    CHECK(execbuf_rewrite(&inherited, 0, three.bytes, three.length, &error) == wanted);
    CHECK(call(&inherited, 0) == (frozen ? 7 : 3));
    CHECK(execbuf_publish(&reserved, three.bytes, three.length, &error) == wanted);
    CHECK(execbuf_free(&inherited) == EXECBUF_OK && execbuf_free(&reserved) == EXECBUF_OK);
#if defined(__linux__)
    /* Only the child's own regions have writable views. Not checked under emulators: they have no regions,
     * and the child inherits those that another thread of the parent is testing. */
    execbuf_pool_stats stats = stats_of(shared);
    CHECK(under_valgrind() || stats.regions == 0 ||
          count_mappings("w-s") <= stats.regions - stats.frozen + (use_handlers != 0));
#endif
    execbuf_pool *pool = new_pool();
    buffer = publish(pool, 4);
    CHECK(call(&buffer, 0) == 4 && execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

static void fork_one(void) {
    inherited = publish(shared, 7);
    CHECK(execbuf_pool_reserve(shared, &reserved, 64, NULL) == EXECBUF_OK);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        use_in_child();
        /* Not exit: valgrind would report memory that other threads of the parent had just allocated as
         * leaks. */
        (void)kill(getpid(), SIGKILL);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(!WIFSIGNALED(status) || WTERMSIG(status) != SIGALRM);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    check(&inherited, 7);
    code five = returning(5);
    CHECK(execbuf_publish(&reserved, five.bytes, five.length, NULL) == EXECBUF_OK && call(&reserved, 0) == 5);
    release(&reserved);
    release(&inherited);
}

static void *publish_until_stopped(void *argument) {
    uint32_t thread = (uint32_t)(uintptr_t)argument;
    execbuf_pool *private_pool = new_pool();
    while (atomic_load(&stop) == 0) {
        execbuf one = publish(shared, thread);
        execbuf two = publish(private_pool, thread + 100);
        check(&one, thread);
        check(&two, thread + 100);
        release(&one);
        release(&two);
    }
    check_empty(private_pool);
    return NULL;
}

static void forks_succeed_while_other_threads_publish(void) {
    if (under_address_sanitizer()) {
        (void)printf(
            "SKIP: forks while other threads publish: the sanitizer's allocator does not support them\n");
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
    CHECK(stats_of(shared).frozen <= !COPIES_REGIONS);
    check_empty(shared);
}

/* Fork handlers of the program that use pools. Early ones were registered before those of the library, so
 * they run while the library holds all its locks; late ones run before and after that. */
static int handled;
static execbuf from_handler;

static void use_pool_in_handler(int early) {
    if (!use_handlers) {
        return;
    }
    execbuf buffer = publish(shared, 11);
    check(&buffer, 11);
    release(&buffer);
    /* A buffer that is live during the fork and freed by the next handler. Not for early handlers: in the
     * parent, their regions are not shared yet. */
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

/* In a child this handler runs before the library's, and there are no writable views. Only on Linux the
 * library notices by itself that it was forked (MADV_WIPEONFORK). */
#if defined(__FreeBSD__) || defined(__NetBSD__)
#define EARLY_IN_CHILD NULL
#else
#define EARLY_IN_CHILD early_handler
#endif

__attribute__((constructor(101))) static void register_early(void) {
    CHECK(pthread_atfork(early_handler, early_handler, EARLY_IN_CHILD) == 0);
}

static void fork_handlers_can_use_pools(void) {
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
    (void)alarm(seconds(120));
    look_at_speed();
#if defined(__linux__)
    (void)read_maps(); /* If /proc is not mounted, this ends the test before it forks. */
#endif
    RUN(forks_succeed_while_other_threads_publish);
    RUN(fork_handlers_can_use_pools);
    (void)printf("ok\n");
    return 0;
}
