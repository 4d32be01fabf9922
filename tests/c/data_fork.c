/* Constants and data with forks, threads, a reach and limits. */

#include "child.h"
#include "data.h"
#include "placement.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* Runs a function in a child. Returns the status of waitpid. */
static int in_child(void (*function)(void)) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        function();
        end_child(true);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

/* ---- Forks ---- */

static execbuf_pool *shared;
static execbuf_data constants;
static execbuf_data data;

static void change_and_free(void) {
    CHECK(memcmp(constants.address, "constant", 8) == 0);
    CHECK(*(uint64_t *)data.address == 1);
    *(uint64_t *)data.address = 2;
    execbuf_data more = new_constants(shared, "the child", 9, 1);
    free_data(&constants);
    execbuf_data same = new_constants(shared, "overwrit", 8, 1);
    CHECK(*(uint64_t *)data.address == 2);
    free_data(&data);
    free_data(&more);
    free_data(&same);
    execbuf_pool_free(shared);
}

static void write_and_publish(void) {
    CHECK(((const uint8_t *)data.address)[0] == 1);
    ((uint8_t *)data.address)[0] = 2;
    CHECK(execbuf_publish_constants(&data, NULL) == EXECBUF_OK && has_rights(data.address, "r--"));
    free_data(&data);
    execbuf_pool_free(shared);
}

static void both_processes_publish_staged_constants(void) {
    shared = new_pool();
    data = stage_constants(shared, 8, 8);
    ((uint8_t *)data.address)[0] = 1;
    CHECK(in_child(write_and_publish) == 0);
    CHECK(((const uint8_t *)data.address)[0] == 1 && has_rights(data.address, "rw-"));
    write_and_publish();
}

static void neither_process_sees_what_the_other_writes(void) {
    shared = new_pool();
    constants = new_constants(shared, "constant", 8, 1);
    data = new_data(shared, 8, 8);
    *(uint64_t *)data.address = 1;
    CHECK(in_child(change_and_free) == 0);
    CHECK(*(uint64_t *)data.address == 1 && memcmp(constants.address, "constant", 8) == 0);
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) { /* looks after the parent has changed all */
        char byte;
        CHECK(read(ends[0], &byte, 1) == 1);
        change_and_free();
        end_child(true);
    }
    *(uint64_t *)data.address = 3;
    free_data(&constants);
    constants = new_constants(shared, "parental", 8, 1);
    CHECK(write(ends[1], "", 1) == 1);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    free_data(&constants);
    free_data(&data);
    execbuf_pool_free(shared);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void write_constant(void) {
    struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_CORE, &none) == 0);
    (void)signal(SIGSEGV, SIG_DFL); /* sanitizers have a handler */
    (void)signal(SIGBUS, SIG_DFL);
    *(volatile char *)constants.address = 'x';
}

static void writing_to_constants_raises_a_fault(void) {
    shared = new_pool();
    constants = new_constants(shared, "constant", 8, 1);
    int status = in_child(write_constant);
    CHECK(WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS));
    free_data(&constants);
    execbuf_pool_free(shared);
}

static execbuf_data alone; /* has a mapping of its own */
static execbuf_data staged;

static void has_nothing(void) {
    CHECK(has_rights(constants.address, "---") && has_rights(data.address, "---"));
    execbuf_data mine = new_constants(shared, "my own", 6, 1);
    execbuf_data other = new_data(shared, 8, 8);
    free_data(&constants);
    free_data(&data);
    free_data(&alone);
    CHECK(execbuf_publish_constants(&staged, NULL) == EXECBUF_E_NOT_INHERITED);
    free_data(&staged);
    CHECK(memcmp(mine.address, "my own", 6) == 0);
    free_data(&mine);
    free_data(&other);
    execbuf_pool_free(shared);
}

