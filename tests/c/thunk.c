/* Thunks in pools: stubs that share adapters, errors, threads and forks. tests/thunk_compilers tests how
 * thunks pass arguments, unwind.cpp how exceptions pass through them. */

#include "check.h"

#if defined(__x86_64__)

#include <pthread.h>
#include <stdbool.h>

#if defined(_WIN32)
#define FOREIGN EXECBUF_ABI_SYSV64
#define FOREIGN_NAME sysv_abi
#else
#define FOREIGN EXECBUF_ABI_WIN64
#define FOREIGN_NAME ms_abi
#endif

typedef int (*native_function)(int, int);
typedef int(__attribute__((FOREIGN_NAME)) * foreign_function)(int, int);

static __attribute__((FOREIGN_NAME, noinline)) int foreign_minus(int one, int other) {
    return one - other;
}

static int native_minus(int one, int other) {
    return one - other;
}

static const void *address_of_native(native_function function) {
    const void *address;
    memcpy((void *)&address, (const void *)&function, sizeof address);
    return address;
}

static const void *address_of_foreign(foreign_function function) {
    const void *address;
    memcpy((void *)&address, (const void *)&function, sizeof address);
    return address;
}

/* Makes a thunk with which C calls foreign_minus, a function of the other convention. */
static execbuf to_foreign(execbuf_pool *pool, const char *text) {
    execbuf_signature *signature = parsed(text);
    execbuf thunk;
    CHECK(execbuf_thunk_new(pool, &thunk, signature, EXECBUF_ABI_NATIVE, FOREIGN,
                            address_of_foreign(foreign_minus), NULL) == EXECBUF_OK);
    execbuf_signature_free(signature);
    return thunk;
}

static int call_native(const execbuf *thunk, int one, int other) {
    native_function function = (native_function)(void (*)(void))execbuf_entry(thunk, 0);
    CHECK(function != NULL);
    return function(one, other);
}

static size_t live(const execbuf_pool *pool) {
    return stats_of(pool).live;
}

static const execbuf_type two_ints[] = {EXECBUF_SCALAR(EXECBUF_TYPE_I32), EXECBUF_SCALAR(EXECBUF_TYPE_I32)};
static const execbuf_signature int_of_two_ints =
    EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I32), two_ints, 2);

static void thunks_work_in_both_directions(void) {
    execbuf there = to_foreign(NULL, "i(ii)");
    CHECK(call_native(&there, 45, 3) == 42);
    execbuf back;
    CHECK(execbuf_thunk_new(NULL, &back, &int_of_two_ints, FOREIGN, EXECBUF_ABI_NATIVE,
                            address_of_native(native_minus), NULL) == EXECBUF_OK);
    foreign_function function = (foreign_function)(void (*)(void))execbuf_entry(&back, 0);
    CHECK(function(45, 3) == 42);
    execbuf same;
    CHECK(execbuf_thunk_new(NULL, &same, &int_of_two_ints, EXECBUF_ABI_NATIVE, EXECBUF_ABI_NATIVE,
                            address_of_native(native_minus), NULL) == EXECBUF_OK);
    CHECK(call_native(&same, 45, 3) == 42);
    CHECK(execbuf_free(&there) == EXECBUF_OK && execbuf_free(&back) == EXECBUF_OK &&
          execbuf_free(&same) == EXECBUF_OK);
}

/* The code contains no distances, so it runs wherever it is published. */
static void emitted_thunks_work_in_both_directions(void) {
    uint8_t bytes[256];
    size_t length;
    execbuf there;
    execbuf back;
    CHECK(execbuf_thunk_emit(&int_of_two_ints, bytes, sizeof bytes, &length, EXECBUF_ABI_NATIVE, FOREIGN,
                             address_of_foreign(foreign_minus), NULL) == EXECBUF_OK);
    CHECK(execbuf_new(&there, bytes, length, NULL) == EXECBUF_OK && call_native(&there, 45, 3) == 42);
    /* A thunk to a thunk: the outer one is called by the foreign convention. */
    CHECK(execbuf_thunk_emit(&int_of_two_ints, bytes, sizeof bytes, &length, FOREIGN, EXECBUF_ABI_NATIVE,
                             there.entry, NULL) == EXECBUF_OK);
    CHECK(execbuf_new(&back, bytes, length, NULL) == EXECBUF_OK);
    foreign_function function = (foreign_function)(void (*)(void))execbuf_entry(&back, 0);
    CHECK(function(45, 3) == 42);
    CHECK(execbuf_free(&back) == EXECBUF_OK && execbuf_free(&there) == EXECBUF_OK);
}

