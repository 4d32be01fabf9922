/* The names of described code, as a profiler or the handler of a fault asks for them. */

#include "check.h"

#include <stdbool.h>

enum { MANY = 1000 }; /* the table of descriptions grows four times */

static execbuf_pool *pool;

static execbuf_info named(const char *name, size_t length) {
    execbuf_info info = EXECBUF_INFO_INIT;
    info.name = name;
    info.name_length = length;
    return info;
}

static execbuf publish(const char *name) {
    execbuf_info info = named(name, strlen(name));
    execbuf out;
    code one = returning(1);
    CHECK(execbuf_pool_publish_with(pool, &out, one.bytes, one.length, &info, NULL) == EXECBUF_OK);
    return out;
}

static bool is_named(const execbuf *buffer, const char *expected) {
    char name[64];
    size_t length = 99;
    execbuf_status status = execbuf_name(buffer, name, sizeof name, &length);
    CHECK(status == (*expected != '\0' ? EXECBUF_OK : EXECBUF_E_NOT_FOUND));
    return length == strlen(expected) && strcmp(name, expected) == 0;
}

static void a_name_that_does_not_fit_is_cut(void) {
    execbuf buffer = publish("twelve bytes");
    char name[16];
    size_t length;
    for (size_t capacity = 0; capacity <= sizeof name; capacity++) {
        memset(name, 'x', sizeof name);
        CHECK(execbuf_name(&buffer, name, capacity, &length) == EXECBUF_OK && length == 12);
        size_t copied = capacity > 12 ? 12 : capacity - (capacity > 0);
        CHECK(memcmp(name, "twelve bytes", copied) == 0);
        CHECK(capacity == 0 || name[copied] == '\0');
        for (size_t i = capacity; i < sizeof name; i++) {
            CHECK(name[i] == 'x');
        }
    }
    CHECK(execbuf_name(&buffer, NULL, 0, NULL) == EXECBUF_OK);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void a_name_may_have_any_bytes(void) {
    static const char bytes[] = {'a', '\0', '\n', (char)0xff};
    execbuf_info info = named(bytes, sizeof bytes);
    execbuf buffer = publish("before");
    char name[8];
    size_t length;
    CHECK(execbuf_describe(&buffer, &info, NULL) == EXECBUF_OK);
    CHECK(execbuf_name(&buffer, name, sizeof name, &length) == EXECBUF_OK && length == sizeof bytes);
    CHECK(memcmp(name, bytes, sizeof bytes) == 0 && name[length] == '\0');
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void code_without_a_description_has_no_name(void) {
    code one = returning(1);
    execbuf_info info = named("described", 9);
    execbuf buffer;
    CHECK(execbuf_pool_publish(pool, &buffer, one.bytes, one.length, NULL) == EXECBUF_OK);
    CHECK(is_named(&buffer, ""));
    CHECK(execbuf_describe(&buffer, &info, NULL) == EXECBUF_OK && is_named(&buffer, "described"));
    info.name_length = 0;
    CHECK(execbuf_describe(&buffer, &info, NULL) == EXECBUF_OK && is_named(&buffer, ""));
    info.name_length = 9;
    CHECK(execbuf_describe(&buffer, &info, NULL) == EXECBUF_OK);
    CHECK(execbuf_rewrite(&buffer, 0, one.bytes, one.length, NULL) == EXECBUF_OK && is_named(&buffer, ""));
    CHECK(execbuf_free(&buffer) == EXECBUF_OK && is_named(&buffer, ""));
}

static void wrong_arguments_are_refused(void) {
    execbuf buffer = publish("right");
    execbuf copy = buffer;
    char name[8] = "x";
    size_t length = 9;
    CHECK(execbuf_name(NULL, name, sizeof name, &length) == EXECBUF_E_NULL && length == 0 && *name == '\0');
    CHECK(execbuf_name(&buffer, NULL, 1, &length) == EXECBUF_E_NULL && length == 0);
    copy.id ^= 1;
    CHECK(is_named(&copy, ""));
    copy = buffer;
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    buffer = publish("other");
    CHECK(is_named(&copy, "") && is_named(&buffer, "other"));
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void names_of_many_buffers_are_found_by_an_address(void) {
    static execbuf buffers[MANY];
    char text[32];
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(text, sizeof text, "function %d", i);
        buffers[i] = publish(text);
        CHECK(i % 3 != 1 || execbuf_free(&buffers[i - 1]) == EXECBUF_OK);
    }
    for (int i = 0; i < MANY; i++) {
        execbuf found;
        if (buffers[i].id != 0) {
            (void)snprintf(text, sizeof text, "function %d", i);
            CHECK(execbuf_find((const uint8_t *)buffers[i].entry + 1, &found) == EXECBUF_OK);
            CHECK(is_named(&found, text));
            CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK && is_named(&found, ""));
        }
    }
}

int main(void) {
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    RUN(a_name_that_does_not_fit_is_cut);
    RUN(a_name_may_have_any_bytes);
    RUN(code_without_a_description_has_no_name);
    RUN(wrong_arguments_are_refused);
    RUN(names_of_many_buffers_are_found_by_an_address);
    execbuf_pool_free(pool);
    return 0;
}
