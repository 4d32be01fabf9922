/* Constants and data if system calls and allocations fail. */

#include "faults.h"

#include "data.h"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/wait.h>
#include <unistd.h>
#endif

static execbuf_pool *pool;
static execbuf_data old_constants;
static execbuf_data old_data;
static execbuf_data made;

static void make_pool(void) {
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    memset(&old_constants, 0, sizeof old_constants);
    memset(&old_data, 0, sizeof old_data);
}

static void make_pool_with_data(void) {
    make_pool();
    old_constants = new_constants(pool, "old", 4, 1);
    old_data = new_data(pool, 8, 8);
    memset(old_data.address, 7, 8);
}

static execbuf_status add_constants(void) {
    made = garbage();
    return execbuf_pool_constants(pool, &made, "constant", 8, 8, &error);
}

static execbuf_status add_data(void) {
    made = garbage();
    return execbuf_pool_data(pool, &made, 8, 8, &error);
}

static execbuf_status add_large_constants(void) {
    static uint8_t bytes[100000];
    made = garbage();
    return execbuf_pool_constants(pool, &made, bytes, sizeof bytes, 8, &error);
}

static execbuf_status add_large_data(void) {
    made = garbage();
    return execbuf_pool_data(pool, &made, 100000, 8, &error);
}

static execbuf_status add_staged_constants(void) {
    made = garbage();
    return execbuf_pool_stage_constants(pool, &made, 8, 8, &error);
}

static void make_pool_with_staged_constants(void) {
    make_pool_with_data();
    made = stage_constants(pool, 8, 8);
    memset(made.address, 7, 8);
}

static execbuf_status publish_constants(void) {
    return execbuf_publish_constants(&made, &error);
}

static void clean_up(execbuf_status status);

/* If the call has failed, they can still be written and published. */
static void clean_up_staged(execbuf_status status) {
    if (status != EXECBUF_OK) {
        CHECK(has_rights(made.address, "rw-"));
        memset(made.address, 8, 8);
        CHECK(execbuf_publish_constants(&made, NULL) == EXECBUF_OK);
    }
    CHECK(has_rights(made.address, "r--") &&
          ((const uint8_t *)made.address)[7] == (status == EXECBUF_OK ? 7 : 8));
    clean_up(EXECBUF_OK);
}

/* What was there before is unharmed, and what failed works afterwards. Then all is freed. */
static void clean_up(execbuf_status status) {
    CHECK(status == EXECBUF_OK ? made.id != 0 : is_no_data(&made));
    if (old_data.id != 0) {
        CHECK(memcmp(old_constants.address, "old", 4) == 0);
        CHECK(*(const uint8_t *)old_data.address == 7);
    }
    execbuf_data next = new_constants(pool, "next", 5, 1);
    CHECK(has_rights(next.address, "r--"));
    if (old_data.id != 0) {
        CHECK(has_rights(old_constants.address, "r--"));
    }
    free_data(&next);
    CHECK(execbuf_data_free(&made) == EXECBUF_OK);
    execbuf_pool_free(pool);
    CHECK(execbuf_data_free(&old_constants) == EXECBUF_OK);
    CHECK(execbuf_data_free(&old_data) == EXECBUF_OK);
    execbuf_data none = {NULL, 0, 0};
    CHECK(execbuf_data_free(&none) == EXECBUF_OK);
}

static void each_call_may_fail(void) {
    static const scenario all[] = {
        {"constants in a new chunk", make_pool, add_constants, clean_up, false},
        {"data in a new chunk", make_pool, add_data, clean_up, false},
        {"constants in a chunk", make_pool_with_data, add_constants, clean_up, false},
        {"data in a chunk", make_pool_with_data, add_data, clean_up, false},
        {"large constants", make_pool_with_data, add_large_constants, clean_up, false},
        {"large data", make_pool_with_data, add_large_data, clean_up, false},
        {"staged constants", make_pool, add_staged_constants, clean_up, false},
        {"publishing constants", make_pool_with_staged_constants, publish_constants, clean_up_staged, false},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        long faults = run_all(&all[i]);
        (void)printf("  %s: %ld faults\n", all[i].name, faults);
        CHECK(faults > 0 || i == 3); /* data in a chunk need no call */
    }
}

