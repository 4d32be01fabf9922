/* The pool option not_inherited: children of a fork have neither the mappings nor the code of the pool. */

#include "check.h"

#if defined(_WIN32)

int main(void) {
    puts("SKIP: there are no forks");
    return 0;
}

#else

#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "child.h"

enum { SLOT, RESERVED, LARGE, THUNK, BUFFERS };
enum { LARGE_SIZE = 300000 };

static execbuf_pool *pool;
static execbuf buffers[BUFFERS];
static int has_thunk;
static int has_large;

static void make_pool(void) {
    static uint8_t large[LARGE_SIZE];
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    options.not_inherited = 1;
    options.name = "kept-to-one";
    CHECK(execbuf_pool_new(&pool, &options, NULL) == EXECBUF_OK);
    memset(buffers, 0, sizeof buffers);
    code made = returning(7);
    CHECK(execbuf_pool_publish(pool, &buffers[SLOT], made.bytes, made.length, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_reserve(pool, &buffers[RESERVED], 64, NULL) == EXECBUF_OK);
    memcpy(large, made.bytes, made.length);
    has_large = execbuf_pool_publish(pool, &buffers[LARGE], large, sizeof large, NULL) == EXECBUF_OK;
    execbuf_signature *signature;
    CHECK(execbuf_signature_parse(&signature, "i()", NULL) == EXECBUF_OK);
    has_thunk = execbuf_thunk_new(pool, &buffers[THUNK], signature, EXECBUF_ABI_WIN64, EXECBUF_ABI_SYSV64,
                                  (const void *)buffers[SLOT].entry, NULL) == EXECBUF_OK;
    execbuf_signature_free(signature);
}

static void check_own_code(uint32_t value) {
    execbuf own;
    code made = returning(value);
    CHECK(execbuf_pool_publish(pool, &own, made.bytes, made.length, NULL) == EXECBUF_OK);
    CHECK(call(&own, 0) == (int)value);
    made = returning(value + 1);
    CHECK(execbuf_rewrite(&own, 0, made.bytes, made.length, NULL) == EXECBUF_OK);
    CHECK(call(&own, 0) == (int)value + 1);
    for (int i = 0; i < BUFFERS; i++) { /* the old addresses are not used again */
        CHECK((uintptr_t)own.entry - (uintptr_t)buffers[i].entry >= buffers[i].length);
    }
    CHECK(execbuf_free(&own) == EXECBUF_OK);
}

/* What a child may do with the old buffers: only free them. */
static void check_old_handles(void) {
    code made = returning(9);
    execbuf_error error;
    execbuf found;
    const uint64_t stale = execbuf_stale_count();
    for (int i = 0; i < BUFFERS; i++) {
        if (buffers[i].id == 0) {
            continue;
        }
        execbuf copy = buffers[i];
        CHECK(!can_read(buffers[i].entry));
        CHECK(execbuf_find(buffers[i].entry, &found) == EXECBUF_E_NOT_FOUND);
        CHECK(execbuf_rewrite(&buffers[i], 0, made.bytes, 1, &error) == EXECBUF_E_NOT_INHERITED);
        CHECK(error.status == EXECBUF_E_NOT_INHERITED && strcmp(error.culprit, "buffer") == 0);
        CHECK(execbuf_publish(&buffers[i], made.bytes, 1, &error) == EXECBUF_E_NOT_INHERITED);
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK && is_zero(&buffers[i]));
        CHECK(execbuf_free(&copy) == EXECBUF_E_STALE);
        CHECK(execbuf_rewrite(&copy, 0, made.bytes, 1, &error) == EXECBUF_E_STALE);
    }
    CHECK(execbuf_stale_count() >= stale + 4);
}

/* Does not return. */
static void check_in_child(void) {
    check_own_code(20);
    if (has_thunk) { /* a new adapter, too */
        execbuf thunk;
        execbuf_signature *signature;
        CHECK(execbuf_signature_parse(&signature, "i()", NULL) == EXECBUF_OK);
        CHECK(execbuf_thunk_new(pool, &thunk, signature, EXECBUF_ABI_WIN64, EXECBUF_ABI_SYSV64,
                                (const void *)buffers[SLOT].entry, NULL) == EXECBUF_OK);
        CHECK(can_read(thunk.entry));
        CHECK(execbuf_free(&thunk) == EXECBUF_OK);
        execbuf_signature_free(signature);
    }
    check_old_handles();
    check_own_code(30);
    execbuf_pool_free(pool);
    end_child(true);
}

