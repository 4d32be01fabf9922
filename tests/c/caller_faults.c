/* Each allocation and each system call of execbuf_caller_new fails in turn: it says so, makes nothing, and
 * works the next time. */

#include "faults.h"

#if defined(HAS_CLOSURES)

static int64_t add(int64_t one, int64_t other) {
    return one + other;
}

static execbuf_status make(execbuf_caller **out) {
    static const execbuf_type types[] = {EXECBUF_SCALAR(EXECBUF_TYPE_I64), EXECBUF_SCALAR(EXECBUF_TYPE_I64)};
    static const execbuf_signature signature =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I64), types, 2);
    return execbuf_caller_new(out, &signature, EXECBUF_ABI_NATIVE, &error);
}

static void check_works(const execbuf_caller *caller) {
    execbuf_slot arguments[2] = {{40}, {2}};
    execbuf_slot result;
    execbuf_call(caller, (execbuf_function)add, arguments, &result);
    CHECK(result.i == 42);
}

/* Lets one call fail after the other, until none is left.
 *
 * Returns: how many calls can fail.
 * In: recovers: whether a caller is made after each failure. Else the library's pool is made only when none
 * of its calls fails any more. */
static long fail_each(int32_t os_error, bool recovers) {
    long number = 0;
    code_given = os_error;
    for (;; number++) {
        execbuf_caller *caller = (execbuf_caller *)(void *)&number;
        arm(NULL, number, false);
        execbuf_status status = make(&caller);
        long failed = failures;
        disarm();
        CHECK((caller != NULL) == (status == EXECBUF_OK));
        /* Calls do without code if none can be made; then the report says why. */
        CHECK(error.status == status || (status == EXECBUF_OK && error.status == EXECBUF_E_DENIED));
        if (status == EXECBUF_OK) {
            check_works(caller);
            execbuf_caller_free(caller);
        } else {
            CHECK(failed > 0 && (status == EXECBUF_E_NO_MEMORY || status == EXECBUF_E_DENIED));
        }
        if (failed == 0) {
            break;
        }
        if (recovers) {
            CHECK(make(&caller) == EXECBUF_OK);
            check_works(caller);
            execbuf_caller_free(caller);
        }
    }
    return number;
}

static void each_call_fails_in_turn(void) {
    long cold = fail_each(EXHAUSTED, false);
    long warm = fail_each(EXHAUSTED, true) + fail_each(REFUSED, true);
    (void)printf("%ld faults without a pool, %ld with one\n", cold, warm);
    CHECK(cold > 2 && warm > 2);
}

static void lack_of_memory_is_reported(void) {
    execbuf_caller *caller;
    arm("malloc", 0, true);
    CHECK(make(&caller) == EXECBUF_E_NO_MEMORY && caller == NULL);
    disarm();
    CHECK(strcmp(error.culprit, "malloc") == 0);
    arm("calloc", 0, true);
    CHECK(make(&caller) == EXECBUF_E_NO_MEMORY && caller == NULL);
    disarm();
    CHECK(strcmp(error.culprit, "calloc") == 0);
}

int main(void) {
    RUN(each_call_fails_in_turn);
    RUN(lack_of_memory_is_reported);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: faults of dynamic calls: there are none here\n");
    return 0;
}

#endif
