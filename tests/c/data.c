/* Constants and data of pools: what they hold, where they lie, and who may free them. */

#include "data.h"
#include "pool_helpers.h"

static void constants_are_copied_and_read_only(void) {
    execbuf_pool *pool = new_pool();
    uint8_t bytes[100];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i + 1);
    }
    execbuf_data small = new_constants(pool, bytes, 8, 8);
    execbuf_data other = new_constants(pool, bytes + 50, 50, 1);
    bytes[0] = 0;
    CHECK(*(const uint8_t *)small.address == 1);
    CHECK(has_rights(small.address, "r--") && has_rights(other.address, "r--"));
    (void)look();
    free_data(&small);
    CHECK(memcmp(other.address, bytes + 50, 50) == 0);
    free_data(&other);
    execbuf_pool_free(pool);
}

static void data_are_zero_and_writable_and_not_executable(void) {
    execbuf_pool *pool = new_pool();
    execbuf_data small = new_data(pool, 8, 8);
    execbuf_data large = new_data(pool, 1000000, 4096);
    memset(small.address, 0xff, 8);
    memset(large.address, 0xff, 1000000);
    CHECK(has_rights(small.address, "rw-") && has_rights(large.address, "rw-"));
    free_data(&small);
    free_data(&large);
    small = new_data(pool, 8, 8); /* zero again, in the same place */
    free_data(&small);
    execbuf_pool_free(pool);
}

static void staged_constants_are_written_in_place_and_then_read_only(void) {
    static const size_t sizes[] = {1, 8, 5000, 100000};
    execbuf_pool *pool = new_pool();
    execbuf_data other = new_constants(pool, "other", 6, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        execbuf_data data = stage_constants(pool, sizes[i], 16);
        execbuf_data beside = stage_constants(pool, sizes[i], 16);
        const execbuf_data copy = data;
        memset(data.address, 7, sizes[i]);
        CHECK(has_rights(data.address, "rw-"));
        CHECK(execbuf_publish_constants(&data, &error) == EXECBUF_OK && error.status == EXECBUF_OK);
        CHECK(memcmp(&data, &copy, sizeof data) == 0 && ((const uint8_t *)data.address)[sizes[i] - 1] == 7);
        CHECK(has_rights(data.address, "r--") && has_rights(beside.address, "rw-"));
        CHECK(execbuf_publish_constants(&data, &error) == EXECBUF_E_PUBLISHED &&
              has_rights(data.address, "r--"));
        CHECK(strcmp(error.culprit, "data") == 0);
        free_data(&data);
        free_data(&beside); /* was not published */
        data = copy;
        CHECK(execbuf_publish_constants(&data, &error) == EXECBUF_E_STALE);
    }
    CHECK(memcmp(other.address, "other", 6) == 0 && has_rights(other.address, "r--"));
    free_data(&other);
    execbuf_pool_free(pool);
}

static void only_staged_constants_are_published(void) {
    execbuf_pool *pool = new_pool();
    execbuf_data all[4] = {
        new_constants(pool, "constant", 8, 1), new_data(pool, 8, 1), new_data(pool, 100000, 1), {NULL, 0, 0}};
    uint64_t before = execbuf_stale_count();
    for (size_t i = 0; i < 3; i++) {
        CHECK(execbuf_publish_constants(&all[i], &error) == EXECBUF_E_PUBLISHED);
        CHECK(has_rights(all[i].address, i == 0 ? "r--" : "rw-"));
        free_data(&all[i]);
    }
    CHECK(execbuf_publish_constants(&all[3], &error) == EXECBUF_E_STALE &&
          execbuf_stale_count() == before + 1);
    CHECK(execbuf_publish_constants(NULL, &error) == EXECBUF_E_NULL && strcmp(error.culprit, "data") == 0);
    execbuf_pool_free(pool);
}

static void the_address_is_a_multiple_of_the_alignment(void) {
    execbuf_pool *pool = new_pool();
    execbuf_data all[60];
    size_t count = 0;
    const uint64_t word = 7;
    for (int round = 0; round < 2; round++) {
        for (size_t align = 1; align <= page_size() && count < 60; align *= 2) {
            all[count++] = new_constants(pool, &word, sizeof word, align);
            all[count++] = new_data(pool, 3 * align, align);
        }
    }
    while (count > 0) {
        free_data(&all[--count]);
    }
    execbuf_pool_free(pool);
}

