/* Switching tools on and off, and the file of names that profilers read. */

#include "tools.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>

#define PERF EXECBUF_TOOL_PERF

/* ---- Switching ---- */

static void nothing_is_on_without_the_variable(void) {
    execbuf_pool *pool = new_pool();
    execbuf buffer = publish_named(pool, "f", 1);
    CHECK(map_is(getpid(), "") && execbuf_free(&buffer) == EXECBUF_OK);
    CHECK(failure_of_tool(0) == NULL && failure_of_tool(PERF) == NULL);
    execbuf_pool_free(pool);
}

static void an_unknown_name_is_reported_and_ignored(void) {
    char text[64];
    execbuf_error error;
    CHECK(execbuf_tool_failure(0, &error) == EXECBUF_E_TOOL && error.position == 5);
    CHECK(strcmp(error.culprit, "EXECBUF_TOOLS") == 0);
    execbuf_pool *pool = new_pool();
    execbuf buffer = publish_named(pool, "f", 1);
    (void)snprintf(text, sizeof text, "%lx %zx f\n", (unsigned long)(uintptr_t)buffer.entry, buffer.length);
    CHECK(map_is(getpid(), text) && failure_of_tool(PERF) == NULL);
}

static void a_text_of_unknown_names_switches_nothing_on(void) {
    CHECK(execbuf_tool_failure(0, NULL) == EXECBUF_E_TOOL);
    execbuf_pool *pool = new_pool();
    (void)publish_named(pool, "f", 1);
    CHECK(map_is(getpid(), ""));
}

static void wrong_arguments_are_refused(void) {
    execbuf_error error;
    CHECK(switch_on(0, &error) == EXECBUF_E_UNSUPPORTED && strcmp(error.culprit, "which") == 0);
    CHECK(switch_on(PERF | 1U << 31, &error) == EXECBUF_E_UNSUPPORTED);
    execbuf_tools tools = EXECBUF_TOOLS_INIT;
    CHECK(execbuf_tools_enable(NULL, &error) == EXECBUF_E_NULL && strcmp(error.culprit, "tools") == 0);
    tools.which = PERF;
    tools.reserved = 1;
    CHECK(execbuf_tools_enable(&tools, &error) == EXECBUF_E_VERSION);
    tools.reserved = 0;
    tools.size = 0;
    CHECK(execbuf_tools_enable(&tools, &error) == EXECBUF_E_VERSION);
    CHECK(execbuf_tool_failure(PERF | EXECBUF_TOOL_GDB, &error) == EXECBUF_E_UNSUPPORTED);
    execbuf_tools_disable(1U << 31);
    execbuf_pool *pool = new_pool();
    (void)publish_named(pool, "f", 1);
    CHECK(map_is(getpid(), ""));
}

static void tools_are_switched_on_and_off(void) {
    char text[64];
    execbuf_pool *pool = new_pool();
    (void)publish_named(pool, "before", 6);
    CHECK(switch_on(PERF, NULL) == EXECBUF_OK);
    execbuf buffer = publish_named(pool, "on", 2);
    execbuf_tools_disable(PERF);
    (void)publish_named(pool, "off", 3);
    (void)snprintf(text, sizeof text, "%lx %zx on\n", (unsigned long)(uintptr_t)buffer.entry, buffer.length);
    CHECK(map_is(getpid(), text));
}

/* ---- The file ---- */

static void each_piece_of_described_code_has_one_line(void) {
    static const char *const names[] = {"a name", "\n1 2 evil\r", "\xc3\xbc", ""};
    static const char *const shown[] = {"a name", "\\x0a1 2 evil\\x0d", "\xc3\xbc", "execbuf"};
    char text[512] = "";
    execbuf buffers[4];
    struct stat facts;
    execbuf_pool *pool = new_pool();
    for (int i = 0; i < 4; i++) {
        buffers[i] = publish_named(pool, names[i], strlen(names[i]));
        code one = returning(1);
        CHECK(execbuf_pool_publish(pool, &(execbuf){NULL, 0, 0}, one.bytes, one.length, NULL) == EXECBUF_OK);
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%lx %zx %s\n",
                       (unsigned long)(uintptr_t)buffers[i].entry, buffers[i].length, shown[i]);
    }
    CHECK(stat(map_path(getpid()), &facts) == 0 && (facts.st_mode & 0777) == 0600);
    for (int i = 0; i < 4; i++) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    CHECK(map_is(getpid(), text) && failure_of_tool(PERF) == NULL);
}

static void a_child_has_a_file_of_its_own(void) {
    char text[64];
    execbuf_pool *pool = new_pool();
    execbuf buffer = publish_named(pool, "parent", 6);
    (void)snprintf(text, sizeof text, "%lx %zx parent\n", (unsigned long)(uintptr_t)buffer.entry,
                   buffer.length);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        remove_old_map();
        buffer = publish_named(pool, "child", 5);
        (void)snprintf(text, sizeof text, "%lx %zx child\n", (unsigned long)(uintptr_t)buffer.entry,
                       buffer.length);
        CHECK(map_is(getpid(), text));
        end_child(true);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(map_is(getpid(), text));
}

