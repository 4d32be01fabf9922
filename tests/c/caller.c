/* Dynamic calls: slots, errors, and which callers share code. tests/thunk_compilers compares many signatures
 * with compiled code, call_unwind.cpp and frame_pointer.c test how exceptions pass. */

#include "check.h"

#include <stdbool.h>

#if defined(HAS_CLOSURES)

/* Without code, calls are slower; run.sh compiles this program a second time, to test that. */
#if defined(EXECBUF_PRIM_STUB)
#define HAS_CODE 0
#else
#define HAS_CODE 1
#endif

static execbuf_caller *caller_of(const char *text, execbuf_abi abi) {
    execbuf_caller *caller;
    execbuf_error error;
    execbuf_signature *signature = parsed(text);
    CHECK(execbuf_caller_new(&caller, signature, abi, &error) == EXECBUF_OK);
    CHECK(error.status == (HAS_CODE ? EXECBUF_OK : EXECBUF_E_UNSUPPORTED));
    execbuf_signature_free(signature);
    return caller;
}

/* ---- Slots ---- */

static void check_slots(const char *text, size_t wanted_arguments, size_t wanted_result) {
    size_t arguments = 99;
    size_t result = 99;
    execbuf_caller *caller = caller_of(text, EXECBUF_ABI_NATIVE);
    execbuf_caller_slots(caller, &arguments, &result);
    CHECK(arguments == wanted_arguments && result == wanted_result);
    execbuf_caller_free(caller);
}

static void slots_are_counted(void) {
    check_slots("v()", 0, 0);
    check_slots("b(bhild)", 5, 1);
    check_slots("f(pf?)", 3, 1);
    check_slots("x(xm)", 4, 2);
    check_slots("m({b}{[8b]}{[9b]}{[16b]})", 6, 2);
    check_slots("{[17b]}({[17b]}{[3000b]})", 2, 3);
    check_slots("{[3b]}(l)", 1, 1);
    check_slots("{[65536b]}(p.id)", 3, 8192);
    check_slots("@16{l}(@16{l})", 2, 2);
}

static void arguments_have_places(void) {
    static const size_t wanted[][2] = {{0, 4}, {1, 16}, {3, 40}, {4, 8}, {5, 0}};
    execbuf_caller *caller = caller_of("v(i{ll}{[40b]}d)", EXECBUF_ABI_NATIVE);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        size_t size = 99;
        CHECK(execbuf_caller_argument(caller, i, &size) == wanted[i][0] && size == wanted[i][1]);
    }
    size_t size = 99;
    CHECK(execbuf_caller_argument(caller, SIZE_MAX, &size) == 5 && size == 0);
    execbuf_caller_free(caller);
}

/* ---- Results ---- */

/* Each returns a value with other bits above it. */
static int64_t minus_two(void) {
    return (int64_t)0x1234567800000000 | 0xfffffffe;
}

static int64_t mixed_bytes(void) {
    return 0x1122334455660180;
}

static void small_results_are_extended(void) {
    static const struct {
        const char *text;
        int64_t (*function)(void);
        uint64_t wanted;
    } cases[] = {
        {"i()", minus_two, (uint64_t)-2},         {"I()", minus_two, 0xfffffffe},
        {"h()", minus_two, (uint64_t)-2},         {"H()", minus_two, 0xfffe},
        {"b()", minus_two, (uint64_t)-2},         {"B()", minus_two, 0xfe},
        {"b()", mixed_bytes, (uint64_t)-128},     {"h()", mixed_bytes, 0x0180},
        {"l()", mixed_bytes, 0x1122334455660180}, {"p()", mixed_bytes, 0x1122334455660180},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        execbuf_slot result[3] = {{7}, {7}, {7}};
        execbuf_caller *caller = caller_of(cases[i].text, EXECBUF_ABI_NATIVE);
        execbuf_call(caller, (execbuf_function)cases[i].function, NULL, result + 1);
        CHECK(result[0].u == 7 && result[1].u == cases[i].wanted && result[2].u == 7);
        execbuf_caller_free(caller);
    }
}

