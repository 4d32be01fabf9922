/* Staged buffers: memory that its author writes in place. On Linux all tests run once with each backend. */

#include "pool_helpers.h"

#include <stdbool.h>

/* Dedicated mappings, and those of a pool. */
static execbuf_pool *pool;

/* Stages a buffer, in the pool or in none. */
static execbuf stage(bool in_pool, size_t capacity) {
    execbuf buffer = filled();
    execbuf_error report;
    execbuf_status status = in_pool ? execbuf_pool_stage(pool, &buffer, capacity, &report)
                                    : execbuf_stage(&buffer, capacity, NULL, &report);
    CHECK(status == EXECBUF_OK && report.status == EXECBUF_OK);
    CHECK(buffer.length == 0 && buffer.id != 0 && (uintptr_t)buffer.entry % 16 == 0);
    CHECK(execbuf_entry(&buffer, 0) == NULL);
    return buffer;
}

/* Where the code of a staged buffer is written. */
static uint8_t *bytes_of(const execbuf *buffer) {
    return (uint8_t *)(uintptr_t)buffer->entry;
}

/* Writes a function that returns value % 2048 to a staged buffer. */
static void put(const execbuf *buffer, size_t offset, uint32_t value) {
    code made = returning(value % 2048);
    memcpy(bytes_of(buffer) + offset, made.bytes, made.length);
}

static void publish_staged(execbuf *buffer, size_t length) {
    execbuf_error report;
    const void *entry = buffer->entry;
    CHECK(execbuf_publish_staged(buffer, length, &report) == EXECBUF_OK && report.status == EXECBUF_OK);
    CHECK(buffer->entry == entry && buffer->length == length);
}

static void unpublish(execbuf *buffer) {
    execbuf_error report;
    const void *entry = buffer->entry;
    CHECK(execbuf_unpublish(buffer, &report) == EXECBUF_OK && report.status == EXECBUF_OK);
    CHECK(buffer->entry == entry && buffer->length == 0 && execbuf_entry(buffer, 0) == NULL);
}

static bool is_found(const execbuf *buffer) {
    execbuf found;
    execbuf_status status = execbuf_find(buffer->entry, &found);
    CHECK(status == EXECBUF_E_NOT_FOUND || (status == EXECBUF_OK && found.id == buffer->id));
    return status == EXECBUF_OK;
}

/* Whether all bytes of a range have one value. */
static bool holds(const uint8_t *bytes, size_t size, uint8_t value) {
    size_t at = 0;
    while (at < size && bytes[at] == value) {
        at++;
    }
    return at == size;
}

/* What is behind the code in its last page. */
static bool ends_with_traps(const execbuf *buffer) {
    const uint8_t *end = (const uint8_t *)buffer->entry + buffer->length;
    return holds_traps(end, -(uintptr_t)end & 4095) && holds_traps((const uint8_t *)buffer->entry - 16, 16);
}

static const size_t capacities[] = {1, 8, 16, 100, 4079, 4080, 4081, 8176, 70000, (3U << 20) + 1};
enum { CAPACITIES = sizeof capacities / sizeof capacities[0] };

static void staged_memory_is_zero_and_can_be_written_at_its_final_address(void) {
    for (int i = 0; i < 2 * CAPACITIES; i++) {
        size_t capacity = capacities[i / 2];
        execbuf buffer = stage(i % 2 != 0, capacity);
        CHECK(holds(bytes_of(&buffer), capacity, 0) && !is_found(&buffer));
        memset(bytes_of(&buffer), 0x90, capacity);
        CHECK(holds(bytes_of(&buffer), capacity, 0x90));
        (void)look();
        release(&buffer);
    }
}

