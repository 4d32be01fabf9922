/* The memory of pools: every size of code, what lies around it, where it is, and that it is given back. */

#include "check.h"

enum { MEBIBYTE = 1 << 20 };

static execbuf_pool *new_pool(void) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    return pool;
}

static void release(execbuf *buffer) {
    CHECK(execbuf_free(buffer) == EXECBUF_OK && is_zero(buffer));
}

/* How much of a thing to do: where each buffer costs some system calls and an emulator runs them, less. */
static uint32_t some(uint32_t many, uint32_t few) {
    static int regions = -1;
    if (regions < 0) {
        code one = returning(1);
        execbuf buffer;
        execbuf_pool *pool = new_pool();
        CHECK(execbuf_pool_publish(pool, &buffer, one.bytes, one.length, NULL) == EXECBUF_OK);
        regions = stats_of(pool).regions > 0;
        if (!regions) {
            (void)fprintf(stderr, "SKIP: regions of pools: there are none here\n");
        }
        release(&buffer);
        execbuf_pool_free(pool);
    }
    return regions ? many : few;
}

/* A function that returns the value, and bytes behind it that depend on it. */
static const uint8_t *code_of(uint32_t value, size_t size) {
    static uint8_t bytes[3 * MEBIBYTE];
    code made = returning(value);
    CHECK(size <= sizeof bytes);
    for (size_t at = 0; at < size; at++) {
        bytes[at] = (uint8_t)(at * 31 + at / 256 + value);
    }
    memcpy(bytes, made.bytes, made.length < size ? made.length : size);
    return bytes;
}

static void check_content(const execbuf *buffer, uint32_t value, size_t size) {
    CHECK(buffer->length == size && (uintptr_t)buffer->entry % 16 == 0);
    CHECK(memcmp(buffer->entry, code_of(value, size), size) == 0);
    if (size >= returning(value).length) {
        CHECK(call(buffer, 0) == (int)value);
    }
    /* Behind it, to the next place where code can begin. */
    const uint8_t *end = (const uint8_t *)buffer->entry + size;
    CHECK(holds_traps(end, (16 - (uintptr_t)end % 16) % 16));
    /* Sanitizers read before a function. */
    volatile uint8_t before = *((const volatile uint8_t *)buffer->entry - 16);
    (void)before;
}

static void publish_of_size(execbuf_pool *pool, execbuf *buffer, uint32_t value, size_t size) {
    CHECK(execbuf_pool_publish(pool, buffer, code_of(value, size), size, NULL) == EXECBUF_OK);
    check_content(buffer, value, size);
}

/* Published in a pool with nothing else, all around is traps: to the end of the page, and 16 bytes before. */
static void check_alone(execbuf_pool *pool, uint32_t value, size_t size) {
    execbuf buffer;
    publish_of_size(pool, &buffer, value, size);
    const uint8_t *entry = (const uint8_t *)buffer.entry;
    const uint8_t *end = entry + size;
    static const uint8_t untouched[16] = {0};
    CHECK(holds_traps(entry - 16, 16) ||
          (stats_of(pool).dedicated == 0 && (uintptr_t)entry % 4096 == 0 &&
           memcmp(entry - 16, untouched, 16) == 0)); /* pages of a region that were never used */
    CHECK(holds_traps(end, (4096 - (uintptr_t)end % 4096) % 4096));
    int in_region = stats_of(pool).regions > 0 && stats_of(pool).dedicated == 0;
    release(&buffer);
    /* In a region the place of freed code is traps at once; it stays mapped if it took no more than 1 MiB. */
    if (in_region && stats_of(pool).regions > 0) {
        CHECK(holds_traps(entry, size));
    }
}

