/* A thread frees a buffer while the owner of its arena changes it: by rewriting, or by publishing in it. */

#include "../../csrc/pool/pool.h"
#include "pool_threads.h"

#include <signal.h>
#include <sys/mman.h>

static execbuf_pool *shared;
static execbuf contested;
static execbuf_status of_other;

static bool has_arenas(void) {
    return xb_has_owner(&shared->arenas->lock);
}

enum { CHANGE_SIZE = 8 };
static uint8_t *new_bytes; /* in a page that cannot be read at first */
static atomic_bool may_free;
static atomic_bool is_freed;

static void *free_when_it_may(void *copy) {
    while (!atomic_load(&may_free)) {
        (void)sched_yield();
    }
    of_other = execbuf_free((execbuf *)copy);
    atomic_store(&is_freed, true);
    return NULL;
}

/* The owner, in the middle of its call, reads the new bytes. The other thread frees the buffer now, or asks
 * the owner for the lock, and waits. */
static void on_read(int number) {
    (void)number;
    atomic_store(&may_free, true);
    while (!atomic_load(&is_freed) && __atomic_load_n(&shared->arenas->lock.asked, __ATOMIC_ACQUIRE) == 0) {
        (void)sched_yield();
    }
    CHECK(mprotect(new_bytes, CHANGE_SIZE, PROT_READ) == 0);
}

/* Changes the contested buffer. Checks that its slot has no new bytes when both calls have returned. */
static void change_while_another_thread_frees(execbuf_status (*change)(void)) {
    pthread_t other;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_read;
    new_bytes = (uint8_t *)mmap(NULL, CHANGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    CHECK(new_bytes != MAP_FAILED);
    memset(new_bytes, 0x5a, CHANGE_SIZE);
    atomic_store(&may_free, false);
    atomic_store(&is_freed, false);
    execbuf stays = publish(shared, 1); /* the region stays with it */
    execbuf copy = contested;
    CHECK(pthread_create(&other, NULL, free_when_it_may, &copy) == 0);
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0 && sigaction(SIGBUS, &action, NULL) == 0);
    CHECK(mprotect(new_bytes, CHANGE_SIZE, PROT_NONE) == 0);
    CHECK(change() == EXECBUF_OK);
    (void)signal(SIGSEGV, SIG_DFL);
    (void)signal(SIGBUS, SIG_DFL);
    CHECK(pthread_join(other, NULL) == 0 && of_other == EXECBUF_OK);
    CHECK(memcmp(contested.entry, new_bytes, CHANGE_SIZE) != 0);
    CHECK(munmap(new_bytes, CHANGE_SIZE) == 0);
    release(&stays);
}

static execbuf_status rewrite_contested(void) {
    return execbuf_rewrite(&contested, 0, new_bytes, CHANGE_SIZE, NULL);
}

static execbuf_status publish_contested(void) {
    return execbuf_publish(&contested, new_bytes, CHANGE_SIZE, NULL);
}

static void a_buffer_that_is_freed_while_its_owner_changes_it_becomes_traps(void) {
    const uint8_t old_bytes[CHANGE_SIZE] = {0};
    shared = new_pool();
    CHECK(execbuf_pool_publish(shared, &contested, old_bytes, CHANGE_SIZE, NULL) == EXECBUF_OK);
    if (has_arenas() && stats_of(shared).regions != 0) {
        change_while_another_thread_frees(rewrite_contested);
        CHECK(execbuf_pool_reserve(shared, &contested, CHANGE_SIZE, NULL) == EXECBUF_OK);
        change_while_another_thread_frees(publish_contested);
    } else {
        (void)fprintf(stderr, "SKIP: a free during a rewrite: the pool has no arenas, or no regions\n");
        release(&contested);
    }
    check_empty(shared);
}

int main(void) {
    (void)alarm(seconds(60));
    RUN(a_buffer_that_is_freed_while_its_owner_changes_it_becomes_traps);
    (void)printf("ok\n");
    return 0;
}
