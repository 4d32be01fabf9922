/* Every call that a pool makes fails once, and then all from it on fail, as in faults.c. Where a region can't
 * be had, a piece of code gets pages of its own, so most of these end in success; then the numbers of the
 * pool say what failed. */

#include "faults.h"

#if defined(_WIN32)
#define NO_REGION "CreateFileMapping"
#else
#define NO_REGION "madvise" /* both kinds of regions need it, and pages by the flip or a memfd don't */
#endif

static execbuf_pool *pool;
/* A piece of code that was there before the fault, and what else the scenario needs to be there. */
static execbuf old;
static execbuf others[20];
static size_t other_count;
/* What calls fail in may publish three. */
enum { BATCH = 3 };
static execbuf batch[BATCH];

static execbuf_pool_stats stats_of_pool(void) {
    return stats_of(pool);
}

static execbuf_status publish_size(execbuf *out, uint32_t value, size_t size) {
    static uint8_t bytes[5000];
    code made = returning(value);
    CHECK(made.length <= size && size <= sizeof bytes);
    memcpy(bytes, made.bytes, made.length);
    return execbuf_pool_publish(pool, out, bytes, size, &error);
}

static void make_pool(void) {
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    memset(&old, 0, sizeof old);
    other_count = 0;
}

static void make_pool_with_code(void) {
    make_pool();
    CHECK(publish_size(&old, 3, 16) == EXECBUF_OK);
}

/* The size of code of which four pieces do not fit in a region with code. */
static size_t quarter(void) {
    execbuf_pool_stats stats = stats_of_pool();
    return stats.regions > 0 ? stats.mapped / 4 : 10000;
}

static void make_pool_with_a_full_region(void) {
    make_pool_with_code();
    for (; other_count < 3; other_count++) {
        CHECK(execbuf_pool_reserve(pool, &others[other_count], quarter(), NULL) == EXECBUF_OK);
    }
}

/* So many spans that the next needs a larger table of them. */
static void make_pool_with_many_spans(void) {
    make_pool_with_code();
    for (; other_count < 15; other_count++) {
        CHECK(publish_size(&others[other_count], 4, 32 + 16 * other_count) == EXECBUF_OK);
    }
}

static void make_pool_and_room(void) {
    make_pool_with_code();
    CHECK(execbuf_pool_reserve(pool, &buffer, 100, NULL) == EXECBUF_OK);
}

static void make_pool_and_publish(void) {
    make_pool_with_code();
    CHECK(publish_size(&buffer, 1, 5000) == EXECBUF_OK);
}

/* A region that took more than is kept, with one piece of code. */
static void make_pool_with_one_large(void) {
    make_pool();
    CHECK(publish_size(&old, 3, 16) == EXECBUF_OK);
    size_t size = quarter();
    for (; other_count < 3; other_count++) {
        CHECK(execbuf_pool_reserve(pool, &others[other_count], size, NULL) == EXECBUF_OK);
    }
    buffer = others[0];
    CHECK(execbuf_free(&old) == EXECBUF_OK && execbuf_free(&others[1]) == EXECBUF_OK);
    CHECK(execbuf_free(&others[2]) == EXECBUF_OK);
    other_count = 0;
}

static void make_pool_with_empty_region(void) {
    make_pool_with_code();
    CHECK(execbuf_free(&old) == EXECBUF_OK);
}

