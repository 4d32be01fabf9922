/* What describing code answers, and what an unwinder like libgcc's is told. */

#include "check.h"

#if defined(__x86_64__) && defined(__ELF__)

#include <pthread.h>

#include "describe.h"
#include "unwinder.h"

static const uint8_t frame[] = {
    0x55,             /* 0: push rbp */
    0x48, 0x89, 0xe5, /* 1: mov rbp, rsp */
    0x5d,             /* 4: pop rbp */
    0xc3,             /* 5: ret */
};

static execbuf_pool *pool;

static void begin(void) {
    registrations = 0;
    CHECK(list_count == 0 && execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
}

static void end(void) {
    execbuf_pool_free(pool);
    CHECK(list_count == 0);
}

/* Whether an address has unwind rules: the return address is not undefined (DW_CFA_undefined 16). */
static bool is_described(const void *address) {
    const uint8_t *found = find_fde((uintptr_t)address);
    return found != NULL && !(found[33] == 0x07 && found[34] == 16);
}

static execbuf publish(const execbuf_info *info, size_t size) {
    static uint8_t bytes[40000];
    execbuf out;
    memcpy(bytes, frame, sizeof frame);
    CHECK(execbuf_pool_publish_with(pool, &out, bytes, size, info, NULL) == EXECBUF_OK);
    return out;
}

/* ---- Statuses ---- */

static void check_refused(execbuf_status status, const execbuf_error *error, execbuf_status wanted,
                          const char *culprit) {
    CHECK(status == wanted && error->status == wanted && strcmp(error->culprit, culprit) == 0);
}

#define REFUSED(call, status, culprit)                                                                       \
    do {                                                                                                     \
        execbuf_error error;                                                                                 \
        execbuf_error *report = &error;                                                                      \
        execbuf_status answer = call;                                                                        \
        check_refused(answer, report, status, culprit);                                                      \
    } while (0)

static void wrong_arguments_are_refused(void) {
    execbuf buffer;
    execbuf other;
    execbuf reserved;
    begin();
    execbuf_info info = info_of_kind(EXECBUF_UNWIND_FRAME_POINTER);
    CHECK(execbuf_pool_publish(pool, &buffer, frame, sizeof frame, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_reserve(pool, &reserved, 6, NULL) == EXECBUF_OK);
    REFUSED(execbuf_describe(NULL, &info, report), EXECBUF_E_NULL, "buffer");
    REFUSED(execbuf_describe(&buffer, NULL, report), EXECBUF_E_NULL, "info");
    REFUSED(execbuf_describe(&reserved, &info, report), EXECBUF_E_NOT_PUBLISHED, "buffer");
    REFUSED(execbuf_pool_publish_with(NULL, &other, frame, 6, &info, report), EXECBUF_E_NULL, "pool");
    REFUSED(execbuf_pool_publish_with(pool, NULL, frame, 6, &info, report), EXECBUF_E_NULL, "out");
    REFUSED(execbuf_pool_publish_with(pool, &other, NULL, 6, &info, report), EXECBUF_E_NULL, "code");
    REFUSED(execbuf_pool_publish_with(pool, &other, frame, 0, &info, report), EXECBUF_E_EMPTY, "length");
    REFUSED(execbuf_publish_with(&reserved, NULL, 6, &info, report), EXECBUF_E_NULL, "code");
    REFUSED(execbuf_publish_with(&reserved, frame, 0, &info, report), EXECBUF_E_EMPTY, "length");
    REFUSED(execbuf_publish_with(&reserved, frame, 7, &info, report), EXECBUF_E_CAPACITY, "length");
    REFUSED(execbuf_publish_with(&buffer, frame, 6, &info, report), EXECBUF_E_PUBLISHED, "buffer");
    info.size = 3;
    REFUSED(execbuf_describe(&buffer, &info, report), EXECBUF_E_VERSION, "info");
    info = info_of_kind((execbuf_unwind)6);
    REFUSED(execbuf_describe(&buffer, &info, report), EXECBUF_E_VERSION, "unwind");
    info = info_of_kind(EXECBUF_UNWIND_INVALID);
    REFUSED(execbuf_describe(&buffer, &info, report), EXECBUF_E_VERSION, "unwind");
    info = info_of_kind(EXECBUF_UNWIND_UNWIND_INFO);
    REFUSED(execbuf_describe(&buffer, &info, report), EXECBUF_E_UNSUPPORTED, "unwind");
    info = info_of_table(NULL, 4);
    REFUSED(execbuf_describe(&buffer, &info, report), EXECBUF_E_NULL, "table");
    info = info_of_kind(EXECBUF_UNWIND_UNKNOWN);
    info.name_length = 1;
    REFUSED(execbuf_describe(&buffer, &info, report), EXECBUF_E_NULL, "name");
    info.name = "";
    info.name_length = EXECBUF_NAME_MAX + 1;
    REFUSED(execbuf_describe(&buffer, &info, report), EXECBUF_E_TOO_LARGE, "name");
    other = buffer;
    CHECK(execbuf_free(&buffer) == EXECBUF_OK && execbuf_free(&reserved) == EXECBUF_OK);
    info = info_of_kind(EXECBUF_UNWIND_NO_FRAME);
    REFUSED(execbuf_describe(&other, &info, report), EXECBUF_E_STALE, "buffer");
    REFUSED(execbuf_publish_with(&other, frame, 6, &info, report), EXECBUF_E_STALE, "buffer");
    CHECK(registrations == 0);
    end();
}

static void thunks_are_not_described(void) {
    execbuf_signature *signature = parsed("v()");
    execbuf thunk;
    begin();
    execbuf_info info = info_of_kind(EXECBUF_UNWIND_NO_FRAME);
    CHECK(execbuf_thunk_new(pool, &thunk, signature, EXECBUF_ABI_WIN64, EXECBUF_ABI_SYSV64, frame, NULL) ==
          EXECBUF_OK);
    REFUSED(execbuf_describe(&thunk, &info, report), EXECBUF_E_THUNK, "buffer");
    CHECK(execbuf_free(&thunk) == EXECBUF_OK);
    execbuf_signature_free(signature);
    end();
}

static void frames_that_the_code_does_not_have_are_refused(void) {
    static const uint8_t ret = 0xc3;
    execbuf buffer;
    begin();
    CHECK(execbuf_pool_publish(pool, &buffer, &ret, 1, NULL) == EXECBUF_OK);
    execbuf_info info = info_of_kind(EXECBUF_UNWIND_FRAME_POINTER);
    REFUSED(execbuf_describe(&buffer, &info, report), EXECBUF_E_UNWIND,
            "the code does not begin with a frame pointer");
    info = info_of_kind(EXECBUF_UNWIND_FIXED);
    info.frame_size = 4;
    REFUSED(execbuf_describe(&buffer, &info, report), EXECBUF_E_UNWIND, "frame_size");
    info.frame_size = ((uint32_t)1 << 30) + 8;
    REFUSED(execbuf_describe(&buffer, &info, report), EXECBUF_E_UNWIND, "frame_size");
    info.frame_size = 8;
    info.prologue = 2;
    REFUSED(execbuf_describe(&buffer, &info, report), EXECBUF_E_UNWIND, "prologue");
    info.prologue = 1;
    info.epilogue = 1;
    REFUSED(execbuf_describe(&buffer, &info, report), EXECBUF_E_UNWIND, "epilogue");
    info.epilogue = 0;
    CHECK(execbuf_describe(&buffer, &info, NULL) == EXECBUF_OK && is_described(buffer.entry));
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    end();
}

static void a_failed_batch_leaves_nothing(void) {
    static const uint8_t ret = 0xc3;
    static uint8_t large[300000]; /* has a dedicated mapping */
    const execbuf_info info = info_of_kind(EXECBUF_UNWIND_FRAME_POINTER);
    const execbuf_code codes[] = {
        {frame, sizeof frame, &info}, {&ret, 1, NULL}, {large, sizeof large, &info}, {&ret, 1, &info}};
    execbuf outs[4];
    execbuf_error error;
    begin();
    memcpy(large, frame, sizeof frame);
    CHECK(execbuf_pool_publish_batch(pool, outs, codes, 4, &error) == EXECBUF_E_UNWIND &&
          error.position == 3);
    for (int i = 0; i < 4; i++) {
        CHECK(is_zero(&outs[i]));
    }
    CHECK(stats_of(pool).live == 0);
    end();
}

/* ---- The life of a description ---- */

static void descriptions_end_when_code_is_freed_or_changed_or_described_again(void) {
    const execbuf_info info = info_of_kind(EXECBUF_UNWIND_FRAME_POINTER);
    const execbuf_info unknown = info_of_kind(EXECBUF_UNWIND_UNKNOWN);
    execbuf large;
    begin();
    CHECK(execbuf_reserve(&large, sizeof frame, NULL) == EXECBUF_OK);
    CHECK(execbuf_publish_with(&large, frame, sizeof frame, &info, NULL) == EXECBUF_OK);
    execbuf both[2] = {publish(&info, sizeof frame), large};
    for (int i = 0; i < 2; i++) {
        const void *entry = both[i].entry;
        CHECK(is_described(entry));
        CHECK(execbuf_rewrite(&both[i], 99, frame, 1, NULL) != EXECBUF_OK && is_described(entry));
        CHECK(execbuf_rewrite(&both[i], 0, frame, 1, NULL) == EXECBUF_OK && !is_described(entry));
        CHECK(execbuf_describe(&both[i], &info, NULL) == EXECBUF_OK && is_described(entry));
        CHECK(execbuf_describe(&both[i], &info, NULL) == EXECBUF_OK && is_described(entry));
        CHECK(execbuf_describe(&both[i], &unknown, NULL) == EXECBUF_OK && !is_described(entry));
        CHECK(execbuf_describe(&both[i], &info, NULL) == EXECBUF_OK && is_described(entry));
        bool is_unpublished = execbuf_unpublish(&both[i], NULL) == EXECBUF_OK;
        CHECK((is_unpublished || i == 0) && is_described(entry) == !is_unpublished);
        if (is_unpublished) {
            CHECK(execbuf_publish_staged(&both[i], sizeof frame, NULL) == EXECBUF_OK && !is_described(entry));
            CHECK(execbuf_describe(&both[i], &info, NULL) == EXECBUF_OK && is_described(entry));
        }
        CHECK(execbuf_free(&both[i]) == EXECBUF_OK && !is_described(entry));
    }
    end();
}

static void many_reserved_buffers_are_published_with_descriptions_or_none(void) {
    execbuf buffers[3];
    execbuf_error error;
    begin();
    execbuf_info good = info_of_kind(EXECBUF_UNWIND_FRAME_POINTER);
    execbuf_info bad = info_of_kind(EXECBUF_UNWIND_FIXED);
    execbuf_code codes[3] = {{frame, 6, &good}, {frame, 6, NULL}, {frame, 6, &bad}};
    CHECK(execbuf_pool_reserve(pool, &buffers[0], 100, NULL) == EXECBUF_OK);
    CHECK(execbuf_reserve(&buffers[1], 100, NULL) == EXECBUF_OK);
    CHECK(execbuf_reserve(&buffers[2], 100, NULL) == EXECBUF_OK);
    bad.frame_size = 7;
    CHECK(execbuf_publish_all(buffers, codes, 3, &error) == EXECBUF_E_UNWIND && error.position == 2);
    CHECK(buffers[0].length == 0 && !is_described(buffers[0].entry) && !is_described(buffers[2].entry));
    codes[2].info = &good;
    CHECK(execbuf_publish_all(buffers, codes, 3, NULL) == EXECBUF_OK);
    CHECK(is_described(buffers[0].entry) && is_described(buffers[2].entry));
    CHECK(!is_described(buffers[1].entry));
    const execbuf_change changes[2] = {{&buffers[0], 0, frame, 1}, {&buffers[2], 0, frame, 1}};
    CHECK(execbuf_rewrite_batch(changes, 2, NULL) == EXECBUF_OK);
    CHECK(!is_described(buffers[0].entry) && !is_described(buffers[2].entry));
    for (int i = 0; i < 3; i++) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    end();
}

static void described_code_outlives_its_pool(void) {
    const execbuf_info info = info_of_kind(EXECBUF_UNWIND_FRAME_POINTER);
    begin();
    execbuf buffer = publish(&info, sizeof frame);
    execbuf_pool_free(pool);
    CHECK(is_described(buffer.entry) && execbuf_free(&buffer) == EXECBUF_OK && list_count == 0);
}

static void *free_there(void *buffer) {
    CHECK(execbuf_free((execbuf *)buffer) == EXECBUF_OK);
    return NULL;
}

static void other_threads_free_described_code(void) {
    const execbuf_info info = info_of_kind(EXECBUF_UNWIND_FRAME_POINTER);
    begin();
    execbuf kept = publish(NULL, sizeof frame);
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        execbuf buffer = publish(&info, sizeof frame);
        const void *entry = buffer.entry;
        CHECK(is_described(entry) && pthread_create(&thread, NULL, free_there, &buffer) == 0);
        CHECK(pthread_join(thread, NULL) == 0 && !is_described(entry));
    }
    CHECK(execbuf_free(&kept) == EXECBUF_OK);
    end();
}

/* ---- Many ---- */

#define MANY 4000U
static execbuf many[MANY];

static void many_descriptions_take_few_registrations(void) {
    const execbuf_info info = info_of_kind(EXECBUF_UNWIND_FRAME_POINTER);
    begin();
    for (uint32_t i = 0; i < MANY; i++) {
        many[i] = publish(&info, 16 + i % 500);
    }
    if (stats_of(pool).regions == 0) {
        (void)fprintf(stderr, "SKIP: unwind tables of regions: there are none here\n");
    } else {
#if defined(UNWINDER_TAKES_ARRAYS)
        CHECK(list_count == stats_of(pool).regions);
#else
        CHECK(list_count <= 500 && registrations == list_count);
#endif
    }
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = round; i < MANY; i += 3) {
            bool is_checked = i % 20 < 3; /* a search takes long */
            CHECK(!is_checked || is_described(many[i].entry));
            CHECK(execbuf_free(&many[i]) == EXECBUF_OK);
            many[i] = publish(i % 2 == 0 ? &info : NULL, 16 + i % 500);
            CHECK(!is_checked || is_described(many[i].entry) == (i % 2 == 0));
        }
    }
    CHECK(stats_of(pool).regions == 0 || registrations <= 2000);
    for (uint32_t i = 0; i < MANY; i++) {
        CHECK(execbuf_free(&many[i]) == EXECBUF_OK);
    }
    end();
}