/* Checks the status of both functions, and what they leave. */
static void refused(execbuf_status expected, const char *culprit, execbuf_pool *pool, size_t size,
                    size_t align) {
    static const uint8_t bytes[1] = {0};
    execbuf_data data = garbage();
    CHECK(execbuf_pool_constants(pool, &data, bytes, size, align, &error) == expected);
    CHECK(is_no_data(&data) && error.status == expected);
    CHECK(strcmp(error.culprit, strcmp(culprit, "size") == 0 ? "length" : culprit) == 0);
    data = garbage();
    CHECK(execbuf_pool_data(pool, &data, size, align, &error) == expected);
    CHECK(is_no_data(&data) && error.status == expected && strcmp(error.culprit, culprit) == 0);
    data = garbage();
    CHECK(execbuf_pool_stage_constants(pool, &data, size, align, &error) == expected);
    CHECK(is_no_data(&data) && error.status == expected && strcmp(error.culprit, culprit) == 0);
}

static void wrong_arguments_are_refused(void) {
    execbuf_pool *pool = new_pool();
    execbuf_data data = garbage();
    refused(EXECBUF_E_NULL, "pool", NULL, 1, 1);
    refused(EXECBUF_E_EMPTY, "size", pool, 0, 1);
    refused(EXECBUF_E_ALIGNMENT, "align", pool, 1, 0);
    refused(EXECBUF_E_ALIGNMENT, "align", pool, 1, 3);
    refused(EXECBUF_E_ALIGNMENT, "align", pool, 1, 2 * page_size());
    refused(EXECBUF_E_ALIGNMENT, "align", pool, 1, SIZE_MAX / 2 + 1);
    refused(EXECBUF_E_TOO_LARGE, "size", pool, SIZE_MAX, 1);
    refused(EXECBUF_E_TOO_LARGE, "size", pool, (size_t)PTRDIFF_MAX, 1);
    CHECK(execbuf_pool_constants(pool, &data, NULL, 1, 1, &error) == EXECBUF_E_NULL);
    CHECK(is_no_data(&data) && strcmp(error.culprit, "bytes") == 0);
    CHECK(execbuf_pool_constants(pool, NULL, "", 1, 1, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "out") == 0);
    CHECK(execbuf_pool_data(pool, NULL, 1, 1, &error) == EXECBUF_E_NULL);
    CHECK(strcmp(error.culprit, "out") == 0);
    execbuf_status status = execbuf_pool_data(pool, &data, (size_t)PTRDIFF_MAX - 3 * page_size(), 1, &error);
    if (status == EXECBUF_OK && sizeof(size_t) == 4) { /* half of the address space can be free */
        free_data(&data);
    } else {
        CHECK(status == EXECBUF_E_NO_MEMORY || (under_valgrind() && status == EXECBUF_E_DENIED));
        CHECK(is_no_data(&data) && error.culprit != NULL);
    }
    execbuf_pool_free(pool);
}

/* Checks that a handle is refused, and counted. */
static void is_stale(execbuf_data data) {
    const execbuf_data copy = data;
    uint64_t before = execbuf_stale_count();
    CHECK(execbuf_data_free(&data) == EXECBUF_E_STALE);
    CHECK(memcmp(&copy, &data, sizeof data) == 0 && execbuf_stale_count() == before + 1);
}

