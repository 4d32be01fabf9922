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
    static const int32_t kinds[] = {21, -1, 128, 256, 512 + 6, INT32_MAX, INT32_MIN};
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
    CHECK(layout.arguments[5].size == 8 && layout.arguments[1].size == 4 && layout.result.size == 0);
    CHECK(layout.result_pointer.where == EXECBUF_NOWHERE);
    execbuf_signature_free(signature);
}

/* Whether a value is in one register, or with a second one in two. */
static int is_in(const execbuf_location *location, int32_t where, uint32_t number, int32_t second_where,
                 uint32_t second_number) {
    return location->where == where && location->number == number && location->second_where == second_where &&
           location->second_number == second_number && location->is_reference == 0 && location->offset == 0;
}

static int is_on_stack(const execbuf_location *location, uint32_t offset, uint32_t is_reference) {
    return location->where == EXECBUF_ON_STACK && location->offset == offset &&
           location->is_reference == is_reference && location->second_where == EXECBUF_NOWHERE;
}

static void layouts_have_values_in_pieces(void) {
    enum { G = EXECBUF_IN_GENERAL, V = EXECBUF_IN_VECTOR, N = EXECBUF_NOWHERE };
    execbuf_signature *signature = parsed("{lll}({ld}{ff}llx{ll}lx{[5b]}m@16{d})");
    execbuf_layout layout = EXECBUF_LAYOUT_INIT;
    const execbuf_location *at = layout.arguments;
    CHECK(execbuf_layout_of(signature, &layout, EXECBUF_ABI_SYSV64, NULL) == EXECBUF_OK);
    CHECK(layout.result.is_reference == 1 && layout.result.where == G && layout.result.number == 0);
    CHECK(layout.result.size == 24 && is_in(&layout.result_pointer, G, 7, N, 0)); /* rdi */
    CHECK(is_in(&at[0], G, 6, V, 0) && at[0].size == 16);                         /* rsi, xmm0 */
    CHECK(is_in(&at[1], V, 1, N, 0) && at[1].size == 8);
    CHECK(is_in(&at[2], G, 2, N, 0) && is_in(&at[3], G, 1, N, 0)); /* rdx, rcx */
    CHECK(is_in(&at[4], G, 8, G, 9));                              /* r8, r9 */
    CHECK(is_on_stack(&at[5], 0, 0) && is_on_stack(&at[6], 16, 0));
    CHECK(is_on_stack(&at[7], 32, 0)); /* aligned to 16 */
    CHECK(is_on_stack(&at[8], 48, 0) && at[8].size == 5);
    CHECK(is_in(&at[9], V, 2, N, 0) && at[9].size == 16);
    CHECK(is_in(&at[10], V, 3, N, 0) && at[10].size == 16); /* the other half is padding */
    CHECK(layout.stack_size == 56 && layout.vector_count == 4);
    CHECK(execbuf_layout_of(signature, &layout, EXECBUF_ABI_WIN64, NULL) == EXECBUF_OK);
    CHECK(layout.result.is_reference == 1 && layout.result.where == G && layout.result.number == 0);
    CHECK(is_in(&layout.result_pointer, G, 1, N, 0)); /* rcx */
    CHECK(at[0].is_reference == 1 && at[0].where == G && at[0].number == 2 && at[0].size == 16);
    CHECK(is_in(&at[1], G, 8, N, 0) && is_in(&at[2], G, 9, N, 0));
    CHECK(is_on_stack(&at[3], 32, 0) && is_on_stack(&at[4], 40, 1) && is_on_stack(&at[5], 48, 1));
    CHECK(layout.stack_size == 96 && layout.vector_count == 0);
    execbuf_signature_free(signature);
}

/* Registers that a value does not get stay for later ones. */
static void values_are_in_registers_as_a_whole(void) {
    enum { G = EXECBUF_IN_GENERAL, V = EXECBUF_IN_VECTOR, N = EXECBUF_NOWHERE };
    execbuf_signature *signature = parsed("{dl}(lllll{ll}ddddddd{dd}{ld}d)");
    execbuf_layout layout = EXECBUF_LAYOUT_INIT;
    const execbuf_location *at = layout.arguments;
    CHECK(execbuf_layout_of(signature, &layout, EXECBUF_ABI_SYSV64, NULL) == EXECBUF_OK);
    CHECK(is_in(&layout.result, V, 0, G, 0) && layout.result_pointer.where == N);
    CHECK(is_on_stack(&at[5], 0, 0) && is_on_stack(&at[13], 16, 0));
    CHECK(is_in(&at[14], G, 9, V, 7) && is_on_stack(&at[15], 32, 0));
    CHECK(layout.stack_size == 40 && layout.vector_count == 8);
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
    CHECK(execbuf_signature_parse(&signature, "i(p{})", &error) == EXECBUF_E_TYPE && error.position == 2);
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
        {"{i(i)", EXECBUF_E_SYNTAX, 2, "no type has this letter"},
        {"{i", EXECBUF_E_SYNTAX, 2, "the text ends here; '}' is missing"},
        {"<i", EXECBUF_E_SYNTAX, 2, "the text ends here; '>' is missing"},
        {"<i}()", EXECBUF_E_SYNTAX, 2, "no type has this letter"},
        {"v({[i]})", EXECBUF_E_SYNTAX, 4, "a number is missing"},
        {"v({[2i})", EXECBUF_E_SYNTAX, 6, "']' is missing"},
        {"v({[2", EXECBUF_E_SYNTAX, 5, "the text ends here; a type is missing"},
        {"v(@{i})", EXECBUF_E_SYNTAX, 3, "a number is missing"},
        {"v(i_BitInt(3))", EXECBUF_E_TYPE, 2,
         "_BitInt has no form that compilers agree on; use an integer of this size"},
        {"_Float16()", EXECBUF_E_TYPE, 0, "_Float16 has no form that compilers agree on; pass f"},
        {"v(_Complex float)", EXECBUF_E_TYPE, 1, "write float _Complex as {ff}, double _Complex as {dd}"},
        {"v(__m256)", EXECBUF_E_TYPE, 1,
         "m is a vector of 128 bits; compilers disagree on others, so pass a pointer"},
        {"v({i:3})", EXECBUF_E_TYPE, 1,
         "write the integer that holds a bit-field; unnamed ones are passed differently by each compiler"},
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
    static const char *const texts[] = {
        "v()",
        "?(bBhHiIlLpfd)",
        "d(fdfdfdfdfdfd)",
        "i(p.ididididid)",
        "x(xm{[7b]}{dl}{[200b]})",
        "{fff}({fff}ddd{ll}{fff}m{[7b]})",
        "{[7b]}(lllllll{[5b]}{[3b]}{[13b]}l{[13b]})",
    };
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
    RUN(layouts_have_values_in_pieces);
    RUN(values_are_in_registers_as_a_whole);
    RUN(text_is_parsed);
    RUN(malformed_text_is_reported);
    RUN(emitted_thunks_have_exactly_their_length);
    RUN(emitting_checks_its_arguments);
    (void)printf("ok\n");
    return 0;
}
