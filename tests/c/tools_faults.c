/* Each system call and allocation of tools fails in turn: the code is published all the same, the failure is
 * reported once, and nothing stays. LeakSanitizer looks for memory that is lost (see .ci/c). */

#include "faults.h"

#include "jitdump.h"

#include <errno.h>

static execbuf_pool *pool;
static execbuf_unwind unwind; /* of what is published */
static bool is_batch;

/* Whether publishing with a description makes a call when a tool is on, and not without. */
static bool is_call_of_tools(const char *culprit) {
    static const char *const calls_of_tools[] = {"open",   "fstat",    "write",   "malloc",
                                                 "calloc", "realpath", "mkdtemp", "mmap"};
    for (size_t i = 0; i < sizeof calls_of_tools / sizeof *calls_of_tools; i++) {
        if (strcmp(culprit, calls_of_tools[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Publishes a piece of code, and frees it. */
static execbuf_status publish_and_free(void) {
    execbuf_info info = EXECBUF_INFO_INIT;
    execbuf out;
    code one = returning(1);
    const execbuf_line lines[2] = {{0, "a", 1, 1, 0}, {1, "b", 1, 2, 0}};
    info.name = "name";
    info.name_length = 4;
    info.lines = lines;
    info.line_count = 2;
    info.unwind = unwind;
    const execbuf_code codes[1] = {{one.bytes, one.length, &info}};
    execbuf_status status = is_batch
                                ? execbuf_pool_publish_batch(pool, &out, codes, 1, NULL)
                                : execbuf_pool_publish_with(pool, &out, one.bytes, one.length, &info, NULL);
    CHECK(status == EXECBUF_OK || is_zero(&out));
    CHECK(status != EXECBUF_OK || call(&out, 0) == 1);
    CHECK(execbuf_free(&out) == EXECBUF_OK);
    return status;
}

/* Lets each call fail in turn, until no more calls are made. */
static void fail_each(uint32_t tools, long at_least) {
    long reports = 0;
    for (long number = 0;; number++) {
        CHECK(switch_on(tools, NULL) == EXECBUF_OK);
        CHECK(failure_of_tool(EXECBUF_TOOL_GDB) == NULL && failure_of_tool(EXECBUF_TOOL_PERF) == NULL);
        int descriptors = open_fds();
        arm(NULL, number, false);
        code_given = ENOSPC;
        execbuf_status status = publish_and_free();
        disarm();
        const char *gdb = failure_of_tool(EXECBUF_TOOL_GDB);
        const char *file = failure_of_tool(EXECBUF_TOOL_PERF);
        file = file != NULL ? file : failure_of_tool(EXECBUF_TOOL_JITDUMP);
        CHECK(open_fds() == descriptors && (gdb == NULL || file == NULL));
        if (failures == 0) {
            CHECK(status == EXECBUF_OK && gdb == NULL && file == NULL);
            break;
        }
        /* One of the two has failed: the tool, or the description. (Without regions there may be another way
         * to publish.) */
        bool is_told = gdb != NULL || file != NULL;
        CHECK((status == EXECBUF_OK) == is_told || (!is_told && stats_of(pool).regions == 0));
        CHECK(gdb == NULL || is_call_of_tools(gdb));
        CHECK(file == NULL || is_call_of_tools(file));
        reports += status == EXECBUF_OK;
    }
    CHECK(reports >= at_least);
    execbuf_tools_disable(tools);
}

static void tools_that_fail_are_reported_and_nothing_else_fails(void) {
    pool = new_pool();
    CHECK(publish_and_free() == EXECBUF_OK); /* what the library keeps is made now */
    fail_each(EXECBUF_TOOL_PERF, 4);         /* malloc, open, fstat, write */
    if (switch_on(EXECBUF_TOOL_GDB, NULL) == EXECBUF_OK) {
        fail_each(EXECBUF_TOOL_GDB, 2); /* calloc, malloc */
        fail_each(EXECBUF_TOOL_GDB | EXECBUF_TOOL_PERF, 6);
    } else {
        (void)fprintf(stderr, "SKIP: faults of the tool gdb: not on this platform\n");
    }
    execbuf_pool_free(pool);
    (void)unlink(map_path(getpid()));
}

#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)

/* The same with unwind tables: each is one allocation more, and a batch with tables is reserved first. */
static void fail_each_with_tables(void) {
    unwind = EXECBUF_UNWIND_NO_FRAME;
    for (int i = 0; i < 2; i++) {
        is_batch = i == 1;
        CHECK(switch_on(EXECBUF_TOOL_JITDUMP, NULL) == EXECBUF_OK && publish_and_free() == EXECBUF_OK);
        fail_each(EXECBUF_TOOL_JITDUMP, 5);
        CHECK(stats_of(pool).live == 0);
    }
}

/* The first call makes the dump, whose calls fail in turn, and leaves it at last; the second one fails the
 * calls that each record makes. */
static void a_dump_that_fails_leaves_nothing(void) {
    char found[PATH_MAX];
    make_place();
    CHECK(setenv("JITDUMPDIR", place, 1) == 0);
    pool = new_pool();
    CHECK(publish_and_free() == EXECBUF_OK);
    /* Without regions, another backend may publish after the first call that fails, and the dump is made. */
    fail_each(EXECBUF_TOOL_JITDUMP, stats_of(pool).regions > 0 ? 8 : 4);
    CHECK(list(place, "execbuf-", found, sizeof found) == 1);
    fail_each(EXECBUF_TOOL_JITDUMP, 4); /* malloc, open, fstat, write */
    if (sizeof(void *) == 8) {
        fail_each_with_tables();
    }
    execbuf_pool_free(pool);
    remove_place();
}

#else

static void a_dump_that_fails_leaves_nothing(void) {
    (void)fprintf(stderr, "SKIP: the dump for perf: only on Linux\n");
}

#endif

static void only_the_first_failure_is_kept(void) {
    execbuf_error found;
    unwind = EXECBUF_UNWIND_UNKNOWN;
    is_batch = false;
    pool = new_pool();
    CHECK(switch_on(EXECBUF_TOOL_PERF, NULL) == EXECBUF_OK);
    arm("write", 0, true);
    code_given = ENOSPC;
    CHECK(publish_and_free() == EXECBUF_OK && publish_and_free() == EXECBUF_OK);
    CHECK(calls == 1); /* it is off */
    disarm();
    CHECK(execbuf_tool_failure(EXECBUF_TOOL_PERF, &found) == EXECBUF_E_TOOL && found.os_error == ENOSPC);
    CHECK(strcmp(found.culprit, "write") == 0);
    execbuf_pool_free(pool);
    (void)unlink(map_path(getpid()));
}

static void ignore(void *context, const execbuf_event *event) {
    (void)context;
    (void)event;
}

static void an_observer_needs_memory(void) {
    execbuf_observer *observer;
    execbuf_error failure;
    arm("calloc", 0, true);
    CHECK(execbuf_observe(&observer, ignore, NULL, NULL, &failure) == EXECBUF_E_NO_MEMORY);
    CHECK(observer == NULL && strcmp(failure.culprit, "calloc") == 0);
    disarm();
}

int main(void) {
    CHECK(unsetenv("EXECBUF_TOOLS") == 0);
    RUN(an_observer_needs_memory);
    RUN(tools_that_fail_are_reported_and_nothing_else_fails);
    RUN(a_dump_that_fails_leaves_nothing);
    RUN(only_the_first_failure_is_kept);
    (void)printf("ok\n");
    return 0;
}
