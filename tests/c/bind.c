/* Closures, and functions without one of the arguments: calls, handles and errors.
 * tests/thunk_compilers tests how they pass arguments. */

#include "bind.h"

#if defined(HAS_CLOSURES)

#include <stdbool.h>

#if !defined(__x86_64__)
/* There is one convention. */
#elif defined(_WIN32)
#define FOREIGN EXECBUF_ABI_SYSV64
#define FOREIGN_NAME sysv_abi
#else
#define FOREIGN EXECBUF_ABI_WIN64
#define FOREIGN_NAME ms_abi
#endif

typedef int (*compare_function)(const void *, const void *);
typedef int64_t (*many_function)(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t);
typedef int64_t (*more_function)(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                                 int64_t);

/* ---- Calls ---- */

static int by_name(const void *one, const void *other, void *context) {
    const char *const *names = (const char *const *)context;
    return strcmp(names[*(const int *)one], names[*(const int *)other]);
}

static void qsort_gets_a_context(void) {
    const char *names[] = {"pear", "apple", "fig"};
    int ids[] = {0, 1, 2};
    execbuf compare =
        bound(NULL, "i(ppp)", EXECBUF_ABI_NATIVE, (execbuf_function)by_name, (void *)names, EXECBUF_LAST);
    qsort(ids, 3, sizeof ids[0], (compare_function)execbuf_entry(&compare, 0));
    CHECK(ids[0] == 1 && ids[1] == 2 && ids[2] == 0);
    CHECK(execbuf_free(&compare) == EXECBUF_OK && is_zero(&compare));
}

static int64_t digits(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f, int64_t g, void *h) {
    int64_t value = ((((((a * 10 + b) * 10 + c) * 10 + d) * 10 + e) * 10 + f) * 10 + g) * 10;
    return value + (int64_t)(intptr_t)h;
}

static int64_t digits_first(void *h, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f,
                            int64_t g) {
    return digits(a, b, c, d, e, f, g, h);
}

static int64_t more_digits(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f, int64_t g,
                           int64_t h, int64_t i, void *j) {
    return (digits(a, b, c, d, e, f, g, NULL) + h) * 100 + i * 10 + (int64_t)(intptr_t)j;
}

static int64_t more_digits_first(void *j, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f,
                                 int64_t g, int64_t h, int64_t i) {
    return more_digits(a, b, c, d, e, f, g, h, i, j);
}

/* These have frames. */
static void arguments_on_the_stack_are_copied(void) {
    void *eight = (void *)(intptr_t)8; /* NOLINT(performance-no-int-to-ptr) */
    execbuf last =
        bound(NULL, "l(lllllllp)", EXECBUF_ABI_NATIVE, (execbuf_function)digits, eight, EXECBUF_LAST);
    execbuf first = bound(NULL, "l(plllllll)", EXECBUF_ABI_NATIVE, (execbuf_function)digits_first, eight, 0);
    CHECK(((many_function)execbuf_entry(&last, 0))(1, 2, 3, 4, 5, 6, 7) == 12345678);
    CHECK(((many_function)execbuf_entry(&first, 0))(1, 2, 3, 4, 5, 6, 7) == 12345678);
    CHECK(execbuf_free(&last) == EXECBUF_OK && execbuf_free(&first) == EXECBUF_OK);
    last = bound(NULL, "l(lllllllllp)", EXECBUF_ABI_NATIVE, (execbuf_function)more_digits, eight, 9);
    first = bound(NULL, "l(plllllllll)", EXECBUF_ABI_NATIVE, (execbuf_function)more_digits_first, eight, 0);
    CHECK(((more_function)execbuf_entry(&last, 0))(1, 2, 3, 4, 5, 6, 7, 8, 9) == 1234567898);
    CHECK(((more_function)execbuf_entry(&first, 0))(1, 2, 3, 4, 5, 6, 7, 8, 9) == 1234567898);
    CHECK(execbuf_free(&last) == EXECBUF_OK && execbuf_free(&first) == EXECBUF_OK);
}

#if defined(FOREIGN)
typedef int64_t(__attribute__((FOREIGN_NAME)) * foreign_function)(int64_t, int64_t, int64_t, int64_t, double);

static __attribute__((FOREIGN_NAME, noinline)) int64_t foreign_digits(int64_t a, int64_t b, void *c,
                                                                      int64_t d, int64_t e, double f) {
    return digits(0, a, b, (int64_t)(intptr_t)c, d, e, (int64_t)f, NULL);
}

