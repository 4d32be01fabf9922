/* Staged buffers, signals and forks: what faults while a buffer is staged and while it is published, and that
 * the processes of a fork do not see each other's bytes. On Linux all tests run once with each backend. */

#include "check.h"

#if defined(_WIN32)

int main(void) {
    puts("SKIP: there are no forks");
    return 0;
}

#else

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"

static uint8_t *bytes_of(const execbuf *buffer) {
    return (uint8_t *)(uintptr_t)buffer->entry;
}

static void put(const execbuf *buffer, uint32_t value) {
    code made = returning(value);
    memcpy(bytes_of(buffer), made.bytes, made.length);
}

static execbuf stage(uint32_t value) {
    execbuf buffer;
    CHECK(execbuf_stage(&buffer, 20000, NULL, NULL) == EXECBUF_OK);
    put(&buffer, value);
    return buffer;
}

static bool publish_some(execbuf *buffer) {
    return execbuf_publish_staged(buffer, 100, NULL) == EXECBUF_OK;
}

/* Jumps to the first byte of a buffer, whatever its state. */
static void run_code(const execbuf *buffer) {
    execbuf forged = {buffer->entry, 1, buffer->id};
    (void)call(&forged, 0);
}

static void write_code(const execbuf *buffer) {
    *(volatile uint8_t *)bytes_of(buffer) = 0x90;
}

/* Whether a child of a fork that does something with a buffer gets to its end. */
static bool succeeds(void (*act)(const execbuf *buffer), const execbuf *buffer) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        act(buffer);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void staged_memory_cannot_be_run_and_published_code_cannot_be_written(void) {
    execbuf buffer = stage(1);
    for (int i = 0; i < 3; i++) {
        CHECK(!succeeds(run_code, &buffer) && succeeds(write_code, &buffer));
        CHECK(publish_some(&buffer) && call(&buffer, 0) == 1);
        CHECK(succeeds(run_code, &buffer) && !succeeds(write_code, &buffer));
        CHECK(execbuf_unpublish(&buffer, NULL) == EXECBUF_OK);
    }
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

/* Runs one function in a child of a fork and another one in this process, at the same time. */
static void with_child(void (*in_child)(void), void (*in_parent)(void)) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        in_child();
        end_child(true);
    }
    in_parent();
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static execbuf staged;
static execbuf published;
static int first[2]; /* a pipe: the child waits for the parent's changes, */
static int then[2];  /* and the parent for those of the child */

static void tell(const int *ends) {
    CHECK(write(ends[1], "", 1) == 1);
}

static void wait_for(const int *ends) {
    char byte;
    CHECK(read(ends[0], &byte, 1) == 1);
}

/* Changes both buffers, as the other process does. */
static void change(uint32_t value) {
    put(&staged, value);
    CHECK(call(&published, 0) == 2 && execbuf_unpublish(&published, NULL) == EXECBUF_OK);
    put(&published, value + 1);
}

static void check_changed(uint32_t value) {
    CHECK(publish_some(&staged) && publish_some(&published));
    CHECK(call(&staged, 0) == (int)value && call(&published, 0) == (int)value + 1);
    CHECK(execbuf_unpublish(&staged, NULL) == EXECBUF_OK);
    CHECK(memcmp(staged.entry, returning(value).bytes, returning(value).length) == 0);
    (void)look();
    CHECK(execbuf_free(&staged) == EXECBUF_OK && execbuf_free(&published) == EXECBUF_OK);
}

static void change_in_child(void) {
    wait_for(first);
    CHECK(memcmp(staged.entry, returning(1).bytes, returning(1).length) == 0);
    change(10);
    tell(then);
    check_changed(10);
}

static void change_in_parent(void) {
    change(20);
    tell(first);
    wait_for(then);
    check_changed(20);
}

static void processes_of_a_fork_do_not_see_what_the_other_one_writes(void) {
    for (int i = 0; i < 3; i++) {
        staged = stage(1);
        published = stage(2);
        CHECK(publish_some(&published) && pipe(first) == 0 && pipe(then) == 0);
        with_child(change_in_child, change_in_parent);
        for (int end = 0; end < 2; end++) {
            CHECK(close(first[end]) == 0 && close(then[end]) == 0);
        }
    }
}

static bool keeps; /* whether the system can keep memory from children */

static void check_not_inherited(void) {
    execbuf_error error;
    CHECK(execbuf_publish_staged(&staged, 8, &error) == EXECBUF_E_NOT_INHERITED);
    CHECK(strcmp(error.culprit, "buffer") == 0);
    CHECK(execbuf_unpublish(&published, &error) == EXECBUF_E_NOT_INHERITED);
    CHECK(!succeeds(write_code, &staged));
    CHECK(execbuf_free(&staged) == EXECBUF_OK && execbuf_free(&published) == EXECBUF_OK);
}

static void go_on_in_parent(void) {
    CHECK(execbuf_unpublish(&published, NULL) == EXECBUF_OK);
    put(&published, 4);
    CHECK(publish_some(&staged) && publish_some(&published));
    CHECK(call(&staged, 0) == 3 && call(&published, 0) == 4);
}

static void a_child_has_no_staged_memory_of_a_pool_that_it_does_not_inherit(void) {
    static const execbuf none;
    execbuf_pool *pool;
    published = none;
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    options.not_inherited = 1;
    execbuf_status status = execbuf_pool_new(&pool, &options, NULL);
    CHECK(status == EXECBUF_OK || status == EXECBUF_E_UNSUPPORTED);
    bool works = keeps && status == EXECBUF_OK;
    works = works && execbuf_pool_stage(pool, &published, 20000, NULL) == EXECBUF_OK;
    if (works) {
        put(&published, 4);
        works = publish_some(&published); /* the backends that map other pages are not allowed */
    }
    if (!works) {
        (void)fprintf(stderr, "SKIP: staged memory that children do not get: not with this backend\n");
        CHECK(execbuf_free(&published) == EXECBUF_OK);
    } else {
        CHECK(execbuf_pool_stage(pool, &staged, 20000, NULL) == EXECBUF_OK);
        put(&staged, 3);
        with_child(check_not_inherited, go_on_in_parent);
        CHECK(execbuf_unpublish(&staged, NULL) == EXECBUF_OK); /* the option still holds */
        with_child(check_not_inherited, go_on_in_parent);
        CHECK(execbuf_free(&staged) == EXECBUF_OK && execbuf_free(&published) == EXECBUF_OK);
    }
    execbuf_pool_free(status == EXECBUF_OK ? pool : NULL);
}

static void run_tests(void) {
    keeps = keeps_from_children();
    RUN(staged_memory_cannot_be_run_and_published_code_cannot_be_written);
    RUN(processes_of_a_fork_do_not_see_what_the_other_one_writes);
    RUN(a_child_has_no_staged_memory_of_a_pool_that_it_does_not_inherit);
}

#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
#include "each_backend.h"

int main(void) {
    with_each_backend(run_tests);
    (void)printf("ok\n");
    return 0;
}
#else
int main(void) {
    run_tests();
    (void)printf("ok\n");
    return 0;
}
#endif

#endif