static execbuf_status publish_first(void) {
    return publish_size(&buffer, 1, 16);
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

/* Frees all but the buffer that the scenario is about, which the caller frees. */
static void clean_up(void) {
    if (old.id != 0) {
        CHECK(call(&old, 0) == 3);
    }
    execbuf_pool_free(pool);
    if (old.id != 0) {
        CHECK(call(&old, 0) == 3);
    }
    CHECK(execbuf_free(&old) == EXECBUF_OK);
    for (size_t i = 0; i < other_count; i++) {
        CHECK(execbuf_free(&others[i]) == EXECBUF_OK);
    }
}

static void it_runs_or_a_retry_works(execbuf_status status) {
    if (status != EXECBUF_OK) {
        CHECK(is_zero(&buffer));
        CHECK(stats_of_pool().live == (old.id != 0) + other_count);
        CHECK(publish_first() == EXECBUF_OK);
    }
    CHECK(call(&buffer, 0) == 1);
    CHECK(stats_of_pool().live == (old.id != 0) + other_count + 1);
    clean_up();
}

/* In a new pool: if there is no region, the pool says why. */
static void the_reason_is_told(execbuf_status status) {
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
    it_runs_or_a_retry_works(status);
}

static void it_can_be_published(execbuf_status status) {
    if (status == EXECBUF_OK) {
        CHECK(buffer.length == 0 && fill() == EXECBUF_OK);
    }
    it_runs_or_a_retry_works(status);
}

#if defined(__x86_64__)
static int one(void) {
    return 1;
}

/* A function without arguments is the same for both conventions. */
static execbuf_status make_thunk(void) {
    static const execbuf_signature signature =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_I32), NULL, 0);
    int_function target = one;
    const void *address;
    memcpy((void *)&address, (const void *)&target, sizeof address);
    return execbuf_thunk_new(pool, &buffer, &signature, EXECBUF_ABI_WIN64, EXECBUF_ABI_SYSV64, address,
                             &error);
}

static void the_thunk_works(void) {
#if defined(_WIN32)
    CHECK(call(&buffer, 0) == 1);
#else
    int(__attribute__((ms_abi)) * function)(void) =
        (int(__attribute__((ms_abi)) *)(void))execbuf_entry(&buffer, 0);
    CHECK(function() == 1);
#endif
    CHECK(stats_of_pool().live == 3); /* and its body, and the old code */
    CHECK(execbuf_free(&buffer) == EXECBUF_OK && stats_of_pool().live == 1);
}

static void it_is_there_with_its_body_or_not_at_all(execbuf_status status) {
    if (status != EXECBUF_OK) {
        CHECK(is_zero(&buffer) && stats_of_pool().live == 1);
        CHECK(make_thunk() == EXECBUF_OK);
    }
    the_thunk_works();
    clean_up();
}
#endif

static void all_run_or_none(execbuf_status status) {
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
    CHECK(stats_of_pool().live == 1 && stats_of_pool().bytes == old.length);
    clean_up();
}

static void it_is_still_reserved_if_failed(execbuf_status status) {
    if (status != EXECBUF_OK) {
        CHECK(buffer.length == 0 && fill() == EXECBUF_OK);
    }
    CHECK(call(&buffer, 0) == 1);
    clean_up();
}

static void old_code_runs_if_failed(execbuf_status status) {
    if (status == EXECBUF_E_LOST) {
        CHECK(may_lose);
    } else {
        CHECK(call(&buffer, 0) == (status == EXECBUF_OK ? 2 : 1));
        CHECK(status == EXECBUF_OK || (rewrite() == EXECBUF_OK && call(&buffer, 0) == 2));
    }
    clean_up();
}

static void it_is_freed(execbuf_status status) {
    CHECK(status == EXECBUF_OK && is_zero(&buffer));
    CHECK(stats_of_pool().live == 0);
    CHECK(execbuf_free(NULL) == EXECBUF_OK); /* unmaps what the system refused to */
    clean_up();
}

static void nothing_is_left(execbuf_status status) {
    CHECK(status == EXECBUF_OK && execbuf_free(NULL) == EXECBUF_OK);
}