/* Adapters and code of users are in one region, and both are found. Code of more than 32 KiB has no list. */
static void adapters_and_described_code_do_not_hide_each_other(void) {
    const execbuf_info info = info_of_kind(EXECBUF_UNWIND_FRAME_POINTER);
    execbuf_signature *signature = parsed("v(dd)");
    execbuf thunks[2];
    execbuf pieces[6];
    begin();
    for (int i = 0; i < 6; i++) {
        pieces[i] = publish(&info, i % 3 == 0 ? 40000 : i % 3 == 1 ? 16 : 600);
        execbuf_abi caller = i < 3 ? EXECBUF_ABI_WIN64 : EXECBUF_ABI_SYSV64;
        execbuf_abi callee = i < 3 ? EXECBUF_ABI_SYSV64 : EXECBUF_ABI_WIN64;
        if (i % 3 == 1) {
            CHECK(execbuf_thunk_new(pool, &thunks[i / 3], signature, caller, callee, frame, NULL) ==
                  EXECBUF_OK);
        }
    }
    for (int i = 0; i < 6; i++) {
        CHECK(is_described(pieces[i].entry));
        CHECK(execbuf_free(&pieces[i]) == EXECBUF_OK);
        for (int k = i + 1; k < 6; k++) {
            CHECK(is_described(pieces[k].entry));
        }
        if (i % 3 == 1) {
            CHECK(execbuf_free(&thunks[i / 3]) == EXECBUF_OK);
        }
    }
    execbuf_signature_free(signature);
    end();
}