/* The calls that an operation makes: none for data, and two for constants, which does not depend on how many
 * there are. */
static void few_calls_are_made(void) {
    make_pool_with_data();
    arm(NULL, -1, false);
    for (int i = 0; i < 100; i++) {
        CHECK(add_data() == EXECBUF_OK);
        free_data(&made);
    }
    CHECK(calls == 0);
    arm(PROTECT, -1, false);
    for (int i = 0; i < 100; i++) {
        CHECK(add_constants() == EXECBUF_OK);
        free_data(&made);
    }
    CHECK(calls == 200);
    disarm();
    made = new_data(pool, 1, 1);
    clean_up(EXECBUF_OK);
}

/* After the second mprotect has failed, pages stay writable, until the next constants are written. */
static void pages_that_stayed_writable_become_read_only_again(void) {
    make_pool_with_data();
    arm(PROTECT, 1, false);
    CHECK(add_constants() == EXECBUF_E_NO_MEMORY && is_no_data(&made));
    disarm();
    CHECK(strcmp(error.culprit, PROTECT) == 0 && error.os_error == EXHAUSTED);
    CHECK(has_rights(old_constants.address, "rw-") && memcmp(old_constants.address, "old", 4) == 0);
    made = new_constants(pool, "on another page", 16, 4096);
    CHECK(has_rights(made.address, "r--") && has_rights(old_constants.address, "r--"));
    clean_up(EXECBUF_OK);
}

#if defined(__unix__) || defined(__APPLE__)

static int protects;

/* Forks when constants are being written, and their page is writable. */
static void fork_while_writable(const char *call) {
    if (strcmp(call, PROTECT) != 0 || ++protects < 2) {
        return;
    }
    watch = NULL;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const uintptr_t chunk = (uintptr_t)old_constants.address & ~(uintptr_t)0xffff;
        CHECK(has_rights(old_constants.address, "rw-"));
        execbuf_data next = new_constants(pool, "next", 5, 1);
        CHECK(((uintptr_t)next.address & ~(uintptr_t)0xffff) ==
              chunk); /* the chunk is not busy in the child */
        CHECK(has_rights(old_constants.address, "r--"));
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Threads that write constants are not in the child of a fork, so it makes up for them. */
static void a_child_ends_what_another_thread_was_writing(void) {
    make_pool_with_data();
    protects = 0;
    watch = fork_while_writable;
    CHECK(add_constants() == EXECBUF_OK && watch == NULL);
    clean_up(EXECBUF_OK);
}

#else

static void a_child_ends_what_another_thread_was_writing(void) {}

#endif

/* The system refuses to unmap: the memory is freed all the same, and unmapped later. */
static void what_cannot_be_unmapped_is_parked(void) {
    maps before = LEAKS();
    make_pool();
    CHECK(add_large_data() == EXECBUF_OK);
    const void *address = made.address;
    execbuf_data copy = made;
    arm(UNMAP, 0, true);
    free_data(&made);
    CHECK(execbuf_data_free(&copy) == EXECBUF_E_STALE);
    CHECK(has_rights(address, "rw-"));
    execbuf_pool_free(pool);
    disarm();
    CHECK(execbuf_free(NULL) == EXECBUF_OK); /* tries again */
    CHECK(has_rights(address, "") && same(before, LEAKS()));
}

int main(void) {
    make_pool_with_data(); /* what the first use of the library maps */
    CHECK(add_data() == EXECBUF_OK);
    clean_up(EXECBUF_OK);
    RUN(each_call_may_fail);
    RUN(few_calls_are_made);
    RUN(pages_that_stayed_writable_become_read_only_again);
    RUN(a_child_ends_what_another_thread_was_writing);
    RUN(what_cannot_be_unmapped_is_parked);
    return 0;
}
