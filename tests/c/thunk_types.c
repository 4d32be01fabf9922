/* Thunks for values with members: those that are refused, the adapters that signatures share, and some calls.
 * tests/thunk_compilers compares many more with compiled code. */

#include "check.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* What a thunk cannot copy is refused where it would be copied. */
static void values_that_do_not_fit_into_a_frame_are_refused(void) {
    execbuf_signature *signature = parsed("v(l{[3800b]}{[400b]})");
    uint8_t bytes_of_thunk[8192];
    size_t length;
    execbuf_error error;
    CHECK(execbuf_thunk_emit(signature, bytes_of_thunk, sizeof bytes_of_thunk, &length, EXECBUF_ABI_WIN64,
                             EXECBUF_ABI_SYSV64, bytes_of_thunk, &error) == EXECBUF_E_TYPE);
    CHECK(length == 0 && error.position == 2);
    execbuf_signature_free(signature);

    char text[4 + 127 * 8] = "v(";
    for (size_t i = 0; i < 127; i++) {
        strcat(text, "{[19b]}");
    }
    strcat(text, ")");
    signature = parsed(text);
    CHECK(execbuf_thunk_emit(signature, bytes_of_thunk, sizeof bytes_of_thunk, &length, EXECBUF_ABI_WIN64,
                             EXECBUF_ABI_SYSV64, bytes_of_thunk, &error) == EXECBUF_E_TYPE);
    CHECK(length == 0 && error.position == 1 && strstr(error.culprit, "a page of stack") != NULL);
    CHECK(execbuf_thunk_emit(signature, bytes_of_thunk, sizeof bytes_of_thunk, &length, EXECBUF_ABI_WIN64,
                             EXECBUF_ABI_WIN64, bytes_of_thunk, &error) == EXECBUF_OK);
    execbuf_signature_free(signature);
}

/* Signatures without members always have a thunk. */
static void the_most_wide_values_fit(void) {
    static const char letters[] = "xm";
    for (size_t i = 0; i < 4; i++) {
        static const execbuf_abi abis[] = {EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64};
        char text[EXECBUF_MAX_ARGUMENTS + 4] = "x(";
        uint8_t bytes_of_thunk[4096];
        size_t length;
        memset(text + 2, letters[i / 2], EXECBUF_MAX_ARGUMENTS);
        text[2 + EXECBUF_MAX_ARGUMENTS] = ')';
        execbuf_signature *signature = parsed(text);
        CHECK(execbuf_thunk_emit(signature, bytes_of_thunk, sizeof bytes_of_thunk, &length, abis[i % 2],
                                 abis[1 - i % 2], text, NULL) == EXECBUF_OK);
        CHECK(bytes_of_thunk[length - 1] == 0xc3); /* ret */
        execbuf_signature_free(signature);
    }
}

/* ---- Sharing ---- */

#if defined(__x86_64__)
static execbuf thunk_of(execbuf_pool *pool, const char *text, execbuf_abi caller_abi) {
    const execbuf_abi callee_abi = caller_abi == EXECBUF_ABI_SYSV64 ? EXECBUF_ABI_WIN64 : EXECBUF_ABI_SYSV64;
    execbuf_signature *signature = parsed(text);
    execbuf thunk;
    CHECK(execbuf_thunk_new(pool, &thunk, signature, caller_abi, callee_abi, text, NULL) == EXECBUF_OK);
    execbuf_signature_free(signature);
    return thunk;
}

/* How many buffers two thunks are: with a stub each, three if they share an adapter, else four. */
static void check_sharing(const char *one, const char *other, execbuf_abi caller_abi, uint64_t wanted) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    for (int turn = 0; turn < 3; turn++) {
        execbuf first = thunk_of(pool, one, caller_abi);
        execbuf second = thunk_of(pool, other, caller_abi);
        CHECK(stats_of(pool).live == wanted);
        CHECK(execbuf_free(&first) == EXECBUF_OK && execbuf_free(&second) == EXECBUF_OK);
        CHECK(stats_of(pool).live == 0);
    }
    execbuf_pool_free(pool);
}

static void values_that_are_moved_alike_share_an_adapter(void) {
    static const char *const alike[][2] = {
        {"v({ll})", "v({Ll})"},        {"v({l})", "v(l)"},       {"{i}({hh})", "l({bb})"},
        {"{f}({f})", "{d}({d})"},      {"{lll}()", "{[99b]}()"}, {"!{bi}(l)", "{[4l]}(L)"},
        {"{dd}({ff})", "{[2d]}({d})"}, {"x(m)", "X(m)"},         {"m()", "d()"},
    };
    static const char *const different[][2] = {
        {"v({ll})", "v({ld})"},
        {"v({dl})", "v({ld})"},
        {"v({ll})", "v({lll})"},
        {"v({d})", "v(d)"},
        {"v({d})", "v({l})"},
        {"v({[9b]})", "v({[10b]})"},
        {"v({[17b]})", "v({lll})"},
        {"v(@16{[4l]})", "v({[4l]})"},
        {"v(x)", "v(m)"},
        {"{ll}()", "{lll}()"},
        {"{[9b]}()", "{[10b]}()"},
        {"{d}()", "{l}()"},
        {"x()", "l()"},
        {"{m}()", "m()"},
        {"v(!{bHb})", "v({hh})"},
        {"v({ll}{dd})", "v({dd}{ll})"},
        {"{ll}({dd})", "{dd}({ll})"},
        {"v({ll}{ll})", "v({ll}{dd})"},
    };
    for (size_t i = 0; i < 2 * COUNT(alike); i++) {
        const execbuf_abi abi = i % 2 == 0 ? EXECBUF_ABI_SYSV64 : EXECBUF_ABI_WIN64;
        check_sharing(alike[i / 2][0], alike[i / 2][1], abi, 3);
    }
    for (size_t i = 0; i < 2 * COUNT(different); i++) {
        const execbuf_abi abi = i % 2 == 0 ? EXECBUF_ABI_SYSV64 : EXECBUF_ABI_WIN64;
        check_sharing(different[i / 2][0], different[i / 2][1], abi, 4);
    }
}

