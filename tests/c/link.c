/* Many buffers at once: execbuf_publish_all and execbuf_rewrite_batch. */

#include "pool_helpers.h"

#if defined(EXECBUF_FAULT_INJECTION)
#include <stdint.h>

int32_t xb_fault(const char *call);

static int barriers; /* how many the library has made since this was set to 0 */
static int fails_malloc;

int32_t xb_fault(const char *call_name) {
    barriers += strcmp(call_name, "barrier") == 0;
    return fails_malloc && strcmp(call_name, "malloc") == 0 ? 12 : 0;
}
#endif

enum { COUNT = 40, LARGE = 7, MIDDLE = 11, ALONE = 13, OTHER_POOL = 17 };

static uint8_t large[(2U << 20) + 5];

/* A call failed as expected, and its report says where. */
static void expect_at(execbuf_status returned, execbuf_status wanted, const char *culprit, size_t position) {
    expect(returned, wanted, culprit);
    CHECK(error.position == position);
}

/* ---- Publishing ---- */

/* Reservations of all kinds: in two pools, in a dedicated mapping of a pool, and in one without a pool. */
typedef struct many {
    execbuf_pool *pool;
    execbuf_pool *other;
    execbuf buffers[COUNT];
    code made[COUNT];
    execbuf_code codes[COUNT];
} many;

static void reserve_many(many *all) {
    all->pool = new_pool();
    all->other = new_pool();
    for (uint32_t i = 0; i < COUNT; i++) {
        all->made[i] = returning(i);
        const execbuf_code piece = {all->made[i].bytes, all->made[i].length, NULL};
        all->codes[i] = piece;
        execbuf_pool *pool = i % OTHER_POOL == 0 ? all->other : all->pool;
        size_t capacity = i == MIDDLE ? 5000 : i == LARGE ? sizeof large : all->made[i].length;
        execbuf_status status = i == ALONE ? execbuf_reserve(&all->buffers[i], 10000, NULL)
                                           : execbuf_pool_reserve(pool, &all->buffers[i], capacity, NULL);
        CHECK(status == EXECBUF_OK);
    }
    memcpy(large, all->made[LARGE].bytes, all->made[LARGE].length);
    all->codes[LARGE].bytes = large;
    all->codes[LARGE].length = sizeof large;
}

static size_t bytes_of(const many *all) {
    return execbuf_pool_code_bytes(all->pool) + execbuf_pool_code_bytes(all->other);
}

static void check_reserved(const many *all, size_t bytes) {
    CHECK(bytes_of(all) == bytes);
    for (size_t i = 0; i < COUNT; i++) {
        execbuf found;
        CHECK(all->buffers[i].length == 0 && execbuf_entry(&all->buffers[i], 0) == NULL);
        CHECK(execbuf_find(all->buffers[i].entry, &found) == EXECBUF_E_NOT_FOUND);
    }
}

static void check_published(const many *all) {
    for (uint32_t i = 0; i < COUNT; i++) {
        const execbuf *buffer = &all->buffers[i];
        execbuf found;
        CHECK(buffer->length == all->codes[i].length && call(buffer, 0) == (int)i);
        CHECK(memcmp(buffer->entry, all->codes[i].bytes, buffer->length) == 0);
        CHECK(execbuf_find(buffer->entry, &found) == EXECBUF_OK && found.id == buffer->id);
    }
    (void)look();
}

static void free_many(many *all) {
    for (size_t i = 0; i < COUNT; i++) {
        release(&all->buffers[i]);
    }
    CHECK(stats_of(all->pool).live == 0 && execbuf_pool_code_bytes(all->pool) == 0);
    execbuf_pool_free(all->pool);
    execbuf_pool_free(all->other);
}

