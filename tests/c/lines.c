/* The lines of source in descriptions: what is refused, and what observers are told. tests/c/jitdump.c and
 * .ci/loading look at what perf and gdb are told. */

#include "check.h"

#include <stdbool.h>

enum { MOST = 32 };

static execbuf_pool *pool;
static execbuf_line told[MOST]; /* of the last event */
static char names[MOST][64];
static size_t told_count;
static execbuf_event_kind told_kind;

static void note(void *context, const execbuf_event *event) {
    (void)context;
    told_kind = event->kind;
    told_count = event->line_count;
    CHECK(told_count <= MOST && (event->lines != NULL || told_count == 0));
    for (size_t i = 0; i < told_count; i++) {
        told[i] = event->lines[i];
        CHECK(told[i].file_length <= sizeof names[i] && told[i].reserved == 0);
        if (told[i].file_length > 0) {
            memcpy(names[i], told[i].file, told[i].file_length);
        }
    }
}

static execbuf_line line_of(size_t offset, const char *file, uint32_t number) {
    execbuf_line line = {offset, file, file != NULL ? strlen(file) : 0, number, 0};
    return line;
}

static execbuf_info info_of(const execbuf_line *lines, size_t count) {
    execbuf_info info = EXECBUF_INFO_INIT;
    info.lines = lines;
    info.line_count = count;
    return info;
}

/* Publishes a function with lines. */
static execbuf_status publish(execbuf *out, const execbuf_line *lines, size_t count, execbuf_error *error) {
    uint8_t bytes[64];
    code made = returning(1);
    execbuf_info info = info_of(lines, count);
    memset(bytes, 0x5a, sizeof bytes);
    memcpy(bytes, made.bytes, made.length);
    return execbuf_pool_publish_with(pool, out, bytes, sizeof bytes, &info, error);
}

static void expect_refused(const execbuf_line *lines, size_t count, execbuf_status status,
                           const char *culprit, uint32_t position) {
    execbuf_error error;
    execbuf out;
    uint64_t live = stats_of(pool).live;
    CHECK(publish(&out, lines, count, &error) == status && error.status == status);
    CHECK(strcmp(error.culprit, culprit) == 0 && error.position == position);
    CHECK(is_zero(&out) && stats_of(pool).live == live);
}

static void wrong_lines_are_refused(void) {
    execbuf_line lines[3] = {line_of(0, "a", 1), line_of(4, "a", 2), line_of(9, "b", 3)};
    const execbuf_line good[3] = {lines[0], lines[1], lines[2]};
    expect_refused(NULL, 1, EXECBUF_E_NULL, "lines", 0);
    lines[1].file = NULL;
    expect_refused(lines, 3, EXECBUF_E_NULL, "file", 1);
    lines[1] = good[1];
    lines[2].file_length = EXECBUF_NAME_MAX + 1;
    expect_refused(lines, 3, EXECBUF_E_TOO_LARGE, "file", 2);
    lines[2] = good[2];
    lines[2].reserved = 1;
    expect_refused(lines, 3, EXECBUF_E_VERSION, "reserved", 2);
    lines[2] = good[2];
    lines[1].offset = 10;
    expect_refused(lines, 3, EXECBUF_E_LINES, "offset", 2);
    lines[1] = good[1];
    lines[2].offset = 64;
    expect_refused(lines, 3, EXECBUF_E_LINES, "offset", 2);
    lines[2].offset = SIZE_MAX;
    expect_refused(lines, 3, EXECBUF_E_LINES, "offset", 2);
}

static void a_description_with_wrong_lines_leaves_the_old_one(void) {
    execbuf buffer;
    char name[8];
    code one = returning(1);
    execbuf_line line = line_of(one.length, "a", 1);
    execbuf_info info = EXECBUF_INFO_INIT;
    info.name = "name";
    info.name_length = 4;
    CHECK(execbuf_pool_publish_with(pool, &buffer, one.bytes, one.length, &info, NULL) == EXECBUF_OK);
    info = info_of(&line, 1);
    CHECK(execbuf_describe(&buffer, &info, NULL) == EXECBUF_E_LINES);
    CHECK(execbuf_name(&buffer, name, sizeof name, NULL) == EXECBUF_OK && strcmp(name, "name") == 0);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void observers_are_told_of_copies(void) {
    execbuf_line lines[MOST];
    char files[MOST][64];
    execbuf_observer *observer;
    execbuf buffer;
    /* More files than are remembered, files that alternate, one with no name, and lines with one offset. */
    for (size_t i = 0; i < MOST; i++) {
        (void)snprintf(files[i], sizeof files[i], "dir/file%zu.src", i < 20 ? i / 2 : i % 3);
        lines[i] = line_of(i / 2, files[i], (uint32_t)(1000 - i));
    }
    lines[5] = line_of(2, NULL, 0);
    lines[MOST - 1].offset = 63;
    lines[MOST - 1].line = UINT32_MAX;
    CHECK(execbuf_observe(&observer, note, NULL, NULL, NULL) == EXECBUF_OK);
    CHECK(publish(&buffer, lines, MOST, NULL) == EXECBUF_OK);
    execbuf_line expected[MOST];
    char expected_files[MOST][64];
    memcpy(expected, lines, sizeof lines);
    memcpy(expected_files, files, sizeof files);
    memset(lines, 0xee, sizeof lines);
    memset(files, 0xee, sizeof files);
    for (int round = 0; round < 2; round++) { /* after publishing, and when it ends */
        CHECK(told_kind == (round == 0 ? EXECBUF_EVENT_PUBLISHED : EXECBUF_EVENT_ENDED) &&
              told_count == MOST);
        for (size_t i = 0; i < MOST; i++) {
            CHECK(told[i].offset == expected[i].offset && told[i].line == expected[i].line);
            CHECK(told[i].file_length == expected[i].file_length);
            CHECK(memcmp(names[i], expected_files[i], told[i].file_length) == 0);
        }
        memset(told, 0, sizeof told);
        memset(names, 0, sizeof names);
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    }
    execbuf_unobserve(observer);
}

int main(void) {
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    RUN(wrong_lines_are_refused);
    RUN(a_description_with_wrong_lines_leaves_the_old_one);
    RUN(observers_are_told_of_copies);
    execbuf_pool_free(pool);
    (void)printf("ok\n");
    return 0;
}
