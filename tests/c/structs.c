/* Structs with a size member, of programs that were compiled with another version of the header or that do
 * not use the _INIT macro; reports of success; and the limit on the number of pools. */

#include "check.h"

/* Sizes that no _INIT macro of any version sets. */
static const size_t invalid_sizes[] = {0,
                                       1,
                                       sizeof(size_t) - 1,
                                       65537,
                                       (size_t)PTRDIFF_MAX,
                                       SIZE_MAX,
                                       sizeof(size_t) + 1,
                                       3 * sizeof(size_t) - 1};
enum { INVALID_SIZES = sizeof invalid_sizes / sizeof invalid_sizes[0] };

/* Fills the caller's memory, to show which bytes the library writes. */
#define UNTOUCHED 0xa5

/* Whether all bytes of a range have one value. */
static int holds(const void *start, size_t size, uint8_t byte) {
    const uint8_t *bytes = (const uint8_t *)start;
    for (size_t at = 0; at < size; at++) {
        if (bytes[at] != byte) {
            return 0;
        }
    }
    return 1;
}

static execbuf_pool *new_pool(void) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    return pool;
}

/* ---- Inputs ---- */

static void check_version(execbuf_status returned, const execbuf_error *error, const char *culprit) {
    CHECK(returned == EXECBUF_E_VERSION && error->status == EXECBUF_E_VERSION);
    CHECK(strcmp(error->culprit, culprit) == 0 && error->os_error == 0 && error->attempt_count == 0);
}

static void options_of_invalid_size_are_refused(void) {
    for (size_t i = 0; i < INVALID_SIZES; i++) {
        execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
        execbuf_pool *pool = (execbuf_pool *)(void *)&options;
        execbuf_error error;
        options.size = invalid_sizes[i];
        check_version(execbuf_pool_new(&pool, &options, &error), &error, "options");
        CHECK(pool == NULL && execbuf_pool_new(&pool, &options, NULL) == EXECBUF_E_VERSION);
    }
}

