/* The C API of pools, function by function: arguments, handles, states, batches, lookup and numbers. What the
 * memory looks like is in pool_memory.c. Where the platform has no regions, each piece of code has pages of
 * its own, and all of this holds as well. */

#include "check.h"

/* What the last call reported. */
static execbuf_error error;

static void expect(execbuf_status returned, execbuf_status wanted, const char *culprit) {
    CHECK(returned == wanted && error.status == wanted);
    CHECK(error.culprit != NULL && strcmp(error.culprit, culprit) == 0);
    CHECK(error.os_error == 0 && error.attempt_count == 0);
}

static execbuf_pool *new_pool(void) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, &error) == EXECBUF_OK && pool != NULL);
    CHECK(error.status == EXECBUF_OK && error.culprit == NULL && error.attempt_count == 0);
    return pool;
}

static execbuf publish(execbuf_pool *pool, uint32_t value) {
    code made = returning(value);
    execbuf buffer;
    CHECK(execbuf_pool_publish(pool, &buffer, made.bytes, made.length, &error) == EXECBUF_OK);
    CHECK(error.status == EXECBUF_OK && error.culprit == NULL && error.attempt_count == 0);
    CHECK(buffer.length == made.length && (uintptr_t)buffer.entry % 16 == 0 && buffer.id != 0);
    CHECK(memcmp(buffer.entry, made.bytes, made.length) == 0);
    return buffer;
}

static void release(execbuf *buffer) {
    CHECK(execbuf_free(buffer) == EXECBUF_OK && is_zero(buffer));
}

static execbuf filled(void) {
    execbuf buffer = {&buffer, 1, 1};
    return buffer;
}

static void publish_runs_and_free_zeroes(void) {
    execbuf_pool *pool = new_pool();
    execbuf buffer = publish(pool, 1);
    CHECK(call(&buffer, 0) == 1);
    (void)look();
    release(&buffer);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK); /* all zero is nothing */
    execbuf_pool_free(pool);
}

static void null_is_named(void) {
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
    CHECK(stats.live == 0 && stats.bytes == 0 && stats.mapped == 0 && stats.resident == 0);
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
    CHECK(stats_of(pool).live == 0 && stats_of(pool).bytes == 0);
    execbuf_pool_free(pool);
}

static void reserved_code_knows_its_address(void) {
    static const size_t capacities[] = {1, 15, 16, 100, 1024, 1025, 5000, 32768, 32769, 100000, 3U << 20};
    static uint8_t bytes[(3U << 20) + 1];
    code two = returning(2);
    code three = returning(3);
    memcpy(bytes, two.bytes, two.length);
    execbuf_pool *pool = new_pool();
    for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
        size_t capacity = capacities[i];
        execbuf buffer;
        CHECK(execbuf_pool_reserve(pool, &buffer, capacity, &error) == EXECBUF_OK);
        CHECK(error.status == EXECBUF_OK && error.culprit == NULL);
        const void *entry = buffer.entry;
        CHECK(entry != NULL && (uintptr_t)entry % 16 == 0 && buffer.length == 0);
        CHECK(execbuf_entry(&buffer, 0) == NULL && execbuf_length(&buffer) == 0);
        CHECK(!finds(pool, entry, NULL));
        CHECK(stats_of(pool).live == 1 && stats_of(pool).bytes == capacity);
        expect(execbuf_rewrite(&buffer, 0, bytes, 1, &error), EXECBUF_E_NOT_PUBLISHED, "buffer");
        expect(execbuf_publish(&buffer, bytes, 0, &error), EXECBUF_E_EMPTY, "length");
        expect(execbuf_publish(&buffer, NULL, 1, &error), EXECBUF_E_NULL, "code");
        expect(execbuf_publish(&buffer, bytes, capacity + 1, &error), EXECBUF_E_CAPACITY, "length");
        CHECK(buffer.entry == entry && buffer.length == 0);
        size_t length = i % 2 == 0 || capacity < two.length ? capacity : two.length;
        CHECK(execbuf_publish(&buffer, bytes, length, &error) == EXECBUF_OK);
        CHECK(buffer.entry == entry && buffer.length == length && memcmp(entry, bytes, length) == 0);
        CHECK(stats_of(pool).live == 1 && stats_of(pool).bytes == length);
        expect(execbuf_publish(&buffer, bytes, 1, &error), EXECBUF_E_PUBLISHED, "buffer");
        execbuf_place place;
        CHECK(finds(pool, (const uint8_t *)entry + length - 1, &place));
        CHECK(place.entry == entry && place.length == length);
        if (length >= two.length) {
            CHECK(call(&buffer, 0) == 2);
            CHECK(execbuf_rewrite(&buffer, 0, three.bytes, three.length, &error) == EXECBUF_OK);
            CHECK(call(&buffer, 0) == 3);
        }
        release(&buffer);
        CHECK(stats_of(pool).live == 0 && stats_of(pool).bytes == 0);
        CHECK(execbuf_pool_reserve(pool, &buffer, capacity, NULL) == EXECBUF_OK);
        release(&buffer); /* never published */
    }
    execbuf_pool_free(pool);
}