static void children_do_not_get_what_is_not_inherited(void) {
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    options.not_inherited = 1;
    execbuf_status status = execbuf_pool_new(&shared, &options, NULL);
    if (status == EXECBUF_E_UNSUPPORTED || !keeps_from_children()) {
        (void)fprintf(stderr, "SKIP: memory cannot be kept from children here\n");
        execbuf_pool_free(shared);
        return;
    }
    CHECK(status == EXECBUF_OK);
    constants = new_constants(shared, "constant", 8, 1);
    data = new_data(shared, 8, 8);
    alone = new_data(shared, 100000, 8);
    staged = stage_constants(shared, 8, 8);
    execbuf_data freed = new_data(shared, 200000, 8);
    free_data(&freed);
    CHECK(in_child(has_nothing) == 0);
    CHECK(memcmp(constants.address, "constant", 8) == 0);
    free_data(&constants);
    free_data(&data);
    free_data(&alone);
    free_data(&staged);
    execbuf_pool_free(shared);
}

/* ---- Threads ---- */

static void *make_and_free(void *argument) {
    const uint64_t value = (uint64_t)(uintptr_t)argument;
    execbuf_data all[20];
    const int rounds = is_emulated() ? 20 : 200;
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < 20; i++) {
            if (i % 2 == 0) {
                all[i] = new_constants(shared, &value, sizeof value, 8);
            } else {
                all[i] = new_data(shared, 8 + i, 8);
                memcpy(all[i].address, &value, sizeof value);
            }
        }
        for (size_t i = 0; i < 20; i++) {
            CHECK(memcmp(all[i].address, &value, sizeof value) == 0);
            free_data(&all[i]);
        }
    }
    return NULL;
}

static void threads_do_not_disturb_each_other(void) {
    pthread_t threads[4];
    shared = new_pool();
    for (uintptr_t i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, make_and_free, (void *)(i + 1)) == 0); /* NOLINT */
    }
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    execbuf_pool_free(shared);
}

static int stop;

static void *make_until_stopped(void *argument) {
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        execbuf_data one = new_constants(shared, &argument, sizeof argument, 8);
        free_data(&one);
    }
    return NULL;
}

static void use_after_fork(void) {
    CHECK(memcmp(constants.address, "constant", 8) == 0);
    execbuf_data mine = new_constants(shared, "the child", 9, 1);
    CHECK(has_rights(mine.address, "r--") && has_rights(constants.address, "r--"));
    free_data(&mine);
}

