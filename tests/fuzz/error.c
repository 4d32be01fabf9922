/* execbuf_error_describe, and the names of statuses and backends: the input is a report, with any values, and
 * the size of the text. */

#include "fuzz.h"

/* A pointer to a text, or NULL. */
static const char *take_text(input *from) {
    static const char *const texts[] = {NULL, "", "mprotect", "self-test: the rewritten code did not run"};
    return texts[take_u8(from) % 4];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input from = {data, size};
    execbuf_error error = EXECBUF_ERROR_INIT;
    error.status = (execbuf_status)(int32_t)take_u64(&from);
    error.os_error = (int32_t)take_u64(&from);
    error.culprit = take_text(&from);
    error.position = (uint32_t)take_u64(&from);
    error.attempt_count = (uint32_t)take_u64(&from);
    for (size_t i = 0; i < EXECBUF_MAX_ATTEMPTS; i++) {
        error.attempts[i].backend = (execbuf_backend)(int32_t)take_u64(&from);
        error.attempts[i].os_error = (int32_t)take_u64(&from);
        error.attempts[i].call = take_text(&from);
    }
    CHECK(strlen(execbuf_status_name(error.status)) > 0);
    CHECK(strlen(execbuf_backend_name(error.attempts[0].backend)) > 0);

    const size_t length = execbuf_error_describe(&error, NULL, 0);
    char *whole = exactly(length + 1);
    CHECK(execbuf_error_describe(&error, whole, length + 1) == length && strlen(whole) == length);
    const size_t given = take_u8(&from);
    char *text = exactly(given);
    CHECK(execbuf_error_describe(&error, text, given) == length);
    if (given > 0) {
        const size_t kept = length < given ? length : given - 1;
        CHECK(memcmp(text, whole, kept) == 0 && text[kept] == '\0');
    }
    free(text);
    free(whole);
    return 0;
}
