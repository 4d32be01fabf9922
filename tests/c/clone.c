/* The child of a raw clone(2), which runs no fork handlers: its first call notices, whatever it calls. Linux
 * only. */

#include "../../csrc/pool/pool.h"

#include "pool_helpers.h"

#if defined(__linux__)

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "meet.h"

/* What the parent made: a buffer with a dedicated mapping, one in a pool, and two that are reserved. */
static execbuf_pool *shared;
static execbuf alone;
static execbuf pooled;
static execbuf reserved_alone;
static execbuf reserved_pooled;

static void check_inherited(void) {
    CHECK(call(&alone, 0) == 1 && call(&pooled, 0) == 2);
}

static void make_alone(void) {
    code made = returning(5);
    execbuf buffer;
    CHECK(execbuf_new(&buffer, made.bytes, made.length, NULL) == EXECBUF_OK && call(&buffer, 0) == 5);
    release(&buffer);
    check_inherited();
}

static void make_in_pool(void) {
    execbuf buffer = publish(shared, 6);
    CHECK(call(&buffer, 0) == 6);
    release(&buffer);
    check_inherited();
}

static void make_batch(void) {
    code made = returning(7);
    const execbuf_code codes[2] = {{made.bytes, made.length, NULL}, {made.bytes, made.length, NULL}};
    execbuf buffers[2];
    CHECK(execbuf_pool_publish_batch(shared, buffers, codes, 2, NULL) == EXECBUF_OK);
    CHECK(call(&buffers[0], 0) == 7 && call(&buffers[1], 0) == 7);
    release(&buffers[0]);
    release(&buffers[1]);
    check_inherited();
}

static void make_reserved(void) {
    code made = returning(8);
    execbuf one;
    execbuf other;
    CHECK(execbuf_pool_reserve(shared, &one, 100, NULL) == EXECBUF_OK);
    CHECK(execbuf_reserve(&other, 100, NULL) == EXECBUF_OK);
    CHECK(execbuf_publish(&one, made.bytes, made.length, NULL) == EXECBUF_OK && call(&one, 0) == 8);
    CHECK(execbuf_publish(&other, made.bytes, made.length, NULL) == EXECBUF_OK && call(&other, 0) == 8);
    release(&one);
    release(&other);
    check_inherited();
}

static void rewrite_pooled(void) {
    code made = returning(9);
    CHECK(execbuf_rewrite(&pooled, 0, made.bytes, made.length, NULL) == EXECBUF_OK);
    CHECK(call(&pooled, 0) == 9);
}

static void rewrite_alone(void) {
    code made = returning(9);
    CHECK(execbuf_rewrite(&alone, 0, made.bytes, made.length, NULL) == EXECBUF_OK && call(&alone, 0) == 9);
}

static void publish_reserved(void) {
    code made = returning(9);
    CHECK(execbuf_publish(&reserved_pooled, made.bytes, made.length, NULL) == EXECBUF_OK);
    CHECK(call(&reserved_pooled, 0) == 9);
    CHECK(execbuf_publish(&reserved_alone, made.bytes, made.length, NULL) == EXECBUF_OK);
    CHECK(call(&reserved_alone, 0) == 9);
    check_inherited();
}

static void publish_all_reserved(void) {
    code made = returning(9);
    execbuf buffers[2] = {reserved_pooled, reserved_alone};
    const execbuf_code codes[2] = {{made.bytes, made.length, NULL}, {made.bytes, made.length, NULL}};
    CHECK(execbuf_publish_all(buffers, codes, 2, NULL) == EXECBUF_OK);
    CHECK(call(&buffers[0], 0) == 9 && call(&buffers[1], 0) == 9);
    check_inherited();
}

static void rewrite_both(void) {
    code made = returning(9);
    const execbuf_change changes[2] = {{&pooled, 0, made.bytes, made.length},
                                       {&alone, 0, made.bytes, made.length}};
    CHECK(execbuf_rewrite_batch(changes, 2, NULL) == EXECBUF_OK);
    CHECK(call(&pooled, 0) == 9 && call(&alone, 0) == 9);
}

static void reserve_many(void) {
    const execbuf_room rooms[2] = {{100, {0, 0}}, {200, {0, 0}}};
    execbuf buffers[2];
    CHECK(execbuf_pool_reserve_batch(shared, buffers, rooms, 2, NULL) == EXECBUF_OK);
    release(&buffers[0]);
    release(&buffers[1]);
    check_inherited();
}

