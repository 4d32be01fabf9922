/* The unwind tables in the dump of code that perf reads. perf takes the bytes behind the code for the table,
 * so no other code may be there. */

#include "check.h"

#if defined(__linux__) && defined(__LP64__) && !defined(EXECBUF_PRIM_UNIX)

#include "describe.h"
#include "jitdump.h"

static execbuf_pool *pool;

static FILE *read_dump(void) {
    FILE *file = open_dump(place, getpid());
    CHECK(file != NULL);
    read_header(file, getpid());
    return file;
}

static void end(FILE *file) {
    load_record none;
    CHECK(!read_record(file, &none) && fclose(file) == 0 && failure_of_tool(JITDUMP) == NULL);
    execbuf_pool_free(pool);
    remove_place();
}

static void start(void) {
    execbuf_tools tools = EXECBUF_TOOLS_INIT;
    tools.which = JITDUMP;
    tools.jitdump_directory = place;
    CHECK(execbuf_tools_enable(&tools, NULL) == EXECBUF_OK);
}

static void begin(void) {
    make_place();
    start();
    pool = new_pool();
}

static execbuf_info no_frame(void) {
    return info_of_kind(EXECBUF_UNWIND_NO_FRAME);
}

static int32_t number_at(const uint8_t *bytes) {
    int32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* ---- What a record has ---- */

static void a_table_precedes_its_code(void) {
    const execbuf_line given[1] = {{0, "a", 1, 7, 0}};
    execbuf_info info = no_frame();
    read_line lines[2];
    table_record table;
    load_record loaded;
    uintptr_t start;
    uint64_t time;
    execbuf buffer;
    code one = returning(1);
    info.lines = given;
    info.line_count = 1;
    begin();
    CHECK(execbuf_pool_publish_with(pool, &buffer, one.bytes, one.length, &info, NULL) == EXECBUF_OK);
    FILE *file = read_dump();
    CHECK(read_lines(file, &start, &time, lines, 2) == 2 && read_table(file, &table));
    CHECK(read_record(file, &loaded) && loaded.code == (uintptr_t)buffer.entry);
    CHECK(table.time == time && loaded.time == time && table.mapped_size == table.table_size);
#if defined(__x86_64__)
    CHECK(one.length == 6); /* the table is 8 bytes behind the beginning of the code */
    static const uint8_t expected[] = {
        /* 0: the CIE. Version 1; "zR"; alignment factors 1 and -8; return address 16; a distance, of 4 bytes
         */
        20,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        1,
        'z',
        'R',
        0,
        1,
        0x78,
        16,
        1,
        0x1b,
        0x0c,
        7,
        8,
        0x90,
        1,
        0,
        0, /* DW_CFA_def_cfa rsp, 8; DW_CFA_offset 16, 1; DW_CFA_nop */
        /* 24: the FDE. The CIE, 28 bytes before; the code, 40 before; 6 bytes long; DW_CFA_nop */
        20,
        0,
        0,
        0,
        28,
        0,
        0,
        0,
        0xd8,
        0xff,
        0xff,
        0xff,
        6,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        /* 48: .eh_frame_hdr. .eh_frame, 52 bytes before; one function; the code, 56 before; the FDE, 24
           before */
        1,
        0x1b,
        3,
        0x3b,
        0xcc,
        0xff,
        0xff,
        0xff,
        1,
        0,
        0,
        0,
        0xc8,
        0xff,
        0xff,
        0xff,
        0xe8,
        0xff,
        0xff,
        0xff,
    };
    CHECK(table.table_size == sizeof expected && table.header_size == 20);
    CHECK(memcmp(table.bytes, expected, sizeof expected) == 0);
#endif
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    end(file);
}

/* The table of write_table, and an FDE more, for another half of the code. */
static size_t write_two(uint8_t *out, const execbuf *buffer) {
    enum { FDE = TABLE_SIZE - AT_FDE };
    const uint64_t half = buffer->length / 2;
    write_table(out, (const uint8_t *)buffer->entry + half, half);
    memcpy(out + TABLE_SIZE, out + AT_FDE, FDE);
    const uint64_t entry = (uintptr_t)buffer->entry;
    const uint32_t distance = TABLE_SIZE + 4;
    memcpy(out + TABLE_SIZE + 4, &distance, 4);
    memcpy(out + TABLE_SIZE + AT_START - AT_FDE, &entry, 8);
    return TABLE_SIZE + FDE;
}

static void a_table_of_several_functions_is_sorted(void) {
    static const uint8_t bytes[64];
    uint8_t given[2 * TABLE_SIZE];
    table_record table;
    load_record loaded;
    execbuf buffer;
    begin();
    CHECK(execbuf_new(&buffer, bytes, sizeof bytes, NULL) == EXECBUF_OK);
    const execbuf_info info = info_of_table(given, write_two(given, &buffer));
    CHECK(execbuf_describe(&buffer, &info, NULL) == EXECBUF_OK);
    FILE *file = read_dump();
    CHECK(read_table(file, &table) && read_record(file, &loaded));
    const size_t size = 24 + 2 * 24 + 28; /* they share a CIE */
    CHECK(table.table_size == size && table.header_size == 28);
    const uint8_t *header = table.bytes + size - 28;
    CHECK(number_at(header + 8) == 2);
    for (int i = 0; i < 2; i++) {
        const int fde = 24 + 24 * i;
        const int from_code = 64 + (int)size - 28; /* to the header */
        CHECK(number_at(header + 12 + 8 * i) == 32 * i - from_code);
        CHECK(number_at(header + 16 + 8 * i) == fde - ((int)size - 28));
        CHECK(number_at(table.bytes + fde + 4) == fde + 4);
        CHECK(number_at(table.bytes + fde + 8) == 32 * i - (64 + fde + 8));
        CHECK(number_at(table.bytes + fde + 12) == 32);
    }
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    end(file);
}

/* ---- Room ---- */

enum { MANY = 300, LONGEST = 5000 };

static execbuf many[MANY];
static bool has_table[MANY];

/* Publishes code of any length, in one of several ways.
 *
 * Returns: whether there is room for a table whatever the length. */
static bool publish_somehow(int way, execbuf *out, size_t length) {
    static uint8_t bytes[LONGEST];
    const execbuf_info info = no_frame();
    const execbuf_code codes[2] = {{bytes, length, &info}, {bytes, 16, NULL}};
    execbuf outs[2];
    switch (way) {
    case 0:
        CHECK(execbuf_pool_publish_with(pool, out, bytes, length, &info, NULL) == EXECBUF_OK);
        return true;
    case 1:
        CHECK(execbuf_pool_publish_batch(pool, outs, codes, 2, NULL) == EXECBUF_OK);
        *out = outs[0];
        return true;
    case 2:
        CHECK(execbuf_pool_reserve(pool, out, length, NULL) == EXECBUF_OK);
        CHECK(execbuf_publish_with(out, bytes, length, &info, NULL) == EXECBUF_OK);
        return false;
    case 3:
        CHECK(execbuf_pool_publish(pool, out, bytes, length, NULL) == EXECBUF_OK);
        CHECK(execbuf_describe(out, &info, NULL) == EXECBUF_OK);
        return false;
    case 4:
        CHECK(execbuf_pool_reserve(pool, out, length + 128, NULL) == EXECBUF_OK);
        CHECK(execbuf_publish_with(out, bytes, length, &info, NULL) == EXECBUF_OK);
        return length + 128 <= 32768; /* else the pages behind it are given back */
    default:
        CHECK(execbuf_new(out, bytes, length, NULL) == EXECBUF_OK);
        CHECK(execbuf_describe(out, &info, NULL) == EXECBUF_OK);
        return false;
    }
}

/* Checks that no code is in a range. */
static void check_unused(uintptr_t start, uintptr_t end_of_range, int but) {
    for (int i = 0; i < MANY; i++) {
        const uintptr_t entry = (uintptr_t)many[i].entry;
        CHECK(i == but || entry >= end_of_range || entry + many[i].length <= start);
    }
}

/* The bytes that perf takes for a table belong to no other code. */
static void check_room(FILE *file) {
    static load_record loaded;
    table_record table;
    for (int i = 0; i < MANY; i++) {
        const bool found = read_table(file, &table);
        CHECK(fread(&loaded, 56, 1, file) == 1 && loaded.kind == 0);
        CHECK(loaded.code == (uintptr_t)many[i].entry && loaded.code_size == many[i].length);
        CHECK(fseek(file, (long)loaded.size - 56, SEEK_CUR) == 0);
        CHECK(found || !has_table[i] || stats_of(pool).regions == 0);
        if (found) {
            const uintptr_t start = (uintptr_t)loaded.code;
            const uintptr_t end_of_table = ((start + many[i].length + 7) & ~(uintptr_t)7) + table.mapped_size;
            check_unused(start, end_of_table, i);
        }
    }
}

static void a_table_takes_no_room_of_other_code(void) {
    begin();
    for (int i = 0; i < MANY; i++) {
        size_t length = (size_t)i * (size_t)i % 1999 + 1;
        if (i % 18 < 6) { /* some that end near the end of a page */
            length = 4096 - 20 - (size_t)i % 100;
        }
        has_table[i] = publish_somehow(i % 6, &many[i], length);
    }
    FILE *file = read_dump();
    check_room(file);
    for (int i = 0; i < MANY; i++) {
        CHECK(execbuf_free(&many[i]) == EXECBUF_OK);
    }
    end(file);
}

/* A slot of 16 bytes has no room, and one of 16 bytes more than the table has. A page in which the code ends
 * has none, and so has a slot whose pages behind the code are given back. */
static void without_room_there_is_no_table(void) {
    static uint8_t bytes[40000];
    static const struct {
        size_t capacity;
        size_t length;
        bool is_in_pool;
        bool has_room;
    } cases[] = {
        {16, 16, true, false},
        {16 + 64, 16, true, false},
        {16 + 80, 16, true, true},
        {4000, 4096 - 16, false, false},
        {40000, 36864, true, false},
        {40000, 36860, true, false},
        {40000, 36000, true, true},
        {9000, 4096 - 16 - 64, false, false},
        {9000, 4096 - 16 - 72, false, true},
    };
    begin();
    const execbuf_info info = no_frame();
    FILE *file = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        table_record table;
        load_record loaded;
        execbuf buffer;
        size_t capacity = cases[i].capacity > cases[i].length ? cases[i].capacity : cases[i].length;
        if (cases[i].is_in_pool) {
            CHECK(execbuf_pool_reserve(pool, &buffer, capacity, NULL) == EXECBUF_OK);
        } else {
            CHECK(execbuf_reserve(&buffer, capacity, NULL) == EXECBUF_OK);
        }
        CHECK(execbuf_publish_with(&buffer, bytes, cases[i].length, &info, NULL) == EXECBUF_OK);
        file = file != NULL ? file : read_dump();
        const bool is_slot = cases[i].is_in_pool && stats_of(pool).regions > 0;
        CHECK(read_table(file, &table) == cases[i].has_room || is_slot != cases[i].is_in_pool);
        CHECK(fread(&loaded, 56, 1, file) == 1 && loaded.code == (uintptr_t)buffer.entry);
        CHECK(fseek(file, (long)loaded.size - 56, SEEK_CUR) == 0);
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    }
    end(file);
}