static void all_scenarios(const char *name, bool regions) {
    static const scenario scenarios[] = {
        {"first publish", make_pool, publish_first, the_reason_is_told, false},
        {"a new span", make_pool_with_code, publish_another_size, it_runs_or_a_retry_works, false},
        {"a new region", make_pool_with_a_full_region, reserve_much, it_can_be_published, true},
        {"more spans", make_pool_with_many_spans, publish_another_size, it_runs_or_a_retry_works, false},
        {"a batch", make_pool_with_code, publish_three, all_run_or_none, false},
        {"reserve", make_pool_with_code, reserve_little, it_can_be_published, false},
#if defined(__x86_64__)
        {"a thunk", make_pool_with_code, make_thunk, it_is_there_with_its_body_or_not_at_all, false},
#endif
        {"publish", make_pool_and_room, fill, it_is_still_reserved_if_failed, false},
        {"rewrite", make_pool_and_publish, rewrite, old_code_runs_if_failed, false},
        {"free", make_pool_with_one_large, release_buffer, it_is_freed, true},
        {"free of a pool", make_pool_with_empty_region, free_pool, nothing_is_left, false},
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
        /* Once without a look, so that the tables and the heap have their size. */
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

static void without_memory_there_is_no_pool(void) {
    CHECK(create() == EXECBUF_OK && execbuf_free(&buffer) == EXECBUF_OK); /* fork handlers, the table */
    arm("calloc", 0, true);
    pool = (execbuf_pool *)(void *)&pool;
    CHECK(execbuf_pool_new(&pool, NULL, &error) == EXECBUF_E_NO_MEMORY && pool == NULL);
    CHECK(error.status == EXECBUF_E_NO_MEMORY && strcmp(error.culprit, "calloc") == 0 && failures == 1);
    disarm();
    CHECK(execbuf_pool_new(&pool, NULL, &error) == EXECBUF_OK && error.status == EXECBUF_OK);
    execbuf_pool_free(pool);
    arm("calloc", 0, true); /* the memory of a pool is used for the next */
    CHECK(execbuf_pool_new(&pool, NULL, &error) == EXECBUF_OK);
    disarm();
    execbuf_pool_free(pool);
}

/* After a failure there is a pause before a region is tried again, since each try may be a line in an audit
 * log. */
static void a_region_is_tried_again_after_a_pause(void) {
    make_pool_with_code();
    bool regions = stats_of_pool().regions > 0;
    clean_up();
    if (!regions) {
        return;
    }
    always[0] = NO_REGION;
    make_pool_with_code();
    always[0] = "";
    execbuf_pool_stats stats = stats_of_pool();
    CHECK(stats.regions == 0 && stats.dedicated == 1);
    CHECK(stats.why.status == EXECBUF_E_DENIED && stats.why.attempt_count > 0);
    CHECK(strncmp(stats.why.attempts[0].call, NO_REGION, strlen(NO_REGION)) == 0 &&
          stats.why.attempts[0].os_error == REFUSED);
    execbuf buffers[100];
    size_t count = 0;
    while (stats_of_pool().regions == 0) {
        CHECK(count < 100 && publish_size(&buffers[count], 1, 16) == EXECBUF_OK);
        count++;
    }
    CHECK(count > 32);
    CHECK(stats_of_pool().dedicated == count && stats_of_pool().live == count + 1);
    CHECK(stats_of_pool().why.status == EXECBUF_OK && stats_of_pool().why.attempt_count == 0);
    for (size_t i = 0; i < count; i++) {
        CHECK(call(&buffers[i], 0) == 1 && execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    clean_up();
}

static void a_region_that_runs_old_code_is_not_used(void) {
    maps before = look_at_code();
    make_pool();
    arm("stale", 0, true);
    bool unsupported = publish_first() == EXECBUF_OK && stats_of_pool().why.attempt_count == 0;
    disarm();
    execbuf_pool_stats stats = stats_of_pool();
    CHECK(stats.regions == 0);
    for (size_t i = 0; i < stats.why.attempt_count; i++) {
        CHECK(strstr(stats.why.attempts[i].call, "self-test: old code") != NULL || under_valgrind() ||
              stats.why.attempts[i].os_error != 0);
    }
    CHECK(unsupported || stats.why.attempt_count > 0);
    execbuf_pool_free(pool);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    CHECK(same(before, look_at_code()));
}

/* Pages that were taken for a span that then could not be made are filled like any other. */
static void a_span_that_failed_leaves_traps(void) {
    make_pool();
    CHECK(execbuf_pool_reserve(pool, &others[other_count++], 40000, NULL) == EXECBUF_OK);
    if (stats_of_pool().regions == 0) {
        (void)fprintf(stderr, "SKIP: a span that failed: there are no regions here\n");
        clean_up();
        return;
    }
    arm("calloc", 0, false);
    CHECK(publish_size(&old, 3, 16) == EXECBUF_OK); /* gets pages of its own, not page 1 of the region */
    disarm();
    for (; other_count < 4; other_count++) { /* one of them on pages 2 and 3 */
        CHECK(execbuf_pool_reserve(pool, &others[other_count], 8192, NULL) == EXECBUF_OK);
        CHECK(holds_traps((const uint8_t *)others[other_count].entry - 16, 16));
    }
    clean_up();
}

#if LADDER
#include <sys/wait.h>

/* While a thread makes a span: in a child of a fork, there is no such thread, and the region goes with its
 * code. Once, since the fork freezes the region, and the span is made again. */
static void fork_and_free(const char *name) {
    if (strcmp(name, "calloc") != 0) {
        return;
    }
    watch = NULL;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        CHECK(stats_of_pool().live == 0);
        CHECK(publish_size(&old, 3, 500) == EXECBUF_OK); /* now the frozen ones go, too */
        CHECK(stats_of_pool().frozen == 0 && stats_of_pool().live == 1);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void a_span_that_a_fork_cut_off_pins_nothing(void) {
    make_pool_with_one_large();
    if (stats_of_pool().regions == 0) {
        (void)fprintf(stderr, "SKIP: a span that a fork cut off: there are no regions here\n");
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        clean_up();
        return;
    }
    watch = fork_and_free;
    CHECK(publish_size(&old, 3, 500) == EXECBUF_OK && watch == NULL);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    clean_up();
}

/* While a region is made, and when it is there: no child of a fork has its writable mapping. */
static int forks;

static void watch_region(const char *name) {
    if (strcmp(name, "fcntl") != 0 && strcmp(name, "mprotect") != 0 && strcmp(name, "mmap") != 0) {
        return;
    }
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        _exit(count_mappings("w-s") != 0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    forks++;
}

static void no_child_inherits_a_writable_view(void) {
    make_pool_with_code();
    bool regions = stats_of_pool().regions > 0;
    clean_up();
    /* qemu-user has none, and ignores MADV_DONTFORK. valgrind has a shared mapping of its own. */
    if (!regions || under_valgrind()) {
        (void)fprintf(stderr, "SKIP: writable views: there are no regions here, or valgrind's maps\n");
        return;
    }
    make_pool();
    watch = watch_region;
    CHECK(publish_first() == EXECBUF_OK);
    watch_region("mmap");
    watch = NULL;
    CHECK(forks > 1);
    CHECK(call(&buffer, 0) == 1 && execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_pool_free(pool);
}
#endif

int main(void) {
    RUN(without_memory_there_is_no_pool);
    RUN(a_region_that_runs_old_code_is_not_used);
    RUN(a_region_is_tried_again_after_a_pause);
    RUN(a_span_that_failed_leaves_traps);
#if LADDER
    RUN(a_span_that_a_fork_cut_off_pins_nothing);
    RUN(no_child_inherits_a_writable_view);
    all_scenarios("memfd", true);
    variants = 4; /* the codes make no difference here */
    always[0] = "memfd_create";
    all_scenarios("alias", true);
    always[0] = NO_REGION;
    all_scenarios("pages by a memfd", false);
    always[1] = "memfd_create";
    all_scenarios("pages by the flip", false);
#elif defined(_WIN32)
    all_scenarios("section", true);
    always[0] = NO_REGION;
    all_scenarios("pages", false);
#else
    all_scenarios("pages", false);
#endif
    (void)printf("ok\n");
    return 0;
}