/* ---- Calls ---- */

#define SYSV64 __attribute__((sysv_abi))
#define WIN64 __attribute__((ms_abi))

typedef struct three {
    int64_t a, b, c;
} three;

typedef struct pair {
    int64_t a, b;
} pair;

typedef struct __attribute__((packed)) odd {
    int8_t a;
    int16_t b;
    int8_t c;
} odd;

typedef struct bytes {
    uint8_t at[7];
} bytes;

static SYSV64 odd take_by_sysv64(pair one, pair other, int64_t c, int64_t d) {
    odd sums = {0, 0, 0};
    sums.a = (int8_t)(one.a + 2 * one.b);
    sums.b = (int16_t)(other.a + 2 * other.b);
    sums.c = (int8_t)(c + 2 * d);
    return sums;
}

static WIN64 odd take_by_win64(int64_t a) {
    odd made = {0, 0, 0};
    made.a = (int8_t)a;
    made.b = (int16_t)(a + 1);
    made.c = (int8_t)(a + 2);
    return made;
}

static WIN64 bytes seven(bytes in, three unused) {
    bytes out;
    for (size_t i = 0; i < 7; i++) {
        out.at[i] = (uint8_t)(in.at[6 - i] + (uint8_t)unused.c);
    }
    return out;
}

static void *entry_of(const execbuf *thunk) {
    void *entry;
    execbuf_function function = execbuf_entry(thunk, 0);
    memcpy(&entry, (const void *)&function, sizeof entry);
    return entry;
}

static void set_target(execbuf *thunk, const char *text, execbuf_abi caller_abi, void (*target)(void)) {
    const execbuf_abi callee_abi = caller_abi == EXECBUF_ABI_SYSV64 ? EXECBUF_ABI_WIN64 : EXECBUF_ABI_SYSV64;
    const void *address;
    execbuf_signature *signature = parsed(text);
    memcpy(&address, (const void *)&target, sizeof address);
    CHECK(execbuf_thunk_new(NULL, thunk, signature, caller_abi, callee_abi, address, NULL) == EXECBUF_OK);
    execbuf_signature_free(signature);
}

/* The registers of the first two arguments form a cycle: each is read through the other. */
static void registers_that_form_a_cycle_are_exchanged(void) {
    typedef odd WIN64 function(pair, pair, int64_t, int64_t);
    execbuf thunk;
    set_target(&thunk, "!{bhb}({ll}{ll}ll)", EXECBUF_ABI_WIN64, (void (*)(void))take_by_sysv64);
    const pair one = {1, 2};
    const pair other = {3, 4};
    void *entry = entry_of(&thunk);
    function *volatile call_it;
    memcpy((void *)&call_it, &entry, sizeof entry);
    odd sums = call_it(one, other, 5, 6);
    CHECK(sums.a == 5 && sums.b == 11 && sums.c == 17);
    CHECK(execbuf_free(&thunk) == EXECBUF_OK);
}

/* Four bytes are stored, and the bytes around them are not. */
static void results_are_stored_with_their_exact_size(void) {
    typedef void *SYSV64 function(void *, int64_t);
    execbuf thunk;
    set_target(&thunk, "!{bhb}(l)", EXECBUF_ABI_SYSV64, (void (*)(void))take_by_win64);
    void *entry = entry_of(&thunk);
    function *volatile call_it;
    memcpy((void *)&call_it, &entry, sizeof entry);
    uint8_t memory[12];
    memset(memory, 0xa5, sizeof memory);
    CHECK(call_it(memory + 4, 16) == memory + 4);
    static const uint8_t wanted[] = {0xa5, 0xa5, 0xa5, 0xa5, 16, 17, 0, 18, 0xa5, 0xa5, 0xa5, 0xa5};
    CHECK(memcmp(memory, wanted, sizeof wanted) == 0);
    CHECK(execbuf_free(&thunk) == EXECBUF_OK);
}

static void small_and_large_structs_cross(void) {
    typedef bytes SYSV64 function(bytes, three);
    execbuf thunk;
    set_target(&thunk, "{[7b]}({[7b]}{lll})", EXECBUF_ABI_SYSV64, (void (*)(void))seven);
    void *entry = entry_of(&thunk);
    function *volatile call_it;
    memcpy((void *)&call_it, &entry, sizeof entry);
    const bytes in = {{1, 2, 3, 4, 5, 6, 7}};
    const three last = {8, 9, 10};
    const bytes out = call_it(in, last);
    for (uint8_t i = 0; i < 7; i++) {
        CHECK(out.at[i] == 17 - i);
    }
    CHECK(execbuf_free(&thunk) == EXECBUF_OK);
}
#endif

int main(void) {
    RUN(values_that_do_not_fit_into_a_frame_are_refused);
    RUN(the_most_wide_values_fit);
#if defined(__x86_64__)
    RUN(values_that_are_moved_alike_share_an_adapter);
    RUN(registers_that_form_a_cycle_are_exchanged);
    RUN(results_are_stored_with_their_exact_size);
    RUN(small_and_large_structs_cross);
#endif
    (void)printf("ok\n");
    return 0;
}
