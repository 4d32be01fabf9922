/* How much memory pools use, and that they return it to the system. */

#include "pool_memory.h"

/* A third of the code is freed and published again, so that slots, spans and regions are reused. */
static void a_hundred_thousand_functions_can_be_live(void) {
    enum { COUNT = 100000 };
    static execbuf buffers[COUNT];
    uint32_t count = some(COUNT, 1000);
    execbuf_pool *pool = new_pool();
    maps at_first = {0, 0};
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < count; i++) {
            code made = returning(i % 2048);
            uint8_t bytes[80];
            size_t size = made.length + i % 64;
            memset(bytes, 0x5a, sizeof bytes);
            memcpy(bytes, made.bytes, made.length);
            CHECK(execbuf_pool_publish(pool, &buffers[i], bytes, size, NULL) == EXECBUF_OK);
        }
        for (uint32_t i = 0; i < count; i += 3) {
            release(&buffers[i]);
        }
        for (uint32_t i = 0; i < count; i += 3) {
            code made = returning((i + 1) % 2048);
            CHECK(execbuf_pool_publish(pool, &buffers[i], made.bytes, made.length, NULL) == EXECBUF_OK);
        }
        CHECK(stats_of(pool).live == count);
        for (uint32_t i = 0; i < count; i++) {
            CHECK(call(&buffers[i], 0) == (int)((i % 3 == 0 ? i + 1 : i) % 2048));
        }
        maps full = look_at_code();
        execbuf_pool_stats stats = stats_of(pool);
        CHECK(stats.resident < some(8, 300) * execbuf_pool_code_bytes(pool)); /* in slots of 16 to 80 bytes */
        for (uint32_t i = 0; i < count; i++) {
            release(&buffers[i * (uint64_t)7 % count]); /* in another order */
        }
        stats = stats_of(pool);
        CHECK(stats.live == 0 && execbuf_pool_code_bytes(pool) == 0 && stats.dedicated == 0);
        CHECK(stats.regions <= 1 && stats.resident <= MEBIBYTE);
        maps empty = look_at_code();
        CHECK(full.bytes == 0 || empty.bytes < full.bytes);
        if (round == 0) {
            at_first = empty;
        } else {
            /* One empty region may be kept. */
            CHECK(empty.count <= at_first.count + 2);
        }
    }
    execbuf_pool_free(pool);
}

/* A slot of 16 bytes, and less than 4 bytes of book-keeping. */
static void a_million_small_functions_take_twenty_bytes_each(void) {
    enum { COUNT = 1000000 };
    static execbuf buffers[COUNT];
    if (some(COUNT, 0) == 0) {
        return;
    }
    execbuf_pool *pool = new_pool();
    const uint8_t bytes[10] = {0};
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK(execbuf_pool_publish(pool, &buffers[i], bytes, sizeof bytes, NULL) == EXECBUF_OK);
    }
    execbuf_pool_stats stats = stats_of(pool);
    CHECK(stats.resident + stats.bookkeeping <= (size_t)20 * COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        release(&buffers[i]);
    }
    execbuf_pool_free(pool);
}

#if defined(HAS_CLOSURES)
static void nothing(void *context) {
    (void)context;
}

/* The page of a closure's cell. Its stub is endbr64, then lea r11 with the distance of the cell; or bti c,
 * then adrp x16 with the distance in pages. */
static uintptr_t page_of_cell(const execbuf *closure) {
#if defined(__aarch64__)
    uint32_t adrp;
    CHECK(closure->length == 16);
    memcpy(&adrp, (const uint8_t *)closure->entry + 4, sizeof adrp);
    uint64_t distance = (adrp >> 29 & 3) | (uint64_t)(adrp >> 5 & 0x7ffff) << 2;
    return ((uintptr_t)closure->entry / 4096 + (uintptr_t)((distance ^ 0x100000) - 0x100000));
#else
    int32_t distance;
    CHECK(closure->length == 16);
    memcpy(&distance, (const uint8_t *)closure->entry + 7, sizeof distance);
    return ((uintptr_t)closure->entry + 11 + (uintptr_t)(intptr_t)distance) / 4096;
#endif
}

/* A stub and a cell of 16 bytes each, and less than 8 bytes of book-keeping. New cells lie one behind the
 * other. */
