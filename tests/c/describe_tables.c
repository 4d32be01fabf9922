/* Malformed tables are refused, with the offset of what is wrong. */

#include "check.h"

#if defined(__LP64__) && defined(__ELF__)

#include <stdbool.h>

#include "describe.h"

static execbuf buffer;
static uint8_t table[TABLE_SIZE];

/* Describes the buffer by a copy of a table that ends where its memory ends: sanitizers notice what is read
 * behind it. */
static execbuf_status describe(const uint8_t *bytes, size_t length, execbuf_error *error) {
    uint8_t *copy = (uint8_t *)malloc(length > 0 ? length : 1);
    CHECK(copy != NULL);
    memcpy(copy, bytes, length);
    const execbuf_info info = info_of_table(copy, length);
    execbuf_status status = execbuf_describe(&buffer, &info, error);
    free(copy);
    return status;
}

static void check_refused(const char *reason, size_t offset) {
    execbuf_error error;
    CHECK(describe(table, TABLE_SIZE, &error) == EXECBUF_E_UNWIND);
    if (strcmp(error.culprit, reason) != 0 || error.position != offset) {
        (void)fprintf(stderr, "%s at %u, not %s at %zu\n", error.culprit, error.position, reason, offset);
        CHECK(0);
    }
    write_table(table, buffer.entry, buffer.length);
}

static void begin(void) {
    static const uint8_t bytes[64];
    CHECK(execbuf_new(&buffer, bytes, sizeof bytes, NULL) == EXECBUF_OK);
    write_table(table, buffer.entry, buffer.length);
    CHECK(describe(table, TABLE_SIZE, NULL) == EXECBUF_OK);
}