static void closures_have_either_convention(void) {
    void *three = (void *)(intptr_t)3; /* NOLINT(performance-no-int-to-ptr) */
    execbuf closure = bound(NULL, "l(llplld)", FOREIGN, (execbuf_function)foreign_digits, three, 2);
    foreign_function function;
    execbuf_function entry = execbuf_entry(&closure, 0);
    memcpy((void *)&function, (void *)&entry, sizeof function);
    CHECK(function(1, 2, 4, 5, 6.0) == 1234560);
    CHECK(execbuf_free(&closure) == EXECBUF_OK);
}
#endif

static int64_t minus(int64_t one, int64_t other) {
    return one - other;
}

static void an_argument_is_dropped(void) {
    typedef int64_t (*function)(void *, int64_t, int64_t);
    static const char *const texts[] = {"l(pll)", "l(lpl)", "l(llp)"};
    execbuf_pool *pool = new_pool();
    for (uint32_t position = 0; position < 3; position++) {
        execbuf_signature *signature = parsed(texts[position]);
        execbuf shorter;
        CHECK(execbuf_drop_argument(pool, &shorter, signature, EXECBUF_ABI_NATIVE, (execbuf_function)minus,
                                    position == 2 ? EXECBUF_LAST : position, NULL) == EXECBUF_OK);
        execbuf_signature_free(signature);
        execbuf_function entry = execbuf_entry(&shorter, 0);
        switch (position) {
        case 0: CHECK(((function)entry)(&pool, 45, 3) == 42); break;
        case 1: CHECK(((int64_t(*)(int64_t, void *, int64_t))entry)(45, &pool, 3) == 42); break;
        default: CHECK(((int64_t(*)(int64_t, int64_t, void *))entry)(45, 3, &pool) == 42); break;
        }
        CHECK(stats_of(pool).live == 2 && execbuf_rebind(&shorter, NULL) == EXECBUF_E_UNSUPPORTED);
        CHECK(execbuf_free(&shorter) == EXECBUF_OK && stats_of(pool).live == 0);
    }
    execbuf_pool_free(pool);
}

/* An indirect call may lead there, where the processor or the pages guard against others. */
static void entries_are_marked(void) {
#if defined(__aarch64__)
    static const uint8_t mark[] = {0x5f, 0x24, 0x03, 0xd5}; /* bti c */
#else
    static const uint8_t mark[] = {0xf3, 0x0f, 0x1e, 0xfa}; /* endbr64 */
#endif
    int64_t sum = 0;
    execbuf_signature *signature = parsed("l(pll)");
    execbuf shorter;
    execbuf_pool *pool = new_pool();
    for (int i = 0; i < 100; i++) {
        execbuf closure = adder(i % 2 == 0 ? NULL : pool, &sum);
        CHECK(memcmp(closure.entry, mark, sizeof mark) == 0 && execbuf_free(&closure) == EXECBUF_OK);
    }
    CHECK(execbuf_drop_argument(pool, &shorter, signature, EXECBUF_ABI_NATIVE, (execbuf_function)minus, 0,
                                NULL) == EXECBUF_OK);
    CHECK(memcmp(shorter.entry, mark, sizeof mark) == 0 && execbuf_free(&shorter) == EXECBUF_OK);
    execbuf_signature_free(signature);
    execbuf_pool_free(pool);
}

/* ---- Handles ---- */

static void closures_that_move_alike_share_an_adapter(void) {
    execbuf_pool *pool = new_pool();
    int64_t sums[2] = {0, 0};
    execbuf first = adder(pool, &sums[0]);
    CHECK(stats_of(pool).live == 2); /* a stub and an adapter */
    execbuf second = bound(pool, "v(pL)", EXECBUF_ABI_NATIVE, (execbuf_function)add_to, &sums[1], 0);
    CHECK(stats_of(pool).live == 3);
    execbuf last = bound(pool, "v(Lp)", EXECBUF_ABI_NATIVE, (execbuf_function)add_to, &sums[1], EXECBUF_LAST);
    CHECK(stats_of(pool).live == 5);
    (void)call_one(&first, 40);
    (void)call_one(&second, 2);
    CHECK(sums[0] == 40 && sums[1] == 2);
    CHECK(execbuf_free(&first) == EXECBUF_OK && execbuf_free(&second) == EXECBUF_OK);
    CHECK(execbuf_free(&last) == EXECBUF_OK);
    CHECK(stats_of(pool).live == 2); /* adapters stay until the pool is freed */
    first = adder(pool, &sums[0]);
    CHECK(stats_of(pool).live == 3 && call_one(&first, 2) == 42);
    execbuf_pool_free(pool);
    CHECK(call_one(&first, 1) == 43 && execbuf_free(&first) == EXECBUF_OK);
}

