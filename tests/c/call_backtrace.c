/* Backtraces and forced unwinding pass through dynamic calls, with code of their own and without, and through
 * closures. run.sh compiles this program twice. call_unwind.cpp and tests/closure.rs test exceptions. */

#include "check.h"

/* WITHOUT_UNWINDER: the program cannot be linked with one. */
#if (defined(__x86_64__) || defined(__aarch64__)) && defined(__ELF__) && !defined(WITHOUT_UNWINDER)

#include <setjmp.h>
#include <stdbool.h>
#include <unwind.h>

static const void *return_address;
static bool is_seen;

static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *unused) {
    (void)unused;
    is_seen = is_seen || (const void *)_Unwind_GetIP(context) == return_address; /* NOLINT */
    return _URC_NO_REASON;
}

typedef struct large {
    uint8_t bytes[100];
} large;

static int64_t trace(large value, double factor, int64_t number) {
    is_seen = false;
    (void)_Unwind_Backtrace(visit, NULL);
    return number + value.bytes[99] + (int64_t)factor;
}

__attribute__((noinline)) static int64_t call_traced(const execbuf_caller *caller) {
    static const large value = {{0}};
    execbuf_slot arguments[3];
    execbuf_slot result;
    return_address = __builtin_return_address(0);
    arguments[0].cp = &value;
    arguments[1].d = 2;
    arguments[2].i = 40;
    execbuf_call(caller, (execbuf_function)trace, arguments, &result);
    return result.i;
}

/* The backtrace contains the caller of the function that makes the call. */
static void backtraces_pass_through_calls(void) {
    execbuf_caller *caller;
    execbuf_signature *signature = parsed("l({[100B]}dl)");
    CHECK(execbuf_caller_new(&caller, signature, EXECBUF_ABI_NATIVE, NULL) == EXECBUF_OK);
    execbuf_signature_free(signature);
    int64_t result = call_traced(caller);
    CHECK(result == 42 && is_seen);
    execbuf_caller_free(caller);
}

/* ---- Closures ---- */

typedef int64_t (*few_function)(int64_t, double);
typedef int64_t (*many_function)(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                                 int64_t);

static int64_t trace_few(int64_t number, double factor, void *context) {
    is_seen = false;
    (void)_Unwind_Backtrace(visit, NULL);
    return number + (int64_t)factor + *(int64_t *)context;
}

static int64_t trace_many(void *context, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f,
                          int64_t g, int64_t h, int64_t i) {
    return a + b + c + d + e + f + g + h + trace_few(i, 1, context);
}

__attribute__((noinline)) static int64_t call_few(const execbuf *closure) {
    return_address = __builtin_return_address(0);
    int64_t result = ((few_function)execbuf_entry(closure, 0))(30, 2);
    is_seen = is_seen && result == 42;
    return result;
}

__attribute__((noinline)) static int64_t call_many(const execbuf *closure) {
    return_address = __builtin_return_address(0);
    int64_t result = ((many_function)execbuf_entry(closure, 0))(1, 2, 3, 4, 5, 6, 7, 8, 9);
    is_seen = is_seen && result == 56;
    return result;
}

/* Makes a closure.
 *
 * Returns: false if no memory can be made executable. */
static bool bind(execbuf *out, const char *text, execbuf_function function, void *context,
                 uint32_t position) {
    execbuf_signature *signature = parsed(text);
    execbuf_status status =
        execbuf_bind(NULL, out, signature, EXECBUF_ABI_NATIVE, function, context, position, NULL);
    CHECK(status == EXECBUF_OK || status == EXECBUF_E_UNSUPPORTED);
    execbuf_signature_free(signature);
    return status == EXECBUF_OK;
}

/* Through an adapter that jumps, and through one with a frame. */
static void backtraces_pass_through_closures(void) {
    int64_t ten = 10;
    execbuf closure;
    if (!bind(&closure, "l(ldp)", (execbuf_function)trace_few, &ten, 2)) {
        (void)fprintf(stderr, "SKIP: backtraces through closures: there are none here\n");
        return;
    }
    int64_t result = call_few(&closure);
    CHECK(result == 42 && is_seen && execbuf_free(&closure) == EXECBUF_OK);
    CHECK(bind(&closure, "l(plllllllll)", (execbuf_function)trace_many, &ten, 0));
    result = call_many(&closure);
    CHECK(result == 56 && is_seen && execbuf_free(&closure) == EXECBUF_OK);
}

static void trace_slots(void *context, const execbuf_slot *arguments, execbuf_slot *result) {
    result->i = trace_few(arguments[0].i, arguments[1].d, context);
}

static void backtraces_pass_through_closures_with_handlers(void) {
    int64_t ten = 10;
    execbuf closure;
    execbuf_signature *signature = parsed("l(ld)");
    execbuf_status status =
        execbuf_closure_new(NULL, &closure, signature, EXECBUF_ABI_NATIVE, trace_slots, &ten, NULL);
    execbuf_signature_free(signature);
    if (status == EXECBUF_OK) {
        int64_t result = call_few(&closure);
        CHECK(result == 42 && is_seen && execbuf_free(&closure) == EXECBUF_OK);
    } else {
        CHECK(status == EXECBUF_E_UNSUPPORTED);
    }
}

static int cleaned;

static void clean(const int *unused) {
    (void)unused;
    cleaned++;
}

static _Unwind_Reason_Code stop(int version, _Unwind_Action actions, _Unwind_Exception_Class class_,
                                struct _Unwind_Exception *exception, struct _Unwind_Context *context,
                                void *place) {
    (void)version;
    (void)class_;
    (void)exception;
    (void)context;
    if ((actions & _UA_END_OF_STACK) != 0 || cleaned > 0) {
        longjmp(*(jmp_buf *)place, 1);
    }
    return _URC_NO_REASON;
}

static int64_t leave(void *place, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f, int64_t g,
                     int64_t h, int64_t i) {
    static struct _Unwind_Exception exception;
    (void)_Unwind_ForcedUnwind(&exception, stop, place);
    return a + b + c + d + e + f + g + h + i;
}

__attribute__((noinline)) static int64_t call_with_cleanup(const execbuf *closure) {
    const int guard __attribute__((cleanup(clean))) = 0;
    return ((many_function)execbuf_entry(closure, 0))(1, 2, 3, 4, 5, 6, 7, 8, guard);
}

/* The unwinder restores the registers of the closure's caller, whose clean-up runs. */
static void clean_ups_behind_closures_run(void) {
    static jmp_buf place;
    static execbuf closure;
    if (!bind(&closure, "l(plllllllll)", (execbuf_function)leave, &place, 0)) {
        return;
    }
    if (setjmp(place) == 0) {
        (void)call_with_cleanup(&closure);
        CHECK(false);
    }
    CHECK(cleaned == 1 && execbuf_free(&closure) == EXECBUF_OK);
}

int main(void) {
    RUN(backtraces_pass_through_calls);
    RUN(backtraces_pass_through_closures);
    RUN(backtraces_pass_through_closures_with_handlers);
    RUN(clean_ups_behind_closures_run);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: backtraces through dynamic calls: not on this system\n");
    return 0;
}

#endif