static void end(void) {
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void add_to(size_t offset, int64_t difference) {
    int64_t value;
    memcpy(&value, table + offset, 8);
    value += difference;
    memcpy(table + offset, &value, 8);
}

static void tables_for_another_range_are_refused(void) {
    begin();
    add_to(AT_START, -1);
    check_refused("another range", AT_START);
    add_to(AT_START, 1);
    check_refused("another range", AT_START);
    add_to(AT_SIZE, 1);
    check_refused("another range", AT_START);
    add_to(AT_SIZE, -64);
    check_refused("another range", AT_START);
    memset(table + AT_SIZE, 0xff, 8);
    check_refused("another range", AT_START);
    table[AT_PROGRAM] = 0x7f; /* DW_CFA_advance_loc 63, within 64 bytes */
    CHECK(describe(table, TABLE_SIZE, NULL) == EXECBUF_OK);
    table[12] = 2; /* the code alignment factor */
    check_refused("another range", AT_PROGRAM);
    end();
}

static void unknown_forms_are_refused(void) {
    begin();
    table[AT_VERSION] = 2;
    check_refused("unknown version", AT_VERSION);
    table[AT_AUGMENTATION] = 'e';
    check_refused("unknown augmentation", AT_AUGMENTATION);
    table[AT_AUGMENTATION + 1] = 'S';
    check_refused("unknown augmentation", AT_AUGMENTATION + 1);
    table[AT_ENCODING] = 0x01; /* DW_EH_PE_uleb128 */
    check_refused("unknown encoding", AT_ENCODING);
    table[AT_ENCODING] = 0x30; /* DW_EH_PE_datarel */
    check_refused("unknown encoding", AT_ENCODING);
    table[AT_ENCODING] = 0x80; /* DW_EH_PE_indirect */
    check_refused("unknown encoding", AT_ENCODING);
    table[AT_ENCODING] = 0xff; /* DW_EH_PE_omit */
    check_refused("unknown encoding", AT_ENCODING);
    table[12] = 0; /* the code alignment factor */
    check_refused("unknown alignment", 12);
    table[AT_ENCODING - 1] = 2; /* the augmentation length */
    check_refused("wrong augmentation length", AT_ENCODING);
    table[AT_PROGRAM] = 0x3f;
    check_refused("unknown instruction", AT_PROGRAM);
    table[AT_PROGRAM] = 0x0b; /* DW_CFA_restore_state */
    check_refused("no state to restore", AT_PROGRAM);
    memset(table + AT_INITIAL, 0, 3);
    check_refused("no CFA", AT_INITIAL);
    table[AT_FDE + 4] = 27; /* the distance to the CIE */
    check_refused("no CIE", AT_FDE + 4);
    table[AT_FDE] = 29; /* the length of the FDE */
    check_refused("truncated", AT_FDE);
    table[AT_FDE] = 3;
    check_refused("truncated", AT_FDE);
    table[AT_PROGRAM + 5] = 0x0f; /* DW_CFA_def_cfa_expression of 100 bytes */
    table[AT_PROGRAM + 6] = 100;
    check_refused("truncated", TABLE_SIZE);
    end();
}

static void tables_that_overlap_or_go_on_behind_their_end_are_refused(void) {
    uint8_t two[2 * TABLE_SIZE + 8] = {0};
    execbuf_error error;
    begin();
    write_table(two, (const uint8_t *)buffer.entry + 32, 32); /* not in the order of addresses */
    write_table(two + TABLE_SIZE, buffer.entry, 32);
    CHECK(describe(two, 2 * TABLE_SIZE, NULL) == EXECBUF_OK);
    CHECK(describe(two, 2 * TABLE_SIZE + 4, NULL) == EXECBUF_OK);
    CHECK(describe(two, 2 * TABLE_SIZE + 8, &error) == EXECBUF_E_UNWIND);
    CHECK(strcmp(error.culprit, "bytes behind the end") == 0 && error.position == 2 * TABLE_SIZE + 4);
    write_table(two + TABLE_SIZE, buffer.entry, 33);
    CHECK(describe(two, 2 * TABLE_SIZE, &error) == EXECBUF_E_UNWIND);
    CHECK(strcmp(error.culprit, "functions overlap") == 0);
    end();
}

/* Two functions do not fit into the record of a slot, and neither do many instructions. */
static void tables_of_code_in_slots_are_small(void) {
    static const uint8_t bytes[64];
    uint8_t two[2 * TABLE_SIZE] = {0};
    execbuf_error error;
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    CHECK(execbuf_pool_publish(pool, &buffer, bytes, sizeof bytes, NULL) == EXECBUF_OK);
    if (stats_of(pool).regions == 0) {
        (void)fprintf(stderr, "SKIP: tables of code in slots: there are no regions here\n");
    } else {
        write_table(two, buffer.entry, 32);
        write_table(two + TABLE_SIZE, (const uint8_t *)buffer.entry + 32, 32);
        CHECK(describe(two, 2 * TABLE_SIZE, &error) == EXECBUF_E_UNWIND);
        CHECK(strcmp(error.culprit, "more than one function") == 0);
        write_table(two, buffer.entry, 64);
        two[AT_FDE] = 28 + TABLE_SIZE;
        memset(two + TABLE_SIZE, 0x0a, 49);
        memset(two + TABLE_SIZE, 0x41, 49); /* DW_CFA_advance_loc 1 */
        CHECK(describe(two, 2 * TABLE_SIZE, &error) == EXECBUF_E_UNWIND);
        CHECK(strcmp(error.culprit, "too many instructions") == 0);
    }
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_pool_free(pool);
}

static void truncated_and_changed_tables_are_refused_or_harmless(void) {
    begin();
    for (size_t length = 0; length < TABLE_SIZE; length++) {
        bool is_whole = length == 0 || length == AT_FDE; /* without functions */
        CHECK((describe(table, length, NULL) == EXECBUF_OK) == is_whole);
    }
    for (size_t at = 0; at < TABLE_SIZE; at++) {
        uint8_t before = table[at];
        for (int value = 0; value < 256; value++) {
            table[at] = (uint8_t)value;
            execbuf_status status = describe(table, TABLE_SIZE, NULL);
            CHECK(status == EXECBUF_OK || status == EXECBUF_E_UNWIND);
        }
        table[at] = before;
    }
    end();
}

int main(void) {
    RUN(tables_for_another_range_are_refused);
    RUN(unknown_forms_are_refused);
    RUN(tables_that_overlap_or_go_on_behind_their_end_are_refused);
    RUN(tables_of_code_in_slots_are_small);
    RUN(truncated_and_changed_tables_are_refused_or_harmless);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: tables of descriptions: not on this platform\n");
    return 0;
}

#endif
