/* Closures for run-time signatures: calls, handles and errors. tests/thunk_compilers compares many signatures
 * with compiled code, handler_unwind.cpp and frame_pointer.c test how exceptions pass. */

#include "bind.h"

#if defined(HAS_CLOSURES)

#if !defined(__x86_64__) /* there is one convention */
#define FOREIGN EXECBUF_ABI_NATIVE
#define EXAMPLE EXECBUF_ABI_NATIVE
#define FOREIGN_CONVENTION
#elif defined(_WIN32)
#define FOREIGN EXECBUF_ABI_SYSV64
#define EXAMPLE EXECBUF_ABI_SYSV64
#define FOREIGN_CONVENTION __attribute__((sysv_abi))
#else
#define FOREIGN EXECBUF_ABI_WIN64
#define EXAMPLE EXECBUF_ABI_SYSV64
#define FOREIGN_CONVENTION __attribute__((ms_abi))
#endif

static execbuf handled(execbuf_pool *pool, const char *text, execbuf_abi abi, execbuf_handler handler,
                       void *context) {
    execbuf_signature *signature = parsed(text);
    execbuf closure;
    execbuf_error error;
    CHECK(execbuf_closure_new(pool, &closure, signature, abi, handler, context, &error) == EXECBUF_OK);
    CHECK(error.status == EXECBUF_OK);
    execbuf_signature_free(signature);
    return closure;
}

/* ---- Calls ---- */

static void compare_names(void *context, const execbuf_slot *arguments, execbuf_slot *result) {
    const char *const *names = (const char *const *)context;
    result->i = strcmp(names[*(const int *)arguments[0].p], names[*(const int *)arguments[1].p]);
}

static void qsort_calls_a_handler(void) {
    const char *names[] = {"pear", "apple", "fig"};
    int ids[] = {0, 1, 2};
    execbuf compare = handled(NULL, "i(pp)", EXECBUF_ABI_NATIVE, compare_names, (void *)names);
    qsort(ids, 3, sizeof ids[0], (int (*)(const void *, const void *))execbuf_entry(&compare, 0));
    CHECK(ids[0] == 1 && ids[1] == 2 && ids[2] == 0);
    CHECK(execbuf_free(&compare) == EXECBUF_OK && is_zero(&compare));
}

static execbuf_slot seen[8];

static void keep_slots(void *context, const execbuf_slot *arguments, execbuf_slot *result) {
    memcpy(seen, arguments, *(const size_t *)context * sizeof seen[0]);
    CHECK(result->u == 0);
    result->u = 0x12345678ffffaafe; /* only the first bytes count */
}

/* A caller that does not extend what it passes: the types of the pointer and of the closure differ. */
static void small_integers_are_extended_to_slots(void) {
    typedef int64_t (*function)(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t);
    typedef int64_t(FOREIGN_CONVENTION * foreign)(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                                                  int64_t, int64_t);
    const int64_t dirty = 0x7bcdef01f2f3f4f5;
    size_t count = 8;
    for (int i = 0; i < 2; i++) {
        execbuf closure =
            handled(NULL, "b(bBhHiIbH)", i == 0 ? EXECBUF_ABI_NATIVE : FOREIGN, keep_slots, &count);
        execbuf_function entry = execbuf_entry(&closure, 0);
        int64_t result = i == 0 ? ((function)entry)(dirty, dirty, dirty, dirty, dirty, dirty, dirty, dirty)
                                : ((foreign)entry)(dirty, dirty, dirty, dirty, dirty, dirty, dirty, dirty);
        CHECK((int32_t)result == -2); /* clang's callers rely on an extension to 32 bits */
        CHECK(seen[0].i == (int8_t)dirty && seen[1].u == (uint8_t)dirty);
        CHECK(seen[2].i == (int16_t)dirty && seen[3].u == (uint16_t)dirty);
        CHECK(seen[4].i == (int32_t)dirty && seen[5].u == (uint32_t)dirty);
        CHECK(seen[6].i == (int8_t)dirty && seen[7].u == (uint16_t)dirty);
        CHECK(execbuf_free(&closure) == EXECBUF_OK);
    }
}

typedef struct large {
    uint8_t bytes[35];
} large;

static large turned;

/* The value is the closure's: the caller keeps its own. */
static void turn(void *context, const execbuf_slot *arguments, execbuf_slot *result) {
    uint8_t *bytes = (uint8_t *)arguments[1].p;
    (void)context;
    for (size_t i = 0; i < sizeof turned; i++) {
        CHECK(((uint8_t *)result)[i] == 0);
        turned.bytes[i] = bytes[sizeof turned - 1 - i];
        bytes[i] ^= arguments[0].u & 0xff;
    }
    memcpy((void *)result, &turned, sizeof turned);
}

