/* Backtraces pass through dynamic calls, with code of their own and without. run.sh compiles this program
 * twice. call_unwind.cpp tests exceptions. */

#include "check.h"

#if (defined(__x86_64__) || defined(__aarch64__)) && defined(__ELF__)

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

int main(void) {
    RUN(backtraces_pass_through_calls);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: backtraces through dynamic calls: not on this system\n");
    return 0;
}

#endif