static void smaller_options_are_completed(void) {
    execbuf_pool_options options = options_of(NULL, "a name");
    execbuf_pool *pool;
    options.size = offsetof(execbuf_pool_options, name);
    CHECK(execbuf_pool_new(&pool, &options, NULL) == EXECBUF_OK);
    CHECK(strcmp(execbuf_pool_name(pool), "execbuf") == 0);
    execbuf_pool_free(pool);
    options.size = sizeof options.size;
    CHECK(execbuf_pool_new(&pool, &options, NULL) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

static void larger_options_are_refused_unless_the_rest_is_zero(void) {
    struct {
        execbuf_pool_options options;
        uint8_t more[40];
    } later = {EXECBUF_POOL_OPTIONS_INIT, {0}};
    execbuf_pool *pool;
    execbuf_error error;
    later.options.name = "a name";
    for (size_t size = 0; size <= sizeof later.more; size += sizeof(size_t)) {
        later.options.size = sizeof later.options + size;
        CHECK(execbuf_pool_new(&pool, &later.options, &error) == EXECBUF_OK && error.status == EXECBUF_OK);
        CHECK(strcmp(execbuf_pool_name(pool), "a name") == 0);
        execbuf_pool_free(pool);
        if (size > 0) {
            later.more[size - 1] = 1;
            check_version(execbuf_pool_new(&pool, &later.options, &error), &error, "options");
            CHECK(pool == NULL);
            later.more[size - 1] = 0;
        }
    }
    later.more[sizeof(size_t)] = 1; /* beyond the size, so it is not read */
    later.options.size = sizeof later.options + sizeof(size_t);
    CHECK(execbuf_pool_new(&pool, &later.options, NULL) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

static const execbuf_type two_types[] = {EXECBUF_SCALAR(EXECBUF_TYPE_I32), EXECBUF_SCALAR(EXECBUF_TYPE_F32)};

static void signatures_of_other_sizes_are_treated_like_options(void) {
    struct {
        execbuf_signature signature;
        uint8_t more[8];
    } later = {EXECBUF_VARIADIC_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_F64), two_types, 2, 1), {0}};
    execbuf_signature *signature = &later.signature;
    execbuf_layout layout = EXECBUF_LAYOUT_INIT;
    execbuf_error error;
    uint8_t bytes[64];
    size_t length;
    execbuf thunk = {NULL, 0, 0};
    for (size_t i = 0; i < INVALID_SIZES; i++) {
        signature->size = invalid_sizes[i];
        check_version(execbuf_layout_of(signature, &layout, EXECBUF_ABI_SYSV64, &error), &error, "signature");
        check_version(execbuf_thunk_emit(signature, bytes, sizeof bytes, &length, EXECBUF_ABI_SYSV64,
                                         EXECBUF_ABI_SYSV64, &thunk, &error),
                      &error, "signature");
#if defined(__x86_64__)
        check_version(execbuf_thunk_new(NULL, &thunk, signature, EXECBUF_ABI_SYSV64, EXECBUF_ABI_SYSV64,
                                        &layout, &error),
                      &error, "signature");
        check_version(execbuf_thunk_new(NULL, &thunk, signature, EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64,
                                        &layout, &error),
                      &error, "signature");
#endif
    }
    /* A float after the fixed arguments is an error. A signature too small to contain `fixed` is not
     * variadic. */
    signature->size = sizeof *signature;
    CHECK(execbuf_layout_of(signature, &layout, EXECBUF_ABI_SYSV64, &error) == EXECBUF_E_TYPE);
    signature->size = offsetof(execbuf_signature, fixed);
    CHECK(execbuf_layout_of(signature, &layout, EXECBUF_ABI_SYSV64, &error) == EXECBUF_OK);
    CHECK(layout.arguments[1].where == EXECBUF_IN_VECTOR);
    signature->size = offsetof(execbuf_signature, arguments); /* too small to have arguments */
    CHECK(execbuf_layout_of(signature, &layout, EXECBUF_ABI_SYSV64, &error) == EXECBUF_OK);
    CHECK(layout.arguments[0].where == EXECBUF_NOWHERE && layout.result.where == EXECBUF_IN_VECTOR);
    signature->fixed = EXECBUF_NOT_VARIADIC;
    signature->size = sizeof later;
    CHECK(execbuf_layout_of(signature, &layout, EXECBUF_ABI_SYSV64, &error) == EXECBUF_OK);
    later.more[7] = 1;
    check_version(execbuf_layout_of(signature, &layout, EXECBUF_ABI_SYSV64, &error), &error, "signature");
}

static void code_info_of_a_wrong_size_is_refused(void) {
    code one = returning(1);
    execbuf_code codes[3] = {
        {one.bytes, one.length, NULL}, {one.bytes, one.length, NULL}, {one.bytes, one.length, NULL}};
    execbuf outs[3];
    execbuf_error error;
    execbuf_pool *pool = new_pool();
    execbuf_info info = EXECBUF_INFO_INIT;
    info.size = 0;
    codes[2].info = &info;
    check_version(execbuf_pool_publish_batch(pool, outs, codes, 3, &error), &error, "info");
    CHECK(error.position == 2 && is_zero(&outs[0]) && is_zero(&outs[1]) && is_zero(&outs[2]));
    CHECK(stats_of(pool).live == 0);
    execbuf_pool_free(pool);
}

/* ---- Outputs ---- */

/* The functions that fill a struct, with a common signature; and their other arguments. */
static execbuf_pool *filler_pool;
static const void *filler_address;

static execbuf_status fill_stats(void *out) {
    return execbuf_pool_get_stats(filler_pool, (execbuf_pool_stats *)out);
}

static execbuf_status fill_place(void *out) {
    return execbuf_pool_lookup(filler_pool, (execbuf_place *)out, filler_address);
}

static execbuf_status fill_nowhere(void *out) {
    execbuf_status status = execbuf_pool_lookup(filler_pool, (execbuf_place *)out, &filler_address);
    return status == EXECBUF_E_NOT_FOUND ? EXECBUF_OK : status;
}

static execbuf_status fill_probe(void *out) {
    return execbuf_probe_system((execbuf_probe *)out);
}

static execbuf_status fill_layout(void *out) {
    static const execbuf_signature signature =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_F64), two_types, 2);
    return execbuf_layout_of(&signature, (execbuf_layout *)out, EXECBUF_ABI_WIN64, NULL);
}

static void set_size(void *out, size_t size) {
    memcpy(out, &size, sizeof size); /* size is the first member of each struct */
}

static void check_size(const void *out, size_t size) {
    CHECK(memcmp(out, &size, sizeof size) == 0);
}