typedef large (*large_function)(int64_t, large);
typedef large(FOREIGN_CONVENTION *foreign_large_function)(int64_t, large);

static void long_values_are_passed_by_address(void) {
    large sent;
    for (size_t i = 0; i < sizeof sent; i++) {
        sent.bytes[i] = (uint8_t)i;
    }
    large before = sent;
    for (int i = 0; i < 2; i++) {
        execbuf closure =
            handled(NULL, "{[35B]}(l{[35B]})", i == 0 ? EXECBUF_ABI_NATIVE : FOREIGN, turn, NULL);
        execbuf_function entry = execbuf_entry(&closure, 0);
        large got =
            i == 0 ? ((large_function)entry)(0x55, sent) : ((foreign_large_function)entry)(0x55, sent);
        CHECK(memcmp(&got, &turned, sizeof got) == 0 && got.bytes[0] == 34);
        CHECK(memcmp(&sent, &before, sizeof sent) == 0);
        CHECK(execbuf_free(&closure) == EXECBUF_OK);
    }
}

#if defined(__x86_64__)
static void fill(void *context, const execbuf_slot *arguments, execbuf_slot *result) {
    const size_t size = *(const size_t *)context;
    CHECK(arguments[0].i == 7 && arguments[1].i == 8);
    memset((void *)result, 0x11, size > 16 ? size : 16); /* whole slots of a short one */
}

/* Both conventions pass the address of the result's memory as if it were the first argument, and return it.
 */
static void exactly_the_bytes_of_a_result_in_memory_are_written(void) {
    typedef void *(*function)(void *, int64_t, int64_t);
    typedef void *(FOREIGN_CONVENTION * foreign)(void *, int64_t, int64_t);
    static const char *const texts[] = {"!{bl}(ll)",     "!{bi[8b]}(ll)", "!{ib[2i]}(ll)",
                                        "!{bl[7b]}(ll)", "{[17b]}(ll)",   "{[31b]}(ll)",
                                        "{[64b]}(ll)",   "{[66b]}(ll)",   "{[100b]}(ll)"};
    static size_t sizes[] = {9, 13, 13, 16, 17, 31, 64, 66, 100};
    for (size_t i = 0; i < 18; i++) {
        uint8_t memory[128];
        size_t size = sizes[i / 2];
        execbuf closure =
            handled(NULL, texts[i / 2], i % 2 == 0 ? EXECBUF_ABI_NATIVE : FOREIGN, fill, &sizes[i / 2]);
        execbuf_function entry = execbuf_entry(&closure, 0);
        memset(memory, 0x5a, sizeof memory);
        void *returned =
            i % 2 == 0 ? ((function)entry)(memory + 5, 7, 8) : ((foreign)entry)(memory + 5, 7, 8);
        CHECK(returned == memory + 5 && memory[4] == 0x5a && memory[5 + size] == 0x5a);
        for (size_t at = 0; at < size; at++) {
            CHECK(memory[5 + at] == 0x11);
        }
        for (size_t at = 5 + size; at < sizeof memory; at++) {
            CHECK(memory[at] == 0x5a);
        }
        CHECK(execbuf_free(&closure) == EXECBUF_OK);
    }
}
#endif

static void do_nothing(void *context, const execbuf_slot *arguments, execbuf_slot *result) {
    CHECK(context == NULL && arguments != NULL && result != NULL);
}

static void a_result_that_is_not_written_is_zero(void) {
    execbuf closure = handled(NULL, "l(l)", EXECBUF_ABI_NATIVE, do_nothing, NULL);
    CHECK(call_one(&closure, 42) == 0);
    CHECK(execbuf_free(&closure) == EXECBUF_OK);
    closure = handled(NULL, "{[35B]}(l{[35B]})", EXECBUF_ABI_NATIVE, do_nothing, NULL);
    large got = turned;
    got = ((large_function)execbuf_entry(&closure, 0))(0, got);
    for (size_t i = 0; i < sizeof got; i++) {
        CHECK(got.bytes[i] == 0);
    }
    CHECK(execbuf_free(&closure) == EXECBUF_OK);
    closure = handled(NULL, "v()", EXECBUF_ABI_NATIVE, do_nothing, NULL);
    execbuf_entry(&closure, 0)();
    CHECK(execbuf_free(&closure) == EXECBUF_OK);
}

/* ---- Handles ---- */

static void add(void *context, const execbuf_slot *arguments, execbuf_slot *result) {
    *(int64_t *)context += arguments[0].i;
    result->i = *(int64_t *)context;
}

