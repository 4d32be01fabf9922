/* Unwind tables of descriptions for Windows (csrc/debug/info_xdata.c), and the memory that they are copied to
 * (csrc/debug/near_tables.c). Both work on every machine. */

#include "../../csrc/debug/info_xdata.h"
#include "../../csrc/debug/near_tables.h"

#include "check.h"

/* ---- Frames in words ---- */

static execbuf_info info_of(execbuf_unwind unwind, uint32_t size, uint32_t prologue, uint32_t epilogue) {
    execbuf_info info = EXECBUF_INFO_INIT;
    info.unwind = unwind;
    info.frame_size = size;
    info.prologue = prologue;
    info.epilogue = epilogue;
    return info;
}

static void expect_table(const execbuf_info *info, const uint8_t *bytes, size_t length,
                         const uint8_t *expected, size_t size) {
    uint8_t table[XB_MAX_INFO_XDATA];
    size_t found;
    CHECK(xb_info_xdata(table, &found, info, bytes, length) == NULL);
    CHECK(found == size && (size == 0 || memcmp(table, expected, size) == 0));
    CHECK(size == 0 || xb_info_xdata_check(table, size, length).reason == NULL);
}

static void frames_in_words_have_tables(void) {
    static const uint8_t bytes[600] = {0xc3};
    static const uint8_t small[] = {1, 4, 1, 0, 4, 0x42, 0, 0};            /* UWOP_ALLOC_SMALL, 40 bytes */
    static const uint8_t most_small[] = {1, 4, 1, 0, 4, 0xf2, 0, 0};       /* 128 bytes */
    static const uint8_t large[] = {1, 7, 2, 0, 7, 0x01, 17, 0};           /* UWOP_ALLOC_LARGE, 136 bytes */
    static const uint8_t most_large[] = {1, 7, 2, 0, 7, 0x01, 0xff, 0xff}; /* 512 KiB - 8 */
    static const uint8_t huge[] = {1, 7, 3, 0, 7, 0x11, 0, 0, 8, 0, 0, 0}; /* 512 KiB */
    execbuf_info info = info_of(EXECBUF_UNWIND_NO_FRAME, 0, 0, 0);
    expect_table(&info, bytes, sizeof bytes, NULL, 0);
    info = info_of(EXECBUF_UNWIND_FIXED, 0, 4, 1);
    expect_table(&info, bytes, sizeof bytes, NULL, 0);
    info = info_of(EXECBUF_UNWIND_FIXED, 40, 4, 1);
    expect_table(&info, bytes, sizeof bytes, small, sizeof small);
    info.frame_size = 128;
    expect_table(&info, bytes, sizeof bytes, most_small, sizeof most_small);
    info = info_of(EXECBUF_UNWIND_FIXED, 136, 7, 1);
    expect_table(&info, bytes, sizeof bytes, large, sizeof large);
    info.frame_size = (512 << 10) - 8;
    expect_table(&info, bytes, sizeof bytes, most_large, sizeof most_large);
    info.frame_size = 512 << 10;
    expect_table(&info, bytes, sizeof bytes, huge, sizeof huge);
}

static void frames_that_cannot_be_described_are_refused(void) {
    static const uint8_t bytes[600] = {0xc3};
    uint8_t table[XB_MAX_INFO_XDATA];
    size_t size;
    execbuf_info info = info_of(EXECBUF_UNWIND_FIXED, 40, 256, 1);
    CHECK(strcmp(xb_info_xdata(table, &size, &info, bytes, sizeof bytes), "prologue") == 0 && size == 0);
    info = info_of(EXECBUF_UNWIND_FIXED, 12, 4, 1);
    CHECK(strcmp(xb_info_xdata(table, &size, &info, bytes, sizeof bytes), "frame_size") == 0 && size == 0);
    info = info_of(EXECBUF_UNWIND_FRAME_POINTER, 0, 0, 0);
    CHECK(xb_info_xdata(table, &size, &info, bytes, sizeof bytes) != NULL && size == 0);
}

#if defined(__x86_64__)

static void frame_pointers_have_tables(void) {
    static const uint8_t bytes[] = {
        0xf3, 0x0f, 0x1e, 0xfa, /* 0: endbr64 */
        0x55,                   /* 4: push rbp */
        0x48, 0x89, 0xe5,       /* 5: mov rbp, rsp */
        0x5d,                   /* 8: pop rbp */
        0xc3,                   /* 9: ret */
    };
    static const uint8_t with_endbr64[] = {1, 8,    2, 5,
                                           8, 0x03, 5, 0x50}; /* UWOP_SET_FPREG, UWOP_PUSH_NONVOL rbp */
    static const uint8_t without[] = {1, 4, 2, 5, 4, 0x03, 1, 0x50};
    const execbuf_info info = info_of(EXECBUF_UNWIND_FRAME_POINTER, 0, 0, 0);
    expect_table(&info, bytes, sizeof bytes, with_endbr64, sizeof with_endbr64);
    expect_table(&info, bytes + 4, sizeof bytes - 4, without, sizeof without);
}