typedef struct twelve {
    int32_t a, b, c;
} twelve;

typedef struct twenty {
    int32_t at[5];
} twenty;

static twelve sums(twelve one, int8_t two) {
    twelve out = {one.a + two, one.b + two, one.c + two};
    return out;
}

/* It changes its copy of the argument. */
static twenty reversed(twenty in) {
    for (int i = 0; i < 2; i++) {
        int32_t first = in.at[i];
        in.at[i] = in.at[4 - i];
        in.at[4 - i] = first;
    }
    return in;
}

static void structs_are_passed(void) {
    execbuf_slot arguments[3];
    execbuf_slot result[3];
    const twelve in = {1, 2, 3};
    memset(arguments, 0xee, sizeof arguments);
    memcpy(arguments, &in, sizeof in);
    arguments[2].bytes[0] = 0xff; /* -1; the other bytes are 0xee */
    execbuf_caller *caller = caller_of("{iii}({iii}b)", EXECBUF_ABI_NATIVE);
    execbuf_call(caller, (execbuf_function)sums, arguments, result);
    const twelve wanted = {0, 1, 2};
    CHECK(memcmp(result, &wanted, sizeof wanted) == 0);
    execbuf_caller_free(caller);

    const twenty long_in = {{1, 2, 3, 4, 5}};
    const twenty long_wanted = {{5, 4, 3, 2, 1}};
    arguments[0].cp = &long_in;
    memset(result, 0xee, sizeof result);
    caller = caller_of("{[5i]}({[5i]})", EXECBUF_ABI_NATIVE);
    execbuf_call(caller, (execbuf_function)reversed, arguments, result);
    CHECK(memcmp(result, &long_wanted, sizeof long_wanted) == 0 && result[2].bytes[4] == 0xee);
    CHECK(long_in.at[0] == 1 && arguments[0].cp == &long_in);
    execbuf_caller_free(caller);
}

static void variadic_functions_are_called(void) {
    char text[64];
    execbuf_slot arguments[6];
    execbuf_slot result;
    execbuf_caller *caller = caller_of("i(pLp.idp)", EXECBUF_ABI_NATIVE);
    int (*function)(char *, size_t, const char *, ...) = snprintf;
    arguments[0].p = text;
    arguments[1].u = sizeof text;
    arguments[2].cp = "%d %g %s";
    arguments[3].i = -42;
    arguments[4].d = 1.5;
    arguments[5].cp = "x";
    execbuf_call(caller, (execbuf_function)function, arguments, &result);
    CHECK(result.i == 9 && strcmp(text, "-42 1.5 x") == 0);
    execbuf_caller_free(caller);
}

/* ---- Sharing ---- */

#if HAS_CODE

/* The address of a caller's code, its first member. */
static const void *code_of(const execbuf_caller *caller) {
    const void *entry;
    memcpy((void *)&entry, (const void *)caller, sizeof entry);
    return entry;
}

static int share(const char *one, const char *other, execbuf_abi abi) {
    execbuf_caller *first = caller_of(one, abi);
    execbuf_caller *second = caller_of(other, abi);
    int same = code_of(first) == code_of(second);
    execbuf_caller_free(first);
    execbuf_caller_free(second);
    return same;
}

#if defined(__x86_64__)