static void closures_that_move_alike_share_an_adapter(void) {
    static const char *const alike[] = {"l(l)", "L(p)", "i({l})", "{[8B]}(L)", "p({[3h]})"};
    static const char *const different[] = {"l(i)", "l(d)", "h(l)", "l(ll)"};
    execbuf_pool *pool = new_pool();
    execbuf closures[9];
    int64_t sum = 0;
    for (size_t i = 0; i < 5; i++) {
        closures[i] = handled(pool, alike[i], EXAMPLE, add, &sum);
        CHECK(stats_of(pool).live == i + 2); /* stubs, and one adapter */
    }
    for (size_t i = 0; i < 4; i++) {
        closures[5 + i] = handled(pool, different[i], EXAMPLE, add, &sum);
        CHECK(stats_of(pool).live == 6 + 2 * (i + 1));
    }
    for (size_t i = 0; i < 9; i++) {
        CHECK(execbuf_free(&closures[i]) == EXECBUF_OK);
    }
    CHECK(stats_of(pool).live == 5); /* adapters stay until the pool is freed */
    execbuf last = handled(pool, "l(l)", EXECBUF_ABI_NATIVE, add, &sum);
    execbuf_pool_free(pool);
    CHECK(call_one(&last, 42) == 42 && execbuf_free(&last) == EXECBUF_OK);
}

/* The dots change nothing: a variadic function of these types has them in the same places. */
static void a_variadic_closure_gets_the_arguments_of_its_signature(void) {
    size_t count = 4;
    execbuf_pool *pool = new_pool();
    execbuf fixed = handled(pool, "i(pidl)", EXECBUF_ABI_NATIVE, keep_slots, &count);
    execbuf closure = handled(pool, "i(p.idl)", EXECBUF_ABI_NATIVE, keep_slots, &count);
    CHECK(stats_of(pool).live == 3);
    CHECK(((int (*)(void *, ...))execbuf_entry(&closure, 0))(seen, 1, 2.5, INT64_C(3)) == -21762);
    CHECK(seen[0].p == seen && seen[1].i == 1 && seen[2].d == 2.5 && seen[3].i == 3);
    CHECK(execbuf_free(&closure) == EXECBUF_OK && execbuf_free(&fixed) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

static void a_closure_is_a_buffer_that_gets_another_context(void) {
    int64_t sums[2] = {0, 0};
    execbuf closure = handled(NULL, "l(l)", EXECBUF_ABI_NATIVE, add, &sums[0]);
    execbuf copy = closure;
    execbuf found;
    CHECK(execbuf_find(closure.entry, &found) == EXECBUF_OK && found.id == closure.id);
    CHECK(execbuf_rewrite(&closure, 0, "\xc3", 1, NULL) == EXECBUF_E_THUNK);
    (void)call_one(&closure, 1);
    CHECK(execbuf_rebind(&closure, &sums[1]) == EXECBUF_OK);
    (void)call_one(&closure, 2);
    CHECK(sums[0] == 1 && sums[1] == 2);
    CHECK(execbuf_free(&closure) == EXECBUF_OK && execbuf_free(&copy) == EXECBUF_E_STALE);
    CHECK(execbuf_rebind(&copy, NULL) == EXECBUF_E_STALE);
}

static void free_itself(void *context, const execbuf_slot *arguments, execbuf_slot *result) {
    CHECK(execbuf_free((execbuf *)context) == EXECBUF_OK);
    result->i = arguments[0].i;
}

static void a_closure_may_free_itself(void) {
    execbuf_pool *pool = new_pool();
    for (int i = 0; i < 3; i++) {
        execbuf closure = handled(pool, "l(l)", EXECBUF_ABI_NATIVE, free_itself, NULL);
        CHECK(execbuf_rebind(&closure, &closure) == EXECBUF_OK);
        CHECK(call_one(&closure, 42) == 42 && is_zero(&closure));
    }
    execbuf_pool_free(pool);
}

static void many_closures_are_live(void) {
    enum { COUNT = 20000 };
    static execbuf closures[COUNT];
    int64_t sum = 0;
    execbuf_pool *pool = new_pool();
    for (int i = 0; i < COUNT; i++) {
        closures[i] = handled(pool, i % 2 == 0 ? "l(l)" : "L(L)", EXECBUF_ABI_NATIVE, add, &sum);
    }
    for (int i = 0; i < COUNT; i++) {
        CHECK(call_one(&closures[i], 1) == i + 1 && execbuf_free(&closures[i]) == EXECBUF_OK);
    }
    CHECK(stats_of(pool).live == 1);
    execbuf_pool_free(pool);
}

/* ---- Errors ---- */

static void invalid_arguments_are_reported(void) {
    const execbuf_abi native = EXECBUF_ABI_NATIVE;
    execbuf_signature *good = parsed("l(l)");
    execbuf closure = {good, 1, 1};
    execbuf_error error;
    CHECK(execbuf_closure_new(NULL, NULL, good, native, add, NULL, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "out") == 0);
    CHECK(execbuf_closure_new(NULL, &closure, good, native, NULL, NULL, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "handler") == 0 && is_zero(&closure));
    CHECK(execbuf_closure_new(NULL, &closure, NULL, native, add, NULL, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "signature") == 0);
    CHECK(execbuf_closure_new(NULL, &closure, good, (execbuf_abi)7, add, NULL, &error) == EXECBUF_E_ABI);
    CHECK(strcmp(error.culprit, "abi") == 0);
    execbuf_type wrong = EXECBUF_SCALAR(EXECBUF_TYPE_VOID);
    const execbuf_signature bad = EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I32), &wrong, 1);
    CHECK(execbuf_closure_new(NULL, &closure, &bad, native, add, NULL, &error) == EXECBUF_E_TYPE);
    CHECK(error.position == 1 && is_zero(&closure));
    execbuf_signature_free(good);
}

