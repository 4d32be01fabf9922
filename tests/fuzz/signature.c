/* execbuf_signature_parse: the input is a text. A text that is accepted is printed again from the signature;
 * a refused one has a report that points into it. */

#include "fuzz.h"

static char letter_of(int32_t kind) {
    switch (kind) {
#define LETTER(name, value, letter, size, is_signed)                                                         \
    case value: return letter;
        EXECBUF_TYPE_MAP(LETTER)
#undef LETTER
    default: abort();
    }
}

/* Writes a signature as text, which has at most 127 arguments, a result and 4 other characters. */
static void print(const execbuf_signature *signature, char text[EXECBUF_MAX_ARGUMENTS + 5]) {
    *text++ = letter_of(signature->result.kind);
    *text++ = '(';
    for (size_t i = 0; i <= signature->count; i++) {
        if (i == signature->fixed) {
            *text++ = '.';
        }
        if (i < signature->count) {
            *text++ = letter_of(signature->arguments[i].kind);
        }
    }
    *text++ = ')';
    *text = '\0';
}

/* Each function accepts what the parser made. */
static void use(const execbuf_signature *signature) {
    static const execbuf_abi abis[] = {EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64};
    for (size_t i = 0; i < 4; i++) {
        const execbuf_abi caller_abi = abis[i % 2];
        const execbuf_abi callee_abi = abis[i / 2];
        execbuf_layout layout = EXECBUF_LAYOUT_INIT;
        CHECK(execbuf_layout_of(signature, &layout, caller_abi, NULL) == EXECBUF_OK);
        size_t length;
        CHECK(execbuf_thunk_emit(signature, NULL, 0, &length, caller_abi, callee_abi, &layout, NULL) ==
              EXECBUF_E_CAPACITY);
        const size_t needed = length;
        void *code = exactly(needed);
        CHECK(execbuf_thunk_emit(signature, code, needed, &length, caller_abi, callee_abi, &layout, NULL) ==
              EXECBUF_OK);
        CHECK(length == needed);
        free(code);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = exactly(size + 1);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    execbuf_signature *signature = (execbuf_signature *)(void *)text;
    execbuf_error error;
    const execbuf_status status = execbuf_signature_parse(&signature, text, &error);
    CHECK(error.status == status && (signature != NULL) == (status == EXECBUF_OK));
    if (status == EXECBUF_OK) {
        char printed[EXECBUF_MAX_ARGUMENTS + 5];
        print(signature, printed);
        CHECK(strcmp(printed, text) == 0);
        use(signature);
    } else {
        CHECK(status == EXECBUF_E_SYNTAX || status == EXECBUF_E_TYPE || status == EXECBUF_E_ARGUMENTS);
        CHECK(error.culprit != NULL);
        CHECK(error.position <= (status == EXECBUF_E_SYNTAX ? strlen(text) : EXECBUF_MAX_ARGUMENTS));
        char described[512];
        CHECK(execbuf_error_describe(&error, described, sizeof described) < sizeof described);
    }
    execbuf_signature_free(signature);
    free(text);
    return 0;
}
