/* The dump of code that perf reads. */

#include "check.h"

#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "jitdump.h"

/* Switches the tool on, for the directory of the test. */
static void start(uint64_t limit) {
    execbuf_tools tools = EXECBUF_TOOLS_INIT;
    tools.which = JITDUMP;
    tools.jitdump_directory = place;
    tools.jitdump_limit = limit;
    CHECK(execbuf_tools_enable(&tools, NULL) == EXECBUF_OK);
}

static void check_record(FILE *file, const execbuf *buffer, const char *name, load_record *out) {
    CHECK(read_record(file, out) && strcmp(out->name, name) == 0);
    CHECK(out->process == (uint32_t)getpid() && out->thread == (uint32_t)syscall(SYS_gettid));
    CHECK(out->code == (uintptr_t)buffer->entry && out->address == out->code);
    CHECK(out->code_size == buffer->length && memcmp(out->bytes, buffer->entry, buffer->length) == 0);
}

/* How many mappings of a file that can be executed, and not written, the process has. */
static int marks(const char *path) {
    int count = 0;
    for (char *line = read_maps(); *line != '\0'; line = strchr(line, '\n') + 1) {
        char shown[PATH_MAX];
        size_t length = strcspn(line, "\n");
        CHECK(length < sizeof shown);
        memcpy(shown, line, length);
        shown[length] = '\0';
        count += strstr(shown, path) != NULL && strstr(shown, " r-xp ") != NULL;
    }
    return count;
}

static void each_piece_of_described_code_has_a_record(void) {
    load_record one;
    load_record two;
    make_place();
    start(0);
    execbuf_pool *pool = new_pool();
    execbuf buffers[2] = {publish_named(pool, "first", 5), publish_named(pool, "a\nb", 3)};
    execbuf undescribed;
    code made = returning(1);
    CHECK(execbuf_pool_publish(pool, &undescribed, made.bytes, made.length, NULL) == EXECBUF_OK);
    FILE *file = open_dump(place, getpid());
    CHECK(file != NULL);
    read_header(file, getpid());
    check_record(file, &buffers[0], "first", &one);
    check_record(file, &buffers[1], "a\\x0ab", &two);
    CHECK(one.number != two.number && one.time <= two.time && !read_record(file, &two));
    CHECK(fclose(file) == 0 && marks(place) == 1 && failure_of_tool(JITDUMP) == NULL);
    remove_place();
}

static void lines_precede_their_code(void) {
    const execbuf_line given[3] = {{0, "a.src", 5, 7, 0}, {1, "b\n", 2, 9, 0}, {4, NULL, 0, 0, 0}};
    execbuf_info info = EXECBUF_INFO_INIT;
    load_record loaded;
    read_line lines[8];
    uintptr_t code_address;
    uint64_t time;
    execbuf buffer;
    code one = returning(1);
    info.name = "f";
    info.name_length = 1;
    info.lines = given;
    info.line_count = 3;
    make_place();
    start(0);
    execbuf_pool *pool = new_pool();
    CHECK(execbuf_pool_publish_with(pool, &buffer, one.bytes, one.length, &info, NULL) == EXECBUF_OK);
    execbuf other = publish_named(pool, "g", 1);
    FILE *file = open_dump(place, getpid());
    CHECK(file != NULL);
    read_header(file, getpid());
    CHECK(read_lines(file, &code_address, &time, lines, 8) == 4);
    check_record(file, &buffer, "f", &loaded);
    CHECK(code_address == (uintptr_t)buffer.entry && time == loaded.time);
    const char *const files[4] = {"a.src", "b\\x0a", "execbuf", "execbuf"};
    const uint32_t numbers[4] = {7, 9, 0, 0};
    const size_t offsets[4] = {0, 1, 4, buffer.length}; /* the last one ends the table */
    for (size_t i = 0; i < 4; i++) {
        CHECK(lines[i].address == loaded.address + offsets[i] && lines[i].line == numbers[i]);
        CHECK(strcmp(lines[i].file, files[i]) == 0);
    }
    check_record(file, &other, "g", &loaded);
    CHECK(!read_record(file, &loaded) && fclose(file) == 0 && failure_of_tool(JITDUMP) == NULL);
    remove_place();
}

static void the_directory_of_the_environment_is_used(void) {
    make_place();
    CHECK(setenv("JITDUMPDIR", place, 1) == 0);
    execbuf_pool *pool = new_pool();
    (void)publish_named(pool, "f", 1);
    FILE *file = open_dump(place, getpid());
    CHECK(file != NULL && fclose(file) == 0);
    remove_place();
}

static void without_one_the_current_directory_is_used(void) {
    make_place();
    CHECK(unsetenv("JITDUMPDIR") == 0 && chdir(place) == 0);
    execbuf_pool *pool = new_pool();
    (void)publish_named(pool, "f", 1);
    CHECK(chdir("/") == 0);
    (void)publish_named(pool, "g", 1); /* the file is found all the same */
    FILE *file = open_dump(place, getpid());
    load_record record;
    CHECK(file != NULL);
    read_header(file, getpid());
    CHECK(read_record(file, &record) && read_record(file, &record) && strcmp(record.name, "g") == 0);
    CHECK(fclose(file) == 0);
    remove_place();
}