static void published_code_runs_where_it_was_written(void) {
    for (int i = 0; i < 2 * CAPACITIES; i++) {
        size_t capacity = capacities[i / 2];
        if (capacity < 8) {
            continue;
        }
        size_t last = (capacity - 8) & ~(size_t)3; /* where the last function begins */
        execbuf buffer = stage(i % 2 != 0, capacity);
        memset(bytes_of(&buffer), 0x90, capacity);
        put(&buffer, last, 11);
        put(&buffer, 0, last == 0 ? 11 : 10);
        publish_staged(&buffer, capacity);
        (void)look();
        CHECK(call(&buffer, last) == 11 && call(&buffer, 0) == (last == 0 ? 11 : 10));
        CHECK(last < 16 || holds((const uint8_t *)buffer.entry + 8, last - 8, 0x90));
        CHECK(is_found(&buffer) && ends_with_traps(&buffer));
        release(&buffer);
    }
}

static void only_the_published_length_stays(void) {
    static const size_t lengths[] = {8, 15, 16, 17, 4080, 4081, 60000, 70000};
    for (size_t i = 0; i < 2 * sizeof lengths / sizeof lengths[0]; i++) {
        execbuf buffer = stage(i % 2 != 0, 70000);
        memset(bytes_of(&buffer), 0x90, 70000);
        put(&buffer, 0, 5);
        publish_staged(&buffer, lengths[i / 2]);
        CHECK(call(&buffer, 0) == 5 && ends_with_traps(&buffer));
        CHECK(holds((const uint8_t *)buffer.entry + 8, lengths[i / 2] - 8, 0x90));
        CHECK(execbuf_entry(&buffer, lengths[i / 2]) == NULL);
        (void)look();
        release(&buffer);
    }
}

static void pages_behind_the_code_are_given_back(void) {
    if (look().count == 0) {
        return; /* the mappings cannot be listed */
    }
    execbuf warm = stage(false, 100);
    release(&warm);
    maps before = look_at_code();
    execbuf buffer = stage(false, 1U << 20);
    put(&buffer, 0, 6);
    publish_staged(&buffer, 100);
#if defined(__linux__)
    CHECK(look_at_code().bytes <= before.bytes + 65536);
#endif
    for (int i = 0; i < 3; i++) { /* of what is left, nothing more is given back */
        unpublish(&buffer);
        publish_staged(&buffer, 100 - (size_t)i);
        CHECK(call(&buffer, 0) == 6);
    }
    release(&buffer);
    CHECK(same(before, look_at_code()));
}

static void code_changes_between_publishing_and_unpublishing(void) {
    for (int i = 0; i < 4; i++) {
        size_t capacity = i < 2 ? 64 : 20000;
        execbuf buffer = stage(i % 2 != 0, capacity);
        for (uint32_t round = 0; round < 300; round++) {
            put(&buffer, 0, round);
            put(&buffer, capacity - 16, round + 1);
            publish_staged(&buffer, capacity);
            CHECK(call(&buffer, 0) == (int)round && call(&buffer, capacity - 16) == (int)round + 1);
            if (round % 3 == 0) { /* then the pages of the buffer come from several mappings */
                code made = returning(round + 2);
                CHECK(execbuf_rewrite(&buffer, 0, made.bytes, made.length, NULL) == EXECBUF_OK);
                CHECK(call(&buffer, 0) == (int)round + 2);
            }
            unpublish(&buffer);
            code now = returning(round % 3 == 0 ? round + 2 : round);
            CHECK(!is_found(&buffer) && memcmp(buffer.entry, now.bytes, now.length) == 0);
            if (round % 100 == 0) {
                (void)look();
            }
        }
        release(&buffer);
    }
}