static void outputs_are_filled_within_their_size(void) {
    static const struct {
        execbuf_status (*fill)(void *out);
        size_t size;
    } fillers[] = {
        {fill_stats, sizeof(execbuf_pool_stats)}, {fill_place, sizeof(execbuf_place)},
        {fill_nowhere, sizeof(execbuf_place)},    {fill_probe, sizeof(execbuf_probe)},
        {fill_layout, sizeof(execbuf_layout)},
    };
    static union {
        uint64_t align;
        uint8_t bytes[65536];
    } whole, part;
    code one = returning(1);
    execbuf buffer;
    filler_pool = new_pool();
    CHECK(execbuf_pool_publish(filler_pool, &buffer, one.bytes, one.length, NULL) == EXECBUF_OK);
    filler_address = buffer.entry;
    for (size_t i = 0; i < sizeof fillers / sizeof fillers[0]; i++) {
        const size_t size = fillers[i].size;
        memset(&whole, UNTOUCHED, sizeof whole);
        set_size(&whole, size);
        CHECK(fillers[i].fill(&whole) == EXECBUF_OK);
        check_size(&whole, size);
        CHECK(holds(whole.bytes + size, sizeof whole - size, UNTOUCHED));
        const size_t sizes[] = {sizeof(size_t), 2 * sizeof(size_t), size - 8,   size,
                                size + 8,       size + 104,         sizeof part};
        for (size_t j = 0; j < sizeof sizes / sizeof sizes[0]; j++) {
            size_t known = sizes[j] < size ? sizes[j] : size;
            memset(&part, UNTOUCHED, sizeof part);
            set_size(&part, sizes[j]);
            CHECK(fillers[i].fill(&part) == EXECBUF_OK);
            check_size(&part, sizes[j]);
            if (fillers[i].fill != fill_probe) { /* the facts can change between two calls */
                CHECK(memcmp(part.bytes + sizeof(size_t), whole.bytes + sizeof(size_t),
                             known - sizeof(size_t)) == 0);
            }
            CHECK(holds(part.bytes + known, sizes[j] - known, 0));
            CHECK(holds(part.bytes + sizes[j], sizeof part - sizes[j], UNTOUCHED));
        }
        for (size_t j = 0; j < INVALID_SIZES; j++) {
            memset(&part, UNTOUCHED, sizeof part);
            set_size(&part, invalid_sizes[j]);
            CHECK(fillers[i].fill(&part) == EXECBUF_E_VERSION);
            check_size(&part, invalid_sizes[j]);
            CHECK(holds(part.bytes + sizeof(size_t), sizeof part - sizeof(size_t), UNTOUCHED));
        }
    }
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_pool_free(filler_pool);
}

static void a_layout_is_zeroed_on_failure(void) {
    execbuf_layout layout;
    execbuf_error error;
    execbuf_signature *signature = parsed("i(pd)");
    memset(&layout, UNTOUCHED, sizeof layout);
    layout.size = sizeof layout;
    CHECK(execbuf_layout_of(signature, &layout, (execbuf_abi)9, &error) == EXECBUF_E_ABI);
    CHECK(strcmp(error.culprit, "abi") == 0 && layout.size == sizeof layout);
    CHECK(holds((const uint8_t *)&layout + sizeof layout.size, sizeof layout - sizeof layout.size, 0));
    memset(&layout, UNTOUCHED, sizeof layout);
    layout.size = sizeof layout;
    CHECK(execbuf_layout_of(NULL, &layout, EXECBUF_ABI_SYSV64, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "signature") == 0 && layout.size == sizeof layout);
    CHECK(holds((const uint8_t *)&layout + sizeof layout.size, sizeof layout - sizeof layout.size, 0));
    CHECK(execbuf_layout_of(signature, NULL, EXECBUF_ABI_SYSV64, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "out") == 0);
    layout.size = 3;
    check_version(execbuf_layout_of(signature, &layout, EXECBUF_ABI_SYSV64, &error), &error, "out");
    execbuf_signature_free(signature);
}

/* ---- Reports ---- */