/* The thread may be just writing constants: its chunk is usable in the child, and read-only again. */
static void a_fork_may_interrupt_a_writer(void) {
    pthread_t thread;
    if (under_thread_sanitizer() || under_address_sanitizer()) {
        (void)fprintf(stderr, "SKIP: forks with threads: the allocators of sanitizers may stay locked\n");
        return;
    }
    if (!keeps_from_children()) {
        (void)fprintf(stderr, "SKIP: forks with threads: qemu-user hangs in the child\n");
        return;
    }
    shared = new_pool();
    constants = new_constants(shared, "constant", 8, 1);
    CHECK(pthread_create(&thread, NULL, make_until_stopped, NULL) == 0);
    for (int i = 0; i < (is_emulated() ? 10 : 100); i++) {
        CHECK(in_child(use_after_fork) == 0);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    CHECK(pthread_join(thread, NULL) == 0);
    free_data(&constants);
    execbuf_pool_free(shared);
}

/* ---- Placement and limits ---- */

#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
static void data_are_within_the_reach_of_the_code(void) {
    (void)read_maps(); /* if /proc is not mounted, only some addresses are tried, and this ends the test */
    const size_t reach = (size_t)1 << 20;
    uint8_t *hole = take(0, 8 * reach); /* where nothing else is */
    CHECK(hole != NULL && munmap(hole, 8 * reach) == 0);
    execbuf_pool *pool = pool_with(between(hole, hole + 8 * reach), reach);
    const code one = returning(1);
    execbuf buffers[2];
    execbuf_data all[20000];
    size_t count = 0;
    CHECK(execbuf_pool_publish(pool, &buffers[0], one.bytes, one.length, NULL) == EXECBUF_OK);
    uintptr_t lowest = (uintptr_t)buffers[0].entry;
    uintptr_t highest = lowest + one.length;
    execbuf_status status = EXECBUF_OK;
    while (status == EXECBUF_OK) {
        const size_t size = count % 10 == 0 ? 10000 : 100;
        status = count % 2 == 0 ? execbuf_pool_data(pool, &all[count], size, 8, &error)
                                : execbuf_pool_constants(pool, &all[count], "constant", 8, 8, &error);
        if (status == EXECBUF_OK) {
            const uintptr_t address = (uintptr_t)all[count].address;
            lowest = address < lowest ? address : lowest;
            highest = address + all[count].length > highest ? address + all[count].length : highest;
            CHECK(highest - lowest <= reach && address >= (uintptr_t)hole);
            count++;
        }
    }
    CHECK(status == EXECBUF_E_TOO_FAR && error.status == status && error.culprit != NULL);
    CHECK(count > 500); /* most of the reach was used */
    CHECK(execbuf_pool_publish(pool, &buffers[1], one.bytes, one.length, NULL) == EXECBUF_OK);
    while (count > 0) {
        free_data(&all[--count]);
    }
    all[0] = new_data(pool, 500000, 8); /* the range has shrunk again */
    free_data(&all[0]);
    CHECK(execbuf_free(&buffers[0]) == EXECBUF_OK && execbuf_free(&buffers[1]) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

static void a_small_reach_gets_a_small_chunk(void) {
    execbuf_placement anywhere = EXECBUF_PLACEMENT_INIT;
    execbuf_pool *pool = pool_with(anywhere, page_size());
    execbuf_data one = new_data(pool, 8, 8);
    execbuf_data two;
    CHECK(execbuf_pool_data(pool, &two, page_size() + 1, 8, NULL) == EXECBUF_E_TOO_FAR);
    free_data(&one);
    execbuf_pool_free(pool);
}
#endif

static void exhaust(void) {
    execbuf_data all[2];
    execbuf_data kept = new_constants(shared, "constant", 8, 8);
    struct rlimit limit = {1, 1};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    for (int i = 0; i < 2; i++) {
        all[0] = garbage();
        execbuf_status status = i == 0 ? execbuf_pool_data(shared, &all[0], 100000, 8, &error)
                                       : execbuf_pool_constants(shared, &all[0], shared, 100000, 8, &error);
        CHECK(status == EXECBUF_E_NO_MEMORY && is_no_data(&all[0]));
        CHECK(error.status == status && strcmp(error.culprit, "mmap") == 0);
    }
    all[1] = new_constants(shared, "more", 4, 1); /* in the chunk that exists */
    free_data(&all[1]);
    free_data(&kept);
}

static void without_address_space_the_status_is_no_memory(void) {
    if (under_address_sanitizer() || under_thread_sanitizer() || under_valgrind() || !keeps_from_children()) {
        (void)fprintf(stderr, "SKIP: address space cannot be limited under sanitizers and emulators\n");
        return;
    }
    shared = new_pool();
    CHECK(in_child(exhaust) == 0);
    execbuf_pool_free(shared);
}

int main(void) {
    RUN(neither_process_sees_what_the_other_writes);
    RUN(writing_to_constants_raises_a_fault);
    RUN(children_do_not_get_what_is_not_inherited);
    RUN(threads_do_not_disturb_each_other);
    RUN(a_fork_may_interrupt_a_writer);
    RUN(without_address_space_the_status_is_no_memory);
    RUN(both_processes_publish_staged_constants);
#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
    RUN(data_are_within_the_reach_of_the_code);
    RUN(a_small_reach_gets_a_small_chunk);
#endif
    return 0;
}
