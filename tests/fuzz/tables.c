/* Finished unwind tables: the input is one in the format of .eh_frame, or an UNWIND_INFO, for code of some
 * size. What is accepted is written as unwinders get it, and read again. */

#include "fuzz.h"

#include <stdbool.h>

#include "../../csrc/debug/eh_frame.h"
#include "../../csrc/debug/info_xdata.h"
#include "../../csrc/debug/rules.h"

static bool is_same(const xb_rules *one, const xb_rules *other) {
    return one->start == other->start && one->size == other->size && one->personality == other->personality &&
           one->lsda == other->lsda && one->return_register == other->return_register &&
           one->program_size >= other->program_size &&
           (other->program_size == 0 || memcmp(one->program, other->program, other->program_size) == 0);
}

/* Writes rules, and reads them again. */
static void check_written(const xb_rules *rules, size_t count, uint64_t start, uint64_t size) {
    const size_t words = xb_rules_words(rules, count);
    uint64_t *written = (uint64_t *)exactly(words * sizeof *written);
    xb_rules *again = (xb_rules *)exactly(count * sizeof *again);
    const uint8_t *first;
    const uint8_t *last;
    size_t found;
    xb_rules_write(written, rules, count, &first, &last);
    const uint8_t *bytes = (const uint8_t *)written;
    const size_t length = words * sizeof *written - 4; /* the terminator has 4 bytes, and fills 8 */
    CHECK(first > bytes && last >= first && last < bytes + length);
    xb_table_fault fault = xb_eh_frame_read(bytes, length, start, size, again, &found);
    CHECK(fault.reason == NULL && found == count);
    for (size_t i = 0; i < count; i++) {
        CHECK(is_same(&rules[i], &again[i]));
    }
    free(again);
    free(written);
}

static void check_eh_frame(const uint8_t *table, size_t length, uint64_t start, uint64_t size) {
    size_t count = 0;
    size_t again = 0;
    xb_table_fault fault = xb_eh_frame_read(table, length, start, size, NULL, &count);
    CHECK(fault.reason == NULL || fault.offset <= length);
    if (fault.reason != NULL || count == 0) {
        return;
    }
    xb_rules *rules = (xb_rules *)exactly(count * sizeof *rules);
    CHECK(xb_eh_frame_read(table, length, start, size, rules, &again).reason == NULL && again == count);
    if (xb_eh_frame_sort(rules, count)) {
        uint64_t end = start;
        for (size_t i = 0; i < count; i++) {
            CHECK(rules[i].start >= end && rules[i].size > 0 &&
                  rules[i].size <= start + size - rules[i].start);
            CHECK(rules[i].initial_size <= XB_MAX_INITIAL);
            end = rules[i].start + rules[i].size;
        }
        check_written(rules, count, start, size);
    }
    free(rules);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input from = {data, size};
    const uint8_t kind = take_u8(&from);
    uint16_t length;
    take(&from, &length, sizeof length);
    uint8_t *table = (uint8_t *)exactly(from.size);
    memcpy(table, from.data, from.size);
    if (kind % 2 == 0) {
        check_eh_frame(table, from.size, (kind & 2) != 0 ? 0x1000 : (uintptr_t)table + 0x1000, length);
    } else {
        xb_table_fault fault = xb_info_xdata_check(table, from.size, length);
        CHECK(fault.reason == NULL ? from.size >= 4 : fault.offset <= from.size);
    }
    free(table);
    return 0;
}
