/* Fault injection in pools: each system call and allocation fails once, then it and all later ones fail, as
 * in faults.c. If a region cannot be made, code gets a dedicated mapping, so most of these calls succeed; the
 * stats of the pool then contain the failure. region_faults.c tests what follows from such a failure. */

#include "pool_faults.h"

#if LADDER
#include <pthread.h>
#endif

/* The buffers of a scenario that publishes a batch. */
enum { BATCH = 3 };
static execbuf batch[BATCH];

static void make_pool_with_a_full_region(void) {
    make_pool_with_code();
    for (; other_count < 3; other_count++) {
        CHECK(execbuf_pool_reserve(pool, &others[other_count], quarter(), NULL) == EXECBUF_OK);
    }
}

/* So many spans that the next one needs a larger index. */
static void make_pool_with_many_spans(void) {
    make_pool_with_code();
    for (; other_count < 15; other_count++) {
        CHECK(publish_size(&others[other_count], 4, 32 + 16 * other_count) == EXECBUF_OK);
    }
}

static void make_pool_and_reserve(void) {
    make_pool_with_code();
    CHECK(execbuf_pool_reserve(pool, &buffer, 100, NULL) == EXECBUF_OK);
}

static void make_pool_and_publish(void) {
    make_pool_with_code();
    CHECK(publish_size(&buffer, 1, 5000) == EXECBUF_OK);
}

static void make_pool_with_empty_region(void) {
    make_pool_with_code();
    CHECK(execbuf_free(&old) == EXECBUF_OK);
}

static execbuf_status publish_another_size(void) {
    return publish_size(&buffer, 1, 1000);
}

static execbuf_status reserve_much(void) {
    return execbuf_pool_reserve(pool, &buffer, quarter(), &error);
}

static execbuf_status reserve_little(void) {
    return execbuf_pool_reserve(pool, &buffer, 500, &error);
}

static execbuf_status publish_three(void) {
    static uint8_t bytes[3000];
    code one = returning(1);
    memcpy(bytes, one.bytes, one.length);
    execbuf_code codes[BATCH] = {{bytes, 16, NULL}, {bytes, 700, NULL}, {bytes, 3000, NULL}};
    return execbuf_pool_publish_batch(pool, batch, codes, BATCH, &error);
}

static execbuf_status fill(void) {
    code one = returning(1);
    return execbuf_publish(&buffer, one.bytes, one.length, &error);
}

static execbuf_status rewrite(void) {
    uint8_t bytes[100] = {0};
    code two = returning(2);
    memcpy(bytes, two.bytes, two.length);
    return execbuf_rewrite(&buffer, 0, bytes, sizeof bytes, &error);
}

static execbuf_status release_buffer(void) {
    error.status = execbuf_free(&buffer);
    error.culprit = NULL;
    return error.status;
}

static execbuf_status free_pool(void) {
    execbuf_pool_free(pool);
    error.status = EXECBUF_OK;
    error.culprit = NULL;
    return EXECBUF_OK;
}

static void check_published(execbuf_status status) {
    if (status != EXECBUF_OK) {
        CHECK(is_zero(&buffer));
        CHECK(stats_of_pool().live == (old.id != 0) + other_count);
        CHECK(publish_first() == EXECBUF_OK);
    }
    CHECK(call(&buffer, 0) == 1);
    CHECK(stats_of_pool().live == (old.id != 0) + other_count + 1);
    clean_up();
}

/* For a new pool: if it has no region, its stats contain the reason. */
static void check_reason(execbuf_status status) {
    execbuf_pool_stats stats = stats_of_pool();
    bool alloc = stats.why.culprit != NULL && strcmp(stats.why.culprit, "calloc") == 0;
    if (stats.regions == 0 && status == EXECBUF_OK) {
        CHECK(stats.dedicated == 1);
    }
    for (size_t i = 0; i < stats.why.attempt_count; i++) {
        CHECK(stats.why.attempts[i].call != NULL && stats.why.attempts[i].os_error != 0);
        CHECK(stats.why.attempts[i].backend != EXECBUF_BACKEND_NONE);
    }
    if (stats.regions == 0 && stats.why.status != EXECBUF_OK && stats.why.status != EXECBUF_E_UNSUPPORTED) {
        CHECK(alloc || stats.why.attempt_count > 0);
        CHECK(stats.why.culprit != NULL);
    }
    check_published(status);
}

static void check_reserved_in_pool(execbuf_status status) {
    if (status == EXECBUF_OK) {
        CHECK(buffer.length == 0 && fill() == EXECBUF_OK);
    }
    check_published(status);
}

#if defined(__x86_64__)
static int one(void) {
    return 1;
}

/* A function without arguments has the same machine code in both conventions. */
static execbuf_status make_thunk(void) {
    static const execbuf_signature signature =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I32), NULL, 0);
    int_function target = one;
    const void *address;
    memcpy((void *)&address, (const void *)&target, sizeof address);
    return execbuf_thunk_new(pool, &buffer, &signature, EXECBUF_ABI_WIN64, EXECBUF_ABI_SYSV64, address,
                             &error);
}

