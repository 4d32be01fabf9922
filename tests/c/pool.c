/* The C API of pools, function by function: arguments, names, lookup, counters and lifetime.
 *
 * pool_publish.c tests reserve, publish, rewrite and batches, pool_handles.c stale handles, and pool_memory.c
 * what memory contains. If the platform has no regions, every piece of code gets a dedicated mapping, and the
 * same tests pass. */

#include "pool_helpers.h"

static void published_code_runs_and_free_zeroes_the_handle(void) {
    execbuf_pool *pool = new_pool();
    execbuf buffer = publish(pool, 1);
    CHECK(call(&buffer, 0) == 1);
    (void)look();
    release(&buffer);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK); /* a zeroed handle */
    execbuf_pool_free(pool);
}

static void null_arguments_are_reported(void) {
    code one = returning(1);
    execbuf_code codes[1] = {{one.bytes, one.length, NULL}};
    execbuf_pool *pool = new_pool();
    execbuf out = filled();
    expect(execbuf_pool_new(NULL, NULL, &error), EXECBUF_E_NULL, "out");
    CHECK(execbuf_pool_new(NULL, NULL, NULL) == EXECBUF_E_NULL);
    expect(execbuf_pool_publish(NULL, &out, one.bytes, 1, &error), EXECBUF_E_NULL, "pool");
    CHECK(is_zero(&out));
    expect(execbuf_pool_publish(pool, NULL, one.bytes, 1, &error), EXECBUF_E_NULL, "out");
    out = filled();
    expect(execbuf_pool_publish(pool, &out, NULL, 1, &error), EXECBUF_E_NULL, "code");
    CHECK(is_zero(&out));
    out = filled();
    CHECK(execbuf_pool_publish(NULL, NULL, NULL, 0, NULL) == EXECBUF_E_NULL);
    expect(execbuf_pool_reserve(NULL, &out, 1, &error), EXECBUF_E_NULL, "pool");
    CHECK(is_zero(&out));
    expect(execbuf_pool_reserve(pool, NULL, 1, &error), EXECBUF_E_NULL, "out");
    out = filled();
    expect(execbuf_pool_publish_batch(NULL, &out, codes, 1, &error), EXECBUF_E_NULL, "pool");
    CHECK(is_zero(&out));
    expect(execbuf_pool_publish_batch(pool, NULL, codes, 1, &error), EXECBUF_E_NULL, "out");
    out = filled();
    expect(execbuf_pool_publish_batch(pool, &out, NULL, 1, &error), EXECBUF_E_NULL, "codes");
    CHECK(is_zero(&out));
    CHECK(execbuf_pool_publish_batch(NULL, NULL, NULL, 1, NULL) == EXECBUF_E_NULL);

    execbuf_place place = {sizeof place, &out, 1};
    CHECK(execbuf_pool_lookup(NULL, &place, one.bytes) == EXECBUF_E_NULL);
    CHECK(place.size == sizeof place && place.entry == NULL && place.length == 0);
    CHECK(!finds(pool, NULL, NULL) && execbuf_pool_lookup(NULL, NULL, NULL) == EXECBUF_E_NULL);
    CHECK(strcmp(execbuf_pool_name(NULL), "") == 0);
    CHECK(execbuf_pool_get_stats(pool, NULL) == EXECBUF_E_NULL);
    execbuf_pool_stats stats = stats_of(pool);
    CHECK(execbuf_pool_get_stats(NULL, &stats) == EXECBUF_E_NULL && stats.size == sizeof stats);
    CHECK(stats.live == 0 && execbuf_pool_code_bytes(pool) == 0 && stats.mapped == 0 && stats.resident == 0);
    CHECK(stats.bookkeeping == 0 && stats.regions == 0 && stats.frozen == 0 && stats.dedicated == 0);
    CHECK(stats.backend == EXECBUF_BACKEND_NONE && stats.why.status == EXECBUF_OK);
    CHECK(stats.why.culprit == NULL && stats.why.attempt_count == 0);
    execbuf_pool_free(NULL);
    CHECK(stats_of(pool).live == 0);
    execbuf_pool_free(pool);
}