static void callers_share_code(void) {
    static const execbuf_abi abis[] = {EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64};
    static const char *const alike[][2] = {
        {"i(il)", "i(LI)"},     {"l(p)", "p(l)"},         {"d(fd)", "f(df)"},     {"?(l)", "B(l)"},
        {"v({ll})", "v({Ll})"}, {"x(m)", "X(m)"},         {"{i}(l)", "l(l)"},     {"{f}()", "{d}()"},
        {"v({l})", "v(l)"},     {"{lll}()", "{[40l]}()"}, {"{[4b]}()", "{hh}()"},
    };
    static const char *const different[][2] = {
        {"i(l)", "I(l)"},
        {"i(l)", "l(l)"},
        {"b()", "h()"},
        {"f()", "l()"},
        {"v()", "l()"},
        {"v(l)", "v(d)"},
        {"v(l)", "v(ll)"},
        {"v({[17b]})", "v({[18b]})"},
        {"{[9b]}()", "{[10b]}()"},
        {"v({ll})", "v({ld})"},
        {"i(p.d)", "i(pd)"},
        {"x()", "m()"},
    };
    for (size_t i = 0; i < 2; i++) {
        for (size_t n = 0; n < sizeof alike / sizeof alike[0]; n++) {
            CHECK(share(alike[n][0], alike[n][1], abis[i]));
        }
        for (size_t n = 0; n < sizeof different / sizeof different[0]; n++) {
            CHECK(!share(different[n][0], different[n][1], abis[i]));
        }
    }
    CHECK(!share("v({b})", "v(b)", EXECBUF_ABI_SYSV64)); /* only the integer is extended */
    execbuf_caller *first = caller_of("l(l)", EXECBUF_ABI_SYSV64);
    execbuf_caller *second = caller_of("l(l)", EXECBUF_ABI_WIN64);
    CHECK(code_of(first) != code_of(second));
    execbuf_caller_free(first);
    execbuf_caller_free(second);
}

#else

static void callers_share_code(void) {
    CHECK(share("i(Il)", "i(iL)", EXECBUF_ABI_NATIVE) && share("?(l)", "B(p)", EXECBUF_ABI_NATIVE));
    CHECK(share("x({ll})", "X({Ll})", EXECBUF_ABI_NATIVE) && share("v({f})", "v({f})", EXECBUF_ABI_NATIVE));
    CHECK(!share("v(f)", "v(d)", EXECBUF_ABI_NATIVE) && !share("v({ff})", "v({ii})", EXECBUF_ABI_NATIVE));
    CHECK(!share("i()", "I()", EXECBUF_ABI_NATIVE) && !share("v(b)", "v(B)", EXECBUF_ABI_NATIVE));
    CHECK(!share("v({[17b]})", "v({[18b]})", EXECBUF_ABI_NATIVE));
}

#endif

#endif

/* ---- What is refused ---- */

static void refuses(const execbuf_signature *signature, execbuf_abi abi, execbuf_status status,
                    const char *culprit) {
    execbuf_caller *caller = (execbuf_caller *)(void *)&status;
    execbuf_error error;
    CHECK(execbuf_caller_new(&caller, signature, abi, &error) == status && caller == NULL);
    CHECK(error.status == status && strcmp(error.culprit, culprit) == 0);
    CHECK(execbuf_caller_new(&caller, signature, abi, NULL) == status && caller == NULL);
}

static void refuses_large(const char *text, execbuf_abi abi, uint32_t position) {
    execbuf_caller *caller;
    execbuf_error error;
    execbuf_signature *signature = parsed(text);
    CHECK(execbuf_caller_new(&caller, signature, abi, &error) == EXECBUF_E_TYPE && caller == NULL);
    CHECK(error.position == position && strstr(error.culprit, "a page of stack") != NULL);
    execbuf_signature_free(signature);
}

static void bad_arguments_are_refused(void) {
    static const execbuf_type none = EXECBUF_SCALAR(EXECBUF_TYPE_VOID);
    static const execbuf_signature good = EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I32), NULL, 0);
    static const execbuf_signature no_arguments =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I32), NULL, 1);
    static const execbuf_signature void_argument =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I32), &none, 1);
    static const execbuf_signature too_many =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I32), &none, 128);
    static const execbuf_signature fixed =
        EXECBUF_VARIADIC_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I32), NULL, 0, 1);
    execbuf_signature old = good;
    execbuf_error error;
    old.size = 0;
    CHECK(execbuf_caller_new(NULL, &good, EXECBUF_ABI_NATIVE, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "out") == 0);
    refuses(NULL, EXECBUF_ABI_NATIVE, EXECBUF_E_NULL, "signature");
    refuses(&no_arguments, EXECBUF_ABI_NATIVE, EXECBUF_E_NULL, "arguments");
    refuses(&void_argument, EXECBUF_ABI_NATIVE, EXECBUF_E_TYPE, "void is no argument; \"v()\" has none");
    refuses(&too_many, EXECBUF_ABI_NATIVE, EXECBUF_E_ARGUMENTS, "count");
    refuses(&fixed, EXECBUF_ABI_NATIVE, EXECBUF_E_ARGUMENTS, "fixed");
    refuses(&old, EXECBUF_ABI_NATIVE, EXECBUF_E_VERSION, "signature");
    for (int abi = -3; abi < 64; abi++) {
#if defined(__x86_64__)
        bool is_known = abi == EXECBUF_ABI_SYSV64 || abi == EXECBUF_ABI_WIN64;
#else
        bool is_known = false;
#endif
        if (abi != EXECBUF_ABI_NATIVE && !is_known) {
            refuses(&good, (execbuf_abi)abi, EXECBUF_E_ABI, "abi");
        }
    }
    execbuf_caller_free(NULL);
}

