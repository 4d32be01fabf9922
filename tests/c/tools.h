/* For tests of tools: each test is a child process, because the environment is read once; and the file of
 * names that profilers read. */
#ifndef EXECBUF_TEST_TOOLS_H
#define EXECBUF_TEST_TOOLS_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "child.h"

/* The path of the file of a process. */
static inline const char *map_path(pid_t process) {
    static char path[40];
    (void)snprintf(path, sizeof path, "/tmp/perf-%ld.map", (long)process);
    return path;
}

/* Removes the file that an earlier process with this number has left, if it was killed. */
static inline void remove_old_map(void) {
    (void)unlink(map_path(getpid()));
}

/* Runs a test in a child, with environment variables; NULL: not set. */
static inline void in_child(const char *name, void (*test)(void), const char *tools, const char *backends) {
    (void)printf("%s\n", name);
    (void)fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK((tools != NULL ? setenv("EXECBUF_TOOLS", tools, 1) : unsetenv("EXECBUF_TOOLS")) == 0);
        CHECK((backends != NULL ? setenv("EXECBUF_BACKENDS", backends, 1) : unsetenv("EXECBUF_BACKENDS")) ==
              0);
        remove_old_map();
        test();
        end_child(true);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Whether the file of a process has exactly this text. Removes it. */
static inline bool map_is(pid_t process, const char *text) {
    char found[4096] = "";
    FILE *file = fopen(map_path(process), "r");
    if (file == NULL) {
        return text[0] == '\0';
    }
    size_t length = fread(found, 1, sizeof found - 1, file);
    CHECK(length < sizeof found - 1 && fclose(file) == 0 && unlink(map_path(process)) == 0);
    if (strcmp(found, text) != 0) {
        (void)fprintf(stderr, "found: %s\nexpected: %s\n", found, text);
    }
    return strcmp(found, text) == 0;
}

static inline execbuf publish_named(execbuf_pool *pool, const char *name, size_t length) {
    execbuf_info info = EXECBUF_INFO_INIT;
    info.name = name;
    info.name_length = length;
    execbuf out;
    code one = returning(1);
    CHECK(execbuf_pool_publish_with(pool, &out, one.bytes, one.length, &info, NULL) == EXECBUF_OK);
    CHECK(call(&out, 0) == 1);
    return out;
}

static inline execbuf_pool *new_pool(void) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    return pool;
}

static inline execbuf_status switch_on(uint32_t which, execbuf_error *report) {
    execbuf_tools tools = EXECBUF_TOOLS_INIT;
    tools.which = which;
    return execbuf_tools_enable(&tools, report);
}

/* The failure of a tool: its culprit; NULL: none. */
static inline const char *failure_of_tool(uint32_t tool) {
    execbuf_error report;
    execbuf_status status = execbuf_tool_failure(tool, &report);
    CHECK(status == report.status && (status == EXECBUF_OK || status == EXECBUF_E_TOOL));
    CHECK((status == EXECBUF_OK) == (report.culprit == NULL));
    return report.culprit;
}

#endif