static void names_are_copied_up_to_63_bytes(void) {
    char name[65];
    memset(name, 'n', sizeof name);
    name[64] = '\0';
    execbuf_pool_options options = options_of(NULL, name);
    execbuf_pool *pool = new_pool();
    CHECK(strcmp(execbuf_pool_name(pool), "execbuf") == 0);
    execbuf_pool_free(pool);
    expect(execbuf_pool_new(&pool, &options, &error), EXECBUF_E_TOO_LARGE, "name");
    CHECK(pool == NULL);
    name[63] = '\0';
    CHECK(execbuf_pool_new(&pool, &options, &error) == EXECBUF_OK);
    name[0] = 'x';
    CHECK(strlen(execbuf_pool_name(pool)) == 63 && execbuf_pool_name(pool)[0] == 'n');
    execbuf buffer = publish(pool, 1);
#if defined(__linux__)
    if (stats_of(pool).regions > 0 && stats_of(pool).backend == EXECBUF_BACKEND_MEMFD) {
        name[0] = 'n';
        CHECK(strstr(read_maps(), name) != NULL);
    }
#endif
    execbuf_pool_free(pool);
    release(&buffer);
    name[0] = '\0';
    CHECK(execbuf_pool_new(&pool, &options, &error) == EXECBUF_OK);
    CHECK(strcmp(execbuf_pool_name(pool), "") == 0);
    buffer = publish(pool, 2);
    CHECK(call(&buffer, 0) == 2);
    release(&buffer);
    execbuf_pool_free(pool);
    execbuf_pool_options none = EXECBUF_POOL_OPTIONS_INIT;
    CHECK(execbuf_pool_new(&pool, &none, NULL) == EXECBUF_OK);
    CHECK(strcmp(execbuf_pool_name(pool), "execbuf") == 0);
    execbuf_pool_free(pool);
}

static void sizes_are_checked(void) {
    code one = returning(1);
    execbuf_pool *pool = new_pool();
    execbuf out = filled();
    expect(execbuf_pool_publish(pool, &out, one.bytes, 0, &error), EXECBUF_E_EMPTY, "length");
    CHECK(is_zero(&out));
    out = filled();
    expect(execbuf_pool_reserve(pool, &out, 0, &error), EXECBUF_E_EMPTY, "capacity");
    CHECK(is_zero(&out));
    const size_t large[] = {SIZE_MAX, SIZE_MAX - 1, (size_t)PTRDIFF_MAX + 1, PTRDIFF_MAX};
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        out = filled();
        expect(execbuf_pool_publish(pool, &out, one.bytes, large[i], &error), EXECBUF_E_TOO_LARGE, "length");
        CHECK(is_zero(&out));
        out = filled();
        expect(execbuf_pool_reserve(pool, &out, large[i], &error), EXECBUF_E_TOO_LARGE, "capacity");
        CHECK(is_zero(&out));
        execbuf_code codes[2] = {{one.bytes, one.length, NULL}, {one.bytes, large[i], NULL}};
        execbuf outs[2] = {filled(), filled()};
        expect(execbuf_pool_publish_batch(pool, outs, codes, 2, &error), EXECBUF_E_TOO_LARGE, "length");
        CHECK(is_zero(&outs[0]) && is_zero(&outs[1]));
    }
    CHECK(stats_of(pool).live == 0 && execbuf_pool_code_bytes(pool) == 0);
    execbuf_pool_free(pool);
}

static void lookup_finds_published_code_only(void) {
    static const size_t lengths[] = {1, 16, 17, 100, 1024, 1500, 33000, 3U << 20};
    enum { COUNT = sizeof lengths / sizeof lengths[0] };
    static uint8_t bytes[3U << 20];
    execbuf_pool *pool = new_pool();
    execbuf_pool *stranger = new_pool();
    execbuf buffers[COUNT];
    execbuf_place place;
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(execbuf_pool_publish(pool, &buffers[i], bytes, lengths[i], NULL) == EXECBUF_OK);
    }
    for (size_t i = 0; i < COUNT; i++) {
        const uint8_t *entry = (const uint8_t *)buffers[i].entry;
        const size_t offsets[] = {0, lengths[i] / 2, lengths[i] - 1};
        for (size_t j = 0; j < 3; j++) {
            CHECK(finds(pool, entry + offsets[j], &place));
            CHECK(place.entry == entry && place.length == lengths[i]);
            CHECK(finds(pool, entry + offsets[j], NULL));
            CHECK(!finds(stranger, entry + offsets[j], &place) && place.entry == NULL);
        }
        /* Other code may begin right after it, or end right before it. */
        if (finds(pool, entry + lengths[i], &place)) {
            CHECK(place.entry == entry + lengths[i]);
        }
        if (finds(pool, entry - 1, &place)) {
            CHECK((const uint8_t *)place.entry + place.length == entry);
        }
        if (lengths[i] % 16 != 0) {
            CHECK(!finds(pool, entry + lengths[i], &place) && place.entry == NULL);
        }
    }
    CHECK(!finds(pool, bytes, &place));
    CHECK(!finds(pool, NULL, &place));
    CHECK(!finds(pool, (const void *)(UINTPTR_MAX - 15), &place)); /* NOLINT */
    for (size_t i = 0; i < COUNT; i++) {
        const void *entry = buffers[i].entry;
        release(&buffers[i]);
        CHECK(!finds(pool, entry, &place) && place.entry == NULL && place.length == 0);
    }
    execbuf_pool_free(stranger);
    execbuf_pool_free(pool);
}

