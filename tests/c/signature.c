/* Signatures, parsed or written by hand, and layouts of both conventions. Except for thunks in pools, all of
 * this works on every machine. structs.c tests signatures of other versions of the header. */

#include "check.h"

/* Checks that each function that takes a signature refuses this one, with the same report and no output. */
static void refused(const execbuf_signature *signature, execbuf_status status, uint32_t position,
                    const char *culprit) {
    static const execbuf_abi abis[] = {EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64};
    for (size_t i = 0; i < 4; i++) {
        const execbuf_abi caller_abi = abis[i % 2];
        const execbuf_abi callee_abi = abis[i / 2];
        execbuf_error error;
        execbuf_layout layout = EXECBUF_LAYOUT_INIT;
        CHECK(execbuf_layout_of(signature, &layout, caller_abi, &error) == status);
        CHECK(error.status == status && error.position == position && strcmp(error.culprit, culprit) == 0);
        uint8_t bytes[512];
        size_t length = 1;
        CHECK(execbuf_thunk_emit(signature, bytes, sizeof bytes, &length, caller_abi, callee_abi, bytes,
                                 &error) == status);
        CHECK(error.status == status && error.position == position && strcmp(error.culprit, culprit) == 0);
        CHECK(length == 0);
        execbuf thunk = {bytes, 1, 1};
        CHECK(execbuf_thunk_new(NULL, &thunk, signature, caller_abi, callee_abi, bytes, &error) == status);
        CHECK(error.status == status && error.position == position && strcmp(error.culprit, culprit) == 0);
        CHECK(is_zero(&thunk));
        CHECK(execbuf_thunk_new(NULL, &thunk, signature, caller_abi, callee_abi, bytes, NULL) == status);
    }
}

static execbuf_type int_type(void) {
    execbuf_type type = EXECBUF_SCALAR(EXECBUF_TYPE_I32);
    return type;
}

static void invalid_signatures_are_reported(void) {
    execbuf_type types[128];
    for (size_t i = 0; i < 128; i++) {
        types[i] = int_type();
    }
    const execbuf_signature good = EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I32), types, 2);
    execbuf_signature bad = good;
    refused(NULL, EXECBUF_E_NULL, 0, "signature");
    bad.arguments = NULL;
    refused(&bad, EXECBUF_E_NULL, 0, "arguments");
    bad = good;
    bad.count = 128;
    refused(&bad, EXECBUF_E_ARGUMENTS, 0, "count");
    bad.count = SIZE_MAX;
    refused(&bad, EXECBUF_E_ARGUMENTS, 0, "count");
    bad = good;
    bad.fixed = 3;
    refused(&bad, EXECBUF_E_ARGUMENTS, 0, "fixed");
    bad.fixed = EXECBUF_NOT_VARIADIC - 1;
    refused(&bad, EXECBUF_E_ARGUMENTS, 0, "fixed");
    bad.fixed = 1;
    types[1].kind = EXECBUF_TYPE_F32;
    refused(&bad, EXECBUF_E_TYPE, 2, "in \"...\", C passes int, or double; write i, I or d");
}

static void invalid_types_are_reported(void) {
    static const int32_t kinds[] = {13, -1, 256, 512 + 6, INT32_MAX, INT32_MIN};
    execbuf_type types[9];
    for (size_t i = 0; i < 9; i++) {
        types[i] = int_type();
    }
    const execbuf_signature good = EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I32), types, 9);
    for (uint32_t at = 0; at < 9; at++) {
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            types[at].kind = kinds[i];
            refused(&good, EXECBUF_E_TYPE, at + 1, "not an execbuf_type_kind");
        }
        types[at].kind = EXECBUF_TYPE_VOID;
        refused(&good, EXECBUF_E_TYPE, at + 1, "void is no argument; \"v()\" has none");
        types[at] = int_type();
        types[at].count = 1;
        refused(&good, EXECBUF_E_TYPE, at + 1, "a scalar has no members");
        types[at] = int_type();
        types[at].members = types;
        refused(&good, EXECBUF_E_TYPE, at + 1, "a scalar has no members");
        types[at] = int_type();
    }
    execbuf_signature bad = good;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        bad.result.kind = kinds[i];
        refused(&bad, EXECBUF_E_TYPE, 0, "not an execbuf_type_kind");
    }
    bad = good;
    bad.result.count = 1;
    refused(&bad, EXECBUF_E_TYPE, 0, "a scalar has no members");
    bad = good;
    bad.result.members = types;
    refused(&bad, EXECBUF_E_TYPE, 0, "a scalar has no members");
}