static void all_buffers_are_published(void) {
    static many all;
    reserve_many(&all);
    CHECK(execbuf_publish_all(NULL, NULL, 0, &error) == EXECBUF_OK && error.status == EXECBUF_OK);
    expect(execbuf_publish_all(NULL, all.codes, COUNT, &error), EXECBUF_E_NULL, "buffers");
    expect(execbuf_publish_all(all.buffers, NULL, COUNT, &error), EXECBUF_E_NULL, "codes");
    CHECK(execbuf_publish_all(all.buffers, all.codes, COUNT, &error) == EXECBUF_OK);
    CHECK(error.status == EXECBUF_OK && error.culprit == NULL && error.position == 0);
    check_published(&all);
    expect_at(execbuf_publish_all(all.buffers, all.codes, COUNT, &error), EXECBUF_E_PUBLISHED, "buffer", 0);
    check_published(&all);
    CHECK(bytes_of(&all) == sizeof large + (COUNT - 2) * all.made[0].length); /* ALONE is in no pool */
    free_many(&all);
}

static void one_piece_that_cannot_be_published_prevents_all(void) {
    static many all;
    static const size_t positions[] = {0, 1, LARGE, MIDDLE, ALONE, OTHER_POOL, COUNT - 1};
    execbuf_info unknown = EXECBUF_INFO_INIT;
    unknown.size = 3;
    const struct {
        execbuf_code code;
        execbuf_status status;
        const char *culprit;
    } bad[] = {
        {{NULL, 6, NULL}, EXECBUF_E_NULL, "code"},
        {{large, 0, NULL}, EXECBUF_E_EMPTY, "length"},
        {{large, 6, &unknown}, EXECBUF_E_VERSION, "info"},
        {{large, sizeof large + 1, NULL}, EXECBUF_E_CAPACITY, "length"},
        {{large, SIZE_MAX, NULL}, EXECBUF_E_CAPACITY, "length"},
    };
    reserve_many(&all);
    const size_t bytes = bytes_of(&all);
    execbuf single = publish(all.pool, 1);
    execbuf stale = single;
    release(&single);
    execbuf published = publish(all.pool, 3);
    const size_t with_published = bytes_of(&all);
    CHECK(with_published > bytes);
    for (size_t k = 0; k < sizeof positions / sizeof positions[0]; k++) {
        const size_t at = positions[k];
        const execbuf_code before = all.codes[at];
        const execbuf handle = all.buffers[at];
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            all.codes[at] = bad[i].code;
            expect_at(execbuf_publish_all(all.buffers, all.codes, COUNT, &error), bad[i].status,
                      bad[i].culprit, at);
            check_reserved(&all, with_published);
        }
        all.codes[at] = before;
        const execbuf wrong[] = {stale, {handle.entry, 0, 0}, {handle.entry, 0, handle.id ^ 2}, {NULL, 0, 0}};
        for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
            uint64_t count = execbuf_stale_count();
            all.buffers[at] = wrong[i];
            expect_at(execbuf_publish_all(all.buffers, all.codes, COUNT, &error), EXECBUF_E_STALE, "buffer",
                      at);
            CHECK(execbuf_stale_count() == count + 1);
        }
        all.buffers[at] = published;
        expect_at(execbuf_publish_all(all.buffers, all.codes, COUNT, &error), EXECBUF_E_PUBLISHED, "buffer",
                  at);
        all.buffers[at] = handle;
        check_reserved(&all, with_published);
    }
    CHECK(call(&published, 0) == 3);
    release(&published);
    CHECK(execbuf_publish_all(all.buffers, all.codes, COUNT, &error) == EXECBUF_OK);
    check_published(&all);
    free_many(&all);
}

/* The position is that of the second one. */
static void a_buffer_that_is_named_twice_prevents_all(void) {
    static many all;
    static const size_t pairs[][2] = {{0, 1}, {0, COUNT - 1}, {LARGE, 20}, {5, ALONE}, {ALONE, LARGE + 9}};
    reserve_many(&all);
    const size_t bytes = bytes_of(&all);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const size_t first = pairs[i][0];
        const size_t second = pairs[i][1];
        const execbuf before = all.buffers[second];
        const execbuf_code short_code = all.codes[LARGE];
        all.codes[LARGE].length = 6; /* so that it fits everywhere */
        all.buffers[second] = all.buffers[first];
        expect_at(execbuf_publish_all(all.buffers, all.codes, COUNT, &error), EXECBUF_E_PUBLISHED, "buffer",
                  second);
        all.buffers[second] = before;
        all.codes[LARGE] = short_code;
        check_reserved(&all, bytes);
    }
    CHECK(execbuf_publish_all(all.buffers, all.codes, COUNT, NULL) == EXECBUF_OK);
    check_published(&all);
    free_many(&all);
}