static void make_data(void) {
    execbuf_data constants;
    execbuf_data data;
    CHECK(execbuf_pool_constants(shared, &constants, "constant", 8, 1, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_data(shared, &data, 8, 8, NULL) == EXECBUF_OK);
    CHECK(execbuf_data_free(&constants) == EXECBUF_OK && execbuf_data_free(&data) == EXECBUF_OK);
    check_inherited();
}

#if defined(HAS_CLOSURES)
static int value_of(void *context) {
    return *(int *)context;
}
#endif

static void make_closure(void) {
#if defined(HAS_CLOSURES)
    int values[] = {7, 8};
    execbuf_signature *signature = parsed("i(p)");
    execbuf closure;
    CHECK(execbuf_bind(shared, &closure, signature, EXECBUF_ABI_NATIVE, (execbuf_function)value_of,
                       &values[0], 0, NULL) == EXECBUF_OK);
    execbuf_signature_free(signature);
    CHECK(call(&closure, 0) == 7 && execbuf_rebind(&closure, &values[1]) == EXECBUF_OK);
    CHECK(call(&closure, 0) == 8);
    release(&closure);
#endif
    check_inherited();
}

static void free_pooled(void) {
    release(&pooled);
    release(&reserved_pooled);
    CHECK(stats_of(shared).live == 0 && stats_of(shared).frozen == 0);
}

static void free_alone(void) {
    release(&alone);
    release(&reserved_alone);
}

static void find_both(void) {
    execbuf found;
    CHECK(execbuf_find(pooled.entry, &found) == EXECBUF_OK && found.id == pooled.id);
    CHECK(execbuf_find(alone.entry, &found) == EXECBUF_OK && found.id == alone.id);
    execbuf_place place;
    CHECK(finds(shared, pooled.entry, &place) && place.length == pooled.length);
}

static void ask_the_pool(void) {
    execbuf_pool_stats stats = stats_of(shared);
    CHECK(stats.live == 2 && stats.frozen == stats.regions);
}

static void make_a_pool(void) {
    execbuf_pool *pool = new_pool();
    execbuf buffer = publish(pool, 3);
    CHECK(call(&buffer, 0) == 3);
    release(&buffer);
    execbuf_pool_free(pool);
    execbuf_pool_free(shared);
    check_inherited();
}

static void probe(void) {
    execbuf_probe report = EXECBUF_PROBE_INIT;
    CHECK(execbuf_probe_system(&report) == EXECBUF_OK && report.status == EXECBUF_OK);
    check_inherited();
}

/* Runs something in the child of a raw clone. What the parent made stays as it is. */
static void in_clone(void (*what)(void)) {
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    CHECK(child >= 0);
    if (child == 0) {
        (void)alarm(seconds(60));
        what();
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    check_inherited();
}

static void make_all(void) {
    code one = returning(1);
    shared = new_pool();
    pooled = publish(shared, 2);
    CHECK(execbuf_new(&alone, one.bytes, one.length, NULL) == EXECBUF_OK);
    CHECK(execbuf_reserve(&reserved_alone, 100, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_reserve(shared, &reserved_pooled, 100, NULL) == EXECBUF_OK);
}

static void free_all(void) {
    code four = returning(4);
    CHECK(execbuf_publish(&reserved_pooled, four.bytes, four.length, NULL) == EXECBUF_OK);
    CHECK(call(&reserved_pooled, 0) == 4);
    free_pooled();
    free_alone();
    execbuf_pool_free(shared);
}

static void every_call_can_be_the_first_in_a_clone(void) {
    static void (*const first_calls[])(void) = {
        make_alone,  make_in_pool,         make_batch,   make_reserved, rewrite_pooled, rewrite_alone,
        free_pooled, publish_reserved,     free_alone,   find_both,     ask_the_pool,   make_a_pool,
        probe,       publish_all_reserved, rewrite_both, reserve_many,  make_data,      make_closure,
    };
    make_all();
    for (size_t i = 0; i < sizeof first_calls / sizeof first_calls[0]; i++) {
        in_clone(first_calls[i]);
    }
    free_all();
}

/* Whether the system marks the child of a clone. qemu-user ignores the request, and so it does not know that
 * such a child is another process. */
static bool marks_clones(void) {
    int status;
    uint8_t *page = (uint8_t *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    CHECK(page != MAP_FAILED);
    (void)madvise(page, 4096, 18 /* MADV_WIPEONFORK */);
    *page = 1;
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        _exit(*page);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
    CHECK(munmap(page, 4096) == 0);
    return WEXITSTATUS(status) == 0;
}

/* Another thread of the parent may be a guest of the arena, or its owner on the fast path, at that moment. In
 * the child it never leaves. */
static void guests_of_the_parent_are_not_in_a_clone(void) {
    if (!marks_clones()) {
        (void)fprintf(stderr, "SKIP: guests in a clone: the system does not mark it\n");
        return;
    }
    make_all();
    xb_biased_lock *lock = &shared->arenas->lock;
    bool is_guest = xb_enter_as_guest(lock);
    in_clone(free_pooled);
    in_clone(ask_the_pool);
    if (is_guest) {
        (void)xb_leave_as_guest(lock, 0);
    }
    bool is_locked = xb_try_lock_biased(lock);
    in_clone(free_pooled);
    in_clone(ask_the_pool);
    if (is_locked) {
        xb_unlock_biased(lock);
    }
    free_all();
}

static void clone_again(void) {
    make_in_pool();
    in_clone(make_in_pool);
    make_in_pool();
}

static void a_clone_can_be_cloned(void) {
    make_all();
    in_clone(clone_again);
    free_all();
}

static atomic_uint arrivals;

static void *notice(void *argument) {
    (void)argument;
    meet(&arrivals);
    make_in_pool();
    return NULL;
}

static void notice_in_two_threads(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, notice, NULL) == 0);
    (void)notice(NULL);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* One of them sets the child up, and the other waits until it has. */
static void two_threads_of_a_clone_can_notice_at_once(void) {
    if (hides_maps()) {
        (void)fprintf(stderr,
                      "SKIP: threads of a clone: valgrind and ThreadSanitizer do not know of the clone\n");
        return;
    }
    make_all();
    for (int i = 0; i < 50; i++) {
        in_clone(notice_in_two_threads);
    }
    free_all();
}

int main(void) {
    RUN(every_call_can_be_the_first_in_a_clone);
    RUN(guests_of_the_parent_are_not_in_a_clone);
    RUN(a_clone_can_be_cloned);
    RUN(two_threads_of_a_clone_can_notice_at_once);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: raw clone: only Linux has it\n");
    return 0;
}

#endif