static void layouts_have_registers_and_stack_offsets(void) {
    execbuf_signature *signature = parsed("v(piiiid)");
    execbuf_layout layout = EXECBUF_LAYOUT_INIT;
    execbuf_error error;
    CHECK(execbuf_layout_of(signature, &layout, EXECBUF_ABI_WIN64, &error) == EXECBUF_OK);
    CHECK(error.status == EXECBUF_OK && error.culprit == NULL);
    CHECK(layout.result.where == EXECBUF_NOWHERE && layout.stack_size == 48 && layout.vector_count == 0);
    CHECK(layout.arguments[0].where == EXECBUF_IN_GENERAL && layout.arguments[0].number == 1);
    CHECK(layout.arguments[3].where == EXECBUF_IN_GENERAL && layout.arguments[3].number == 9);
    CHECK(layout.arguments[4].where == EXECBUF_ON_STACK && layout.arguments[4].offset == 32);
    CHECK(layout.arguments[5].where == EXECBUF_ON_STACK && layout.arguments[5].offset == 40);
    CHECK(layout.arguments[6].where == EXECBUF_NOWHERE);
    execbuf_signature_free(signature);
}

static void text_is_parsed(void) {
    execbuf_error error;
    execbuf_signature *signature = NULL;
    CHECK(execbuf_signature_parse(&signature, "i(p.id)", &error) == EXECBUF_OK);
    CHECK(error.status == EXECBUF_OK && error.culprit == NULL && error.position == 0);
    CHECK(signature->size == sizeof *signature && signature->count == 3 && signature->fixed == 1);
    CHECK(signature->result.kind == EXECBUF_TYPE_I32 && signature->arguments[0].kind == EXECBUF_TYPE_POINTER);
    CHECK(signature->arguments[1].kind == EXECBUF_TYPE_I32);
    CHECK(signature->arguments[2].kind == EXECBUF_TYPE_F64);
    CHECK(signature->arguments[2].count == 0 && signature->arguments[2].members == NULL);
    execbuf_signature_free(signature);
    signature = parsed("v()");
    CHECK(signature->count == 0 && signature->fixed == EXECBUF_NOT_VARIADIC);
    CHECK(signature->result.kind == EXECBUF_TYPE_VOID);
    execbuf_signature_free(signature);
    execbuf_signature_free(NULL);
    signature = (execbuf_signature *)(void *)&error;
    CHECK(execbuf_signature_parse(&signature, "i(p", &error) == EXECBUF_E_SYNTAX && signature == NULL);
    CHECK(error.position == 3);
    CHECK(execbuf_signature_parse(&signature, "i(px)", &error) == EXECBUF_E_TYPE && error.position == 2);
    CHECK(execbuf_signature_parse(NULL, "v()", &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "out") == 0);
    CHECK(execbuf_signature_parse(&signature, NULL, &error) == EXECBUF_E_NULL && signature == NULL);
    CHECK(strcmp(error.culprit, "text") == 0);
}

static void malformed_text_is_reported(void) {
    static const struct {
        const char *text;
        execbuf_status status;
        uint32_t position;
        const char *culprit;
    } texts[] = {
        {"", EXECBUF_E_SYNTAX, 0, "the text ends here; a type is missing"},
        {"q()", EXECBUF_E_SYNTAX, 0, "no type has this letter"},
        {"i", EXECBUF_E_SYNTAX, 1, "'(' is missing"},
        {"i(", EXECBUF_E_SYNTAX, 2, "the text ends here; ')' is missing"},
        {"i(i q)", EXECBUF_E_SYNTAX, 3, "no type has this letter"},
        {"i(.i.)", EXECBUF_E_SYNTAX, 4, "a second full stop"},
        {"i()i()", EXECBUF_E_SYNTAX, 3, "more text than one signature"},
        {"i(iv)", EXECBUF_E_TYPE, 2, "void is no argument; \"v()\" has none"},
        {"i(.ib)", EXECBUF_E_TYPE, 2, "in \"...\", C passes int, or double; write i, I or d"},
        {"i(long)", EXECBUF_E_TYPE, 1, "long has 4 bytes on Windows and 8 elsewhere; use i or l"},
        {"x()", EXECBUF_E_TYPE, 0, "i128 is not supported yet; pass a pointer"},
    };
    execbuf_signature *signature;
    execbuf_error error;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        signature = (execbuf_signature *)(void *)&error;
        CHECK(execbuf_signature_parse(&signature, texts[i].text, &error) == texts[i].status);
        CHECK(signature == NULL && error.status == texts[i].status && error.position == texts[i].position);
        CHECK(strcmp(error.culprit, texts[i].culprit) == 0);
    }
    char text[EXECBUF_MAX_ARGUMENTS + 5] = "i(";
    memset(text + 2, 'd', EXECBUF_MAX_ARGUMENTS);
    text[2 + EXECBUF_MAX_ARGUMENTS] = ')';
    execbuf_signature_free(parsed(text));
    text[2 + EXECBUF_MAX_ARGUMENTS] = 'd';
    text[3 + EXECBUF_MAX_ARGUMENTS] = ')';
    CHECK(execbuf_signature_parse(&signature, text, &error) == EXECBUF_E_ARGUMENTS);
    CHECK(strcmp(error.culprit, "text") == 0);
}