static void a_thunk_is_not_published(void) {
    execbuf_signature *signature = parsed("i(i)");
    execbuf_pool *pool = new_pool();
    execbuf buffers[2];
    code made = returning(1);
    const execbuf_code codes[2] = {{made.bytes, made.length, NULL}, {made.bytes, made.length, NULL}};
    CHECK(execbuf_pool_reserve(pool, &buffers[0], 16, NULL) == EXECBUF_OK);
    if (execbuf_thunk_new(pool, &buffers[1], signature, EXECBUF_ABI_SYSV64, EXECBUF_ABI_WIN64,
                          (const void *)large, NULL) == EXECBUF_OK) {
        expect_at(execbuf_publish_all(buffers, codes, 2, &error), EXECBUF_E_THUNK, "buffer", 1);
        const execbuf_change change = {&buffers[1], 0, made.bytes, 1};
        expect_at(execbuf_rewrite_batch(&change, 1, &error), EXECBUF_E_THUNK, "buffer", 0);
        CHECK(buffers[0].length == 0);
        release(&buffers[1]);
    }
    release(&buffers[0]);
    execbuf_pool_free(pool);
    execbuf_signature_free(signature);
}

/* ---- Rewriting ---- */

static void all_changes_are_made_in_their_order(void) {
    static many all;
    reserve_many(&all);
    CHECK(execbuf_publish_all(all.buffers, all.codes, COUNT, NULL) == EXECBUF_OK);
    code made[COUNT];
    code last = returning(1000);
    execbuf_change changes[COUNT + 3];
    for (uint32_t i = 0; i < COUNT; i++) {
        made[i] = returning(100 + i);
        const execbuf_change change = {&all.buffers[i], 0, made[i].bytes, made[i].length};
        changes[i] = change;
    }
    for (size_t i = 0; i < 3; i++) { /* a second change of the same bytes */
        const execbuf_change change = {&all.buffers[i == 2 ? ALONE : i], 0, last.bytes, last.length};
        changes[COUNT + i] = change;
    }
    CHECK(execbuf_rewrite_batch(NULL, 0, &error) == EXECBUF_OK && error.status == EXECBUF_OK);
    CHECK(execbuf_rewrite_batch(changes, COUNT + 3, &error) == EXECBUF_OK && error.culprit == NULL);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(call(&all.buffers[i], 0) == (i < 2 || i == ALONE ? 1000 : 100 + (int)i));
    }
    (void)look();
    free_many(&all);
}

static void one_change_that_cannot_be_made_prevents_all(void) {
    static many all;
    static const size_t positions[] = {0, 1, LARGE, ALONE, OTHER_POOL, COUNT - 1};
    reserve_many(&all);
    CHECK(execbuf_publish_all(all.buffers, all.codes, COUNT, NULL) == EXECBUF_OK);
    execbuf reserved[2];
    CHECK(execbuf_pool_reserve(all.pool, &reserved[0], 16, NULL) == EXECBUF_OK);
    CHECK(execbuf_reserve(&reserved[1], 16, NULL) == EXECBUF_OK);
    execbuf freed = publish(all.pool, 1);
    execbuf stale = freed;
    release(&freed);
    code made = returning(77);
    execbuf_change changes[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        const execbuf_change change = {&all.buffers[i], 0, made.bytes, made.length};
        changes[i] = change;
    }
    for (size_t k = 0; k < sizeof positions / sizeof positions[0]; k++) {
        const size_t at = positions[k];
        execbuf *buffer = &all.buffers[at];
        const size_t length = buffer->length;
        const execbuf_change before = changes[at];
        const struct {
            execbuf_change change;
            execbuf_status status;
            const char *culprit;
        } bad[] = {
            {{NULL, 0, made.bytes, 1}, EXECBUF_E_NULL, "buffer"},
            {{buffer, 0, NULL, 1}, EXECBUF_E_NULL, "code"},
            {{buffer, 0, made.bytes, 0}, EXECBUF_E_EMPTY, "length"},
            {{buffer, 0, made.bytes, length + 1}, EXECBUF_E_OUT_OF_BOUNDS, "length"},
            {{buffer, length + 1, made.bytes, 1}, EXECBUF_E_OUT_OF_BOUNDS, "offset"},
            {{buffer, SIZE_MAX, made.bytes, 1}, EXECBUF_E_OUT_OF_BOUNDS, "offset"},
            {{&reserved[0], 0, made.bytes, 1}, EXECBUF_E_NOT_PUBLISHED, "buffer"},
            {{&reserved[1], 0, made.bytes, 1}, EXECBUF_E_NOT_PUBLISHED, "buffer"},
            {{&stale, 0, made.bytes, 1}, EXECBUF_E_STALE, "buffer"},
        };
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            changes[at] = bad[i].change;
            expect_at(execbuf_rewrite_batch(changes, COUNT, &error), bad[i].status, bad[i].culprit, at);
            check_published(&all);
        }
        changes[at] = before;
    }
    expect(execbuf_rewrite_batch(NULL, 1, &error), EXECBUF_E_NULL, "changes");
    CHECK(execbuf_rewrite_batch(changes, COUNT, NULL) == EXECBUF_OK);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(call(&all.buffers[i], 0) == 77);
    }
    release(&reserved[0]);
    release(&reserved[1]);
    free_many(&all);
}

