/* The C API of buffers with a dedicated mapping, function by function, and of statuses and error reports. */

#include "check.h"

/* The report of the last call. */
static execbuf_error error;

static void new_publishes_code_that_runs(void) {
    code one = returning(1);
    execbuf buffer;
    CHECK(execbuf_new(&buffer, one.bytes, one.length, &error) == EXECBUF_OK);
    CHECK(error.status == EXECBUF_OK && error.culprit == NULL && error.attempt_count == 0);
    CHECK(execbuf_length(&buffer) == one.length);
    CHECK((uintptr_t)buffer.entry % 16 == 0);
    CHECK(memcmp(buffer.entry, one.bytes, one.length) == 0);
    CHECK(call(&buffer, 0) == 1);
    (void)look();
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    CHECK(buffer.entry == NULL && buffer.length == 0 && buffer.id == 0);
}

static void code_is_surrounded_by_traps(void) {
    code one = returning(1);
    execbuf buffer;
    CHECK(execbuf_new(&buffer, one.bytes, one.length, NULL) == EXECBUF_OK);
    const uint8_t *entry = (const uint8_t *)buffer.entry;
#if defined(__x86_64__) || defined(__i386__)
    const uint8_t trap[4] = {0xcc, 0xcc, 0xcc, 0xcc}; /* int3 */
#elif defined(__riscv)
    const uint8_t trap[4] = {0x73, 0x00, 0x10, 0x00}; /* ebreak */
#else
    const uint8_t trap[4] = {0x00, 0x00, 0x20, 0xd4}; /* brk #0 */
#endif
    for (size_t at = 0; at < 16; at++) {
        CHECK(entry[(ptrdiff_t)at - 16] == trap[at % 4]);
    }
    for (size_t at = one.length; at < 4096 - 16; at++) {
        CHECK(entry[at] == trap[at % 4]);
    }
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void reserve_returns_the_address_before_publish(void) {
    code two = returning(2);
    execbuf buffer;
    CHECK(execbuf_reserve(&buffer, 100000, NULL) == EXECBUF_OK);
    const void *entry = buffer.entry;
    CHECK(entry != NULL && execbuf_length(&buffer) == 0 && execbuf_entry(&buffer, 0) == NULL);
    maps reserved = look();
    CHECK(execbuf_publish(&buffer, two.bytes, two.length, NULL) == EXECBUF_OK);
    CHECK(buffer.entry == entry && execbuf_length(&buffer) == two.length && call(&buffer, 0) == 2);
    maps published = look();
    (void)reserved;
    (void)published;
#if defined(__linux__)
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t left = (100000 + 16 + page - 1) / page * page - page; /* all but one page */
    CHECK(reserved.bytes == 0 || reserved.bytes - published.bytes == left);
#endif
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void a_reserved_buffer_can_be_freed_unpublished(void) {
    execbuf buffer;
    CHECK(execbuf_reserve(&buffer, 1, NULL) == EXECBUF_OK);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void rewrite_changes_only_the_given_range(void) {
    code one = returning(1);
    code two = returning(2);
    code three = returning(3);
    uint8_t both[16 + 8] = {0};
    memcpy(both, one.bytes, one.length);
    memcpy(both + 16, two.bytes, two.length);
    execbuf buffer;
    CHECK(execbuf_new(&buffer, both, 16 + two.length, NULL) == EXECBUF_OK);
    CHECK(call(&buffer, 0) == 1 && call(&buffer, 16) == 2);
    CHECK(execbuf_rewrite(&buffer, 16, three.bytes, three.length, NULL) == EXECBUF_OK);
    CHECK(call(&buffer, 0) == 1 && call(&buffer, 16) == 3);
    (void)look();
    /* The source is in the same buffer and does not overlap the target. */
    CHECK(execbuf_rewrite(&buffer, 0, (const uint8_t *)buffer.entry + 16, three.length, NULL) == EXECBUF_OK);
    CHECK(call(&buffer, 0) == 3 && call(&buffer, 16) == 3);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void rewrite_can_cross_pages(void) {
    static uint8_t big[5 * 4096];
    memset(big, 0, sizeof big);
    code one = returning(1);
    memcpy(big, one.bytes, one.length);
    execbuf buffer;
    CHECK(execbuf_new(&buffer, big, sizeof big, NULL) == EXECBUF_OK);
    static uint8_t middle[2 * 4096];
    memset(middle, 0x5a, sizeof middle);
    CHECK(execbuf_rewrite(&buffer, 4096 - 100, middle, sizeof middle, NULL) == EXECBUF_OK);
    memcpy(big + 4096 - 100, middle, sizeof middle);
    CHECK(memcmp(buffer.entry, big, sizeof big) == 0 && call(&buffer, 0) == 1);
    (void)look();
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void expect(execbuf_status returned, execbuf_status wanted, const char *culprit) {
    CHECK(returned == wanted && error.status == wanted);
    CHECK(error.culprit != NULL && strcmp(error.culprit, culprit) == 0);
    CHECK(error.os_error == 0 && error.attempt_count == 0);
}

static void null_arguments_are_reported(void) {
    code one = returning(1);
    execbuf buffer;
    expect(execbuf_new(NULL, one.bytes, 1, &error), EXECBUF_E_NULL, "out");
    expect(execbuf_new(&buffer, NULL, 1, &error), EXECBUF_E_NULL, "code");
    CHECK(buffer.entry == NULL && buffer.id == 0);
    expect(execbuf_reserve(NULL, 1, &error), EXECBUF_E_NULL, "out");
    expect(execbuf_publish(NULL, one.bytes, 1, &error), EXECBUF_E_NULL, "buffer");
    expect(execbuf_publish(&buffer, NULL, 1, &error), EXECBUF_E_NULL, "code");
    expect(execbuf_rewrite(NULL, 0, one.bytes, 1, &error), EXECBUF_E_NULL, "buffer");
    expect(execbuf_rewrite(&buffer, 0, NULL, 1, &error), EXECBUF_E_NULL, "code");
    CHECK(execbuf_new(NULL, NULL, 0, NULL) == EXECBUF_E_NULL);
    CHECK(execbuf_entry(NULL, 0) == NULL && execbuf_length(NULL) == 0);
    CHECK(execbuf_free(NULL) == EXECBUF_OK && execbuf_free(&buffer) == EXECBUF_OK);
    CHECK(execbuf_error_describe(NULL, NULL, 0) == 0);
}

static void sizes_are_checked(void) {
    code one = returning(1);
    execbuf buffer;
    expect(execbuf_new(&buffer, one.bytes, 0, &error), EXECBUF_E_EMPTY, "length");
    expect(execbuf_reserve(&buffer, 0, &error), EXECBUF_E_EMPTY, "capacity");
    expect(execbuf_new(&buffer, one.bytes, SIZE_MAX, &error), EXECBUF_E_TOO_LARGE, "length");
    expect(execbuf_reserve(&buffer, SIZE_MAX, &error), EXECBUF_E_TOO_LARGE, "capacity");
    expect(execbuf_reserve(&buffer, PTRDIFF_MAX, &error), EXECBUF_E_TOO_LARGE, "capacity");
    expect(execbuf_reserve(&buffer, (size_t)PTRDIFF_MAX + 1, &error), EXECBUF_E_TOO_LARGE, "capacity");
    /* More memory than the address space has. 32-bit systems may have it, and valgrind reports its own
     * errors. */
    if (sizeof(size_t) == 8 && !under_valgrind()) {
        CHECK(execbuf_reserve(&buffer, (size_t)PTRDIFF_MAX - (1 << 20), &error) == EXECBUF_E_NO_MEMORY);
        CHECK(error.culprit != NULL && error.os_error != 0);
    }
    CHECK(buffer.entry == NULL && buffer.id == 0);

    CHECK(execbuf_reserve(&buffer, 4, NULL) == EXECBUF_OK);
    uint8_t five[5] = {0};
    expect(execbuf_publish(&buffer, five, 0, &error), EXECBUF_E_EMPTY, "length");
    expect(execbuf_publish(&buffer, five, 5, &error), EXECBUF_E_CAPACITY, "length");
    CHECK(execbuf_publish(&buffer, five, 4, &error) == EXECBUF_OK);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void rewrite_checks_its_range(void) {
    code one = returning(1);
    execbuf buffer;
    CHECK(execbuf_new(&buffer, one.bytes, one.length, NULL) == EXECBUF_OK);
    const uint8_t zeros[16] = {0};
    expect(execbuf_rewrite(&buffer, 0, zeros, one.length + 1, &error), EXECBUF_E_OUT_OF_BOUNDS, "length");
    expect(execbuf_rewrite(&buffer, one.length, zeros, 1, &error), EXECBUF_E_OUT_OF_BOUNDS, "length");
    expect(execbuf_rewrite(&buffer, one.length + 1, zeros, 1, &error), EXECBUF_E_OUT_OF_BOUNDS, "offset");
    expect(execbuf_rewrite(&buffer, SIZE_MAX, zeros, 1, &error), EXECBUF_E_OUT_OF_BOUNDS, "offset");
    expect(execbuf_rewrite(&buffer, 1, zeros, SIZE_MAX, &error), EXECBUF_E_OUT_OF_BOUNDS, "length");
    expect(execbuf_rewrite(&buffer, 0, zeros, 0, &error), EXECBUF_E_EMPTY, "length");
    CHECK(call(&buffer, 0) == 1);
    CHECK(execbuf_entry(&buffer, one.length) == NULL && execbuf_entry(&buffer, SIZE_MAX) == NULL);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void states_are_checked(void) {
    code one = returning(1);
    execbuf buffer;
    CHECK(execbuf_reserve(&buffer, 16, NULL) == EXECBUF_OK);
    expect(execbuf_rewrite(&buffer, 0, one.bytes, 1, &error), EXECBUF_E_NOT_PUBLISHED, "buffer");
    CHECK(execbuf_publish(&buffer, one.bytes, one.length, NULL) == EXECBUF_OK);
    expect(execbuf_publish(&buffer, one.bytes, one.length, &error), EXECBUF_E_PUBLISHED, "buffer");
    CHECK(call(&buffer, 0) == 1);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void stale_foreign_and_altered_handles_are_refused(void) {
    code one = returning(1);
    execbuf buffer;
    execbuf neighbour;
    CHECK(execbuf_new(&buffer, one.bytes, one.length, NULL) == EXECBUF_OK);
    CHECK(execbuf_new(&neighbour, one.bytes, one.length, NULL) == EXECBUF_OK);
    execbuf altered = buffer;
    altered.entry = (const uint8_t *)buffer.entry + 1; /* an interior pointer */
    CHECK(execbuf_free(&altered) == EXECBUF_E_STALE && altered.entry != NULL);
    altered = buffer;
    altered.id = neighbour.id;
    CHECK(execbuf_free(&altered) == EXECBUF_E_STALE);
    altered.id = 0;
    CHECK(execbuf_free(&altered) == EXECBUF_E_STALE);
    altered.id = UINT64_MAX;
    CHECK(execbuf_free(&altered) == EXECBUF_E_STALE);

    execbuf copy = buffer;
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK); /* a zeroed handle */
    CHECK(execbuf_free(&copy) == EXECBUF_E_STALE);
    expect(execbuf_rewrite(&copy, 0, one.bytes, 1, &error), EXECBUF_E_STALE, "buffer");
    expect(execbuf_publish(&copy, one.bytes, 1, &error), EXECBUF_E_STALE, "buffer");
    /* A new buffer reuses the record, and possibly the address, of the freed one. */
    CHECK(execbuf_new(&buffer, one.bytes, one.length, NULL) == EXECBUF_OK);
    CHECK(execbuf_free(&copy) == EXECBUF_E_STALE);
    CHECK(call(&buffer, 0) == 1 && call(&neighbour, 0) == 1);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK && execbuf_free(&neighbour) == EXECBUF_OK);
}

/* Functions that do not look a handle up compute with whatever is in it. UndefinedBehaviorSanitizer looks on.
 */
static void a_forged_handle_yields_an_address_without_a_check(void) {
    execbuf forged = {NULL, 9, 0};
    CHECK(execbuf_length(&forged) == 9);
    CHECK(execbuf_entry(&forged, 0) == NULL && execbuf_entry(&forged, 1) != NULL);
    forged.entry = (const void *)UINTPTR_MAX;
    CHECK(execbuf_entry(&forged, 1) == NULL && execbuf_entry(&forged, 2) != NULL);
}

static void thousands_of_buffers_leave_no_mappings(void) {
    enum { COUNT = 3000 };
    static execbuf buffers[COUNT];
    maps before = {0, 0};
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            code made = returning(i % 2048);
            CHECK(execbuf_new(&buffers[i], made.bytes, made.length, NULL) == EXECBUF_OK);
        }
        for (uint32_t i = 0; i < COUNT; i++) {
            CHECK(call(&buffers[i], 0) == (int)(i % 2048));
        }
        for (uint32_t i = 0; i < COUNT; i++) {
            /* In another order than they were created. */
            CHECK(execbuf_free(&buffers[i * 7 % COUNT]) == EXECBUF_OK);
        }
        if (round == 0) {
            before = look(); /* the table of handles has its final size */
        }
    }
    CHECK(same(before, look()));
}

int main(void) {
    RUN(new_publishes_code_that_runs);
    RUN(code_is_surrounded_by_traps);
    RUN(reserve_returns_the_address_before_publish);
    RUN(a_reserved_buffer_can_be_freed_unpublished);
    RUN(rewrite_changes_only_the_given_range);
    RUN(rewrite_can_cross_pages);
    RUN(null_arguments_are_reported);
    RUN(sizes_are_checked);
    RUN(rewrite_checks_its_range);
    RUN(states_are_checked);
    RUN(stale_foreign_and_altered_handles_are_refused);
    RUN(a_forged_handle_yields_an_address_without_a_check);
    RUN(thousands_of_buffers_leave_no_mappings);
    (void)printf("ok\n");
    return 0;
}
