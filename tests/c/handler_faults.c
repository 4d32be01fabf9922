/* Each allocation and each system call of execbuf_closure_new fails in turn: it says so, makes nothing, and
 * works the next time. */

#include "faults.h"

#if defined(HAS_CLOSURES)

static void add(void *context, const execbuf_slot *arguments, execbuf_slot *result) {
    result->i = arguments[0].i + *(const int64_t *)context;
}

static execbuf_pool *pool;

static execbuf_status make(execbuf *out) {
    static int64_t one = 1;
    static const execbuf_type type = EXECBUF_SCALAR(EXECBUF_TYPE_I64);
    static const execbuf_signature signature =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I64), &type, 1);
    return execbuf_closure_new(pool, out, &signature, EXECBUF_ABI_NATIVE, add, &one, &error);
}

static void check_works(execbuf *closure) {
    CHECK(((int64_t(*)(int64_t))execbuf_entry(closure, 0))(41) == 42);
    CHECK(execbuf_free(closure) == EXECBUF_OK);
}

static size_t live_buffers(void) {
    execbuf_pool_stats stats = EXECBUF_POOL_STATS_INIT;
    CHECK(execbuf_pool_get_stats(pool, &stats) == EXECBUF_OK);
    return stats.live;
}

/* Lets one call fail after the other, each in a new pool, until none is left.
 *
 * Returns: how many calls can fail. */
static long fail_each(int32_t os_error) {
    long number = 0;
    code_given = os_error;
    for (;; number++) {
        execbuf closure;
        CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
        arm(NULL, number, false);
        execbuf_status status = make(&closure);
        long failed = failures;
        disarm();
        CHECK(error.status == status);
        if (status != EXECBUF_OK) {
            CHECK(failed > 0 && (status == EXECBUF_E_NO_MEMORY || status == EXECBUF_E_DENIED));
            CHECK(is_zero(&closure) && live_buffers() <= 1); /* the adapter stays if it was made */
            CHECK(make(&closure) == EXECBUF_OK);
        }
        CHECK(live_buffers() == 2);
        check_works(&closure);
        CHECK(live_buffers() == 1);
        execbuf_pool_free(pool);
        if (failed == 0) {
            return number;
        }
    }
}

static void each_call_fails_in_turn(void) {
    long count = fail_each(EXHAUSTED) + fail_each(REFUSED);
    (void)printf("%ld faults\n", count);
    CHECK(count > 6);
}

static void lack_of_memory_is_reported(void) {
    execbuf closure;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    arm("calloc", 0, true);
    CHECK(make(&closure) == EXECBUF_E_NO_MEMORY && is_zero(&closure));
    disarm();
    CHECK(strcmp(error.culprit, "calloc") == 0 && live_buffers() == 0);
    execbuf_pool_free(pool);
}

int main(void) {
    RUN(each_call_fails_in_turn);
    RUN(lack_of_memory_is_reported);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: faults of closures for run-time signatures: there are none here\n");
    return 0;
}

#endif
