/* execbuf_signature_parse: the input is a text. A text that is accepted is printed again from the signature,
 * and that text is accepted, too, and means the same; a refused one has a report that points into it. */

#include "fuzz.h"

static char letter_of(int32_t kind) {
    switch (kind) {
#define LETTER(name, value, letter, size, is_signed)                                                         \
    case value: return letter;
        EXECBUF_TYPE_MAP(LETTER)
#undef LETTER
    case EXECBUF_TYPE_STRUCT: return '{';
    case EXECBUF_TYPE_UNION: return '<';
    case EXECBUF_TYPE_ARRAY: return '[';
    case EXECBUF_TYPE_PACKED: return '!';
    case EXECBUF_TYPE_ALIGNED: return '@';
    default: abort();
    }
}

/* Writes a type as text, and returns the end of that. */
static char *print_type(const execbuf_type *type, char *text) {
    *text++ = letter_of(type->kind);
    uint32_t members = type->members == NULL ? 0 : 1;
    if (type->kind == EXECBUF_TYPE_STRUCT || type->kind == EXECBUF_TYPE_UNION) {
        members = type->count;
    } else if (members > 0) {
        text += sprintf(text, "%u", type->count);
    }
    for (uint32_t i = 0; i < members; i++) {
        text = print_type(&type->members[i], text);
    }
    switch (type->kind) {
    case EXECBUF_TYPE_STRUCT: *text++ = '}'; break;
    case EXECBUF_TYPE_UNION: *text++ = '>'; break;
    case EXECBUF_TYPE_ARRAY: *text++ = ']'; break;
    default: break;
    }
    return text;
}

static void print(const execbuf_signature *signature, char *text) {
    text = print_type(&signature->result, text);
    *text++ = '(';
    for (size_t i = 0; i <= signature->count; i++) {
        if (i == signature->fixed) {
            *text++ = '.';
        }
        if (i < signature->count) {
            text = print_type(&signature->arguments[i], text);
        }
    }
    *text++ = ')';
    *text = '\0';
}

/* Each function accepts what the parser made; but a thunk does not copy values that are too large. */
static void use(const execbuf_signature *signature) {
    static const execbuf_abi abis[] = {EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64};
    for (size_t i = 0; i < 4; i++) {
        const execbuf_abi caller_abi = abis[i % 2];
        const execbuf_abi callee_abi = abis[i / 2];
        execbuf_layout layout = EXECBUF_LAYOUT_INIT;
        CHECK(execbuf_layout_of(signature, &layout, caller_abi, NULL) == EXECBUF_OK);
        size_t length;
        const execbuf_status status =
            execbuf_thunk_emit(signature, NULL, 0, &length, caller_abi, callee_abi, &layout, NULL);
        if (status == EXECBUF_E_TYPE && caller_abi != callee_abi) {
            continue;
        }
        CHECK(status == EXECBUF_E_CAPACITY);
        const size_t needed = length;
        void *code = exactly(needed);
        CHECK(execbuf_thunk_emit(signature, code, needed, &length, caller_abi, callee_abi, &layout, NULL) ==
              EXECBUF_OK);
        CHECK(length == needed);
        free(code);
    }
}

/* A caller counts the slots of what the parser made, whose values may be too large to be copied. */
static void make_caller(const execbuf_signature *signature, execbuf_abi abi) {
#if defined(__x86_64__)
    execbuf_caller *caller;
    const execbuf_status status = execbuf_caller_new(&caller, signature, abi, NULL);
    CHECK((caller != NULL) == (status == EXECBUF_OK));
    if (status == EXECBUF_OK) {
        size_t arguments;
        size_t result;
        size_t size;
        size_t end = 0;
        execbuf_caller_slots(caller, &arguments, &result);
        for (size_t i = 0; i < signature->count; i++) {
            CHECK(execbuf_caller_argument(caller, i, &size) == end && size > 0);
            end += size > 8 && size <= 16 ? 2 : 1;
        }
        CHECK(end == arguments && execbuf_caller_argument(caller, signature->count, &size) == end);
    } else {
        CHECK(status == EXECBUF_E_TYPE);
    }
    execbuf_caller_free(caller);
#else
    (void)signature;
    (void)abi;
#endif
}

/* What is printed has other numbers at most: one for each character, and without zeros in front. */
static void check_printed(const execbuf_signature *signature, size_t size) {
    char *one = exactly(2 * size + 8);
    char *other = exactly(2 * size + 8);
    execbuf_signature *again;
    print(signature, one);
    CHECK(strlen(one) <= 2 * size);
    CHECK(execbuf_signature_parse(&again, one, NULL) == EXECBUF_OK);
    print(again, other);
    CHECK(strcmp(one, other) == 0);
    execbuf_signature_free(again);
    free(one);
    free(other);
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
        check_printed(signature, strlen(text));
        use(signature);
        make_caller(signature, EXECBUF_ABI_SYSV64);
        make_caller(signature, EXECBUF_ABI_WIN64);
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