#if !defined(UNWINDER_TAKES_ARRAYS)

/* The unwinder may lose the list of a span; then each piece of code is registered by itself. */
static void lost_registrations_are_noticed(void) {
    const execbuf_info info = info_of_kind(EXECBUF_UNWIND_FRAME_POINTER);
    execbuf two[2];
    execbuf_error error;
    begin();
    loses_ranges_from = 1000;
    two[0] = publish(&info, sizeof frame);
    two[1] = publish(&info, sizeof frame);
    CHECK(list_count == 2 && is_described(two[0].entry) && is_described(two[1].entry));
    lost_searches = 1;
    execbuf_status status = execbuf_describe(&two[0], &info, &error);
    check_refused(status, &error, EXECBUF_E_DENIED, "_Unwind_Find_FDE");
    CHECK(list_count == 1 && !is_described(two[0].entry));
    CHECK(execbuf_describe(&two[0], &info, NULL) == EXECBUF_OK && is_described(two[0].entry));
    CHECK(execbuf_free(&two[0]) == EXECBUF_OK && execbuf_free(&two[1]) == EXECBUF_OK);
    loses_ranges_from = UINT64_MAX;
    end();
}

#endif

int main(void) {
    loses_ranges_from = UINT64_MAX;
    CHECK(signal(SIGUSR1, handle) != SIG_ERR);
    RUN(wrong_arguments_are_refused);
    RUN(thunks_are_not_described);
    RUN(frames_that_the_code_does_not_have_are_refused);
    RUN(a_failed_batch_leaves_nothing);
    RUN(descriptions_end_when_code_is_freed_or_changed_or_described_again);
    RUN(many_reserved_buffers_are_published_with_descriptions_or_none);
    RUN(described_code_outlives_its_pool);
    RUN(other_threads_free_described_code);
    RUN(many_descriptions_take_few_registrations);
    RUN(adapters_and_described_code_do_not_hide_each_other);
#if !defined(UNWINDER_TAKES_ARRAYS) /* such an unwinder loses nothing */
    RUN(lost_registrations_are_noticed);
#endif
    CHECK(!was_interrupted);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: what unwinders are told of descriptions: not on this platform\n");
    return 0;
}

#endif