/* While the tool is off, slots are as long as the code. */
static void room_is_taken_only_for_the_tool(void) {
    execbuf buffers[3];
    code one = returning(1);
    const execbuf_info info = no_frame();
    begin();
    execbuf_tools_disable(JITDUMP);
    for (int i = 0; i < 3; i++) {
        if (i == 2) {
            start();
        }
        CHECK(execbuf_pool_publish_with(pool, &buffers[i], one.bytes, one.length, &info, NULL) == EXECBUF_OK);
    }
    if (stats_of(pool).regions > 0) {
        CHECK((uintptr_t)buffers[1].entry - (uintptr_t)buffers[0].entry == 16);
        CHECK((uintptr_t)buffers[2].entry - (uintptr_t)buffers[1].entry > 16);
    }
    execbuf_pool_free(pool);
    remove_place();
}

/* ---- Statuses ---- */

static void a_batch_with_room_is_all_or_nothing(void) {
    code one = returning(1);
    const execbuf_info good = no_frame();
    const execbuf_info wrong = info_of_kind((execbuf_unwind)77);
    const execbuf_code codes[3] = {
        {one.bytes, one.length, &good}, {one.bytes, one.length, NULL}, {one.bytes, one.length, &wrong}};
    execbuf outs[3];
    execbuf_error error;
    begin();
    CHECK(execbuf_pool_publish_batch(pool, outs, codes, 3, &error) == EXECBUF_E_VERSION);
    CHECK(error.position == 2 && stats_of(pool).live == 0);
    for (int i = 0; i < 3; i++) {
        CHECK(outs[i].id == 0 && outs[i].entry == NULL && outs[i].length == 0);
    }
    CHECK(execbuf_pool_publish_with(pool, outs, one.bytes, one.length, &wrong, &error) == EXECBUF_E_VERSION);
    CHECK(outs[0].id == 0 && stats_of(pool).live == 0);
    CHECK(execbuf_pool_publish_with(pool, outs, one.bytes, 0, &good, &error) == EXECBUF_E_EMPTY);
    CHECK(strcmp(error.culprit, "length") == 0);
    CHECK(execbuf_pool_publish_batch(pool, outs, codes, 2, NULL) == EXECBUF_OK);
    CHECK(call(&outs[0], 0) == 1 && call(&outs[1], 0) == 1 && stats_of(pool).live == 2);
    CHECK(execbuf_pool_code_bytes(pool) == 2 * one.length && outs[0].length == one.length);
    CHECK(execbuf_free(&outs[0]) == EXECBUF_OK && execbuf_free(&outs[1]) == EXECBUF_OK);
    FILE *file = read_dump();
    table_record table;
    load_record loaded;
    CHECK(read_table(file, &table) && read_record(file, &loaded));
    end(file);
}

#define TEST(test, backends) in_child(#test, test, NULL, backends)

int main(void) {
    TEST(a_table_precedes_its_code, NULL);
    TEST(a_table_of_several_functions_is_sorted, NULL);
    TEST(a_table_takes_no_room_of_other_code, NULL);
    TEST(a_table_takes_no_room_of_other_code, "flip");
    TEST(without_room_there_is_no_table, NULL);
    TEST(room_is_taken_only_for_the_tool, NULL);
    TEST(a_batch_with_room_is_all_or_nothing, NULL);
    TEST(a_batch_with_room_is_all_or_nothing, "flip");
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: unwind tables in the dump for perf: only on 64-bit Linux\n");
    return 0;
}

#endif