#else

static void frame_pointers_have_tables(void) {
    (void)fprintf(stderr, "SKIP: frame pointers in tables for Windows: not on x86-64\n");
}

#endif

/* ---- Finished tables ---- */

/* Expects a fault of a table: what is wrong, and where. */
static void expect_fault(const uint8_t *table, size_t size, size_t length, const char *reason,
                         size_t offset) {
    xb_table_fault fault = xb_info_xdata_check(table, size, length);
    CHECK(fault.reason != NULL && strcmp(fault.reason, reason) == 0 && fault.offset == offset);
}

static void finished_tables_are_checked(void) {
    static const uint8_t good[] = {
        0x19, 30,   13,   0x35, /* version 1 with both handlers; 13 nodes; rbp is rsp + 48 */
        30,   0x68, 3,    0,    /* UWOP_SAVE_XMM128, xmm6 */
        25,   0x34, 5,    0,    /* UWOP_SAVE_NONVOL, rbx */
        20,   0x03,             /* UWOP_SET_FPREG */
        18,   0x11, 0,    0,    /* UWOP_ALLOC_LARGE with 32 bits */
        8,    0,                /* its last node */
        12,   0x02,             /* UWOP_ALLOC_SMALL */
        8,    0xc0,             /* UWOP_PUSH_NONVOL, r12 */
        6,    0x79, 1,    0,    /* UWOP_SAVE_XMM128_FAR, xmm7 */
        0,    0,                /* its last node; the number of nodes is odd, so one more follows */
        0,    0,                /* padding */
        0x78, 0x56, 0x34, 0x12, /* the handler */
        1,    2,    3,          /* its data */
    };
    enum { END = 36 }; /* of the handler's address */
    uint8_t table[sizeof good];
    CHECK(xb_info_xdata_check(good, sizeof good, 30).reason == NULL);
    for (size_t size = 0; size < END; size++) {
        expect_fault(good, size, 30, "truncated", size);
    }
    CHECK(xb_info_xdata_check(good, END, 30).reason == NULL);
    expect_fault(good, sizeof good, 29, "prologue", 1);
    static const struct {
        size_t at;
        uint8_t byte;
        const char *reason;
        size_t offset;
    } wrong[] = {
        {0, 0x1a, "unknown version", 0},
        {0, 0x21, "unsupported flags", 0},
        {3, 0x30, "no frame register", 13},
        {5, 0x66, "unknown unwind code", 5},
        {5, 0x6b, "unknown unwind code", 5},
        {13, 0x13, "unknown unwind code", 13},
        {15, 0x21, "unknown unwind code", 15},
        {8, 31, "order of unwind codes", 8},
        {2, 12, "truncated", 24},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memcpy(table, good, sizeof good);
        table[wrong[i].at] = wrong[i].byte;
        expect_fault(table, sizeof table, 30, wrong[i].reason, wrong[i].offset);
    }
}

static void a_description_has_one_of_the_two(void) {
    static const uint8_t bytes[40] = {0xc3};
    static const uint8_t finished[] = {1, 4, 1, 0, 4, 0x42, 0, 0};
    uint8_t canned[XB_MAX_INFO_XDATA];
    const uint8_t *table;
    size_t size;
    execbuf_info info = info_of(EXECBUF_UNWIND_FIXED, 40, 4, 1);
    CHECK(xb_info_xdata_read(&table, &size, canned, &info, bytes, sizeof bytes).reason == NULL);
    CHECK(table == canned && size == sizeof finished && memcmp(table, finished, size) == 0);
    info.prologue = 50;
    CHECK(strcmp(xb_info_xdata_read(&table, &size, canned, &info, bytes, sizeof bytes).reason, "prologue") ==
          0);
    info = info_of(EXECBUF_UNWIND_UNWIND_INFO, 0, 0, 0);
    CHECK(xb_info_xdata_read(&table, &size, canned, &info, bytes, sizeof bytes).reason == NULL && size == 0);
    info.table = finished;
    info.table_length = sizeof finished;
    CHECK(xb_info_xdata_read(&table, &size, canned, &info, bytes, sizeof bytes).reason == NULL);
    CHECK(table == finished && size == sizeof finished);
    info.table_length = 5;
    CHECK(xb_info_xdata_read(&table, &size, canned, &info, bytes, sizeof bytes).offset == 5);
}