static void every_buffer_with_a_dedicated_mapping_can_be_unpublished(void) {
    static uint8_t large[300000];
    code made = returning(21);
    memset(large, 0, sizeof large);
    memcpy(large, made.bytes, made.length);
    execbuf buffers[3];
    CHECK(execbuf_new(&buffers[0], large, sizeof large, NULL) == EXECBUF_OK);
    CHECK(execbuf_reserve(&buffers[1], sizeof large, NULL) == EXECBUF_OK);
    CHECK(execbuf_publish(&buffers[1], large, 5000, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_publish(pool, &buffers[2], large, sizeof large, NULL) == EXECBUF_OK);
    for (int i = 0; i < 3; i++) {
        size_t length = buffers[i].length;
        unpublish(&buffers[i]);
        CHECK(memcmp(buffers[i].entry, large, length) == 0);
        expect(execbuf_publish_staged(&buffers[i], length + 1, &error), EXECBUF_E_CAPACITY, "length");
        put(&buffers[i], 0, 22);
        publish_staged(&buffers[i], length);
        CHECK(call(&buffers[i], 0) == 22 && ends_with_traps(&buffers[i]));
        release(&buffers[i]);
    }
}

static void capacities_and_lengths_are_checked(void) {
    execbuf buffer = filled();
    expect(execbuf_stage(&buffer, 0, NULL, &error), EXECBUF_E_EMPTY, "capacity");
    CHECK(is_zero(&buffer));
    expect(execbuf_pool_stage(pool, &buffer, 0, &error), EXECBUF_E_EMPTY, "capacity");
    static const size_t too_large[] = {SIZE_MAX, PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1};
    for (size_t i = 0; i < sizeof too_large / sizeof too_large[0]; i++) {
        buffer = filled();
        expect(execbuf_stage(&buffer, too_large[i], NULL, &error), EXECBUF_E_TOO_LARGE, "capacity");
        CHECK(is_zero(&buffer));
    }
    if (sizeof(size_t) == 8 && !under_valgrind()) { /* more than the address space has */
        const size_t most = (size_t)PTRDIFF_MAX - (1 << 20);
        CHECK(execbuf_stage(&buffer, most, NULL, &error) == EXECBUF_E_NO_MEMORY && error.culprit != NULL);
        CHECK(execbuf_pool_stage(pool, &buffer, most, &error) != EXECBUF_OK && is_zero(&buffer));
    }
    buffer = stage(false, 100);
    memset(bytes_of(&buffer), 0x90, 100);
    expect(execbuf_publish_staged(&buffer, 0, &error), EXECBUF_E_EMPTY, "length");
    expect(execbuf_publish_staged(&buffer, 101, &error), EXECBUF_E_CAPACITY, "length");
    expect(execbuf_publish_staged(&buffer, SIZE_MAX, &error), EXECBUF_E_CAPACITY, "length");
    CHECK(holds(bytes_of(&buffer), 100, 0x90)); /* it is still staged, with its bytes */
    put(&buffer, 0, 3);
    publish_staged(&buffer, 100);
    CHECK(call(&buffer, 0) == 3);
    release(&buffer);
}

static void null_pointers_are_reported(void) {
    execbuf buffer = filled();
    expect(execbuf_stage(NULL, 16, NULL, &error), EXECBUF_E_NULL, "out");
    expect(execbuf_pool_stage(pool, NULL, 16, &error), EXECBUF_E_NULL, "out");
    expect(execbuf_pool_stage(NULL, &buffer, 16, &error), EXECBUF_E_NULL, "pool");
    CHECK(is_zero(&buffer));
    expect(execbuf_publish_staged(NULL, 16, &error), EXECBUF_E_NULL, "buffer");
    expect(execbuf_unpublish(NULL, &error), EXECBUF_E_NULL, "buffer");
    CHECK(execbuf_stage(NULL, 16, NULL, NULL) == EXECBUF_E_NULL);
    CHECK(execbuf_unpublish(NULL, NULL) == EXECBUF_E_NULL);
}

/* Calls that a staged buffer refuses. */
static void check_staged(execbuf *buffer) {
    const code made = returning(1);
    const execbuf_info info = EXECBUF_INFO_INIT;
    const execbuf_code piece = {made.bytes, made.length, NULL};
    const execbuf_change change = {buffer, 0, made.bytes, 1};
    expect(execbuf_publish(buffer, made.bytes, made.length, &error), EXECBUF_E_STAGED, "buffer");
    expect(execbuf_publish_all(buffer, &piece, 1, &error), EXECBUF_E_STAGED, "buffer");
    expect(execbuf_publish_with(buffer, made.bytes, made.length, &info, &error), EXECBUF_E_STAGED, "buffer");
    expect(execbuf_rewrite(buffer, 0, made.bytes, 1, &error), EXECBUF_E_NOT_PUBLISHED, "buffer");
    expect(execbuf_rewrite_batch(&change, 1, &error), EXECBUF_E_NOT_PUBLISHED, "buffer");
    expect(execbuf_describe(buffer, &info, &error), EXECBUF_E_NOT_PUBLISHED, "buffer");
    expect(execbuf_unpublish(buffer, &error), EXECBUF_E_NOT_PUBLISHED, "buffer");
    CHECK(execbuf_entry(buffer, 0) == NULL && execbuf_length(buffer) == 0 && !is_found(buffer));
}

static void buffers_in_the_wrong_state_are_refused(void) {
    code one = returning(1);
    for (int in_pool = 0; in_pool < 2; in_pool++) {
        execbuf buffer = stage(in_pool != 0, 100);
        put(&buffer, 0, 8);
        check_staged(&buffer);
        publish_staged(&buffer, 64);
        expect(execbuf_publish_staged(&buffer, 64, &error), EXECBUF_E_PUBLISHED, "buffer");
        CHECK(call(&buffer, 0) == 8);
        unpublish(&buffer);
        check_staged(&buffer);
        execbuf copy = buffer;
        release(&buffer);
        uint64_t stale = execbuf_stale_count();
        expect(execbuf_publish_staged(&copy, 16, &error), EXECBUF_E_STALE, "buffer");
        expect(execbuf_unpublish(&copy, &error), EXECBUF_E_STALE, "buffer");
        CHECK(execbuf_stale_count() == stale + 2);

        CHECK((in_pool ? execbuf_pool_reserve(pool, &buffer, 16, NULL)
                       : execbuf_reserve(&buffer, 16, NULL)) == EXECBUF_OK);
        expect(execbuf_publish_staged(&buffer, 16, &error), EXECBUF_E_STAGED, "buffer");
        expect(execbuf_unpublish(&buffer, &error), EXECBUF_E_NOT_PUBLISHED, "buffer");
        CHECK(execbuf_publish(&buffer, one.bytes, one.length, NULL) == EXECBUF_OK);
        expect(execbuf_publish_staged(&buffer, 16, &error), EXECBUF_E_PUBLISHED, "buffer");
        copy = buffer;
        release(&buffer);
        expect(execbuf_publish_staged(&copy, 16, &error), EXECBUF_E_STALE, "buffer");
        expect(execbuf_unpublish(&copy, &error), EXECBUF_E_STALE, "buffer");
    }
}

static void code_in_a_region_cannot_be_unpublished(void) {
    execbuf buffer = publish(pool, 9);
    if (stats_of(pool).dedicated != 0) {
        size_t length = buffer.length;
        unpublish(&buffer); /* the backend has no regions */
        publish_staged(&buffer, length);
    } else {
        expect(execbuf_unpublish(&buffer, &error), EXECBUF_E_UNSUPPORTED, "region");
    }
    CHECK(buffer.length > 0 && call(&buffer, 0) == 9);
    release(&buffer);
}

static void thunks_are_refused(void) {
    execbuf_signature *signature = parsed("i()");
    execbuf thunk;
    const void *target = "";
    if (execbuf_thunk_new(pool, &thunk, signature, EXECBUF_ABI_WIN64, EXECBUF_ABI_SYSV64, target, NULL) ==
        EXECBUF_OK) {
        expect(execbuf_unpublish(&thunk, &error), EXECBUF_E_THUNK, "buffer");
        expect(execbuf_publish_staged(&thunk, 1, &error), EXECBUF_E_THUNK, "buffer");
        release(&thunk);
    }
    execbuf_signature_free(signature);
}

static void a_placement_is_obeyed(void) {
    execbuf_placement placement = EXECBUF_PLACEMENT_INIT;
    execbuf first = stage(false, 100);
    placement.near_to = first.entry;
    execbuf near_first;
    CHECK(execbuf_stage(&near_first, 70000, &placement, &error) == EXECBUF_OK);
    uintptr_t one = (uintptr_t)first.entry;
    uintptr_t other = (uintptr_t)near_first.entry;
    CHECK((one < other ? other + 70000 - one : one - other) < EXECBUF_DISTANCE);
    release(&near_first);
    placement.near_to = NULL;
    placement.distance = 1;
    expect(execbuf_stage(&near_first, 16, &placement, &error), EXECBUF_E_NULL, "near_to");
    release(&first);
}

static void a_pool_counts_its_staged_buffers(void) {
    execbuf_pool *own = new_pool();
    maps before = look_at_code();
    for (int round = 0; round < 2; round++) {
        execbuf buffer;
        CHECK(execbuf_pool_stage(own, &buffer, 1U << 20, NULL) == EXECBUF_OK);
        size_t mapped = stats_of(own).mapped;
        CHECK(stats_of(own).live == 1 && stats_of(own).dedicated == 1 && mapped > 1U << 20);
        CHECK(execbuf_pool_code_bytes(own) == 1U << 20 && !finds(own, buffer.entry, NULL));
        put(&buffer, 0, 30);
        publish_staged(&buffer, 5000);
        execbuf_place place;
        CHECK(finds(own, buffer.entry, &place) && place.entry == buffer.entry && place.length == 5000);
        CHECK(execbuf_pool_code_bytes(own) == 5000);
        size_t smaller = stats_of(own).mapped;
#if !defined(_WIN32)
        CHECK(smaller <= 65536);
#endif
        for (size_t length = 5000; length > 0; length -= 1000) {
            unpublish(&buffer);
            CHECK(execbuf_pool_code_bytes(own) == (length == 5000 ? 5000 : length + 1000));
            CHECK(stats_of(own).live == 1 && !finds(own, buffer.entry, NULL));
            publish_staged(&buffer, length);
            CHECK(call(&buffer, 0) == 30 && execbuf_pool_code_bytes(own) == length);
            CHECK(stats_of(own).mapped <= smaller);
        }
        if (round == 1) {
            execbuf_pool_free(own); /* the buffer outlives it */
            CHECK(call(&buffer, 0) == 30);
            unpublish(&buffer);
        }
        release(&buffer);
        CHECK(round == 1 || (stats_of(own).mapped == 0 && stats_of(own).live == 0));
    }
    CHECK(same(before, look_at_code()));
}

static void run_tests(void) {
    pool = new_pool();
    RUN(staged_memory_is_zero_and_can_be_written_at_its_final_address);
    RUN(published_code_runs_where_it_was_written);
    RUN(only_the_published_length_stays);
    RUN(pages_behind_the_code_are_given_back);
    RUN(code_changes_between_publishing_and_unpublishing);
    RUN(every_buffer_with_a_dedicated_mapping_can_be_unpublished);
    RUN(capacities_and_lengths_are_checked);
    RUN(null_pointers_are_reported);
    RUN(buffers_in_the_wrong_state_are_refused);
    RUN(code_in_a_region_cannot_be_unpublished);
    RUN(thunks_are_refused);
    RUN(a_placement_is_obeyed);
    RUN(a_pool_counts_its_staged_buffers);
    execbuf_pool_free(pool);
}

#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)

#include "each_backend.h"

int main(void) {
    with_each_backend(run_tests);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    run_tests();
    (void)printf("ok\n");
    return 0;
}

#endif