static void stubs_of_one_fingerprint_share_an_adapter(void) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    execbuf first = to_foreign(pool, "i(ii)");
    CHECK(live(pool) == 2); /* a stub and an adapter */
    execbuf second = to_foreign(pool, "p(lL)");
    CHECK(live(pool) == 3);
    execbuf other = to_foreign(pool, "i(id)");
    CHECK(live(pool) == 5);
    CHECK(execbuf_free(&first) == EXECBUF_OK && live(pool) == 4);
    CHECK(call_native(&second, 7, 5) == 2);
    CHECK(execbuf_free(&second) == EXECBUF_OK && live(pool) == 2);
    execbuf again = to_foreign(pool, "i(ii)");
    CHECK(call_native(&again, 7, 5) == 2 && live(pool) == 4);
    CHECK(execbuf_free(&other) == EXECBUF_OK && execbuf_free(&again) == EXECBUF_OK && live(pool) == 0);
    execbuf_pool_free(pool);
}

static void a_thunk_outlives_its_pool(void) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    execbuf thunk = to_foreign(pool, "i(ii)");
    execbuf_pool_free(pool);
    CHECK(call_native(&thunk, 7, 5) == 2 && execbuf_free(&thunk) == EXECBUF_OK);
}

/* If the pool has regions, a stub takes 16 bytes if its target is within 2 GiB, otherwise 32. */
static void stubs_are_small(void) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    execbuf near_target;
    execbuf thunk;
    const uint8_t minus[] = {
#if defined(_WIN32)
        0x89,
        0xf8, /* mov eax, edi */
        0x29,
        0xf0, /* sub eax, esi */
#else
        0x89,
        0xc8, /* mov eax, ecx */
        0x29,
        0xd0, /* sub eax, edx */
#endif
        0xc3, /* ret */
    };
    CHECK(execbuf_pool_publish(pool, &near_target, minus, sizeof minus, NULL) == EXECBUF_OK);
    CHECK(execbuf_thunk_new(pool, &thunk, &int_of_two_ints, EXECBUF_ABI_NATIVE, FOREIGN, near_target.entry,
                            NULL) == EXECBUF_OK);
    execbuf_pool_stats stats = stats_of(pool);
    CHECK(execbuf_length(&thunk) == (stats.regions > 0 ? 16 : 27) && call_native(&thunk, 7, 5) == 2);
    if (stats.regions == 0) {
        (void)fprintf(stderr, "SKIP: the size of stubs: there are no regions here\n");
    }
    execbuf far_thunk;
    CHECK(execbuf_thunk_new(pool, &far_thunk, &int_of_two_ints, EXECBUF_ABI_NATIVE, FOREIGN,
                            (const void *)((uintptr_t)near_target.entry ^ (uintptr_t)1 << 45),
                            NULL) == EXECBUF_OK);
    CHECK(execbuf_length(&far_thunk) == (stats.regions > 0 ? 19 : 27));
    CHECK(execbuf_free(&far_thunk) == EXECBUF_OK && execbuf_free(&thunk) == EXECBUF_OK &&
          execbuf_free(&near_target) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

static void thunks_are_buffers_that_cannot_be_rewritten(void) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    execbuf thunk = to_foreign(pool, "i(ii)");
    execbuf_place place;
    CHECK(finds(pool, thunk.entry, &place) && place.entry == thunk.entry && place.length == thunk.length);
    CHECK(execbuf_rewrite(&thunk, 0, "\xc3", 1, NULL) == EXECBUF_E_THUNK);
    CHECK(execbuf_rewrite(&thunk, thunk.length, "\xc3", 1, NULL) == EXECBUF_E_THUNK);
    CHECK(execbuf_publish(&thunk, "\xc3", 1, NULL) == EXECBUF_E_THUNK);
    CHECK(call_native(&thunk, 7, 5) == 2);
    execbuf copy = thunk;
    CHECK(execbuf_free(&thunk) == EXECBUF_OK && is_zero(&thunk));
    CHECK(execbuf_free(&copy) == EXECBUF_E_STALE && live(pool) == 0);
    execbuf_pool_free(pool);
}