static void a_closure_is_a_buffer_that_cannot_be_rewritten(void) {
#if defined(__aarch64__)
    const bool is_arm = true;
#else
    const bool is_arm = false;
#endif
    execbuf_pool *pool = new_pool();
    int64_t sum = 0;
    execbuf closure = adder(pool, &sum);
    execbuf found;
    CHECK(execbuf_find(closure.entry, &found) == EXECBUF_OK && found.id == closure.id);
    CHECK(execbuf_rewrite(&closure, 0, "\xc3", 1, NULL) == EXECBUF_E_THUNK);
    if (stats_of(pool).regions > 0) {
        CHECK(closure.length == 16 || closure.length == (is_arm ? 24 : 19));
    }
    execbuf copy = closure;
    CHECK(execbuf_free(&closure) == EXECBUF_OK && execbuf_free(&copy) == EXECBUF_E_STALE);
    CHECK(execbuf_rebind(&copy, &sum) == EXECBUF_E_STALE);
    execbuf_pool_free(pool);
}

static void a_closure_gets_another_context(void) {
    int64_t sums[2] = {0, 0};
    execbuf closure = adder(NULL, &sums[0]);
    (void)call_one(&closure, 1);
    CHECK(execbuf_rebind(&closure, &sums[1]) == EXECBUF_OK);
    (void)call_one(&closure, 2);
    CHECK(sums[0] == 1 && sums[1] == 2);
    CHECK(execbuf_rebind(NULL, NULL) == EXECBUF_E_NULL);
    CHECK(execbuf_free(&closure) == EXECBUF_OK);
    code five = returning(5);
    execbuf plain;
    CHECK(execbuf_new(&plain, five.bytes, five.length, NULL) == EXECBUF_OK);
    CHECK(execbuf_rebind(&plain, NULL) == EXECBUF_E_UNSUPPORTED && execbuf_free(&plain) == EXECBUF_OK);
}

static int64_t free_itself(void *context, int64_t number) {
    CHECK(execbuf_free((execbuf *)context) == EXECBUF_OK);
    return number;
}

static int64_t free_itself_last(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f, int64_t g,
                                void *context) {
    CHECK(execbuf_free((execbuf *)context) == EXECBUF_OK);
    return digits(a, b, c, d, e, f, g, NULL);
}

static void a_closure_may_free_itself(void) {
    execbuf_pool *pool = new_pool();
    for (int turn = 0; turn < 3; turn++) {
        execbuf closure = bound(pool, "l(pl)", EXECBUF_ABI_NATIVE, (execbuf_function)free_itself, NULL, 0);
        CHECK(execbuf_rebind(&closure, &closure) == EXECBUF_OK);
        CHECK(call_one(&closure, 42) == 42 && is_zero(&closure));
        closure = bound(pool, "l(lllllllp)", EXECBUF_ABI_NATIVE, (execbuf_function)free_itself_last, NULL, 7);
        CHECK(execbuf_rebind(&closure, &closure) == EXECBUF_OK);
        CHECK(((many_function)execbuf_entry(&closure, 0))(1, 2, 3, 4, 5, 6, 7) == 12345670);
        CHECK(stats_of(pool).live == 2);
    }
    execbuf_pool_free(pool);
}

/* Blocks of cells are freed when they are empty. */
static void many_closures_come_and_go(void) {
    enum { COUNT = 20000 };
    static execbuf closures[COUNT];
    static int64_t sums[COUNT];
    execbuf_pool *pool = new_pool();
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < COUNT; i++) {
            sums[i] = i;
            closures[i] = adder(pool, &sums[i]);
        }
        for (int i = 0; i < COUNT; i += 2) {
            CHECK(call_one(&closures[i], 1) == i + 1 && execbuf_free(&closures[i]) == EXECBUF_OK);
        }
        for (int i = 0; i < COUNT; i += 2) {
            closures[i] = adder(pool, &sums[i]);
        }
        for (int i = 0; i < COUNT; i++) {
            int at = (i * 7919 + turn) % COUNT; /* 7919 is prime to COUNT */
            CHECK(call_one(&closures[at], 1) == at + 1 + (at % 2 == 0));
            CHECK(execbuf_free(&closures[at]) == EXECBUF_OK);
        }
        CHECK(stats_of(pool).live == 1);
    }
    execbuf_pool_free(pool);
}

/* ---- Errors ---- */