static void rewrite_stays_inside(void) {
    code one = returning(1);
    uint8_t two_functions[16 + 8] = {0};
    memcpy(two_functions, one.bytes, one.length);
    memcpy(two_functions + 16, one.bytes, one.length);
    execbuf_pool *pool = new_pool();
    execbuf buffer;
    size_t length = 16 + one.length;
    CHECK(execbuf_pool_publish(pool, &buffer, two_functions, length, NULL) == EXECBUF_OK);
    const uint8_t zeros[32] = {0};
    expect(execbuf_rewrite(&buffer, 0, zeros, length + 1, &error), EXECBUF_E_OUT_OF_BOUNDS, "length");
    expect(execbuf_rewrite(&buffer, length, zeros, 1, &error), EXECBUF_E_OUT_OF_BOUNDS, "length");
    expect(execbuf_rewrite(&buffer, length + 1, zeros, 1, &error), EXECBUF_E_OUT_OF_BOUNDS, "offset");
    expect(execbuf_rewrite(&buffer, SIZE_MAX, zeros, 1, &error), EXECBUF_E_OUT_OF_BOUNDS, "offset");
    expect(execbuf_rewrite(&buffer, 1, zeros, SIZE_MAX, &error), EXECBUF_E_OUT_OF_BOUNDS, "length");
    expect(execbuf_rewrite(&buffer, 0, zeros, 0, &error), EXECBUF_E_EMPTY, "length");
    expect(execbuf_rewrite(&buffer, 0, NULL, 1, &error), EXECBUF_E_NULL, "code");
    CHECK(call(&buffer, 0) == 1 && call(&buffer, 16) == 1);
    code three = returning(3);
    CHECK(execbuf_rewrite(&buffer, 16, three.bytes, three.length, &error) == EXECBUF_OK);
    CHECK(call(&buffer, 0) == 1 && call(&buffer, 16) == 3);
    CHECK(execbuf_entry(&buffer, length) == NULL);
    release(&buffer);
    execbuf_pool_free(pool);
}

/* New bytes may come from the buffer itself, or one beside it, by the executable address, which is not the
 * one that is written to. */
static void rewrite_copies_from_code_that_overlaps(void) {
    static const size_t lengths[] = {100, 5000, 40000};
    static uint8_t expected[40000];
    execbuf_pool *pool = new_pool();
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t length = lengths[i];
        for (size_t at = 0; at < length; at++) {
            expected[at] = (uint8_t)(at * 7 + at / 251);
        }
        execbuf buffer;
        execbuf other;
        CHECK(execbuf_pool_publish(pool, &buffer, expected, length, NULL) == EXECBUF_OK);
        CHECK(execbuf_pool_publish(pool, &other, expected, length, NULL) == EXECBUF_OK);
        const uint8_t *entry = (const uint8_t *)buffer.entry;
        size_t part = length - 33;
        CHECK(execbuf_rewrite(&buffer, 33, entry, part, NULL) == EXECBUF_OK); /* up */
        memmove(expected + 33, expected, part);
        CHECK(memcmp(entry, expected, length) == 0);
        CHECK(execbuf_rewrite(&buffer, 0, entry + 33, part, NULL) == EXECBUF_OK); /* down */
        memmove(expected, expected + 33, part);
        CHECK(memcmp(entry, expected, length) == 0);
        CHECK(execbuf_rewrite(&buffer, 0, entry, length, NULL) == EXECBUF_OK); /* onto itself */
        CHECK(memcmp(entry, expected, length) == 0);
        CHECK(execbuf_rewrite(&other, 1, entry + 1, length - 1, NULL) == EXECBUF_OK); /* beside */
        CHECK(memcmp((const uint8_t *)other.entry + 1, expected + 1, length - 1) == 0);
        /* And a new buffer's code may come from one, too. */
        execbuf copy;
        CHECK(execbuf_pool_publish(pool, &copy, entry, length, NULL) == EXECBUF_OK);
        CHECK(memcmp(copy.entry, expected, length) == 0);
        release(&copy);
        release(&buffer);
        release(&other);
    }
    execbuf_pool_free(pool);
}