static void every_size_has_its_content_and_traps_around(void) {
    /* Where sizes of slots change: multiples of 16, then eight to a doubling; then pages, then a quarter of
     * a region, which depends on the platform. */
    static execbuf live[4096];
    uint32_t count = 0;
    uint32_t value = 0;
    execbuf_pool *pool = new_pool();
    for (size_t boundary = 16; boundary <= 40000;) {
        for (size_t size = boundary - 1; size <= boundary + 1; size++) {
            value = (value + 1) % 2048;
            check_alone(pool, value, size);
        }
        size_t step = 16;
        while (step * 16 <= boundary && boundary >= 1024) {
            step *= 2;
        }
        boundary += some(1, 8) * step;
    }
    for (size_t size = 1; size <= 16; size++) {
        check_alone(pool, (uint32_t)size, size);
    }
    static const size_t large[] = {MEBIBYTE / 4, MEBIBYTE / 2, MEBIBYTE, 2 * MEBIBYTE};
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        for (size_t size = large[i] - 1; size <= large[i] + 1; size++) {
            check_alone(pool, (uint32_t)i, size);
        }
    }
    check_alone(pool, 3, 3 * MEBIBYTE);
    CHECK(stats_of(pool).live == 0 && stats_of(pool).bytes == 0);
    /* All at once, many of one size and all sizes side by side. */
    size_t sum = 0;
    for (size_t size = 1; size <= 40000 && count < 4096; size += 1 + size / some(300, 10)) {
        publish_of_size(pool, &live[count], count % 2048, size);
        sum += size;
        count++;
    }
    CHECK(stats_of(pool).live == count && stats_of(pool).bytes == sum);
    size_t size = 1;
    for (uint32_t i = 0; i < count; i++) {
        check_content(&live[i], i % 2048, size);
        size += 1 + size / some(300, 10);
    }
    for (uint32_t i = 0; i < count; i += 2) {
        const void *entry = live[i].entry;
        size_t length = live[i].length;
        release(&live[i]);
        if (stats_of(pool).dedicated == 0) {
            CHECK(holds_traps(entry, length));
        }
    }
    size = 1;
    for (uint32_t i = 0; i < count; i++) {
        if (i % 2 != 0) {
            check_content(&live[i], i % 2048, size);
            release(&live[i]);
        }
        size += 1 + size / some(300, 10);
    }
    execbuf_pool_free(pool);
}

#if defined(__linux__)
/* The mapping that an address is in: how far behind its beginning the address is, and whether it is
 * executable and nothing more. */
static size_t distance_in_mapping(const void *address) {
    for (char *line = read_maps(); *line != '\0'; line = strchr(line, '\n') + 1) {
        unsigned long long start;
        unsigned long long end;
        char protection[5];
        CHECK(sscanf(line, "%llx-%llx %4s", &start, &end, protection) == 3);
        if ((uintptr_t)address >= start && (uintptr_t)address < end) {
            CHECK(strncmp(protection, "r-x", 3) == 0);
            return (size_t)((uintptr_t)address - start);
        }
    }
    return 0; /* not mapped */
}
#endif

/* No code begins in the first page of a region, nor in the first 16 bytes of pages of its own. */
static void the_first_page_of_a_region_is_nobodys(void) {
#if defined(__linux__)
    execbuf_pool *pool = new_pool();
    enum { COUNT = 600 };
    static execbuf buffers[COUNT];
    uint32_t count = some(COUNT, 50);
    for (uint32_t i = 0; i < count; i++) {
        size_t size = 16 + i * (size_t)7 % 5000;
        CHECK(execbuf_pool_publish(pool, &buffers[i], code_of(i, size), size, NULL) == EXECBUF_OK);
        CHECK(under_valgrind() || distance_in_mapping(buffers[i].entry) >= some(4096, 16));
    }
    for (uint32_t i = 0; i < count; i++) {
        release(&buffers[i]);
    }
    execbuf_pool_free(pool);
#endif
}

/* With frees in between, so that slots, spans and regions are used again. */
static void a_hundred_thousand_functions_live_together(void) {
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
        CHECK(stats.resident < some(8, 300) * stats.bytes); /* of 16 to 80 bytes each */
        for (uint32_t i = 0; i < count; i++) {
            release(&buffers[i * (uint64_t)7 % count]); /* in another order */
        }
        stats = stats_of(pool);
        CHECK(stats.live == 0 && stats.bytes == 0 && stats.dedicated == 0);
        CHECK(stats.regions <= 1 && stats.resident <= MEBIBYTE);
        maps empty = look_at_code();
        CHECK(full.bytes == 0 || empty.bytes < full.bytes);
        if (round == 0) {
            at_first = empty;
        } else {
            /* One empty region may be there or not. */
            CHECK(empty.count <= at_first.count + 2);
        }
    }
    execbuf_pool_free(pool);
}

/* A slot of 16 bytes, and less than 4 for the book-keeping. */
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

/* What code of mixed sizes takes beyond its own length, after each piece was replaced some times. */
static void a_hundred_thousand_functions_waste_a_tenth(void) {
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
    CHECK(stats.live == COUNT && stats.resident <= stats.bytes + stats.bytes / 10);
    for (uint32_t i = 0; i < COUNT; i++) {
        release(&buffers[i]);
    }
    execbuf_pool_free(pool);
}

static void empty_memory_is_given_back(void) {
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
        CHECK(full.live == count && full.bytes == count * size && full.resident >= count * size);
        CHECK(full.resident <= count * size * 5 / 4 && full.resident <= full.mapped);
        for (uint32_t i = 0; i < count; i++) {
            CHECK(call(&buffers[i], 0) == (int)i);
            release(&buffers[i]);
        }
        execbuf_pool_stats empty = stats_of(pool);
        CHECK(empty.live == 0 && empty.bytes == 0 && empty.resident <= MEBIBYTE && empty.regions <= 1);
        CHECK(empty.bookkeeping < full.bookkeeping || full.regions == 0);
    }
    execbuf_pool_free(pool);
    CHECK(same(before, look_at_code()));
}