#if defined(__aarch64__)
typedef struct __attribute__((aligned(16))) four {
    double numbers[4];
} four;

static void sum_up(void *context, const execbuf_slot *arguments, execbuf_slot *result) {
    const double *numbers = (const double *)arguments[9].cp;
    (void)context;
    CHECK((uintptr_t)numbers % 16 == 0);
    result->d = arguments[8].d + numbers[0] + numbers[1] + numbers[2] + numbers[3];
}

/* On the stack, where it is not aligned as the type is. */
static void values_are_aligned_as_their_types(void) {
    typedef double (*function)(double, double, double, double, double, double, double, double, double, four);
    const four numbers = {{4, 8, 16, 13}};
    execbuf closure = handled(NULL, "d(ddddddddd@16{dddd})", EXECBUF_ABI_NATIVE, sum_up, NULL);
    CHECK(((function)execbuf_entry(&closure, 0))(0, 0, 0, 0, 0, 0, 0, 0, 1, numbers) == 42);
    CHECK(execbuf_free(&closure) == EXECBUF_OK);
}

/* Values of four vectors each, which are mostly on the stack. */
static void values_that_need_too_much_code_are_refused(void) {
    char text[600] = "v(i";
    for (size_t i = 0; i < 66; i++) {
        memcpy(text + 3 + 6 * i, "{mmmm}", 6);
    }
    memcpy(text + 3 + 6 * 66, ")", 2);
    execbuf_signature *signature = parsed(text);
    execbuf closure;
    execbuf_error error;
    CHECK(execbuf_closure_new(NULL, &closure, signature, EXECBUF_ABI_NATIVE, add, NULL, &error) ==
          EXECBUF_E_TYPE);
    CHECK(error.position == 2 && strstr(error.culprit, "a page of stack") != NULL && is_zero(&closure));
    execbuf_signature_free(signature);
}
#else
/* 127 values of 15 bytes take more than a page of code if the caller passes their addresses. */
static void values_that_need_too_much_code_are_refused(void) {
    char text[1000] = "{[15B]}(";
    for (size_t i = 0; i < 127; i++) {
        memcpy(text + 8 + 7 * i, "{[15B]}", 7);
    }
    memcpy(text + 8 + 7 * 127, ")", 2);
    execbuf_signature *signature = parsed(text);
    execbuf closure;
    execbuf_error error;
    CHECK(execbuf_closure_new(NULL, &closure, signature, EXECBUF_ABI_WIN64, add, NULL, &error) ==
          EXECBUF_E_TYPE);
    CHECK(error.position == 1 && strstr(error.culprit, "a page of stack") != NULL && is_zero(&closure));
    CHECK(execbuf_closure_new(NULL, &closure, signature, EXECBUF_ABI_SYSV64, add, NULL, &error) ==
          EXECBUF_OK);
    CHECK(execbuf_free(&closure) == EXECBUF_OK);
    execbuf_signature_free(signature);
}

#endif

int main(void) {
    RUN(qsort_calls_a_handler);
    RUN(small_integers_are_extended_to_slots);
    RUN(long_values_are_passed_by_address);
#if defined(__x86_64__)
    RUN(exactly_the_bytes_of_a_result_in_memory_are_written);
#endif
    RUN(a_result_that_is_not_written_is_zero);
    RUN(closures_that_move_alike_share_an_adapter);
    RUN(a_variadic_closure_gets_the_arguments_of_its_signature);
    RUN(a_closure_is_a_buffer_that_gets_another_context);
    RUN(a_closure_may_free_itself);
    RUN(many_closures_are_live);
    RUN(invalid_arguments_are_reported);
#if defined(__aarch64__)
    RUN(values_are_aligned_as_their_types);
#endif
    RUN(values_that_need_too_much_code_are_refused);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: closures for run-time signatures: there are none here\n");
    return 0;
}

#endif