static void invalid_arguments_are_reported(void) {
    const void *target = address_of_foreign(foreign_minus);
    execbuf thunk = {target, 1, 1};
    execbuf_error error;
    const execbuf_abi native = EXECBUF_ABI_NATIVE;
    const execbuf_signature *good = &int_of_two_ints;
    CHECK(execbuf_thunk_new(NULL, NULL, good, native, FOREIGN, target, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "out") == 0);
    CHECK(execbuf_thunk_new(NULL, &thunk, good, native, FOREIGN, NULL, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "target") == 0 && is_zero(&thunk));
    CHECK(execbuf_thunk_new(NULL, &thunk, NULL, native, FOREIGN, target, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "signature") == 0);
    CHECK(execbuf_thunk_new(NULL, &thunk, good, (execbuf_abi)7, FOREIGN, target, &error) == EXECBUF_E_ABI);
    CHECK(strcmp(error.culprit, "caller_abi") == 0);
    CHECK(execbuf_thunk_new(NULL, &thunk, good, native, (execbuf_abi)0, target, &error) == EXECBUF_E_ABI);
    CHECK(strcmp(error.culprit, "callee_abi") == 0);
    CHECK(execbuf_thunk_new(NULL, &thunk, good, (execbuf_abi)0, (execbuf_abi)0, target, &error) ==
          EXECBUF_E_ABI);
    CHECK(strcmp(error.culprit, "caller_abi") == 0);
}

/* More adapters than the hash tables have space for at first. All are live at once, then none. */
static void a_pool_can_have_many_adapters(void) {
    enum { COUNT = 300 };
    static execbuf thunks[COUNT];
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    for (int i = 0; i < COUNT; i++) {
        char text[16] = "i(ii";
        size_t length = 4;
        for (int rest = i; rest > 0; rest /= 2) {
            text[length++] = rest % 2 == 0 ? 'i' : 'd';
        }
        text[length] = ')';
        thunks[i] = to_foreign(pool, text);
    }
    CHECK(live(pool) == 2 * COUNT);
    for (int i = 0; i < COUNT; i++) {
        CHECK(call_native(&thunks[i], i, 5) == i - 5);
        CHECK(execbuf_free(&thunks[i]) == EXECBUF_OK);
    }
    CHECK(live(pool) == 0);
    execbuf_pool_free(pool);
}

/* Makes and frees thunks of few fingerprints, so that adapters are made and freed all the time. */
static void *make_and_free(void *pool) {
    static const char *const texts[] = {"i(ii)", "i(iid)", "l(ii)"};
    for (int i = 0; i < 2000; i++) {
        execbuf thunk = to_foreign((execbuf_pool *)pool, texts[i % 3]);
        CHECK(call_native(&thunk, i, 5) == i - 5);
        CHECK(execbuf_free(&thunk) == EXECBUF_OK);
    }
    return NULL;
}

static void threads_share_adapters(void) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, make_and_free, pool) == 0);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(live(pool) == 0);
    execbuf_pool_free(pool);
}

/* Types after the last argument are ignored, also when a cache finds the signature. */
static void types_after_the_last_argument_are_ignored(void) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    execbuf thunks[24];
    size_t count = 0;
    static const size_t lengths[] = {0, 2, 4, 12, 13};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (int32_t kind = 0; kind < 4; kind++) {
            execbuf_type types[EXECBUF_MAX_ARGUMENTS];
            for (size_t j = 0; j < EXECBUF_MAX_ARGUMENTS; j++) {
                types[j] = two_ints[0];
                types[j].kind = j < lengths[i] ? (int32_t)EXECBUF_TYPE_I32 : kind;
            }
            const execbuf_signature signature =
                EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I32), types, lengths[i]);
            CHECK(execbuf_thunk_new(pool, &thunks[count], &signature, EXECBUF_ABI_NATIVE, FOREIGN,
                                    address_of_foreign(foreign_minus), NULL) == EXECBUF_OK);
            count++;
        }
        CHECK(live(pool) == count + i + 1);
    }
    while (count > 0) {
        CHECK(execbuf_free(&thunks[--count]) == EXECBUF_OK);
    }
    CHECK(live(pool) == 0);
    execbuf_pool_free(pool);
}

#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>

