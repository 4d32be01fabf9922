/* Reserving, publishing, rewriting, and batches in a pool. */

#include "pool_helpers.h"

static void reserve_returns_the_final_address(void) {
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
        CHECK(stats_of(pool).live == 1 && execbuf_pool_code_bytes(pool) == capacity);
        expect(execbuf_rewrite(&buffer, 0, bytes, 1, &error), EXECBUF_E_NOT_PUBLISHED, "buffer");
        expect(execbuf_publish(&buffer, bytes, 0, &error), EXECBUF_E_EMPTY, "length");
        expect(execbuf_publish(&buffer, NULL, 1, &error), EXECBUF_E_NULL, "code");
        expect(execbuf_publish(&buffer, bytes, capacity + 1, &error), EXECBUF_E_CAPACITY, "length");
        CHECK(buffer.entry == entry && buffer.length == 0);
        size_t length = i % 2 == 0 || capacity < two.length ? capacity : two.length;
        CHECK(execbuf_publish(&buffer, bytes, length, &error) == EXECBUF_OK);
        CHECK(buffer.entry == entry && buffer.length == length && memcmp(entry, bytes, length) == 0);
        CHECK(stats_of(pool).live == 1 && execbuf_pool_code_bytes(pool) == length);
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
        CHECK(stats_of(pool).live == 0 && execbuf_pool_code_bytes(pool) == 0);
        CHECK(execbuf_pool_reserve(pool, &buffer, capacity, NULL) == EXECBUF_OK);
        release(&buffer); /* not published */
    }
    execbuf_pool_free(pool);
}

static void rewrite_checks_its_range(void) {
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

/* The source of a rewrite can be code: of the same buffer, or of another one. The library writes to another
 * address than the source, so memmove alone does not handle the overlap. */
static void rewrite_accepts_overlapping_code(void) {
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
        CHECK(execbuf_rewrite(&buffer, 33, entry, part, NULL) == EXECBUF_OK); /* to higher addresses */
        memmove(expected + 33, expected, part);
        CHECK(memcmp(entry, expected, length) == 0);
        CHECK(execbuf_rewrite(&buffer, 0, entry + 33, part, NULL) == EXECBUF_OK); /* to lower addresses */
        memmove(expected, expected + 33, part);
        CHECK(memcmp(entry, expected, length) == 0);
        CHECK(execbuf_rewrite(&buffer, 0, entry, length, NULL) == EXECBUF_OK); /* onto itself */
        CHECK(memcmp(entry, expected, length) == 0);
        CHECK(execbuf_rewrite(&other, 1, entry + 1, length - 1, NULL) ==
              EXECBUF_OK); /* from another buffer */
        CHECK(memcmp((const uint8_t *)other.entry + 1, expected + 1, length - 1) == 0);
        /* The code of a new buffer can also come from a buffer. */
        execbuf copy;
        CHECK(execbuf_pool_publish(pool, &copy, entry, length, NULL) == EXECBUF_OK);
        CHECK(memcmp(copy.entry, expected, length) == 0);
        release(&copy);
        release(&buffer);
        release(&other);
    }
    execbuf_pool_free(pool);
}

static void a_batch_is_published_completely_or_not_at_all(void) {
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
    /* One that gets a dedicated mapping, and one of another size class. */
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
            CHECK(stats_of(pool).live == 0 && execbuf_pool_code_bytes(pool) == 0);
            codes[position] = before;
        }
    }
    execbuf_pool_free(pool);
}

static void reservations_are_made_completely_or_not_at_all(void) {
    enum { COUNT = 40, LARGE = 7, MIDDLE = 11 };
    static uint8_t large[(2U << 20) + 6];
    execbuf_pool *pool = new_pool();
    execbuf_room rooms[COUNT];
    execbuf outs[COUNT];
    size_t bytes = 0;
    CHECK(execbuf_pool_reserve_batch(NULL, NULL, NULL, 0, &error) == EXECBUF_OK);
    for (size_t i = 0; i < COUNT; i++) {
        const execbuf_room room = {i == LARGE ? sizeof large - 1 : i == MIDDLE ? 5000 : 1 + i, {0, 0}};
        rooms[i] = room;
        bytes += room.capacity;
    }
    CHECK(execbuf_pool_reserve_batch(pool, outs, rooms, COUNT, &error) == EXECBUF_OK);
    CHECK(error.status == EXECBUF_OK && error.culprit == NULL);
    CHECK(stats_of(pool).live == COUNT &&
          execbuf_pool_code_bytes(pool) == bytes); /* charged before it is used */
    const size_t resident = stats_of(pool).resident;
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(outs[i].entry != NULL && (uintptr_t)outs[i].entry % 16 == 0 && outs[i].length == 0);
        CHECK(!finds(pool, outs[i].entry, NULL) && execbuf_entry(&outs[i], 0) == NULL);
        expect(execbuf_publish(&outs[i], large, rooms[i].capacity + 1, &error), EXECBUF_E_CAPACITY, "length");
        CHECK(execbuf_publish(&outs[i], large, rooms[i].capacity, &error) == EXECBUF_OK);
    }
    CHECK(stats_of(pool).resident == resident);
    for (size_t i = 0; i < COUNT; i++) {
        release(&outs[i]);
    }
    const struct {
        execbuf_room room;
        execbuf_status status;
        const char *culprit;
    } bad[] = {
        {{0, {0, 0}}, EXECBUF_E_EMPTY, "capacity"},
        {{1, {1, 0}}, EXECBUF_E_VERSION, "reserved"},
        {{1, {0, 1}}, EXECBUF_E_VERSION, "reserved"},
        {{SIZE_MAX, {0, 0}}, EXECBUF_E_TOO_LARGE, "capacity"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (size_t position = 0; position < COUNT; position += COUNT / 2 - 1) {
            const execbuf_room before = rooms[position];
            rooms[position] = bad[i].room;
            for (size_t j = 0; j < COUNT; j++) {
                outs[j] = filled();
            }
            expect(execbuf_pool_reserve_batch(pool, outs, rooms, COUNT, &error), bad[i].status,
                   bad[i].culprit);
            CHECK(error.position == position);
            for (size_t j = 0; j < COUNT; j++) {
                CHECK(is_zero(&outs[j]));
            }
            CHECK(stats_of(pool).live == 0 && execbuf_pool_code_bytes(pool) == 0);
            rooms[position] = before;
        }
    }
    expect(execbuf_pool_reserve_batch(NULL, outs, rooms, COUNT, &error), EXECBUF_E_NULL, "pool");
    expect(execbuf_pool_reserve_batch(pool, NULL, rooms, COUNT, &error), EXECBUF_E_NULL, "out");
    expect(execbuf_pool_reserve_batch(pool, outs, NULL, COUNT, &error), EXECBUF_E_NULL, "rooms");
    CHECK(execbuf_pool_reserve_batch(pool, outs, rooms, COUNT, NULL) == EXECBUF_OK);
    for (size_t i = 0; i < COUNT; i++) {
        release(&outs[i]); /* not published */
    }
    CHECK(stats_of(pool).live == 0 && execbuf_pool_code_bytes(pool) == 0);
    execbuf_pool_free(pool);
}

int main(void) {
    RUN(reserve_returns_the_final_address);
    RUN(rewrite_checks_its_range);
    RUN(rewrite_accepts_overlapping_code);
    RUN(a_batch_is_published_completely_or_not_at_all);
    RUN(reservations_are_made_completely_or_not_at_all);
    (void)printf("ok\n");
    return 0;
}
