/* Exceptions, longjmp and backtraces pass through closures that call handlers. The callers have the
 * convention of this program, or call a thunk to the other one that calls the closure. */

#include "leaving.h"

#if defined(__x86_64__) || defined(__aarch64__)

static execbuf closure;
static execbuf thunk;

/* Makes a closure, and a thunk before it if it has the other convention. */
template <typename F> static F *prepare(const char *text, execbuf_handler handler, bool is_foreign) {
    execbuf_signature *signature = parsed(text);
    CHECK(execbuf_closure_new(nullptr, &closure, signature, is_foreign ? FOREIGN : EXECBUF_ABI_NATIVE,
                              handler, &closure, nullptr) == EXECBUF_OK);
    if (is_foreign) {
        CHECK(execbuf_thunk_new(nullptr, &thunk, signature, EXECBUF_ABI_NATIVE, FOREIGN, closure.entry,
                                nullptr) == EXECBUF_OK);
    }
    execbuf_signature_free(signature);
    return reinterpret_cast<F *>(execbuf_entry(is_foreign ? &thunk : &closure, 0));
}

static void clean_up() {
    CHECK(execbuf_free(&thunk) == EXECBUF_OK && execbuf_free(&closure) == EXECBUF_OK);
}

/* ---- Exceptions ---- */

static void throw_first(void *, const execbuf_slot *arguments, execbuf_slot *) {
    throw surprise{arguments[0].d};
}

static void throw_sum(void *, const execbuf_slot *arguments, execbuf_slot *) {
    const large *first = static_cast<const large *>(arguments[0].cp);
    throw surprise{arguments[7].d + first->bytes[199] + static_cast<double>(arguments[6].i)};
}

static void exceptions_pass_through_closures() {
    for (int i = 0; i < 2 * CONVENTIONS; i++) {
        double (*function)(double) = prepare<double(double)>("d(d)", throw_first, i % CONVENTIONS != 0);
        destroyed = 0;
        CHECK(caught_from([=] { function(2.5); }) == 2.5 && destroyed == 1);
        CHECK(caught_from([=] { function(3.5); }) == 3.5 && destroyed == 2);
        clean_up();
    }
}

static void exceptions_pass_through_closures_with_many_arguments() {
    for (int i = 0; i < 2 * CONVENTIONS; i++) {
        using many = large(large, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, double);
        many *function = prepare<many>("{[200B]}({[200B]}lllllld)", throw_sum, i % CONVENTIONS != 0);
        large first;
        memset(&first, 9, sizeof first);
        CHECK(caught_from([&] { function(first, 1, 2, 3, 4, 5, 100, 0.5); }) == 109.5);
        clean_up();
    }
}

/* ---- longjmp ---- */

static void jump(void *, const execbuf_slot *arguments, execbuf_slot *) {
    std::longjmp(place, static_cast<int>(arguments[0].d));
}

static void longjmp_passes_through_closures() {
    for (int i = 0; i < CONVENTIONS; i++) {
        static double (*function)(double);
        function = prepare<double(double)>("d(d)", jump, i != 0);
        int got = setjmp(place);
        if (got == 0) {
            function(3);
            CHECK(false);
        }
        CHECK(got == 3);
        clean_up();
    }
}

/* ---- Backtraces ---- */

#if !defined(_WIN32)

static void trace(void *, const execbuf_slot *arguments, execbuf_slot *result) {
    (void)_Unwind_Backtrace(visit, nullptr);
    result->d = arguments[0].d + 1;
}

__attribute__((noinline)) static double traced(double (*function)(double)) {
    return_address = __builtin_return_address(0);
    return function(4) + 1;
}

/* The backtrace continues beyond the call: it contains the return address of traced. */
static void unwinders_pass_through_closures() {
    for (int i = 0; i < CONVENTIONS; i++) {
        double (*function)(double) = prepare<double(double)>("d(d)", trace, i != 0);
        seen = false;
        CHECK(traced(function) == 6 && seen);
        clean_up();
    }
}

#endif

int main() {
    RUN(exceptions_pass_through_closures);
    RUN(exceptions_pass_through_closures_with_many_arguments);
    RUN(longjmp_passes_through_closures);
#if !defined(_WIN32)
    RUN(unwinders_pass_through_closures);
#endif
    (void)printf("ok\n");
    return 0;
}

#else

int main() {
    (void)fprintf(stderr, "SKIP: unwinding through closures with handlers: there are none here\n");
    return 0;
}

#endif
