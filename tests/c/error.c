/* Names, messages and error reports as text. All of this works on every machine. */

#include "check.h"

#include <errno.h>

static void names_and_messages_are_complete(void) {
#define STATUS_CHECK(name, value, message)                                                                   \
    CHECK((int)(name) == (value) && strcmp(execbuf_status_name(name), #name) == 0);                          \
    CHECK(strcmp(execbuf_status_message(name), message) == 0);
    EXECBUF_STATUS_MAP(STATUS_CHECK)
#undef STATUS_CHECK
    CHECK(strcmp(execbuf_status_name((execbuf_status)-999), "EXECBUF_E_?") == 0);
    CHECK(strcmp(execbuf_status_message((execbuf_status)-999), "unknown status") == 0);
    CHECK(strcmp(execbuf_version(), EXECBUF_VERSION) == 0);
    CHECK(execbuf_version_number() == EXECBUF_VERSION_NUMBER);
    char version[32];
    (void)snprintf(version, sizeof version, "%d.%d.%d", EXECBUF_VERSION_MAJOR, EXECBUF_VERSION_MINOR,
                   EXECBUF_VERSION_PATCH);
    CHECK(strcmp(version, EXECBUF_VERSION) == 0);
}

static void backends_have_names(void) {
    static const struct {
        execbuf_backend backend;
        const char *name;
    } names[] = {
        {EXECBUF_BACKEND_NONE, "none"},
        {EXECBUF_BACKEND_FLIP, "flip"},
        {EXECBUF_BACKEND_MEMFD, "memfd"},
        {EXECBUF_BACKEND_ALIAS, "alias"},
        {EXECBUF_BACKEND_MAP_JIT, "map-jit"},
        {EXECBUF_BACKEND_SECTION, "section"},
        {(execbuf_backend)0, "?"},
        {(execbuf_backend)99, "?"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        CHECK(strcmp(execbuf_backend_name(names[i].backend), names[i].name) == 0);
    }
}

/* Checks what the parentheses of a described report contain. */
static void describes(const execbuf_error *error, const char *details) {
    char text[300];
    CHECK(execbuf_error_describe(error, text, sizeof text) == strlen(text));
    const char *message = execbuf_status_message(error->status);
    CHECK(strncmp(text, message, strlen(message)) == 0);
    CHECK(strcmp(text + strlen(message), details) == 0);
}

static void describe_truncates_like_snprintf(void) {
    execbuf_error error = EXECBUF_ERROR_INIT;
    error.status = EXECBUF_E_EMPTY;
    error.culprit = "length";
    char text[300];
    const char *whole = "the length is 0; at least one byte is required (length)";
    CHECK(execbuf_error_describe(&error, text, sizeof text) == strlen(whole));
    CHECK(strcmp(text, whole) == 0);
    CHECK(execbuf_error_describe(&error, NULL, 0) == strlen(whole));
    CHECK(execbuf_error_describe(&error, text, 9) == strlen(whole) && strcmp(text, "the leng") == 0);
    CHECK(execbuf_error_describe(&error, text, 1) == strlen(whole) && text[0] == '\0');
    error.status = EXECBUF_E_DENIED;
    error.attempt_count = 2;
    error.attempts[0].backend = EXECBUF_BACKEND_FLIP;
    error.attempts[0].call = "mprotect";
    error.attempts[0].os_error = 123456;
    error.attempts[1].backend = EXECBUF_BACKEND_MEMFD;
    error.attempts[1].call = "self-test";
    (void)execbuf_error_describe(&error, text, sizeof text);
    CHECK(strstr(text, "(flip: mprotect: error 123456; memfd: self-test)") != NULL);
}

static void describe_says_where_a_signature_is_wrong(void) {
    execbuf_signature *signature;
    execbuf_error error;
    CHECK(execbuf_signature_parse(&signature, "i(p", &error) == EXECBUF_E_SYNTAX);
    describes(&error, " (at byte 3: the text ends here; ')' is missing)");
    CHECK(execbuf_signature_parse(&signature, "i(pv)", &error) == EXECBUF_E_TYPE);
    describes(&error, " (argument 2: void is no argument; \"v()\" has none)");
    CHECK(execbuf_signature_parse(&signature, "{}()", &error) == EXECBUF_E_TYPE);
    describes(&error, " (result: an empty struct or union is no argument in C; leave it out)");
    CHECK(execbuf_signature_parse(&signature, "v(i{b{ldv}})", &error) == EXECBUF_E_TYPE);
    describes(&error, " (argument 2, member 2.3: void is no member)");
    CHECK(execbuf_signature_parse(&signature, "v()", &error) == EXECBUF_OK);
    describes(&error, "");
    execbuf_signature_free(signature);
}

#if !defined(_WIN32)
static void error_codes_of_the_system_have_names(void) {
#define CODE(name)                                                                                           \
    { name, #name }
    static const struct {
        int code;
        const char *name;
    } codes[] = {
        CODE(EACCES), CODE(EAGAIN), CODE(EBADF),  CODE(EBUSY),  CODE(EFAULT),    CODE(EFBIG),
        CODE(EINTR),  CODE(EINVAL), CODE(EIO),    CODE(EMFILE), CODE(ENFILE),    CODE(ENODEV),
        CODE(ENOMEM), CODE(ENOSPC), CODE(ENOSYS), CODE(EPERM),  CODE(EOVERFLOW),
    };
#undef CODE
    execbuf_error error = EXECBUF_ERROR_INIT;
    error.status = EXECBUF_E_DENIED;
    error.culprit = "call";
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        char details[40];
        error.os_error = codes[i].code;
        (void)snprintf(details, sizeof details, " (call: %s)", codes[i].name);
        describes(&error, details);
    }
    error.os_error = -7;
    describes(&error, " (call: error -7)");
}
#endif

int main(void) {
    RUN(names_and_messages_are_complete);
    RUN(backends_have_names);
    RUN(describe_truncates_like_snprintf);
    RUN(describe_says_where_a_signature_is_wrong);
#if !defined(_WIN32)
    RUN(error_codes_of_the_system_have_names);
#endif
    (void)printf("ok\n");
    return 0;
}