/* ---- Barriers, and memory that the checks need ---- */

#if defined(EXECBUF_FAULT_INJECTION)
#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
static void one_barrier_serves_all(void) {
    enum { PIECES = 100 };
    execbuf_pool *pool = new_pool();
    execbuf buffers[PIECES];
    execbuf_code codes[PIECES];
    execbuf_change changes[PIECES];
    code made = returning(1);
    code two = returning(2);
    for (size_t i = 0; i < PIECES; i++) {
        const execbuf_code piece = {made.bytes, made.length, NULL};
        const execbuf_change change = {&buffers[i], 0, two.bytes, two.length};
        codes[i] = piece;
        changes[i] = change;
        CHECK(execbuf_pool_reserve(pool, &buffers[i], 16, NULL) == EXECBUF_OK);
    }
    if (stats_of(pool).regions != 0) {
        barriers = 0;
        CHECK(execbuf_publish_all(buffers, codes, PIECES, NULL) == EXECBUF_OK);
#if defined(__aarch64__)
        CHECK(barriers == 1);
#else
        CHECK(barriers == 0); /* x86 needs none for new code */
#endif
        barriers = 0;
        CHECK(execbuf_rewrite_batch(changes, PIECES, NULL) == EXECBUF_OK);
        CHECK(barriers == 1);
        for (size_t i = 0; i < PIECES; i++) {
            CHECK(call(&buffers[i], 0) == 2);
        }
    } else {
        (void)fprintf(stderr, "SKIP: barriers: pools have no regions here\n");
    }
    for (size_t i = 0; i < PIECES; i++) {
        release(&buffers[i]);
    }
    execbuf_pool_free(pool);
}
#else
static void one_barrier_serves_all(void) {}
#endif

static void lack_of_memory_for_the_checks_prevents_all(void) {
    static many all;
    reserve_many(&all);
    const size_t bytes = bytes_of(&all);
    fails_malloc = 1;
    expect(execbuf_publish_all(all.buffers, all.codes, COUNT, &error), EXECBUF_E_NO_MEMORY, "malloc");
    fails_malloc = 0;
    check_reserved(&all, bytes);
    CHECK(execbuf_publish_all(all.buffers, all.codes, COUNT, &error) == EXECBUF_OK);
    check_published(&all);
    free_many(&all);
}
#endif

int main(void) {
    RUN(all_buffers_are_published);
    RUN(one_piece_that_cannot_be_published_prevents_all);
    RUN(a_buffer_that_is_named_twice_prevents_all);
    RUN(a_thunk_is_not_published);
    RUN(all_changes_are_made_in_their_order);
    RUN(one_change_that_cannot_be_made_prevents_all);
#if defined(EXECBUF_FAULT_INJECTION)
    RUN(one_barrier_serves_all);
    RUN(lack_of_memory_for_the_checks_prevents_all);
#endif
    (void)printf("ok\n");
    return 0;
}
