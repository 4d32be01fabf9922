/* Each system call and allocation of a description fails in turn: the code is then as it was, and nothing
 * stays. LeakSanitizer looks for memory that is lost (see .ci/c). */

#include "faults.h"

#if defined(__x86_64__) && defined(__ELF__)

#include <dlfcn.h>

#include "describe.h"

static const uint8_t frame[] = {
    0x55,             /* 0: push rbp */
    0x48, 0x89, 0xe5, /* 1: mov rbp, rsp */
    0x31, 0xc0,       /* 4: xor eax, eax */
    0x5d,             /* 6: pop rbp */
    0xc3,             /* 7: ret */
};

static execbuf_pool *pool;
static execbuf buffer;

static execbuf_status describe_slot(void) {
    const execbuf_info info = info_of_kind(EXECBUF_UNWIND_FRAME_POINTER);
    return execbuf_describe(&buffer, &info, NULL);
}

static execbuf_status publish_slot(void) {
    const execbuf_info info = info_of_kind(EXECBUF_UNWIND_FRAME_POINTER);
    execbuf out;
    execbuf_status status = execbuf_pool_publish_with(pool, &out, frame, sizeof frame, &info, NULL);
    CHECK(status == EXECBUF_OK || is_zero(&out));
    CHECK(status != EXECBUF_OK || call(&out, 0) == 0);
    return execbuf_free(&out) == EXECBUF_OK ? status : EXECBUF_E_STALE;
}

static execbuf_status publish_batch(void) {
    const execbuf_info info = info_of_kind(EXECBUF_UNWIND_FRAME_POINTER);
    const execbuf_code codes[2] = {{frame, sizeof frame, &info}, {frame, sizeof frame, &info}};
    execbuf outs[2];
    execbuf_status status = execbuf_pool_publish_batch(pool, outs, codes, 2, NULL);
    for (int i = 0; i < 2; i++) {
        CHECK((status == EXECBUF_OK) == !is_zero(&outs[i]) && execbuf_free(&outs[i]) == EXECBUF_OK);
    }
    return status;
}

/* What libgcc has for an address; NULL: the program has another unwinder. */
static const void *(*find_fde)(const void *address, void *bases);

static void look_for_unwinder(void) {
#if defined(__GLIBC__)
    void *library = dlopen("libgcc_s.so.1", RTLD_LAZY);
    void *function = library != NULL ? dlsym(library, "_Unwind_Find_FDE") : NULL;
    memcpy((void *)&find_fde, (void *)&function, sizeof function);
#endif
    if (find_fde == NULL) {
        (void)fprintf(stderr, "SKIP: whether reserved buffers are described: no shared libgcc\n");
    }
}

static bool is_described(const execbuf *checked) {
    void *bases[3];
    const uint8_t *address;
    memcpy((void *)&address, (const void *)&checked->entry, sizeof address);
    return find_fde != NULL && find_fde(address, bases) != NULL;
}

/* A dedicated mapping, and a table with two functions. If publishing fails, it has no description. */
static execbuf_status publish_two_functions(void) {
    uint8_t table[2 * TABLE_SIZE];
    execbuf out;
    execbuf_status status = execbuf_reserve(&out, 64, NULL);
    if (status != EXECBUF_OK) {
        return status;
    }
    write_table(table, out.entry, 4);
    write_table(table + TABLE_SIZE, (const uint8_t *)out.entry + 4, 4);
    const execbuf_info info = info_of_table(table, sizeof table);
    status = execbuf_publish_with(&out, frame, sizeof frame, &info, NULL);
    CHECK(out.length == (status == EXECBUF_OK ? sizeof frame : 0));
    CHECK(status == EXECBUF_OK ? call(&out, 0) == 0 : !is_described(&out));
    return execbuf_free(&out) == EXECBUF_OK ? status : EXECBUF_E_STALE;
}