static void a_million_closures_take_forty_bytes_each(void) {
    enum { COUNT = 1000000 };
    static execbuf closures[COUNT];
    static const execbuf_type pointer = EXECBUF_SCALAR(EXECBUF_TYPE_POINTER);
    static const execbuf_signature signature =
        EXECBUF_SIGNATURE_INIT(EXECBUF_SCALAR(EXECBUF_TYPE_VOID), &pointer, 1);
    if (some(COUNT, 0) == 0) {
        return;
    }
    execbuf_pool *pool = new_pool();
    size_t pages = 0;
    uintptr_t last = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK(execbuf_bind(pool, &closures[i], &signature, EXECBUF_ABI_NATIVE, (execbuf_function)nothing,
                           &closures[i], 0, NULL) == EXECBUF_OK);
        uintptr_t page = page_of_cell(&closures[i]);
        pages += page != last;
        last = page;
    }
    execbuf_pool_stats stats = stats_of(pool);
    CHECK(stats.live == COUNT + 1 && stats.dedicated == 0);
    CHECK(stats.resident + stats.bookkeeping + pages * 4096 <= (size_t)40 * COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        release(&closures[i]);
    }
    CHECK(stats_of(pool).live == 1);
    execbuf_pool_free(pool);
}
#endif

/* Memory used beyond the length of the code, for mixed sizes, after buffers were replaced several times. */
static void mixed_sizes_waste_at_most_a_tenth(void) {
    enum { COUNT = 100000 };
    static execbuf buffers[COUNT];
    static const uint8_t bytes[1031] = {0};
    if (some(COUNT, 0) == 0) {
        return;
    }
    execbuf_pool *pool = new_pool();
    uint32_t random = 1;
    for (uint32_t turn = 0; turn < 6 * COUNT; turn++) {
        random = random * 1664525U + 1013904223U; /* Numerical Recipes */
        uint32_t chosen = turn < COUNT ? turn : (uint32_t)((uint64_t)random * COUNT >> 32);
        if (turn >= COUNT) {
            release(&buffers[chosen]);
        }
        random = random * 1664525U + 1013904223U;
        size_t length = 8 + (random >> 22);
        CHECK(execbuf_pool_publish(pool, &buffers[chosen], bytes, length, NULL) == EXECBUF_OK);
    }
    execbuf_pool_stats stats = stats_of(pool);
    const size_t length = execbuf_pool_code_bytes(pool);
    CHECK(stats.live == COUNT && stats.resident <= length + length / 10);
    for (uint32_t i = 0; i < COUNT; i++) {
        release(&buffers[i]);
    }
    execbuf_pool_free(pool);
}

static void empty_regions_are_returned_to_the_system(void) {
    enum { COUNT = 200 };
    static execbuf buffers[COUNT];
    const size_t size = 100000;
    uint32_t count = some(COUNT, 20);
    maps before = look_at_code();
    execbuf_pool *pool = new_pool();
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < count; i++) {
            CHECK(execbuf_pool_publish(pool, &buffers[i], code_of(i, size), size, NULL) == EXECBUF_OK);
        }
        execbuf_pool_stats full = stats_of(pool);
        CHECK(full.live == count && execbuf_pool_code_bytes(pool) == count * size &&
              full.resident >= count * size);
        CHECK(full.resident <= count * size * 5 / 4 && full.resident <= full.mapped);
        for (uint32_t i = 0; i < count; i++) {
            CHECK(call(&buffers[i], 0) == (int)i);
            release(&buffers[i]);
        }
        execbuf_pool_stats empty = stats_of(pool);
        CHECK(empty.live == 0 && execbuf_pool_code_bytes(pool) == 0 && empty.resident <= MEBIBYTE &&
              empty.regions <= 1);
        CHECK(empty.bookkeeping < full.bookkeeping || full.regions == 0);
    }
    execbuf_pool_free(pool);
    CHECK(same(before, look_at_code()));
}