static void wait_for(pid_t child) {
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void check_in_parent(void) {
    code made = returning(8);
    CHECK(call(&buffers[SLOT], 0) == 7);
    CHECK(execbuf_rewrite(&buffers[SLOT], 0, made.bytes, made.length, NULL) == EXECBUF_OK);
    CHECK(call(&buffers[SLOT], 0) == 8);
    CHECK(execbuf_publish(&buffers[RESERVED], made.bytes, made.length, NULL) == EXECBUF_OK);
    CHECK(call(&buffers[RESERVED], 0) == 8);
    if (has_large) {
        CHECK(execbuf_rewrite(&buffers[LARGE], 0, made.bytes, made.length, NULL) == EXECBUF_OK);
        CHECK(call(&buffers[LARGE], 0) == 8);
    }
    execbuf_pool_stats stats = EXECBUF_POOL_STATS_INIT;
    CHECK(execbuf_pool_get_stats(pool, &stats) == EXECBUF_OK && stats.frozen == 0);
}

static void free_all(void) {
    for (int i = 0; i < BUFFERS; i++) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    execbuf_pool_free(pool);
}

static void a_child_has_none_of_the_code_and_frees_its_handles(void) {
    make_pool();
    for (int i = 0; i < 2; i++) { /* also after the parent has rewritten: its new pages are kept, too */
        pid_t child = fork();
        if (child == 0) {
            check_in_child();
        }
        wait_for(child);
        if (i == 0) {
            check_in_parent();
        }
    }
    free_all();
}

static void a_grandchild_has_none_of_the_code_either(void) {
    make_pool();
    pid_t child = fork();
    if (child == 0) {
        check_own_code(40);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            check_in_child();
        }
        wait_for(grandchild);
        check_in_child();
    }
    wait_for(child);
    free_all();
}

static void a_child_of_a_raw_clone_has_none_of_the_code(void) {
#if defined(__linux__) && defined(SYS_clone)
    make_pool();
    pid_t child = (pid_t)syscall(SYS_clone, 17 /* SIGCHLD */, 0, 0, 0, 0);
    if (child == 0) {
        check_in_child();
    }
    wait_for(child);
    check_in_parent();
    free_all();
#else
    puts("SKIP: there is no clone");
#endif
}

static void *publish_much(void *argument) {
    static const uint8_t bytes[20000];
    const int *goes_on = (const int *)argument;
    while (__atomic_load_n(goes_on, __ATOMIC_RELAXED)) {
        execbuf held[20];
        for (int i = 0; i < 20; i++) {
            CHECK(execbuf_pool_publish(pool, &held[i], bytes, sizeof bytes, NULL) == EXECBUF_OK);
        }
        for (int i = 0; i < 20; i++) {
            CHECK(execbuf_free(&held[i]) == EXECBUF_OK);
        }
    }
    return NULL;
}

/* The number of mappings of the pool's regions, by their name. */
static int count_named(void) {
    int count = 0;
#if defined(__linux__)
    for (const char *at = read_maps(); (at = strstr(at, "kept-to-one")) != NULL; at++) {
        count++;
    }
#endif
    return count;
}

static void no_mapping_is_inherited_while_another_thread_makes_regions(void) {
    int goes_on = 1;
    pthread_t thread;
    make_pool();
    CHECK(pthread_create(&thread, NULL, publish_much, &goes_on) == 0);
    for (int i = 0; i < 200; i++) {
        pid_t child = fork();
        if (child == 0) {
            end_child(count_named() == 0);
        }
        wait_for(child);
    }
    __atomic_store_n(&goes_on, 0, __ATOMIC_RELAXED);
    CHECK(pthread_join(thread, NULL) == 0);
    free_all();
}

static void the_option_is_0_or_1(void) {
    execbuf_pool *made;
    execbuf_error error;
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    options.not_inherited = 2;
    CHECK(execbuf_pool_new(&made, &options, &error) == EXECBUF_E_VERSION);
    CHECK(strcmp(error.culprit, "not_inherited") == 0);
    options.not_inherited = 0;
    options.reserved = 1;
    CHECK(execbuf_pool_new(&made, &options, &error) == EXECBUF_E_VERSION);
    CHECK(strcmp(error.culprit, "reserved") == 0);
}

/* Whether the system can keep memory from children. */
static int has_option(void) {
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    execbuf_error error;
    options.not_inherited = 1;
    execbuf_status status = execbuf_pool_new(&pool, &options, &error);
    CHECK(status == EXECBUF_OK ||
          (status == EXECBUF_E_UNSUPPORTED && strcmp(error.culprit, "not_inherited") == 0));
    execbuf_pool_free(pool);
    return status == EXECBUF_OK;
}

int main(void) {
    bool keeps = keeps_from_children();
    RUN(the_option_is_0_or_1);
    if (!has_option() || !keeps) {
        puts("SKIP: this system cannot keep memory from children");
        return 0;
    }
    RUN(a_child_has_none_of_the_code_and_frees_its_handles);
    RUN(a_grandchild_has_none_of_the_code_either);
    RUN(a_child_of_a_raw_clone_has_none_of_the_code);
    RUN(no_mapping_is_inherited_while_another_thread_makes_regions);
    return 0;
}

#endif
