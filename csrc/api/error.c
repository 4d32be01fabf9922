/* Names and messages: of statuses, backends, versions and whole error reports. */

#include <stdio.h>

#include "../prim/prim.h"

const char *execbuf_version(void) {
    return EXECBUF_VERSION;
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

const char *execbuf_status_message(execbuf_status status) {
    switch (status) {
#define STATUS_MESSAGE(name, value, message)                                                                 \
    case name: return message;
        EXECBUF_STATUS_MAP(STATUS_MESSAGE)
#undef STATUS_MESSAGE
    }
    return "unknown status";
}

const char *execbuf_backend_name(execbuf_backend backend) {
    switch (backend) {
    case EXECBUF_BACKEND_NONE: return "none";
    case EXECBUF_BACKEND_FLIP: return "flip";
    case EXECBUF_BACKEND_MEMFD: return "memfd";
    case EXECBUF_BACKEND_ALIAS: return "alias";
    case EXECBUF_BACKEND_MAP_JIT: return "map-jit";
    case EXECBUF_BACKEND_SECTION: return "section";
    }
    return "?";
}

/* A text of which as much is kept as fits; length counts all of it. */
typedef struct sink {
    char *text;
    size_t size;
    size_t length;
} sink;

static void sink_put(sink *to, const char *text) {
    for (; *text != '\0'; text++, to->length++) {
        if (to->length + 1 < to->size) {
            to->text[to->length] = *text;
        }
    }
}

static void put_number(sink *to, const char *before, long number, const char *after) {
    char digits[32];
    (void)snprintf(digits, sizeof digits, "%ld", number);
    sink_put(to, before);
    sink_put(to, digits);
    sink_put(to, after);
}

static void put_os_error(sink *to, int32_t code) {
    const char *name = xb_prim_error_name(code);
    if (name != NULL) {
        sink_put(to, name);
    } else {
        put_number(to, "error ", (long)code, "");
    }
}

/* "mprotect: EACCES", or only the call where the system gave no code. */
static void put_call(sink *to, const char *call, int32_t code) {
    sink_put(to, call != NULL ? call : "?");
    if (code != 0) {
        sink_put(to, ": ");
        put_os_error(to, code);
    }
}

/* Where in a signature the fault is. */
static void put_position(sink *to, const execbuf_error *error) {
    if (error->status == EXECBUF_E_SYNTAX) {
        put_number(to, "at byte ", (long)error->position, ": ");
    } else if (error->status == EXECBUF_E_TYPE && error->position > 0) {
        put_number(to, "argument ", (long)error->position, ": ");
    } else if (error->status == EXECBUF_E_TYPE) {
        sink_put(to, "result: ");
    }
}

static void put_details(sink *to, const execbuf_error *error) {
    put_position(to, error);
    if (error->attempt_count == 0) {
        put_call(to, error->culprit, error->os_error);
        return;
    }
    for (size_t i = 0; i < error->attempt_count && i < EXECBUF_MAX_ATTEMPTS; i++) {
        sink_put(to, i == 0 ? "" : "; ");
        sink_put(to, execbuf_backend_name(error->attempts[i].backend));
        sink_put(to, ": ");
        put_call(to, error->attempts[i].call, error->attempts[i].os_error);
    }
}

size_t execbuf_error_describe(const execbuf_error *error, char *text, size_t size) {
    sink to = {text, text != NULL ? size : 0, 0};
    if (error != NULL) {
        sink_put(&to, execbuf_status_message(error->status));
        if (error->culprit != NULL || error->attempt_count > 0) {
            sink_put(&to, " (");
            put_details(&to, error);
            sink_put(&to, ")");
        }
    }
    if (to.size > 0) {
        to.text[to.length < to.size ? to.length : to.size - 1] = '\0';
    }
    return to.length;
}