static void stale_and_altered_handles_are_refused(void) {
    execbuf_pool *pool = new_pool();
    for (int kind = 0; kind < 3; kind++) {
        const size_t size = kind == 2 ? 100000 : 40;
        execbuf_data live = kind == 0 ? new_constants(pool, "abcdefghijklmnopqrstuvwxyz01234567890123", 40, 1)
                                      : new_data(pool, size, 1);
        for (size_t i = 0; i < 7; i++) {
            execbuf_data altered = live;
            switch (i) {
            case 0: altered.address = (uint8_t *)live.address + 1; break;
            case 1: altered.address = (uint8_t *)live.address + 16; break;
            case 2: altered.address = NULL; break;
            case 3: altered.length = size + 100000; break;
            case 4: altered.length = 0; break;
            case 5: altered.id++; break;
            default: altered.id = 0; break;
            }
            is_stale(altered);
        }
        execbuf_data copy = live;
        free_data(&live);
        is_stale(copy);
        execbuf_data next = new_data(pool, size, 1); /* perhaps at the same address */
        is_stale(copy);
        free_data(&next);
    }
    execbuf_data none = {NULL, 0, 0};
    CHECK(execbuf_data_free(&none) == EXECBUF_OK && execbuf_data_free(NULL) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

static void what_outlives_the_pool_is_returned_with_the_last_piece(void) {
    maps before = look();
    execbuf_pool *pool = new_pool();
    execbuf_data constants = new_constants(pool, "12345678", 8, 8);
    execbuf_data data = new_data(pool, 8, 8);
    execbuf_data large = new_data(pool, 100000, 8);
    execbuf_pool_free(pool);
    CHECK(memcmp(constants.address, "12345678", 8) == 0);
    memset(data.address, 1, 8);
    memset(large.address, 1, 100000);
    const void *addresses[] = {constants.address, data.address, large.address};
    free_data(&constants);
    free_data(&large);
    free_data(&data);
    for (size_t i = 0; i < 3; i++) {
        CHECK(has_rights(addresses[i], ""));
    }
    CHECK(under_address_sanitizer() || under_thread_sanitizer() || look().count <= before.count);
}

static void one_empty_chunk_stays_until_the_pool_is_freed(void) {
    execbuf_pool *pool = new_pool();
    execbuf_data data = new_data(pool, 8, 8);
    const void *address = data.address;
    free_data(&data);
    CHECK(has_rights(address, "rw-"));
    execbuf_pool_free(pool);
    CHECK(has_rights(address, ""));
}

static void many_small_constants_need_few_mappings(void) {
    enum { COUNT = 20000 };
    static execbuf_data all[COUNT];
    execbuf_pool *pool = new_pool();
    maps before = look();
    for (uint64_t i = 0; i < COUNT; i++) {
        all[i] = new_constants(pool, &i, sizeof i, 8);
    }
    /* 20,000 pieces of 16 bytes are 320 KB. The heap may have grown, too. */
    maps after = look();
    CHECK(after.count <= before.count + 12);
    CHECK(under_address_sanitizer() || after.bytes - before.bytes < (size_t)2 << 20);
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK(memcmp(all[i].address, &i, sizeof i) == 0);
        free_data(&all[i]);
    }
    execbuf_pool_free(pool);
}

/* Random sizes come and go; each piece keeps its own content, so no two overlap. */
static void pieces_do_not_overlap(void) {
    enum { COUNT = 400 };
    static execbuf_data all[COUNT];
    static uint8_t bytes[50000];
    execbuf_pool *pool = new_pool();
    uint32_t random = 1;
    const int rounds = is_emulated() ? 4000 : 40000;
    for (int round = 0; round < rounds; round++) {
        random = random * 1664525U + 1013904223U;
        execbuf_data *one = &all[(random >> 8) % COUNT];
        const uint8_t value = (uint8_t)(one - all + 1);
        if (one->id != 0) {
            const uint8_t *at = (const uint8_t *)one->address;
            CHECK(at[0] == value && at[one->length / 2] == value && at[one->length - 1] == value);
            free_data(one);
        } else {
            size_t size = (random >> 16 & 7) == 0 ? 1 + random % 40000 : 1 + random % 300;
            size_t align = (size_t)1 << random % 9;
            if ((random >> 20 & 1) == 0) {
                memset(bytes, value, size);
                *one = new_constants(pool, bytes, size, align);
            } else {
                *one = new_data(pool, size, align);
                memset(one->address, value, size);
            }
        }
    }
    execbuf_pool_free(pool);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(execbuf_data_free(&all[i]) == EXECBUF_OK);
    }
}

static void statistics_and_lookups_know_code_only(void) {
    execbuf_pool *pool = new_pool();
    execbuf_data data = new_data(pool, 100, 1);
    execbuf_pool_stats stats = stats_of(pool);
    CHECK(stats.live == 0 && stats.mapped == 0 && stats.resident == 0);
    CHECK(execbuf_pool_code_bytes(pool) == 0);
    CHECK(!finds(pool, data.address, NULL));
    free_data(&data);
    execbuf_pool_free(pool);
}

int main(void) {
    RUN(constants_are_copied_and_read_only);
    RUN(data_are_zero_and_writable_and_not_executable);
    RUN(staged_constants_are_written_in_place_and_then_read_only);
    RUN(only_staged_constants_are_published);
    RUN(the_address_is_a_multiple_of_the_alignment);
    RUN(wrong_arguments_are_refused);
    RUN(stale_and_altered_handles_are_refused);
    RUN(what_outlives_the_pool_is_returned_with_the_last_piece);
    RUN(one_empty_chunk_stays_until_the_pool_is_freed);
    RUN(many_small_constants_need_few_mappings);
    RUN(pieces_do_not_overlap);
    RUN(statistics_and_lookups_know_code_only);
    return 0;
}