static void invalid_arguments_are_reported(void) {
    const execbuf_abi native = EXECBUF_ABI_NATIVE;
    const execbuf_function function = (execbuf_function)add_to;
    execbuf_signature *good = parsed("l(pl)");
    execbuf_signature *none = parsed("l()");
    execbuf closure = {good, 1, 1};
    execbuf_error error;
    CHECK(execbuf_bind(NULL, NULL, good, native, function, NULL, 0, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "out") == 0);
    CHECK(execbuf_bind(NULL, &closure, good, native, NULL, NULL, 0, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "function") == 0 && is_zero(&closure));
    CHECK(execbuf_bind(NULL, &closure, NULL, native, function, NULL, 0, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "signature") == 0);
    CHECK(execbuf_bind(NULL, &closure, good, (execbuf_abi)7, function, NULL, 0, &error) == EXECBUF_E_ABI);
    CHECK(strcmp(error.culprit, "abi") == 0);
#if !defined(FOREIGN)
    CHECK(execbuf_bind(NULL, &closure, good, EXECBUF_ABI_SYSV64, function, NULL, 0, &error) == EXECBUF_E_ABI);
#endif
    CHECK(execbuf_bind(NULL, &closure, good, native, function, NULL, 2, &error) == EXECBUF_E_ARGUMENTS);
    CHECK(strcmp(error.culprit, "position") == 0);
    CHECK(execbuf_bind(NULL, &closure, none, native, function, NULL, EXECBUF_LAST, &error) ==
          EXECBUF_E_ARGUMENTS);
    CHECK(execbuf_bind(NULL, &closure, good, native, function, NULL, 1, &error) == EXECBUF_E_TYPE);
    CHECK(error.position == 2 && strstr(error.culprit, "pointer") != NULL && is_zero(&closure));
    CHECK(execbuf_drop_argument(NULL, NULL, good, native, function, 0, &error) == EXECBUF_E_NULL);
    CHECK(execbuf_drop_argument(NULL, &closure, good, native, NULL, 0, &error) == EXECBUF_E_NULL);
    CHECK(execbuf_drop_argument(NULL, &closure, none, native, function, 0, &error) == EXECBUF_E_ARGUMENTS);
    execbuf_signature_free(good);
    execbuf_signature_free(none);
}

#if defined(__aarch64__)
/* Values of four vectors each, of which the first two are in registers. */
static void values_that_do_not_fit_into_a_frame_are_refused(void) {
    char text[600] = "v(lllllllp";
    for (int i = 0; i < 66; i++) {
        (void)strcat(text, "{mmmm}");
    }
    (void)strcat(text, "l)");
    execbuf_signature *signature = parsed(text);
    execbuf closure;
    execbuf_error error;
    CHECK(execbuf_bind(NULL, &closure, signature, EXECBUF_ABI_NATIVE, (execbuf_function)add_to, NULL, 7,
                       &error) == EXECBUF_E_TYPE);
    CHECK(error.position == 9 && strstr(error.culprit, "a page of stack") != NULL && is_zero(&closure));
    execbuf_signature_free(signature);
}
#else
static void values_that_do_not_fit_into_a_frame_are_refused(void) {
    execbuf_signature *signature = parsed("v(p{[3900b]}{[400b]}llllll)");
    execbuf closure;
    execbuf_error error;
    CHECK(execbuf_bind(NULL, &closure, signature, EXECBUF_ABI_SYSV64, (execbuf_function)add_to, NULL, 0,
                       &error) == EXECBUF_E_TYPE);
    CHECK(error.position == 2 && strstr(error.culprit, "a page of stack") != NULL);
    CHECK(execbuf_bind(NULL, &closure, signature, EXECBUF_ABI_WIN64, (execbuf_function)add_to, NULL, 0,
                       &error) == EXECBUF_OK); /* it passes addresses */
    CHECK(execbuf_free(&closure) == EXECBUF_OK);
    execbuf_signature_free(signature);
}

#endif

int main(void) {
    RUN(qsort_gets_a_context);
    RUN(arguments_on_the_stack_are_copied);
#if defined(FOREIGN)
    RUN(closures_have_either_convention);
#endif
    RUN(an_argument_is_dropped);
    RUN(entries_are_marked);
    RUN(closures_that_move_alike_share_an_adapter);
    RUN(a_closure_is_a_buffer_that_cannot_be_rewritten);
    RUN(a_closure_gets_another_context);
    RUN(a_closure_may_free_itself);
    RUN(many_closures_come_and_go);
    RUN(invalid_arguments_are_reported);
    RUN(values_that_do_not_fit_into_a_frame_are_refused);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: closures: there are none here\n");
    return 0;
}

#endif