static void check_thunk_works(void) {
#if defined(_WIN32)
    CHECK(call(&buffer, 0) == 1);
#else
    int(__attribute__((ms_abi)) * function)(void) =
        (int(__attribute__((ms_abi)) *)(void))execbuf_entry(&buffer, 0);
    CHECK(function() == 1);
#endif
    CHECK(stats_of_pool().live == 3); /* the stub, its adapter and the old code */
    CHECK(execbuf_free(&buffer) == EXECBUF_OK && stats_of_pool().live == 1);
}

static void check_thunk(execbuf_status status) {
    if (status != EXECBUF_OK) {
        CHECK(is_zero(&buffer) && stats_of_pool().live == 1);
        CHECK(make_thunk() == EXECBUF_OK);
    }
    check_thunk_works();
    clean_up();
}
#endif

#if defined(HAS_CLOSURES)
static int value_of(void *context) {
    return *(int *)context;
}

static execbuf_status make_closure(void) {
    static int value = 1;
    static const execbuf_type pointer = EXECBUF_SCALAR(EXECBUF_TYPE_POINTER);
    static const execbuf_signature signature =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I32), &pointer, 1);
    return execbuf_bind(pool, &buffer, &signature, EXECBUF_ABI_NATIVE, (execbuf_function)value_of, &value, 0,
                        &error);
}

/* The adapter may have been made, and stays then. */
static void check_closure(execbuf_status status) {
    if (status != EXECBUF_OK) {
        CHECK(is_zero(&buffer) && stats_of_pool().live <= 2);
        CHECK(make_closure() == EXECBUF_OK);
    }
    CHECK(call(&buffer, 0) == 1 && stats_of_pool().live == 3);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK && stats_of_pool().live == 2);
    clean_up();
}
#endif

static void check_batch(execbuf_status status) {
    for (int i = 0; i < BATCH; i++) {
        CHECK(status == EXECBUF_OK ? call(&batch[i], 0) == 1 : is_zero(&batch[i]));
    }
    CHECK(stats_of_pool().live == 1U + (status == EXECBUF_OK ? BATCH : 0U));
    if (status != EXECBUF_OK) {
        CHECK(publish_three() == EXECBUF_OK);
    }
    for (int i = 0; i < BATCH; i++) {
        CHECK(call(&batch[i], 0) == 1 && execbuf_free(&batch[i]) == EXECBUF_OK);
    }
    CHECK(stats_of_pool().live == 1 && execbuf_pool_code_bytes(pool) == old.length);
    clean_up();
}

static void check_filled(execbuf_status status) {
    if (status != EXECBUF_OK) {
        CHECK(buffer.length == 0 && fill() == EXECBUF_OK);
    }
    CHECK(call(&buffer, 0) == 1);
    clean_up();
}

static void check_rewritten(execbuf_status status) {
    if (status == EXECBUF_E_LOST) {
        CHECK(may_lose);
    } else {
        CHECK(call(&buffer, 0) == (status == EXECBUF_OK ? 2 : 1));
        CHECK(status == EXECBUF_OK || (rewrite() == EXECBUF_OK && call(&buffer, 0) == 2));
    }
    clean_up();
}

static void check_freed_buffer(execbuf_status status) {
    CHECK(status == EXECBUF_OK && is_zero(&buffer));
    CHECK(stats_of_pool().live == 0);
    CHECK(execbuf_free(NULL) == EXECBUF_OK); /* unmaps what the system refused to */
    clean_up();
}

static void check_freed_pool(execbuf_status status) {
    CHECK(status == EXECBUF_OK && execbuf_free(NULL) == EXECBUF_OK);
}

static void all_scenarios(const char *name, bool regions) {
    static const scenario scenarios[] = {
        {"first publish", make_pool, publish_first, check_reason, false},
        {"a new span", make_pool_with_code, publish_another_size, check_published, false},
        {"a new region", make_pool_with_a_full_region, reserve_much, check_reserved_in_pool, true},
        {"more spans", make_pool_with_many_spans, publish_another_size, check_published, false},
        {"a batch", make_pool_with_code, publish_three, check_batch, false},
        {"reserve", make_pool_with_code, reserve_little, check_reserved_in_pool, false},
#if defined(__x86_64__)
        {"a thunk", make_pool_with_code, make_thunk, check_thunk, false},
#endif
#if defined(HAS_CLOSURES)
        {"a closure", make_pool_with_code, make_closure, check_closure, false},
#endif
        {"publish", make_pool_and_reserve, fill, check_filled, false},
        {"rewrite", make_pool_and_publish, rewrite, check_rewritten, false},
        {"free", make_pool_with_one_large, release_buffer, check_freed_buffer, true},
        {"free of a pool", make_pool_with_empty_region, free_pool, check_freed_pool, false},
    };
    make_pool_with_code();
    execbuf_pool_stats stats = stats_of_pool();
    clean_up();
    if ((stats.regions > 0) != regions) {
        char text[400];
        (void)execbuf_error_describe(&stats.why, text, sizeof text);
        (void)fprintf(stderr, "SKIP: faults of pools, %s: %s\n", name, text);
        return;
    }
    long sum = 0;
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        /* Runs once without comparing mappings, so that tables and the heap have their final size. */
        scenarios[i].before();
        scenarios[i].after(scenarios[i].act());
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        long faults = run_all(&scenarios[i]);
        (void)printf("%s, %s: %ld faults\n", name, scenarios[i].name, faults);
        (void)fflush(stdout);
        sum += faults;
    }
    CHECK(sum > 0);
}