/* Two hundred pools at once, each with code of its own; all again, so that what is left after the first time
 * would show after the second. */
static void two_hundred_pools_live_and_leave_nothing(void) {
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

static void pools_made_one_after_the_other_leave_nothing(void) {
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
    /* And some that were never used. */
    for (int i = 0; i < 300; i++) {
        execbuf_pool_free(new_pool());
    }
    CHECK(same(before, look_at_code()));
}

static int is_near(const void *one, const void *other) {
    uintptr_t a = (uintptr_t)one;
    uintptr_t b = (uintptr_t)other;
    return (a < b ? b - a : a - b) < (uintptr_t)1 << 31;
}

static void code_is_near_to_where_it_should_be(void) {
    static const size_t sizes[] = {16, 5000, 100000, 3 * MEBIBYTE};
    int local = 0;
    void (*function)(void) = code_is_near_to_where_it_should_be;
    const void *targets[3] = {NULL, &local, sizes};
    memcpy(&targets[0], &function, sizeof targets[0]);
    for (int target = 0; target < 3; target++) {
        execbuf_pool_options options = options_of(targets[target], NULL);
        execbuf_pool *pool;
        CHECK(execbuf_pool_new(&pool, &options, NULL) == EXECBUF_OK);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            execbuf buffers[30];
            for (uint32_t j = 0; j < 30; j++) {
                execbuf_error error;
                execbuf_status status =
                    execbuf_pool_publish(pool, &buffers[j], code_of(j, sizes[i]), sizes[i], &error);
                CHECK(status == EXECBUF_OK);
                CHECK(is_near(buffers[j].entry, targets[target]));
                CHECK(is_near((const uint8_t *)buffers[j].entry + sizes[i], targets[target]));
                if (sizes[i] > MEBIBYTE && j >= 2) {
                    release(&buffers[j]);
                }
            }
            execbuf room;
            CHECK(execbuf_pool_reserve(pool, &room, sizes[i], NULL) == EXECBUF_OK);
            CHECK(is_near(room.entry, targets[target]));
            release(&room);
            for (uint32_t j = 0; j < 30; j++) {
                if (buffers[j].id != 0) {
                    CHECK(call(&buffers[j], 0) == (int)j);
                    release(&buffers[j]);
                }
            }
        }
        execbuf_pool_free(pool);
    }
}

/* Where no program's memory ever is. */
static void too_far_is_said(void) {
#if defined(_WIN32)
    return; /* Wine 8 maps pages where no processor can reach them */
#endif
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
    return; /* it turns such an address into 0, and the kernel maps there */
#endif
#endif
    if (sizeof(void *) < 8) {
        return;
    }
    maps before = look_at_code();
    const void *nowhere = (const void *)((UINTPTR_MAX >> 1) + ((uintptr_t)1 << 40)); /* NOLINT */
    execbuf_pool_options options = options_of(nowhere, NULL);
    execbuf_pool *pool;
    execbuf buffer;
    execbuf_error error;
    code one = returning(1);
    CHECK(execbuf_pool_new(&pool, &options, NULL) == EXECBUF_OK);
    execbuf_status status = execbuf_pool_publish(pool, &buffer, one.bytes, one.length, &error);
    /* Linux calls an address that is none a lack of memory. */
    CHECK(status == EXECBUF_E_TOO_FAR || status == EXECBUF_E_NO_MEMORY);
    CHECK(is_zero(&buffer) && error.status == status && error.culprit != NULL && error.os_error != 0);
    CHECK(execbuf_pool_reserve(pool, &buffer, 1, &error) == status && is_zero(&buffer));
    CHECK(stats_of(pool).live == 0 && stats_of(pool).regions == 0);
    execbuf_pool_free(pool);
    CHECK(same(before, look_at_code()));
}

int main(void) {
    RUN(every_size_has_its_content_and_traps_around);
    RUN(the_first_page_of_a_region_is_nobodys);
    RUN(a_hundred_thousand_functions_live_together);
    RUN(a_million_small_functions_take_twenty_bytes_each);
    RUN(a_hundred_thousand_functions_waste_a_tenth);
    RUN(empty_memory_is_given_back);
    RUN(two_hundred_pools_live_and_leave_nothing);
    RUN(pools_made_one_after_the_other_leave_nothing);
    RUN(code_is_near_to_where_it_should_be);
    RUN(too_far_is_said);
    (void)printf("ok\n");
    return 0;
}