/* ---- Memory near code ---- */

static const uint8_t *copy_of(const uint8_t *bytes, const uint8_t *table, size_t size) {
    const uint8_t *copy = NULL;
    CHECK(xb_near_tables_add(bytes, table, size, &copy).call == NULL);
    CHECK((uintptr_t)copy > (uintptr_t)bytes && (uintptr_t)copy - (uintptr_t)bytes <= UINT32_MAX);
    CHECK((uintptr_t)copy % 16 == 0 && memcmp(copy, table, size) == 0);
    return copy;
}

static void copies_lie_above_code_and_are_shared(void) {
    static uint8_t large[70000];
    static const uint8_t one[] = {1, 4, 1, 0, 4, 0x42, 0, 0};
    static const uint8_t other[] = {1, 4, 1, 0, 4, 0x52, 0, 0};
    execbuf buffer;
    code made = returning(1);
    CHECK(execbuf_new(&buffer, made.bytes, made.length, NULL) == EXECBUF_OK);
    const uint8_t *entry = (const uint8_t *)buffer.entry;
    const uint8_t *first = copy_of(entry, one, sizeof one);
    const uint8_t *second = copy_of(entry, other, sizeof other);
    CHECK(first != second && copy_of(entry + 1, one, sizeof one) == first);
    memset(large, 7, sizeof large);
    const uint8_t *third = copy_of(entry, large, sizeof large);
    CHECK(copy_of(entry, large, sizeof large) == third);
    xb_near_tables_drop(first);
    CHECK(copy_of(entry, one, sizeof one) == first); /* the other user keeps it */
    xb_near_tables_drop(first);
    xb_near_tables_drop(first);
    CHECK(copy_of(entry, large, 8) == first); /* free memory is used again */
    /* Code above a copy gets one of its own. */
    CHECK(copy_of(first, large, 8) != first);
    xb_near_tables_drop(second);
    xb_near_tables_drop(third);
    xb_near_tables_drop(third);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void many_tables_fill_more_than_one_sheet(void) {
    enum { COUNT = 10000 };
    static const uint8_t *copies[COUNT];
    static const uint8_t here = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        copies[i] = copy_of(&here, (const uint8_t *)&i, sizeof i);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK(memcmp(copies[i], &i, sizeof i) == 0);
        xb_near_tables_drop(copies[i]);
    }
}

static void without_addresses_above_the_code_there_is_no_copy(void) {
    static const uint8_t table[8] = {1};
    const uint8_t *copy;
    const uint8_t *last = (const uint8_t *)(UINTPTR_MAX - 100);
    CHECK(xb_near_tables_add(last, table, sizeof table, &copy).call != NULL);
}

static void only_memory_with_users_stays_when_the_library_is_unloaded(void) {
    static const uint8_t here = 0;
    static const uint8_t table[40] = {1, 2, 3};
    const uint8_t *kept = copy_of(&here, table, 8);
    const uint8_t *other = copy_of(&here, table, sizeof table);
    xb_near_tables_drop(other);
    xb_near_tables_unload();
    CHECK(memcmp(kept, table, 8) == 0);
    xb_near_tables_drop(kept);
    xb_near_tables_unload();
}

static void addresses_of_handlers_can_be_moved(void) {
    uint8_t table[12] = {0x19, 4, 1, 0, 4, 0x42, 0, 0, 0x10, 0x20, 0, 0xff}; /* the last four: the handler */
    static const uint8_t without[4] = {1, 0, 0, 0};
    CHECK(xb_info_xdata_handler(without) == 0 && xb_info_xdata_handler(table) == 8);
    CHECK(xb_info_xdata_handler_fits(table, 0x00ffdfef) && !xb_info_xdata_handler_fits(table, 0x00ffdff0));
    xb_info_xdata_move_handler(table, 0x1f0);
    CHECK(table[8] == 0 && table[9] == 0x22 && table[10] == 0 && table[11] == 0xff);
}

int main(void) {
    RUN(frames_in_words_have_tables);
    RUN(frames_that_cannot_be_described_are_refused);
    RUN(frame_pointers_have_tables);
    RUN(finished_tables_are_checked);
    RUN(addresses_of_handlers_can_be_moved);
    RUN(a_description_has_one_of_the_two);
    RUN(copies_lie_above_code_and_are_shared);
    RUN(many_tables_fill_more_than_one_sheet);
    RUN(without_addresses_above_the_code_there_is_no_copy);
    RUN(only_memory_with_users_stays_when_the_library_is_unloaded);
    (void)printf("ok\n");
    return 0;
}