static void frames_of_more_than_a_page_are_refused(void) {
    refuses_large("v(l{[4100b]})", EXECBUF_ABI_NATIVE, 2);
    refuses_large("v({[2000b]}{[2100b]})", EXECBUF_ABI_NATIVE, 2);
#if defined(__x86_64__)
    refuses_large("v(l{[4100b]})", EXECBUF_ABI_SYSV64, 2);
    refuses_large("v(l{[4100b]})", EXECBUF_ABI_WIN64, 2);
#endif
    check_slots("v({[3000b]})", 1, 0);
}

#if defined(_WIN32)
#define ENTERED_BY_WIN64 1
#else
#define ENTERED_BY_WIN64 0
#endif

/* Signatures without members have a caller. On Windows there are a few whose code would be too long. */
static void the_most_arguments_fit(void) {
#if defined(__x86_64__)
    static const execbuf_abi abis[] = {EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64};
#else
    static const execbuf_abi abis[] = {EXECBUF_ABI_NATIVE};
#endif
    static const char letters[] = "xmldb";
    for (size_t i = 0; i < sizeof abis / sizeof abis[0]; i++) {
        for (size_t n = 0; letters[n] != '\0'; n++) {
            char text[EXECBUF_MAX_ARGUMENTS + 4] = "x(";
            memset(text + 2, letters[n], EXECBUF_MAX_ARGUMENTS);
            text[2 + EXECBUF_MAX_ARGUMENTS] = ')';
            execbuf_caller_free(caller_of(text, abis[i]));
            for (const char *result = "bid"; *result != '\0'; result++) {
                text[0] = *result;
                execbuf_caller *caller = NULL;
                execbuf_signature *signature = parsed(text);
                execbuf_status status = execbuf_caller_new(&caller, signature, abis[i], NULL);
                CHECK(status == EXECBUF_OK || (ENTERED_BY_WIN64 && status == EXECBUF_E_TYPE));
                execbuf_caller_free(caller);
                execbuf_signature_free(signature);
            }
        }
    }
}

int main(void) {
    RUN(bad_arguments_are_refused);
    RUN(slots_are_counted);
    RUN(arguments_have_places);
    RUN(small_results_are_extended);
    RUN(structs_are_passed);
    RUN(variadic_functions_are_called);
#if HAS_CODE
    RUN(callers_share_code);
#endif
    RUN(frames_of_more_than_a_page_are_refused);
    RUN(the_most_arguments_fit);
    (void)printf("ok\n");
    return 0;
}

#else

static void callers_are_refused(void) {
    static const execbuf_abi abis[] = {EXECBUF_ABI_NATIVE, EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64};
    execbuf_signature *signature = parsed("i(ii)");
    for (size_t i = 0; i < 3; i++) {
        execbuf_caller *caller;
        execbuf_error error;
        CHECK(execbuf_caller_new(&caller, signature, abis[i], &error) == EXECBUF_E_ABI && caller == NULL);
        CHECK(strcmp(error.culprit, "abi") == 0);
    }
    execbuf_signature_free(signature);
}

int main(void) {
    RUN(callers_are_refused);
    (void)printf("ok\n");
    return 0;
}

#endif