/* The whole pages behind short code in a large reservation serve other code. */
static void room_that_a_reservation_did_not_need_is_used_again(void) {
    enum { COUNT = 100, OTHERS = 1000 };
    static execbuf buffers[COUNT + OTHERS];
    const uint32_t count = some(COUNT, 2);
    const uint32_t all = count + some(OTHERS, 2);
    execbuf_pool *pool = new_pool();
    for (uint32_t i = 0; i < count; i++) {
        CHECK(execbuf_pool_reserve(pool, &buffers[i], 60000, NULL) == EXECBUF_OK);
        CHECK(execbuf_publish(&buffers[i], code_of(i, 16), 16, NULL) == EXECBUF_OK);
    }
    execbuf_pool_stats before = stats_of(pool);
    for (uint32_t i = count; i < all; i++) {
        publish_of_size(pool, &buffers[i], i, 4000);
    }
    execbuf_pool_stats after = stats_of(pool);
    CHECK(after.live == all && execbuf_pool_code_bytes(pool) == count * 16 + (size_t)4000 * (all - count));
    CHECK(after.regions == before.regions);
    CHECK(after.regions == 0 || after.resident < before.resident / 9 * 10);
    for (uint32_t i = 0; i < all; i++) {
        check_content(&buffers[i], i, i < count ? 16 : 4000);
        CHECK(execbuf_rewrite(&buffers[i], 0, code_of(i + 1, 16), 16, NULL) == EXECBUF_OK);
        CHECK(call(&buffers[i], 0) == (int)(i + 1));
        release(&buffers[i]);
    }
    CHECK(stats_of(pool).live == 0 && execbuf_pool_code_bytes(pool) == 0);
    execbuf_pool_free(pool);
}

/* Two hundred live pools, each with a buffer. A second round shows what the first one left. */
static void two_hundred_live_pools_leave_no_mappings(void) {
    enum { COUNT = 200 };
    static execbuf_pool *pools[COUNT];
    static execbuf buffers[COUNT];
    maps before = look_at_code();
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            char name[16];
            (void)snprintf(name, sizeof name, "pool %u", (unsigned)i);
            execbuf_pool_options options = options_of(NULL, name);
            CHECK(execbuf_pool_new(&pools[i], &options, NULL) == EXECBUF_OK);
            CHECK(strcmp(execbuf_pool_name(pools[i]), name) == 0);
            size_t size = 16 + i;
            CHECK(execbuf_pool_publish(pools[i], &buffers[i], code_of(i, size), size, NULL) == EXECBUF_OK);
        }
        for (uint32_t i = 0; i < COUNT; i++) {
            CHECK(call(&buffers[i], 0) == (int)i && stats_of(pools[i]).live == 1);
            CHECK(!finds(pools[(i + 1) % COUNT], buffers[i].entry, NULL));
        }
        for (uint32_t i = 0; i < COUNT; i++) {
            if (i % 2 == 0) {
                execbuf_pool_free(pools[i]);
            }
            release(&buffers[i]);
            if (i % 2 != 0) {
                execbuf_pool_free(pools[i]);
            }
        }
        CHECK(same(before, look_at_code()));
    }
}

static void consecutive_pools_leave_no_mappings(void) {
    maps before = look_at_code();
    for (uint32_t i = 0; i < 300; i++) {
        execbuf_pool *pool = new_pool();
        execbuf buffers[2];
        publish_of_size(pool, &buffers[0], i, 16 + i);
        publish_of_size(pool, &buffers[1], i, 4000);
        release(&buffers[i % 2]);
        release(&buffers[1 - i % 2]);
        execbuf_pool_free(pool);
    }
    CHECK(same(before, look_at_code()));
    /* Pools that are never used. */
    for (int i = 0; i < 300; i++) {
        execbuf_pool_free(new_pool());
    }
    CHECK(same(before, look_at_code()));
}

int main(void) {
    RUN(a_hundred_thousand_functions_can_be_live);
    RUN(a_million_small_functions_take_twenty_bytes_each);
#if defined(HAS_CLOSURES)
    RUN(a_million_closures_take_forty_bytes_each);
#endif
    RUN(mixed_sizes_waste_at_most_a_tenth);
    RUN(empty_regions_are_returned_to_the_system);
    RUN(room_that_a_reservation_did_not_need_is_used_again);
    RUN(two_hundred_live_pools_leave_no_mappings);
    RUN(consecutive_pools_leave_no_mappings);
    (void)printf("ok\n");
    return 0;
}