static void stats_add_up(void) {
    static uint8_t large[3U << 20];
    execbuf_pool *pool = new_pool();
    execbuf_pool_stats stats = stats_of(pool);
    CHECK(stats.live == 0 && execbuf_pool_code_bytes(pool) == 0 && stats.mapped == 0 && stats.resident == 0);
    CHECK(stats.bookkeeping > 0 && stats.regions == 0 && stats.frozen == 0 && stats.dedicated == 0);
    CHECK(stats.backend == EXECBUF_BACKEND_NONE && stats.why.status == EXECBUF_OK);
    execbuf small = publish(pool, 1);
    stats = stats_of(pool);
    CHECK(stats.live == 1 && execbuf_pool_code_bytes(pool) == small.length && stats.frozen == 0);
    CHECK(stats.regions == 1 || stats.dedicated == 1);
    CHECK(stats.regions + stats.dedicated == 1);
    CHECK(stats.resident >= 4096 && stats.mapped >= stats.resident);
    CHECK(stats.why.status == EXECBUF_OK || stats.regions == 0);
    if (stats.regions == 1) {
        CHECK(stats.backend != EXECBUF_BACKEND_NONE && stats.backend != EXECBUF_BACKEND_FLIP);
    }
    size_t regions = stats.regions;
    size_t dedicated = stats.dedicated;
    size_t resident = stats.resident;
    execbuf big;
    CHECK(execbuf_pool_publish(pool, &big, large, sizeof large, NULL) == EXECBUF_OK);
    stats = stats_of(pool);
    CHECK(stats.live == 2 && execbuf_pool_code_bytes(pool) == small.length + sizeof large);
    CHECK(stats.regions == regions && stats.dedicated == dedicated + 1);
    CHECK(stats.resident >= resident + sizeof large && stats.resident < resident + sizeof large + 9000);
    execbuf reserved;
    CHECK(execbuf_pool_reserve(pool, &reserved, 1000, NULL) == EXECBUF_OK);
    stats = stats_of(pool);
    CHECK(stats.live == 3 && execbuf_pool_code_bytes(pool) == small.length + sizeof large + 1000);
    release(&big);
    release(&reserved);
    stats = stats_of(pool);
    CHECK(stats.live == 1 && execbuf_pool_code_bytes(pool) == small.length && stats.dedicated == dedicated);
    release(&small);
    stats = stats_of(pool);
    CHECK(stats.live == 0 && execbuf_pool_code_bytes(pool) == 0 && stats.dedicated == 0);
    CHECK(stats.regions == regions); /* a region with few resident pages is kept */
    execbuf_pool_free(pool);
}

static void buffers_outlive_their_pool(void) {
    static uint8_t large[3U << 20];
    code two = returning(2);
    memcpy(large, two.bytes, two.length);
    maps before = look_at_code();
    for (int order = 0; order < 2; order++) {
        execbuf_pool *pool = new_pool();
        execbuf buffers[3];
        buffers[0] = publish(pool, 1);
        CHECK(execbuf_pool_publish(pool, &buffers[1], large, sizeof large, NULL) == EXECBUF_OK);
        CHECK(execbuf_pool_reserve(pool, &buffers[2], 100, NULL) == EXECBUF_OK);
        execbuf_pool_free(pool);
        execbuf_pool *next = new_pool(); /* must not reuse the memory of the first, which has live buffers */
        execbuf another = publish(next, 5);
        code three = returning(3);
        code four = returning(4);
        CHECK(call(&buffers[0], 0) == 1 && call(&buffers[1], 0) == 2);
        CHECK(execbuf_publish(&buffers[2], three.bytes, three.length, NULL) == EXECBUF_OK);
        CHECK(execbuf_rewrite(&buffers[0], 0, four.bytes, four.length, NULL) == EXECBUF_OK);
        CHECK(execbuf_rewrite(&buffers[1], 0, four.bytes, four.length, NULL) == EXECBUF_OK);
        CHECK(call(&buffers[0], 0) == 4 && call(&buffers[1], 0) == 4 && call(&buffers[2], 0) == 3);
        for (int i = 0; i < 3; i++) {
            release(&buffers[order == 0 ? i : 2 - i]);
        }
        CHECK(call(&another, 0) == 5 && stats_of(next).live == 1);
        release(&another);
        execbuf_pool_free(next);
        CHECK(same(before, look_at_code()));
    }
}

int main(void) {
    RUN(published_code_runs_and_free_zeroes_the_handle);
    RUN(null_arguments_are_reported);
    RUN(names_are_copied_up_to_63_bytes);
    RUN(sizes_are_checked);
    RUN(lookup_finds_published_code_only);
    RUN(stats_add_up);
    RUN(buffers_outlive_their_pool);
    (void)printf("ok\n");
    return 0;
}