static void pool_new_reports_lack_of_memory(void) {
    CHECK(create() == EXECBUF_OK &&
          execbuf_free(&buffer) == EXECBUF_OK); /* registers fork handlers, allocates the table of handles */
    for (long position = 0; position < 2; position++) {
        arm("calloc", position, false);
        pool = (execbuf_pool *)(void *)&pool;
        CHECK(execbuf_pool_new(&pool, NULL, &error) == EXECBUF_E_NO_MEMORY && pool == NULL);
        CHECK(error.status == EXECBUF_E_NO_MEMORY && strcmp(error.culprit, "calloc") == 0 && failures == 1);
        disarm();
    }
    CHECK(execbuf_pool_new(&pool, NULL, &error) == EXECBUF_OK && error.status == EXECBUF_OK);
    execbuf_pool_free(pool);
}

#if LADDER

static void *publish_without_watch(void *unused) {
    arm("pthread_setspecific", 0, true);
    CHECK(publish_size(&buffer, 1, 10) == EXECBUF_OK);
    disarm();
    return unused;
}

static uint64_t arena_of(const execbuf *in_pool) {
    return in_pool->id >> 48; /* see csrc/pool/index.h */
}

/* If the end of a thread cannot be noticed, it publishes in an arena that all such threads share. Threads
 * with arenas of their own stay there. */
static void owners_keep_their_arenas_when_a_thread_cannot_have_one(void) {
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    CHECK(publish_size(&old, 1, 10) == EXECBUF_OK);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, publish_without_watch, NULL) == 0 && pthread_join(thread, NULL) == 0);
    execbuf other;
    CHECK(publish_size(&other, 1, 5000) == EXECBUF_OK); /* needs a new span */
    CHECK(arena_of(&other) == arena_of(&old));
    CHECK(execbuf_free(&other) == EXECBUF_OK && execbuf_free(&buffer) == EXECBUF_OK &&
          execbuf_free(&old) == EXECBUF_OK);
    execbuf_pool_free(pool);
}
#endif

/* Programs make some hundred functions and free them again and again. From some time on this needs no system
 * calls but barriers, and no other allocations. */
static void code_that_comes_and_goes_takes_no_new_memory(void) {
    enum { COUNT = 1000, SIZE = 64, ROUNDS = 40 };
    static execbuf some[COUNT];
    always[0] = always[1] = "";
    make_pool_with_code();
    if (stats_of_pool().regions == 0) {
        (void)fprintf(stderr, "SKIP: code that comes and goes: there are no regions here\n");
        clean_up();
        return;
    }
    CHECK(execbuf_free(&old) == EXECBUF_OK);
    for (int round = 0; round < ROUNDS; round++) {
        if (round == ROUNDS / 2) {
            arm(NULL, -1, false);
        }
        for (int i = 0; i < COUNT; i++) {
            CHECK(publish_size(&some[i], 1, SIZE) == EXECBUF_OK);
        }
        for (int i = 0; i < COUNT; i++) {
            CHECK(execbuf_free(&some[i]) == EXECBUF_OK);
        }
    }
    CHECK(calls == 0);
    execbuf_pool_free(pool);
}

int main(void) {
    RUN(pool_new_reports_lack_of_memory);
#if LADDER
    RUN(owners_keep_their_arenas_when_a_thread_cannot_have_one);
    all_scenarios("memfd", true);
    variants = 4; /* the error code makes no difference for the rest */
    always[0] = "memfd_create";
    all_scenarios("alias", true);
    always[0] = NO_REGION;
    all_scenarios("dedicated mappings by memfd", false);
    always[1] = "memfd_create";
    all_scenarios("dedicated mappings by flip", false);
#elif defined(_WIN32)
    all_scenarios("section", true);
    always[0] = NO_REGION;
    all_scenarios("dedicated mappings", false);
#else
    all_scenarios("dedicated mappings", false);
#endif
    RUN(code_that_comes_and_goes_takes_no_new_memory);
    (void)printf("ok\n");
    return 0;
}