/* Two dedicated mappings. If publishing fails, they have no descriptions. */
static execbuf_status publish_reserved(void) {
    const execbuf_info info = info_of_kind(EXECBUF_UNWIND_FRAME_POINTER);
    const execbuf_code codes[2] = {{frame, sizeof frame, &info}, {frame, sizeof frame, &info}};
    execbuf both[2] = {{NULL, 0, 0}, {NULL, 0, 0}};
    execbuf_status status = execbuf_reserve(&both[0], 64, NULL);
    status = status == EXECBUF_OK ? execbuf_reserve(&both[1], 64, NULL) : status;
    if (status == EXECBUF_OK) {
        status = execbuf_publish_all(both, codes, 2, NULL);
        for (int i = 0; i < 2; i++) {
            CHECK(both[i].length == (status == EXECBUF_OK ? sizeof frame : 0));
            CHECK(status == EXECBUF_OK || !is_described(&both[i]));
        }
    }
    CHECK(execbuf_free(&both[0]) == EXECBUF_OK && execbuf_free(&both[1]) == EXECBUF_OK);
    return status;
}

static void make_pool(void) {
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_publish(pool, &buffer, frame, sizeof frame, NULL) == EXECBUF_OK);
}

static void free_pool(void) {
    CHECK(call(&buffer, 0) == 0 && execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

/* Lets each call of a scenario fail in turn, until it makes no more calls. */
static void fail_each(execbuf_status (*act)(void), bool and_all_later) {
    long count = 0;
    for (bool failed = true; failed; count++) {
        make_pool();
        size_t live = stats_of(pool).live;
        arm(NULL, count, and_all_later);
        execbuf_status status = act();
        disarm();
        failed = failures > 0;
        CHECK(failed || status == EXECBUF_OK);
        CHECK(status == EXECBUF_OK || status == EXECBUF_E_NO_MEMORY || status == EXECBUF_E_DENIED);
        CHECK(stats_of(pool).live == live && act() == EXECBUF_OK);
        free_pool();
    }
    CHECK(count > 1);
}

static void descriptions_that_fail_leave_nothing(void) {
    execbuf_status (*const scenarios[])(void) = {describe_slot, publish_slot, publish_batch,
                                                 publish_two_functions, publish_reserved};
    make_pool(); /* what the library keeps is made now */
    CHECK(describe_slot() == EXECBUF_OK);
    free_pool();
    maps before = LEAKS();
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        fail_each(scenarios[i], false);
        fail_each(scenarios[i], true);
    }
    CHECK(same(before, LEAKS()));
}

/* The first description of the process needs a table. */
static void the_first_description_may_fail(void) {
    make_pool();
    arm("calloc", 0, true);
    CHECK(describe_slot() == EXECBUF_E_NO_MEMORY && failures == 1);
    disarm();
    free_pool();
}

static void ignore(void *context, const execbuf_event *event) {
    (void)context;
    (void)event;
}

/* How often memory is allocated to describe the buffer, with lines or without. */
static long allocations(size_t line_count) {
    static const execbuf_line lines[2] = {{0, "a", 1, 1, 0}, {1, "b", 1, 2, 0}};
    execbuf_info info = EXECBUF_INFO_INIT;
    info.lines = lines;
    info.line_count = line_count;
    arm("malloc", -1, false);
    CHECK(execbuf_describe(&buffer, &info, NULL) == EXECBUF_OK);
    return calls;
}

static void lines_are_copied_only_if_somebody_is_told(void) {
    execbuf_observer *observer;
    make_pool();
    CHECK(allocations(0) == 1 && allocations(2) == 1);
    CHECK(execbuf_observe(&observer, ignore, NULL, NULL, NULL) == EXECBUF_OK);
    CHECK(allocations(0) == 1 && allocations(2) == 2);
    execbuf_unobserve(observer);
    free_pool();
}

int main(void) {
    look_for_unwinder();
    RUN(the_first_description_may_fail);
    RUN(descriptions_that_fail_leave_nothing);
    RUN(lines_are_copied_only_if_somebody_is_told);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: faults of descriptions: not on this platform\n");
    return 0;
}

#endif
