/* Pools whose regions or spans cannot be made, and forks while a region or a span is made. */

#include "pool_faults.h"

/* After a failure a pool does not retry a region at once: each attempt may write to an audit log. */
static void a_failed_region_is_tried_again_after_a_pause(void) {
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

static void a_region_that_runs_stale_code_is_rejected(void) {
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

/* Pages that were allocated for a span whose book-keeping could not be allocated are filled with traps. */
static void a_failed_span_leaves_traps(void) {
    make_pool();
    CHECK(execbuf_pool_reserve(pool, &others[other_count++], 40000, NULL) == EXECBUF_OK);
    if (stats_of_pool().regions == 0) {
        (void)fprintf(stderr, "SKIP: a failed span: there are no regions here\n");
        clean_up();
        return;
    }
    arm("calloc", 0, false);
    CHECK(publish_size(&old, 3, 16) == EXECBUF_OK); /* gets a dedicated mapping, not page 1 of the region */
    disarm();
    for (; other_count < 4; other_count++) { /* one of them is on pages 2 and 3 */
        CHECK(execbuf_pool_reserve(pool, &others[other_count], 8192, NULL) == EXECBUF_OK);
        CHECK(holds_traps((const uint8_t *)others[other_count].entry - 16, 16));
    }
    clean_up();
}

#if defined(__x86_64__)
/* Makes a thunk that has another adapter than those of all other numbers, of more than 1 KiB. It is never
 * called. */
static void make_thunk(execbuf *out, size_t number) {
    char text[104] = "v(";
    for (size_t i = 0; i < 100; i++) {
        text[2 + i] = i < 16 && (number >> i & 1) != 0 ? 'd' : 'i';
    }
    text[102] = ')';
    execbuf_signature *signature = parsed(text);
    CHECK(execbuf_thunk_new(pool, out, signature, EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64, &pool, &error) ==
          EXECBUF_OK);
    execbuf_signature_free(signature);
}

/* The adapters have so many spans that the next one wants 512 KiB; each free run has at most 32 KiB. */
static void adapters_use_every_page_if_no_region_can_be_made(void) {
    enum { COUNT = 800, MORE = 500 };
    static execbuf thunks[COUNT + MORE];
    static execbuf users[1000];
    size_t user_count = 0;
    make_pool();
    for (size_t i = 0; i < COUNT; i++) {
        make_thunk(&thunks[i], i);
    }
    if (stats_of_pool().regions == 0) {
        (void)fprintf(stderr, "SKIP: adapters in a full region: there are no regions here\n");
    } else {
        always[0] = NO_REGION;
        while (stats_of_pool().dedicated <= 64) { /* so the next failure is that of an adapter */
            CHECK(user_count < 1000);
            CHECK(execbuf_pool_reserve(pool, &users[user_count++], 9 * 4096, NULL) == EXECBUF_OK);
        }
        size_t before = stats_of_pool().bookkeeping;
        for (size_t i = COUNT; stats_of_pool().bookkeeping <= before; i++) { /* until there is a new span */
            CHECK(i < COUNT + MORE);
            make_thunk(&thunks[i], i);
            CHECK(stats_of_pool().dedicated == 65);
        }
        always[0] = "";
    }
    for (size_t i = 0; i < user_count; i++) {
        CHECK(execbuf_free(&users[i]) == EXECBUF_OK);
    }
    for (size_t i = 0; i < COUNT + MORE; i++) {
        CHECK(execbuf_free(&thunks[i]) == EXECBUF_OK);
    }
    clean_up();
}
#endif

/* A pool that can have no more regions uses what little was freed before it uses a dedicated mapping. */
static void little_freed_code_is_used_if_no_region_can_be_made(void) {
    enum { FREED = 100, MOST = 4096, SIZE = 256 };
    static execbuf some[MOST];
    make_pool_with_code();
    for (int i = 0; i < FREED; i++) {
        CHECK(publish_size(&some[i], 1, SIZE) == EXECBUF_OK);
    }
    const void *freed = some[0].entry;
    bool is_used = stats_of_pool().regions == 0;
    for (int i = 0; i < FREED; i++) {
        CHECK(execbuf_free(&some[i]) == EXECBUF_OK);
    }
    always[0] = NO_REGION;
    int count = 0;
    while (count < MOST && stats_of_pool().dedicated == 0) {
        CHECK(publish_size(&some[count], 2, SIZE) == EXECBUF_OK);
        is_used |= some[count++].entry == freed;
    }
    CHECK(is_used && stats_of_pool().dedicated == 1);
    always[0] = "";
    for (int i = 0; i < count; i++) {
        CHECK(execbuf_free(&some[i]) == EXECBUF_OK);
    }
    clean_up();
}

#if LADDER
#include <sys/wait.h>
#include <unistd.h>

/* A barrier interrupts the other threads of the process, so there is one for much freed code, in small pools,
 * too. */
static void there_are_few_barriers(void) {
    enum { TURNS = 16384, SIZE = 16 }; /* 256 KiB of slots */
    make_pool_with_code();
    arm("barrier", -1, false);
    for (int i = 0; i < TURNS && stats_of_pool().regions > 0; i++) {
        CHECK(publish_size(&buffer, 1, SIZE) == EXECBUF_OK && execbuf_free(&buffer) == EXECBUF_OK);
    }
    long made = calls;
#if defined(__aarch64__)
    made -= TURNS; /* publishing makes a barrier of its own */
#endif
    CHECK((made >= 1 && made <= 3) || stats_of_pool().regions == 0);
    clean_up();
}

/* While processors cannot be told to discard old instructions, memory of freed code is not used again. */
static void without_a_barrier_no_memory_is_reused(void) {
    enum { SIZE = 256, FEW = 1000, MANY = 3 * FEW };
    static execbuf buffers[MANY];
    static const void *used[FEW];
    make_pool_with_code();
    if (stats_of_pool().regions == 0) {
        (void)fprintf(stderr, "SKIP: a missing barrier: there are no regions here\n");
        clean_up();
        return;
    }
    arm("barrier", 0, true);
    for (int i = 0; i < FEW; i++) {
        CHECK(publish_size(&buffers[i], 1, SIZE) == EXECBUF_OK);
        used[i] = buffers[i].entry;
    }
    for (int i = 0; i < FEW; i++) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    for (int i = 0; i < MANY; i++) {
        CHECK(publish_size(&buffers[i], 2, SIZE) == EXECBUF_OK && call(&buffers[i], 0) == 2);
        for (int j = 0; j < FEW; j++) {
            CHECK(buffers[i].entry != used[j]);
        }
    }
#if defined(__aarch64__)
    failures -= FEW + MANY; /* publishing makes a barrier of its own */
#endif
    CHECK(failures > 0 && failures < 10); /* it does not ask each time */
    disarm();
    size_t resident = stats_of_pool().resident;
    for (int i = 0; i < MANY; i++) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    for (int i = 0; i < MANY; i++) {
        CHECK(publish_size(&buffers[i], 3, SIZE) == EXECBUF_OK && call(&buffers[i], 0) == 3);
    }
    CHECK(stats_of_pool().resident <= resident + MANY * SIZE / 3); /* the memory is used again */
    for (int i = 0; i < MANY; i++) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    clean_up();
}

/* The first publishing in a pool asks for the page of the fork mark. If there is no memory for it, the first
 * region asks again; so the child of a raw clone still notices what it is. */
static void the_fork_mark_is_tried_again(void) {
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    arm("mmap", 0, false);
    CHECK(publish_size(&buffer, 1, 16) == EXECBUF_OK && failures == 1);
    disarm();
    if (stats_of_pool().regions == 0 || under_valgrind()) {
        (void)fprintf(stderr, "SKIP: the fork mark: there are no regions here, or valgrind runs this\n");
    } else {
        (void)fflush(stdout);
        pid_t child = (pid_t)syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
        CHECK(child >= 0);
        if (child == 0) {
            execbuf other;
            code three = returning(3);
            CHECK(stats_of_pool().frozen == 1);
            CHECK(publish_size(&other, 2, 16) == EXECBUF_OK && call(&other, 0) == 2);
            CHECK(execbuf_rewrite(&buffer, 0, three.bytes, three.length, &error) == EXECBUF_OK);
            _exit(call(&buffer, 0) != 3);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        CHECK(call(&buffer, 0) == 1);
    }
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

/* Forks while this thread makes a span. The child does not have the thread that pins the region, so the
 * region is unmapped when its code is freed. Done once: the fork shares the region, so the span is made
 * again. */
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
        CHECK(publish_size(&old, 3, 500) == EXECBUF_OK); /* shared regions are unmapped here */
        CHECK(stats_of_pool().frozen == 0 && stats_of_pool().live == 1);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void an_interrupted_span_pins_no_region_in_a_child(void) {
    make_pool_with_one_large();
    if (stats_of_pool().regions == 0) {
        (void)fprintf(stderr, "SKIP: a fork while a span is made: there are no regions here\n");
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        clean_up();
        return;
    }
    watch = fork_and_free;
    CHECK(publish_size(&old, 3, 500) == EXECBUF_OK && watch == NULL);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    clean_up();
}

/* While a region is made, and afterwards, a forked child does not inherit its writable view. */
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
    /* qemu-user has no regions and ignores MADV_DONTFORK; valgrind has a writable shared mapping. */
    if (!regions || under_valgrind()) {
        (void)fprintf(stderr, "SKIP: writable views: there are no regions here, or valgrind runs this\n");
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

/* A protection key that the system refuses is an error, and never means that there is none. */
static void a_refused_protection_key_is_an_error(void) {
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    options.protection_key = 1;
    code_given = REFUSED;
    arm("pkey_alloc", 0, true);
    CHECK(execbuf_pool_new(&pool, &options, &error) == EXECBUF_E_UNSUPPORTED && pool == NULL);
    CHECK(failures == 0 || (strcmp(error.culprit, "pkey_alloc") == 0 && error.os_error == REFUSED));
    disarm();
    if (execbuf_pool_new(&pool, &options, &error) != EXECBUF_OK) {
        (void)fprintf(stderr, "SKIP: no protection keys here\n");
        code_given = EXHAUSTED;
        return;
    }
    maps before = look_at_code();
    arm("pkey_mprotect", 0, true);
    CHECK(publish_first() == EXECBUF_OK); /* in a dedicated mapping, which has no writable one */
    disarm();
    code_given = EXHAUSTED;
    execbuf_pool_stats stats = stats_of_pool();
    CHECK(stats.regions == 0 && stats.dedicated == 1 && stats.why.attempt_count == 2 && failures == 2);
    for (size_t i = 0; i < 2; i++) {
        CHECK(strcmp(stats.why.attempts[i].call, "pkey_mprotect") == 0);
    }
    CHECK(call(&buffer, 0) == 1 && execbuf_free(&buffer) == EXECBUF_OK && same(before, look_at_code()));
    execbuf_pool_free(pool);
}

#if LADDER
/* Code that children would get is not published: neither in a region nor in a dedicated mapping. */
static void a_pool_that_cannot_be_kept_from_children_publishes_nothing(void) {
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    options.not_inherited = 1;
    maps before = look_at_code();
    execbuf_status status = EXECBUF_E_DENIED;
    long number = 0;
    code_given = REFUSED;
    while (status != EXECBUF_OK) {
        CHECK(execbuf_pool_new(&pool, &options, &error) == EXECBUF_OK);
        arm("madvise", number++, true);
        status = publish_first();
        disarm();
        CHECK(status == EXECBUF_OK || (status == EXECBUF_E_DENIED && is_zero(&buffer)));
        CHECK(status == EXECBUF_OK || same(before, look_at_code()));
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        execbuf_pool_free(pool);
    }
    code_given = EXHAUSTED;
    CHECK(number > 3); /* at least the writable and the executable view had to be kept */
    CHECK(same(before, look_at_code()));
}
#endif

int main(void) {
#if LADDER
    RUN(the_fork_mark_is_tried_again);
#endif
    RUN(a_region_that_runs_stale_code_is_rejected);
    RUN(a_failed_region_is_tried_again_after_a_pause);
    RUN(a_failed_span_leaves_traps);
    RUN(a_refused_protection_key_is_an_error);
    RUN(little_freed_code_is_used_if_no_region_can_be_made);
#if LADDER
    RUN(a_pool_that_cannot_be_kept_from_children_publishes_nothing);
#endif
#if defined(__x86_64__)
    RUN(adapters_use_every_page_if_no_region_can_be_made);
#endif
#if LADDER
    RUN(there_are_few_barriers);
    RUN(without_a_barrier_no_memory_is_reused);
    RUN(an_interrupted_span_pins_no_region_in_a_child);
    RUN(no_child_inherits_a_writable_view);
#endif
    (void)printf("ok\n");
    return 0;
}
