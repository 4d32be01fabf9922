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

int main(void) {
    RUN(invalid_signatures_are_reported);
    RUN(invalid_types_are_reported);
    RUN(layouts_have_registers_and_stack_offsets);
    RUN(text_is_parsed);
    (void)printf("ok\n");
    return 0;
}
