/* Text for people: the version, names and messages of statuses and backends, and error reports as one line.
 * Pure functions, apart from xb_prim_error_name, which knows the names of the system's error codes. */

#include <stdio.h>

#include "../base/backend.h"
#include "../prim/prim.h"

const char *execbuf_version(void) {
    return EXECBUF_VERSION;
}

uint32_t execbuf_version_number(void) {
    return EXECBUF_VERSION_NUMBER;
}

const char *execbuf_status_name(execbuf_status status) {
    switch (status) {
#define STATUS_NAME(name, value, message)                                                                    \
    case name: return #name;
        EXECBUF_STATUS_MAP(STATUS_NAME)
#undef STATUS_NAME
    }
    return "EXECBUF_E_?";
}

static const char *status_message(execbuf_status status) {
    switch (status) {
#define STATUS_MESSAGE(name, value, message)                                                                 \
    case name: return message;
        EXECBUF_STATUS_MAP(STATUS_MESSAGE)
#undef STATUS_MESSAGE
    }
    return "unknown status";
}

const char *execbuf_status_message(execbuf_status status) {
    return status_message(status);
}

const char *execbuf_backend_name(execbuf_backend backend) {
    return xb_backend_name(backend);
}

/* A text that is being written, with snprintf's rules: what does not fit is dropped but counted. */
typedef struct text_sink {
    char *text;    /* NULL if size is 0 */
    size_t size;   /* of the array at text */
    size_t length; /* of the whole text, kept or not */
} text_sink;

static void put_text(text_sink *to, const char *text) {
    for (; *text != '\0'; text++, to->length++) {
        if (to->length + 1 < to->size) {
            to->text[to->length] = *text;
        }
    }
}

static void put_number(text_sink *to, const char *before, long number, const char *after) {
    char digits[32];
    (void)snprintf(digits, sizeof digits, "%ld", number);
    put_text(to, before);
    put_text(to, digits);
    put_text(to, after);
}

static void put_os_error(text_sink *to, int32_t code) {
    const char *name = xb_prim_error_name(code);
    if (name != NULL) {
        put_text(to, name);
    } else {
        put_number(to, "error ", (long)code, "");
    }
}

/* "mprotect: EACCES", or only "mprotect" if there is no error code. */
static void put_call(text_sink *to, const char *call, int32_t code) {
    put_text(to, call != NULL ? call : "?");
    if (code != 0) {
        put_text(to, ": ");
        put_os_error(to, code);
    }
}

/* "argument 2: ", "result: ", or "argument 2, member 1.3: ". */
static void put_number_of_argument(text_sink *to, const execbuf_error *error) {
    if (error->position > 0) {
        put_number(to, "argument ", (long)error->position, "");
    } else {
        put_text(to, "result");
    }
    for (size_t i = 0; i < sizeof error->path && error->path[i] != 0; i++) {
        put_number(to, i == 0 ? ", member " : ".", error->path[i], "");
    }
    put_text(to, ": ");
}

/* For errors in a signature: "at byte 3: ", or which argument. */
static void put_position(text_sink *to, const execbuf_error *error) {
    if (error->status == EXECBUF_E_SYNTAX) {
        put_number(to, "at byte ", (long)error->position, ": ");
    } else if (error->status == EXECBUF_E_TYPE) {
        put_number_of_argument(to, error);
    }
}

/* What follows the message in parentheses: all attempts, such as "flip: mprotect: EACCES; memfd: …", or if
 * there are none, the argument or call at fault. */
static void put_details(text_sink *to, const execbuf_error *error) {
    put_position(to, error);
    if (error->attempt_count == 0) {
        put_call(to, error->culprit, error->os_error);
        return;
    }
    for (size_t i = 0; i < error->attempt_count && i < EXECBUF_MAX_ATTEMPTS; i++) {
        put_text(to, i == 0 ? "" : "; ");
        put_text(to, xb_backend_name(error->attempts[i].backend));
        put_text(to, ": ");
        put_call(to, error->attempts[i].call, error->attempts[i].os_error);
    }
}

size_t execbuf_error_describe(const execbuf_error *error, char *text, size_t size) {
    text_sink to = {text, text != NULL ? size : 0, 0};
    if (error != NULL) {
        put_text(&to, status_message(error->status));
        if (error->culprit != NULL || error->attempt_count > 0) {
            put_text(&to, " (");
            put_details(&to, error);
            put_text(&to, ")");
        }
    }
    if (to.size > 0) {
        to.text[to.length < to.size ? to.length : to.size - 1] = '\0';
    }
    return to.length;
}