/* A call that returns EXECBUF_OK resets its report. */
static void reports_are_reset_on_success(void) {
    code one = returning(1);
    execbuf_pool *pool;
    execbuf buffer;
    execbuf_error error;
#define SUCCEEDS(call)                                                                                       \
    do {                                                                                                     \
        memset(&error, UNTOUCHED, sizeof error);                                                             \
        CHECK((call) == EXECBUF_OK && error.status == EXECBUF_OK && error.culprit == NULL);                  \
        CHECK(error.os_error == 0 && error.position == 0 && error.attempt_count == 0);                       \
    } while (0)
    for (int round = 0; round < 2; round++) { /* before any backend has worked, and after */
        SUCCEEDS(execbuf_new(&buffer, one.bytes, one.length, &error));
        SUCCEEDS(execbuf_rewrite(&buffer, 0, one.bytes, one.length, &error));
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        SUCCEEDS(execbuf_reserve(&buffer, one.length, &error));
        SUCCEEDS(execbuf_publish(&buffer, one.bytes, one.length, &error));
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        SUCCEEDS(execbuf_pool_new(&pool, NULL, &error));
        for (size_t i = 0; i < 20; i++) {
            static uint8_t bytes[1U << 20];
            const execbuf_code codes[1] = {{bytes, sizeof bytes >> i, NULL}};
            SUCCEEDS(execbuf_pool_publish(pool, &buffer, bytes, sizeof bytes >> i, &error));
            SUCCEEDS(execbuf_rewrite(&buffer, 0, bytes, 1, &error));
            CHECK(execbuf_free(&buffer) == EXECBUF_OK);
            SUCCEEDS(execbuf_pool_publish_batch(pool, &buffer, codes, 1, &error));
            CHECK(execbuf_free(&buffer) == EXECBUF_OK);
            SUCCEEDS(execbuf_pool_reserve(pool, &buffer, sizeof bytes >> i, &error));
            SUCCEEDS(execbuf_publish(&buffer, bytes, 1, &error));
            CHECK(execbuf_free(&buffer) == EXECBUF_OK);
            const execbuf_room room = {sizeof bytes >> i, {0, 0}};
            const execbuf_change change = {&buffer, 0, bytes, 1};
            SUCCEEDS(execbuf_pool_reserve_batch(pool, &buffer, &room, 1, &error));
            SUCCEEDS(execbuf_publish_all(&buffer, codes, 1, &error));
            SUCCEEDS(execbuf_rewrite_batch(&change, 1, &error));
            CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        }
        SUCCEEDS(execbuf_pool_publish_batch(pool, NULL, NULL, 0, &error));
        execbuf_pool_free(pool);
#if defined(__x86_64__)
        static const execbuf_signature signature =
            EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_F64), two_types, 2);
        for (int i = 0; i < 3; i++) {
            SUCCEEDS(execbuf_thunk_new(NULL, &buffer, &signature, EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64,
                                       one.bytes, &error));
            CHECK(execbuf_free(&buffer) == EXECBUF_OK);
            SUCCEEDS(execbuf_thunk_new(NULL, &buffer, &signature, EXECBUF_ABI_SYSV64, EXECBUF_ABI_SYSV64,
                                       one.bytes, &error));
            CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        }
#endif
    }
#undef SUCCEEDS
}

/* ---- Limits ---- */

enum { MOST_ARENAS = 32767 };

/* A pool gets its first arena when a thread first publishes, even if the code is empty. */
static execbuf_status make_arena(execbuf_pool **out, execbuf_error *error) {
    execbuf nothing;
    CHECK(execbuf_pool_new(out, NULL, error) == EXECBUF_OK);
    return execbuf_pool_publish(*out, &nothing, "", 0, error);
}

static void a_process_has_at_most_32767_arenas(void) {
    static execbuf_pool *pools[MOST_ARENAS + 1];
    code one = returning(1);
    execbuf buffer;
    execbuf_error error;
    execbuf_status status;
    size_t count = 0;
    while ((status = make_arena(&pools[count], &error)) == EXECBUF_E_EMPTY) {
        count++;
        CHECK(count <= MOST_ARENAS);
    }
    CHECK(count == MOST_ARENAS && status == EXECBUF_E_TOO_MANY_POOLS);
    CHECK(error.status == status && error.attempt_count == 0 && error.os_error == 0);
    /* The arena of a freed pool counts until the last buffer is freed. */
    CHECK(execbuf_pool_publish(pools[0], &buffer, one.bytes, one.length, NULL) == EXECBUF_OK);
    execbuf_pool_free(pools[0]);
    execbuf other;
    CHECK(execbuf_pool_publish(pools[count], &other, one.bytes, one.length, NULL) ==
          EXECBUF_E_TOO_MANY_POOLS);
    CHECK(call(&buffer, 0) == 1 && execbuf_free(&buffer) == EXECBUF_OK);
    CHECK(execbuf_pool_publish(pools[count], &other, one.bytes, one.length, NULL) == EXECBUF_OK);
    CHECK(execbuf_free(&other) == EXECBUF_OK);
    CHECK(execbuf_pool_new(&pools[0], NULL, NULL) == EXECBUF_OK);
    count++;
#if defined(__x86_64__)
    static const execbuf_signature signature =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_F64), two_types, 2);
    CHECK(execbuf_thunk_new(NULL, &buffer, &signature, EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64, one.bytes,
                            &error) == EXECBUF_E_TOO_MANY_POOLS);
    CHECK(error.status == EXECBUF_E_TOO_MANY_POOLS && is_zero(&buffer));
#endif
    while (count > 0) {
        execbuf_pool_free(pools[--count]);
    }
}

int main(void) {
    RUN(a_process_has_at_most_32767_arenas); /* before the library's own pool for thunks has one */
    RUN(options_of_invalid_size_are_refused);
    RUN(smaller_options_are_completed);
    RUN(larger_options_are_refused_unless_the_rest_is_zero);
    RUN(signatures_of_other_sizes_are_treated_like_options);
    RUN(code_info_of_a_wrong_size_is_refused);
    RUN(outputs_are_filled_within_their_size);
    RUN(a_layout_is_zeroed_on_failure);
    RUN(reports_are_reset_on_success);
    (void)printf("ok\n");
    return 0;
}
