/* A thread for which a request to cancel it is pending: no function of the library ends it, so nothing stays
 * locked, open or mapped. The request is made before the calls, so any cancellation point would act on it. */

#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

static bool is_done;
static uint32_t backends;

static int open_fds(void) {
    int count = 0;
    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) != -1;
    }
    return count;
}

/* Calls the functions that make system calls. Backends that the system refuses are of no interest. */
static void use_all(void) {
    static uint8_t large[300000];
    code one = returning(1);
    code two = returning(2);
    execbuf buffers[5];
    memset(buffers, 0, sizeof buffers);
    memcpy(large, one.bytes, one.length);
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    options.backends = backends;
    execbuf_pool *pool = NULL;
    if (execbuf_pool_new(&pool, &options, NULL) == EXECBUF_OK) {
        (void)!execbuf_pool_publish(pool, &buffers[0], one.bytes, one.length, NULL);
        (void)!execbuf_pool_publish(pool, &buffers[1], large, sizeof large, NULL);
        (void)!execbuf_rewrite(&buffers[0], 0, two.bytes, two.length, NULL);
        (void)!execbuf_rewrite(&buffers[1], 0, two.bytes, two.length, NULL);
        (void)!execbuf_pool_reserve(pool, &buffers[2], sizeof large, NULL);
        (void)!execbuf_publish(&buffers[2], large, sizeof large, NULL);
    }
    CHECK(execbuf_new(&buffers[3], one.bytes, one.length, NULL) == EXECBUF_OK);
    /* Another area each time, so that free address space is searched. */
    static uintptr_t next;
    uintptr_t near_to = (uintptr_t)&next + (next % 64 << 24);
    next++;
    execbuf_placement placement = EXECBUF_PLACEMENT_INIT;
    placement.near_to = (const void *)near_to; /* NOLINT(performance-no-int-to-ptr) */
    CHECK(execbuf_new_at(&buffers[4], one.bytes, one.length, &placement, NULL) == EXECBUF_OK);
    for (int i = 0; i < 5; i++) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    execbuf_pool_free(pool);
    execbuf_probe probe = EXECBUF_PROBE_INIT;
    CHECK(execbuf_probe_system(&probe) == EXECBUF_OK);
}

static void *be_cancelled(void *argument) {
    is_done = false;
    CHECK(pthread_cancel(pthread_self()) == 0);
    use_all();
    is_done = true;
    pthread_testcancel();
    return argument;
}

static void no_function_is_a_cancellation_point(void) {
    static const execbuf_backend all[] = {EXECBUF_BACKEND_NONE, EXECBUF_BACKEND_FLIP, EXECBUF_BACKEND_MEMFD,
                                          EXECBUF_BACKEND_ALIAS};
    use_all();
    int fds = open_fds();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        backends = all[i] == EXECBUF_BACKEND_NONE ? 0 : EXECBUF_BACKEND_BIT(all[i]);
        for (int round = 0; round < 10; round++) {
            pthread_t thread;
            void *result;
            CHECK(pthread_create(&thread, NULL, be_cancelled, &is_done) == 0);
            CHECK(pthread_join(thread, &result) == 0);
            CHECK(is_done && result == PTHREAD_CANCELED && open_fds() == fds);
        }
        use_all(); /* all locks are free */
    }
}

int main(void) {
    (void)alarm(120);
    RUN(no_function_is_a_cancellation_point);
    (void)printf("ok\n");
    return 0;
}