static void a_child_has_a_dump_of_its_own(void) {
    load_record record;
    make_place();
    start(0);
    execbuf_pool *pool = new_pool();
    execbuf buffer = publish_named(pool, "parent", 6);
    for (int round = 0; round < 2; round++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            buffer = publish_named(pool, "child", 5);
            FILE *file = open_dump(place, getpid());
            CHECK(file != NULL);
            read_header(file, getpid());
            check_record(file, &buffer, "child", &record);
            CHECK(!read_record(file, &record) && fclose(file) == 0);
            end_child(true);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    FILE *file = open_dump(place, getpid());
    CHECK(file != NULL);
    read_header(file, getpid());
    check_record(file, &buffer, "parent", &record);
    CHECK(!read_record(file, &record) && fclose(file) == 0);
    remove_place();
}

static void *publish_one(void *pool) {
    (void)publish_named((execbuf_pool *)pool, "f", 1);
    return NULL;
}

static void threads_that_begin_together_make_one_dump(void) {
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    load_record record;
    int count = 0;
    make_place();
    start(0);
    execbuf_pool *pool = new_pool();
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, publish_one, pool) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    FILE *file = open_dump(place, getpid()); /* checks that there is one */
    CHECK(file != NULL && marks(place) == 1);
    read_header(file, getpid());
    while (read_record(file, &record)) {
        count++;
    }
    CHECK(count == THREADS && fclose(file) == 0);
    remove_place();
}

/* ---- Failures ---- */

/* Publishes code, and expects that the tool has failed. */
static void expect_failure(const char *culprit, int os_error) {
    execbuf_error error;
    execbuf_pool *pool = new_pool();
    (void)publish_named(pool, "f", 1);
    CHECK(execbuf_tool_failure(JITDUMP, &error) == EXECBUF_E_TOOL && error.os_error == os_error);
    CHECK(strcmp(error.culprit, culprit) == 0);
    (void)publish_named(pool, "f", 1);
}

static void a_missing_directory_is_reported(void) {
    make_place();
    start(0);
    CHECK(rmdir(place) == 0);
    expect_failure("realpath", ENOENT);
}

static void a_directory_that_cannot_be_written_is_reported(void) {
    if (geteuid() == 0) {
        (void)fprintf(stderr, "SKIP: a directory without permissions: root needs none\n");
        return;
    }
    make_place();
    start(0);
    CHECK(chmod(place, 0500) == 0);
    expect_failure("mkdtemp", EACCES);
    CHECK(rmdir(place) == 0);
}

static void a_limit_of_file_sizes_is_reported_and_raises_no_signal(void) {
    struct rlimit before;
    char found[PATH_MAX];
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    const struct rlimit limit = {10, before.rlim_max};
    make_place();
    start(0);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    expect_failure("getrlimit(RLIMIT_FSIZE)", EFBIG);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);      /* gcov writes files, too */
    CHECK(list(place, "e", found, sizeof found) == 0); /* nothing stays */
    remove_place();
}

static void a_dump_has_at_most_the_size_of_the_limit(void) {
    make_place();
    const uint64_t size = 56 + 2 + returning(1).length; /* of a record */
    start(40 + 2 * size + size / 2);
    execbuf_pool *pool = new_pool();
    (void)publish_named(pool, "f", 1);
    (void)publish_named(pool, "f", 1);
    CHECK(failure_of_tool(JITDUMP) == NULL);
    expect_failure("the limit of the dump", 0);
    FILE *file = open_dump(place, getpid());
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0 && ftell(file) == (long)(40 + 2 * size));
    CHECK(fclose(file) == 0);
    remove_place();
}

static void a_dump_that_was_removed_is_reported(void) {
    make_place();
    start(0);
    execbuf_pool *pool = new_pool();
    (void)publish_named(pool, "f", 1);
    remove_place();
    expect_failure("open", ENOENT);
}

#define TEST(test, tools) in_child(#test, test, tools, NULL)

int main(void) {
    TEST(each_piece_of_described_code_has_a_record, NULL);
    TEST(lines_precede_their_code, NULL);
    TEST(the_directory_of_the_environment_is_used, "jitdump");
    TEST(without_one_the_current_directory_is_used, "gdb,jitdump");
    TEST(a_child_has_a_dump_of_its_own, NULL);
    TEST(threads_that_begin_together_make_one_dump, NULL);
    TEST(a_missing_directory_is_reported, NULL);
    TEST(a_directory_that_cannot_be_written_is_reported, NULL);
    TEST(a_limit_of_file_sizes_is_reported_and_raises_no_signal, NULL);
    TEST(a_dump_has_at_most_the_size_of_the_limit, NULL);
    TEST(a_dump_that_was_removed_is_reported, NULL);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: the dump for perf: only on Linux\n");
    return 0;
}

#endif