/* Checks that emitting needs a capacity of exactly the length, and writes nothing if it has less. */
static void check_capacity(const char *text, execbuf_abi caller_abi, execbuf_abi callee_abi) {
    execbuf_signature *signature = parsed(text);
    uint8_t bytes[4096];
    size_t needed;
    size_t length;
    execbuf_error error;
    CHECK(execbuf_thunk_emit(signature, NULL, 0, &needed, caller_abi, callee_abi, bytes, &error) ==
          EXECBUF_E_CAPACITY);
    CHECK(strcmp(error.culprit, "capacity") == 0 && needed > 4 && needed < sizeof bytes);
    memset(bytes, 0xa5, sizeof bytes);
    CHECK(execbuf_thunk_emit(signature, bytes, needed - 1, &length, caller_abi, callee_abi, bytes, &error) ==
          EXECBUF_E_CAPACITY);
    CHECK(length == needed && bytes[0] == 0xa5 && memcmp(bytes, bytes + 1, sizeof bytes - 1) == 0);
    CHECK(execbuf_thunk_emit(signature, bytes, needed, &length, caller_abi, callee_abi, bytes, &error) ==
          EXECBUF_OK);
    static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
    CHECK(length == needed && memcmp(bytes, endbr64, sizeof endbr64) == 0 && bytes[needed] == 0xa5);
    CHECK(caller_abi == callee_abi || bytes[needed - 1] == 0xc3); /* ret */
    execbuf_signature_free(signature);
}

static void emitted_thunks_have_exactly_their_length(void) {
    static const char *const texts[] = {"v()", "?(bBhHiIlLpfd)", "d(fdfdfdfdfdfd)", "i(p.ididididid)"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        check_capacity(texts[i], EXECBUF_ABI_SYSV64, EXECBUF_ABI_SYSV64);
        check_capacity(texts[i], EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64);
        check_capacity(texts[i], EXECBUF_ABI_WIN64, EXECBUF_ABI_SYSV64);
        check_capacity(texts[i], EXECBUF_ABI_WIN64, EXECBUF_ABI_WIN64);
    }
}

static void emitting_checks_its_arguments(void) {
    execbuf_signature *signature = parsed("i(p)");
    const execbuf_abi known = EXECBUF_ABI_SYSV64;
    const execbuf_abi unknown = (execbuf_abi)7;
    uint8_t bytes[64];
    size_t length = 1;
    execbuf_error error;
    CHECK(execbuf_thunk_emit(signature, bytes, 1, NULL, known, known, bytes, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "length") == 0);
    CHECK(execbuf_thunk_emit(signature, NULL, 1, &length, known, known, bytes, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "out") == 0 && length == 0);
    CHECK(execbuf_thunk_emit(signature, bytes, 1, &length, known, known, NULL, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "target") == 0 && length == 0);
    CHECK(execbuf_thunk_emit(signature, bytes, 1, &length, unknown, known, bytes, &error) == EXECBUF_E_ABI);
    CHECK(strcmp(error.culprit, "caller_abi") == 0 && length == 0);
    CHECK(execbuf_thunk_emit(signature, bytes, 1, &length, known, unknown, bytes, &error) == EXECBUF_E_ABI);
    CHECK(strcmp(error.culprit, "callee_abi") == 0 && length == 0);
    execbuf_signature_free(signature);
}

int main(void) {
    RUN(invalid_signatures_are_reported);
    RUN(invalid_types_are_reported);
    RUN(layouts_have_registers_and_stack_offsets);
    RUN(text_is_parsed);
    RUN(malformed_text_is_reported);
    RUN(emitted_thunks_have_exactly_their_length);
    RUN(emitting_checks_its_arguments);
    (void)printf("ok\n");
    return 0;
}
