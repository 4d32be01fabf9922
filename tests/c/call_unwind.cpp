/* Exceptions, longjmp and backtraces pass through execbuf_call, whose adapters have frames of several kinds.
 * The functions that it calls have the convention of this program, or are thunks from the other one to it. */

#include "leaving.h"

#if defined(__x86_64__) || defined(__aarch64__)

static execbuf_caller *caller;
static execbuf_function function;
static execbuf thunk;

/* Prepares to call a target by its own convention, or by the other one through a thunk. */
template <typename F> static void prepare(const char *text, F *target, bool is_foreign) {
    execbuf_signature *signature = parsed(text);
    function = reinterpret_cast<execbuf_function>(target);
    if (is_foreign) {
        CHECK(execbuf_thunk_new(nullptr, &thunk, signature, FOREIGN, EXECBUF_ABI_NATIVE,
                                reinterpret_cast<const void *>(target), nullptr) == EXECBUF_OK);
        function = execbuf_entry(&thunk, 0);
    }
    CHECK(execbuf_caller_new(&caller, signature, is_foreign ? FOREIGN : EXECBUF_ABI_NATIVE, nullptr) ==
          EXECBUF_OK);
    execbuf_signature_free(signature);
}

static void clean_up() {
    execbuf_caller_free(caller);
    CHECK(execbuf_free(&thunk) == EXECBUF_OK);
}

/* ---- Exceptions ---- */

static double thrower(double number) {
    throw surprise{number};
}

/* Some arguments are on the stack, and some are copied. */
static large thrower_of_many(large first, long, long, long, long, long, long last, double number) {
    throw surprise{number + first.bytes[199] + static_cast<double>(last)};
}

static double catcher(const execbuf_slot *arguments) {
    execbuf_slot result[25];
    return caught_from([&] { execbuf_call(caller, function, arguments, result); });
}

static void exceptions_pass_through_calls() {
    for (int i = 0; i < 2 * CONVENTIONS; i++) {
        execbuf_slot argument;
        argument.d = 2.5;
        prepare("d(d)", thrower, i % CONVENTIONS != 0);
        destroyed = 0;
        CHECK(catcher(&argument) == 2.5 && destroyed == 1);
        CHECK(catcher(&argument) == 2.5 && destroyed == 2);
        clean_up();
    }
}

static void exceptions_pass_through_calls_with_large_frames() {
    for (int i = 0; i < 2 * CONVENTIONS; i++) {
        execbuf_slot arguments[8];
        large first;
        memset(&first, 9, sizeof first);
        memset(arguments, 0, sizeof arguments);
        arguments[0].p = &first;
        arguments[6].i = 100;
        arguments[7].d = 0.5;
        prepare("{[200B]}({[200B]}lllllld)", thrower_of_many, i % CONVENTIONS != 0);
        CHECK(catcher(arguments) == 109.5);
        clean_up();
    }
}

/* ---- longjmp ---- */

static double jumper(double number) {
    std::longjmp(place, static_cast<int>(number));
}

static void longjmp_passes_through_calls() {
    for (int i = 0; i < CONVENTIONS; i++) {
        static execbuf_slot argument;
        static execbuf_slot result;
        argument.d = 3;
        prepare("d(d)", jumper, i != 0);
        int got = setjmp(place);
        if (got == 0) {
            execbuf_call(caller, function, &argument, &result);
            CHECK(false);
        }
        CHECK(got == 3);
        clean_up();
    }
}

/* ---- Backtraces ---- */

#if !defined(_WIN32)

static double tracer(double number) {
    (void)_Unwind_Backtrace(visit, nullptr);
    return number + 1;
}

__attribute__((noinline)) static double traced() {
    execbuf_slot argument;
    execbuf_slot result;
    return_address = __builtin_return_address(0);
    argument.d = 4;
    execbuf_call(caller, function, &argument, &result);
    return result.d;
}

/* The backtrace continues beyond the call: it contains the return address of traced. */
static void unwinders_pass_through_calls() {
    for (int i = 0; i < CONVENTIONS; i++) {
        prepare("d(d)", tracer, i != 0);
        seen = false;
        CHECK(traced() == 5 && seen);
        clean_up();
    }
}

#endif

int main() {
    RUN(exceptions_pass_through_calls);
    RUN(exceptions_pass_through_calls_with_large_frames);
    RUN(longjmp_passes_through_calls);
#if !defined(_WIN32)
    RUN(unwinders_pass_through_calls);
#endif
    (void)printf("ok\n");
    return 0;
}

#else

int main() {
    (void)fprintf(stderr, "SKIP: unwinding through dynamic calls: there are none here\n");
    return 0;
}

#endif