static void a_batch_is_published_as_a_whole_or_not_at_all(void) {
    enum { COUNT = 40 };
    static uint8_t large[(2U << 20) + 5];
    code made[COUNT];
    execbuf_code codes[COUNT];
    execbuf outs[COUNT];
    execbuf_pool *pool = new_pool();
    CHECK(execbuf_pool_publish_batch(pool, NULL, NULL, 0, &error) == EXECBUF_OK);
    CHECK(error.status == EXECBUF_OK && error.culprit == NULL);
    for (uint32_t i = 0; i < COUNT; i++) {
        made[i] = returning(i);
        codes[i].bytes = made[i].bytes;
        codes[i].length = made[i].length;
        codes[i].info = NULL;
    }
    /* One that has pages of its own, and one of another size. */
    memcpy(large, made[7].bytes, made[7].length);
    codes[7].bytes = large;
    codes[7].length = sizeof large;
    codes[11].bytes = large;
    codes[11].length = 777;
    CHECK(execbuf_pool_publish_batch(pool, outs, codes, COUNT, &error) == EXECBUF_OK);
    CHECK(error.status == EXECBUF_OK && error.culprit == NULL);
    CHECK(stats_of(pool).live == COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK(outs[i].length == codes[i].length && call(&outs[i], 0) == (int)(i == 11 ? 7 : i));
        CHECK(memcmp(outs[i].entry, codes[i].bytes, codes[i].length) == 0);
        release(&outs[i]);
    }
    const struct {
        execbuf_code code;
        execbuf_status status;
        const char *culprit;
    } bad[] = {
        {{NULL, 6, NULL}, EXECBUF_E_NULL, "code"},
        {{NULL, 0, NULL}, EXECBUF_E_NULL, "code"},
        {{large, 0, NULL}, EXECBUF_E_EMPTY, "length"},
        {{large, SIZE_MAX, NULL}, EXECBUF_E_TOO_LARGE, "length"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (size_t position = 0; position < COUNT; position += COUNT / 2 - 1) {
            execbuf_code before = codes[position];
            codes[position] = bad[i].code;
            for (size_t j = 0; j < COUNT; j++) {
                outs[j] = filled();
            }
            expect(execbuf_pool_publish_batch(pool, outs, codes, COUNT, &error), bad[i].status,
                   bad[i].culprit);
            for (size_t j = 0; j < COUNT; j++) {
                CHECK(is_zero(&outs[j]));
            }
            CHECK(stats_of(pool).live == 0 && stats_of(pool).bytes == 0);
            codes[position] = before;
        }
    }
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
        /* Just behind it, and just before it, there is other code, or none. */
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

static void numbers_add_up(void) {
    static uint8_t large[3U << 20];
    execbuf_pool *pool = new_pool();
    execbuf_pool_stats stats = stats_of(pool);
    CHECK(stats.live == 0 && stats.bytes == 0 && stats.mapped == 0 && stats.resident == 0);
    CHECK(stats.bookkeeping > 0 && stats.regions == 0 && stats.frozen == 0 && stats.dedicated == 0);
    CHECK(stats.backend == EXECBUF_BACKEND_NONE && stats.why.status == EXECBUF_OK);
    execbuf small = publish(pool, 1);
    stats = stats_of(pool);
    CHECK(stats.live == 1 && stats.bytes == small.length && stats.frozen == 0);
    CHECK(stats.regions == 1 || stats.dedicated == 1);
    CHECK(stats.regions + stats.dedicated == 1);
    CHECK(stats.resident >= 4096 && stats.mapped >= stats.resident);
    CHECK(stats.why.status == EXECBUF_OK || stats.regions == 0);
    if (stats.regions == 1) {
        CHECK(stats.backend != EXECBUF_BACKEND_NONE && stats.backend != EXECBUF_BACKEND_FLIP);
    }
    size_t regions = stats.regions;
    size_t own = stats.dedicated;
    size_t resident = stats.resident;
    execbuf big;
    CHECK(execbuf_pool_publish(pool, &big, large, sizeof large, NULL) == EXECBUF_OK);
    stats = stats_of(pool);
    CHECK(stats.live == 2 && stats.bytes == small.length + sizeof large);
    CHECK(stats.regions == regions && stats.dedicated == own + 1);
    CHECK(stats.resident >= resident + sizeof large && stats.resident < resident + sizeof large + 9000);
    execbuf room;
    CHECK(execbuf_pool_reserve(pool, &room, 1000, NULL) == EXECBUF_OK);
    stats = stats_of(pool);
    CHECK(stats.live == 3 && stats.bytes == small.length + sizeof large + 1000);
    release(&big);
    release(&room);
    stats = stats_of(pool);
    CHECK(stats.live == 1 && stats.bytes == small.length && stats.dedicated == own);
    release(&small);
    stats = stats_of(pool);
    CHECK(stats.live == 0 && stats.bytes == 0 && stats.dedicated == 0);
    CHECK(stats.regions == regions); /* it took little, so it is kept */
    execbuf_pool_free(pool);
}

/* Each function refuses the handle, counts that, and leaves it as it is. */
static void refused(execbuf handle) {
    code one = returning(1);
    execbuf copy = handle;
    uint64_t count = execbuf_stale_count();
    CHECK(execbuf_free(&copy) == EXECBUF_E_STALE);
    expect(execbuf_rewrite(&copy, 0, one.bytes, 1, &error), EXECBUF_E_STALE, "buffer");
    expect(execbuf_publish(&copy, one.bytes, 1, &error), EXECBUF_E_STALE, "buffer");
    CHECK(execbuf_stale_count() == count + 3);
    CHECK(copy.entry == handle.entry && copy.length == handle.length && copy.id == handle.id);
}

/* A handle is an id and an address. Another live buffer may have the same id, so an address that was altered
 * to be its address makes a handle of that. */
static void refuse_altered(execbuf handle, const execbuf *others, size_t count) {
    for (unsigned bit = 0; bit < 64; bit++) {
        execbuf altered = handle;
        altered.id ^= (uint64_t)1 << bit;
        refused(altered);
    }
    for (unsigned bit = 0; bit < 8 * sizeof(void *); bit++) {
        execbuf altered = handle;
        altered.entry = (const void *)((uintptr_t)handle.entry ^ (uintptr_t)1 << bit); /* NOLINT */
        int another = 0;
        for (size_t i = 0; i < count; i++) {
            another |= others[i].entry == altered.entry && others[i].id == altered.id;
        }
        if (!another) {
            refused(altered);
        }
    }
    execbuf altered = handle;
    altered.entry = NULL;
    refused(altered);
    altered = handle;
    altered.id = UINT64_MAX;
    refused(altered);
    altered.id = (uint64_t)1 << 63;
    refused(altered);
    altered.id = 0;
    refused(altered);
}

static void altered_handles_are_refused(void) {
    static uint8_t bytes[40000];
    static const size_t lengths[] = {6, 100, 1500, 40000};
    execbuf_pool *pool = new_pool();
    execbuf_pool *other = new_pool(); /* so that there are pools and spans of neighbouring numbers */
    execbuf beside = publish(other, 3);
    execbuf alone;
    code four = returning(4);
    CHECK(execbuf_new(&alone, four.bytes, four.length, NULL) == EXECBUF_OK);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        execbuf buffers[3];
        for (uint32_t j = 0; j < 3; j++) {
            code made = returning(j);
            memcpy(bytes, made.bytes, made.length);
            size_t length = lengths[i] < made.length ? made.length : lengths[i];
            CHECK(execbuf_pool_publish(pool, &buffers[j], bytes, length, NULL) == EXECBUF_OK);
        }
        refuse_altered(buffers[1], buffers, 3);
        execbuf mixed = buffers[1];
        mixed.entry = buffers[0].entry;  /* the one's address, the other's id */
        if (mixed.id != buffers[0].id) { /* see refuse_altered */
            refused(mixed);
        }
        mixed.entry = beside.entry;
        refused(mixed);
        mixed.entry = alone.entry;
        refused(mixed);
        mixed = alone;
        mixed.entry = buffers[1].entry;
        refused(mixed);
        for (int j = 0; j < 3; j++) {
            CHECK(call(&buffers[j], 0) == j);
            release(&buffers[j]);
        }
    }
    CHECK(call(&beside, 0) == 3 && call(&alone, 0) == 4);
    release(&beside);
    release(&alone);
    execbuf_pool_free(other);
    execbuf_pool_free(pool);
}

/* However often a place is used again: its tags come to an end, and the numbers of spans. */
static void stale_handles_are_refused_for_ever(void) {
    static uint8_t bytes[40000];
    memset(bytes, 0xc3, sizeof bytes);
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    execbuf kept;
    CHECK(execbuf_pool_publish(pool, &kept, bytes, 1, NULL) == EXECBUF_OK);
    execbuf_pool_stats stats = stats_of(pool);
    const size_t lengths[] = {32768, sizeof bytes};
    const size_t rounds[] = {stats.regions > 0 ? 150000 : 100, stats.regions > 0 ? 70000 : 100};
    for (size_t i = 0; i < 2; i++) {
        execbuf first;
        CHECK(execbuf_pool_publish(pool, &first, bytes, lengths[i], NULL) == EXECBUF_OK);
        execbuf stale = first;
        CHECK(execbuf_free(&first) == EXECBUF_OK);
        for (size_t round = 0; round < rounds[i]; round++) {
            execbuf next;
            CHECK(execbuf_pool_publish(pool, &next, bytes, lengths[i], NULL) == EXECBUF_OK);
            execbuf copy = stale;
            CHECK(execbuf_free(&copy) == EXECBUF_E_STALE);
            CHECK(execbuf_free(&next) == EXECBUF_OK);
        }
    }
    stats = stats_of(pool);
    CHECK(stats.live == 1 && stats.regions <= 1 && stats.resident < ((size_t)1 << 20)); /* nothing is lost */
    CHECK(execbuf_free(&kept) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

/* A slot is used again after a while; old handles of it stay stale. */
static void stale_handles_are_refused(void) {
    enum { COUNT = 3000 };
    static execbuf old[COUNT];
    uint32_t count = under_valgrind() ? 100 : COUNT;
    execbuf_pool *pool = new_pool();
    execbuf kept = publish(pool, 9);
    for (uint32_t i = 0; i < count; i++) {
        execbuf buffer = publish(pool, 5);
        old[i] = buffer;
        release(&buffer);
        if (i % 50 == 0) {
            refused(old[i]);
        }
    }
    execbuf live[100];
    for (uint32_t i = 0; i < 100; i++) {
        live[i] = publish(pool, i);
    }
    uint64_t before = execbuf_stale_count();
    for (uint32_t i = 0; i < count; i++) {
        CHECK(execbuf_free(&old[i]) == EXECBUF_E_STALE);
    }
    CHECK(execbuf_stale_count() == before + count);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK(call(&live[i], 0) == (int)i);
        release(&live[i]);
    }
    CHECK(call(&kept, 0) == 9);
    execbuf_pool_free(pool);
    old[0] = kept;
    CHECK(call(&kept, 0) == 9);
    release(&kept); /* and with it the pool */
    refused(old[0]);
    /* A new pool in its place. */
    pool = new_pool();
    execbuf buffer = publish(pool, 1);
    refused(old[0]);
    CHECK(call(&buffer, 0) == 1);
    release(&buffer);
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
        execbuf_pool *next = new_pool(); /* must not get the memory of the first */
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
    RUN(publish_runs_and_free_zeroes);
    RUN(null_is_named);
    RUN(names_are_copied_up_to_63_bytes);
    RUN(sizes_are_checked);
    RUN(reserved_code_knows_its_address);
    RUN(rewrite_stays_inside);
    RUN(rewrite_copies_from_code_that_overlaps);
    RUN(a_batch_is_published_as_a_whole_or_not_at_all);
    RUN(lookup_finds_published_code_only);
    RUN(numbers_add_up);
    RUN(altered_handles_are_refused);
    RUN(stale_handles_are_refused);
    RUN(stale_handles_are_refused_for_ever);
    RUN(buffers_outlive_their_pool);
    (void)printf("ok\n");
    return 0;
}