/* Uses and frees thunks that were made before a fork, and makes others of the same fingerprints. */
static void use_thunks(execbuf_pool *pool, execbuf *first, execbuf *second) {
    CHECK(call_native(first, 7, 5) == 2 && execbuf_free(first) == EXECBUF_OK);
    execbuf third = to_foreign(pool, "i(ii)");
    execbuf fourth = to_foreign(pool, "i(iid)");
    CHECK(call_native(second, 7, 5) == 2 && execbuf_free(second) == EXECBUF_OK);
    CHECK(call_native(&third, 7, 5) == 2 && call_native(&fourth, 7, 5) == 2);
    CHECK(execbuf_free(&fourth) == EXECBUF_OK && execbuf_free(&third) == EXECBUF_OK && live(pool) == 0);
    third = to_foreign(pool, "i(ii)");
    CHECK(call_native(&third, 7, 5) == 2 && execbuf_free(&third) == EXECBUF_OK);
}

static void both_processes_use_thunks_after_a_fork(void) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    for (int i = 0; i < 20; i++) {
        execbuf first = to_foreign(pool, "i(ii)");
        execbuf second = to_foreign(pool, "i(iid)");
        pid_t child = fork();
        CHECK(child >= 0);
        use_thunks(pool, &first, &second);
        if (child == 0) {
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    execbuf_pool_free(pool);
}
#endif

int main(void) {
    RUN(types_after_the_last_argument_are_ignored);
#if !defined(_WIN32)
    RUN(both_processes_use_thunks_after_a_fork);
#endif
    RUN(thunks_work_in_both_directions);
    RUN(emitted_thunks_work_in_both_directions);
    RUN(stubs_of_one_fingerprint_share_an_adapter);
    RUN(a_thunk_outlives_its_pool);
    RUN(stubs_are_small);
    RUN(thunks_are_buffers_that_cannot_be_rewritten);
    RUN(invalid_arguments_are_reported);
    RUN(a_pool_can_have_many_adapters);
    RUN(threads_share_adapters);
    (void)printf("ok\n");
    return 0;
}

#else

/* Signatures and layouts of both conventions work on every machine, thunks only on x86-64. */
static void thunks_are_refused(void) {
    execbuf_signature *signature = parsed("i(ii)");
    execbuf_error error;
    execbuf thunk;
    CHECK(execbuf_thunk_new(NULL, &thunk, signature, EXECBUF_ABI_NATIVE, EXECBUF_ABI_SYSV64, &thunk,
                            &error) == EXECBUF_E_ABI);
    CHECK(strcmp(error.culprit, "caller_abi") == 0);
    CHECK(execbuf_thunk_new(NULL, &thunk, signature, EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64, &thunk, &error) ==
          EXECBUF_E_ABI);
    execbuf_signature_free(signature);
}

#if !defined(HAS_CLOSURES)
static void nothing(void) {}

static void handle(void *context, const execbuf_slot *arguments, execbuf_slot *result) {
    (void)context;
    (void)arguments;
    (void)result;
}

static void closures_are_refused(void) {
    execbuf_signature *signature = parsed("i(pp)");
    execbuf_error error;
    execbuf closure;
    CHECK(execbuf_bind(NULL, &closure, signature, EXECBUF_ABI_NATIVE, nothing, NULL, 0, &error) ==
          EXECBUF_E_ABI);
    CHECK(strcmp(error.culprit, "abi") == 0 && is_zero(&closure));
    CHECK(execbuf_bind(NULL, &closure, signature, EXECBUF_ABI_SYSV64, nothing, NULL, 0, &error) ==
          EXECBUF_E_ABI);
    CHECK(execbuf_drop_argument(NULL, &closure, signature, EXECBUF_ABI_SYSV64, nothing, 0, &error) ==
          EXECBUF_E_ABI);
    CHECK(execbuf_closure_new(NULL, &closure, signature, EXECBUF_ABI_NATIVE, handle, NULL, &error) ==
          EXECBUF_E_ABI);
    CHECK(strcmp(error.culprit, "abi") == 0 && is_zero(&closure));
    CHECK(execbuf_closure_new(NULL, &closure, signature, EXECBUF_ABI_WIN64, handle, NULL, &error) ==
          EXECBUF_E_ABI);
    execbuf_signature_free(signature);
}
#endif

int main(void) {
#if !defined(HAS_CLOSURES)
    RUN(closures_are_refused);
#endif
    RUN(thunks_are_refused);
    (void)printf("ok\n");
    return 0;
}

#endif