/* Publishes twice; the first time the tool fails. */
static void expect_failure(int os_error) {
    execbuf_error error;
    execbuf_pool *pool = new_pool();
    (void)publish_named(pool, "f", 1);
    CHECK(execbuf_tool_failure(PERF, &error) == EXECBUF_E_TOOL && error.os_error == os_error);
    (void)publish_named(pool, "f", 1);
    CHECK(switch_on(PERF, NULL) == EXECBUF_OK && failure_of_tool(PERF) == NULL);
    (void)publish_named(pool, "f", 1);
    CHECK(failure_of_tool(PERF) != NULL);
}

static void a_link_is_not_followed(void) {
    char target[64];
    (void)snprintf(target, sizeof target, "/tmp/execbuf-target-%ld", (long)getpid());
    CHECK(symlink(target, map_path(getpid())) == 0);
    expect_failure(ELOOP);
    CHECK(access(target, F_OK) != 0 && unlink(map_path(getpid())) == 0);
}

static void a_pipe_does_not_block(void) {
    CHECK(mkfifo(map_path(getpid()), 0600) == 0);
    expect_failure(ENXIO);
    CHECK(unlink(map_path(getpid())) == 0);
}

static void a_directory_in_its_place_is_reported(void) {
    CHECK(mkdir(map_path(getpid()), 0700) == 0);
    expect_failure(EISDIR);
    CHECK(rmdir(map_path(getpid())) == 0);
}

static void a_limit_of_file_sizes_is_reported_and_raises_no_signal(void) {
    struct rlimit before;
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    const struct rlimit limit = {10, before.rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    expect_failure(EFBIG);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0); /* gcov writes files, too */
    CHECK(map_is(getpid(), "") || unlink(map_path(getpid())) == 0);
}

static void a_file_of_another_user_is_not_written(void) {
    if (geteuid() != 0) {
        (void)fprintf(stderr, "SKIP: files of other users: not root\n");
        return;
    }
    int fd = open(map_path(getpid()), O_WRONLY | O_CREAT | O_EXCL, 0666);
    CHECK(fd >= 0 && fchown(fd, 65534, 65534) == 0 && close(fd) == 0);
    expect_failure(EACCES);
    CHECK(map_is(getpid(), ""));
}

/* ---- Memory, and cancellation ---- */

static void pools_use_memory_that_perf_reads_the_file_for(void) {
#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
    execbuf_pool *pool = new_pool();
    execbuf buffer = publish_named(pool, "f", 1);
    execbuf_pool_stats stats = stats_of(pool);
    CHECK(stats.backend != EXECBUF_BACKEND_MEMFD && execbuf_free(&buffer) == EXECBUF_OK);
    (void)unlink(map_path(getpid()));
#endif
}

static void the_choice_of_the_environment_counts_more(void) {
#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
    execbuf_pool *pool = new_pool();
    execbuf buffer = publish_named(pool, "f", 1);
    execbuf_pool_stats stats = stats_of(pool);
    CHECK(stats.backend == EXECBUF_BACKEND_MEMFD || stats.regions == 0); /* qemu-user has no regions */
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    (void)unlink(map_path(getpid()));
#endif
}

static void *publish_when_cancelled(void *pool) {
    CHECK(pthread_cancel(pthread_self()) == 0);
    execbuf buffer = publish_named((execbuf_pool *)pool, "f", 1);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    return pool;
}

static void a_cancelled_thread_finishes_the_line(void) {
    pthread_t thread;
    void *result;
    execbuf_pool *pool = new_pool();
    CHECK(pthread_create(&thread, NULL, publish_when_cancelled, pool) == 0);
    CHECK(pthread_join(thread, &result) == 0 && result == pool);
    CHECK(!map_is(getpid(), ""));
}

#define TEST(test, tools, backends) in_child(#test, test, tools, backends)

int main(void) {
    TEST(nothing_is_on_without_the_variable, NULL, NULL);
    TEST(nothing_is_on_without_the_variable, "", NULL);
    TEST(an_unknown_name_is_reported_and_ignored, "perf,vtune", NULL);
    TEST(a_text_of_unknown_names_switches_nothing_on, "perfect", NULL);
    TEST(wrong_arguments_are_refused, NULL, NULL);
    TEST(tools_are_switched_on_and_off, NULL, NULL);
    TEST(each_piece_of_described_code_has_one_line, "perf", NULL);
    TEST(a_child_has_a_file_of_its_own, "perf", NULL);
    TEST(a_link_is_not_followed, "perf", NULL);
    TEST(a_pipe_does_not_block, "perf", NULL);
    TEST(a_directory_in_its_place_is_reported, "perf", NULL);
    TEST(a_limit_of_file_sizes_is_reported_and_raises_no_signal, "perf", NULL);
    TEST(a_file_of_another_user_is_not_written, "perf", NULL);
    TEST(pools_use_memory_that_perf_reads_the_file_for, "perf", NULL);
    TEST(the_choice_of_the_environment_counts_more, "perf", "memfd");
    TEST(a_cancelled_thread_finishes_the_line, "perf", NULL);
    (void)printf("ok\n");
    return 0;
}
