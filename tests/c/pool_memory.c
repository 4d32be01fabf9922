/* What the memory of pools contains and where it is: code of every size, the traps around it, and placement
 * near a given address. pool_footprint.c tests how much memory pools use. */

#include "pool_memory.h"
#include "stale.h"

/* Publishes code in an empty pool. There are traps to the end of its last page, and 16 bytes before it. */
static void check_alone(execbuf_pool *pool, uint32_t value, size_t size) {
    execbuf buffer;
    publish_of_size(pool, &buffer, value, size);
    const uint8_t *entry = (const uint8_t *)buffer.entry;
    const uint8_t *end = entry + size;
    static const uint8_t untouched[16] = {0};
    CHECK(holds_traps(entry - 16, 16) ||
          (stats_of(pool).dedicated == 0 && (uintptr_t)entry % 4096 == 0 &&
           memcmp(entry - 16, untouched, 16) == 0)); /* a page of a region that was never used */
    CHECK(holds_traps(end, (4096 - (uintptr_t)end % 4096) % 4096));
    int in_region = stats_of(pool).regions > 0 && stats_of(pool).dedicated == 0;
    release(&buffer);
    /* Freed code in a region is traps at once. The region stays mapped if at most 1 MiB of it is resident. */
    if (in_region && stats_of(pool).regions > 0) {
        CHECK(holds_traps(entry, size));
    }
}

static void code_of_every_size_is_surrounded_by_traps(void) {
    /* The bounds of size classes: multiples of 16, then eight classes for each power of two, then whole
     * pages, then a quarter of a region, whose size depends on the platform. */
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
    CHECK(stats_of(pool).live == 0 && execbuf_pool_code_bytes(pool) == 0);
    /* All sizes live at the same time. */
    size_t sum = 0;
    for (size_t size = 1; size <= 40000 && count < 4096; size += 1 + size / some(300, 10)) {
        publish_of_size(pool, &live[count], count % 2048, size);
        sum += size;
        count++;
    }
    CHECK(stats_of(pool).live == count && execbuf_pool_code_bytes(pool) == sum);
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
            CHECK(is_gone((const uint8_t *)entry, length));
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
/* The offset of an address in its mapping. Checks that the mapping is executable and not writable. */
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

/* No code begins in the first page of a region, nor in the first 16 bytes of a dedicated mapping. */
static void no_code_is_in_the_first_page_of_a_region(void) {
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

static int is_near(const void *one, const void *other) {
    uintptr_t a = (uintptr_t)one;
    uintptr_t b = (uintptr_t)other;
    return (a < b ? b - a : a - b) < (uintptr_t)1 << 31;
}

static void code_is_within_2_gib_of_near_to(void) {
    static const size_t sizes[] = {16, 5000, 100000, 3 * MEBIBYTE};
    int local = 0;
    void (*function)(void) = code_is_within_2_gib_of_near_to;
    const void *targets[3] = {NULL, &local, sizes};
    memcpy(&targets[0], &function, sizeof targets[0]);
    for (int target = 0; target < 3; target++) {
        execbuf_pool_options options = options_of(targets[target], NULL);
        execbuf_pool *pool;
        CHECK(execbuf_pool_new(&pool, &options, NULL) == EXECBUF_OK);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            execbuf buffers[30];
            for (uint32_t j = 0; j < 30; j++) {
                execbuf_status status =
                    execbuf_pool_publish(pool, &buffers[j], code_of(j, sizes[i]), sizes[i], &error);
                CHECK(status == EXECBUF_OK);
                CHECK(is_near(buffers[j].entry, targets[target]));
                CHECK(is_near((const uint8_t *)buffers[j].entry + sizes[i], targets[target]));
                if (sizes[i] > MEBIBYTE && j >= 2) {
                    release(&buffers[j]);
                }
            }
            execbuf reserved;
            CHECK(execbuf_pool_reserve(pool, &reserved, sizes[i], NULL) == EXECBUF_OK);
            CHECK(is_near(reserved.entry, targets[target]));
            release(&reserved);
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

/* near_to is an address at which no program can have memory. */
static void an_unreachable_near_to_is_reported(void) {
#if defined(_WIN32)
    return; /* Wine 8 maps pages at addresses that no processor supports */
#endif
    if (sizeof(void *) < 8 || under_thread_sanitizer()) {
        return; /* ThreadSanitizer replaces such an address by 0, where the kernel maps pages */
    }
    maps before = look_at_code();
    const void *nowhere = (const void *)((UINTPTR_MAX >> 1) + ((uintptr_t)1 << 40)); /* NOLINT */
    execbuf_pool_options options = options_of(nowhere, NULL);
    execbuf_pool *pool;
    execbuf buffer;
    code one = returning(1);
    CHECK(execbuf_pool_new(&pool, &options, NULL) == EXECBUF_OK);
    execbuf_status status = execbuf_pool_publish(pool, &buffer, one.bytes, one.length, &error);
    /* Linux fails with ENOMEM for an address beyond the address space. */
    CHECK(status == EXECBUF_E_TOO_FAR || status == EXECBUF_E_NO_MEMORY);
    CHECK(is_zero(&buffer) && error.status == status && error.culprit != NULL && error.os_error != 0);
    CHECK(execbuf_pool_reserve(pool, &buffer, 1, &error) == status && is_zero(&buffer));
    CHECK(stats_of(pool).live == 0 && stats_of(pool).regions == 0);
    execbuf_pool_free(pool);
    CHECK(same(before, look_at_code()));
}

int main(void) {
    RUN(code_of_every_size_is_surrounded_by_traps);
    RUN(no_code_is_in_the_first_page_of_a_region);
    RUN(code_is_within_2_gib_of_near_to);
    RUN(an_unreachable_near_to_is_reported);
    (void)printf("ok\n");
    return 0;
}
