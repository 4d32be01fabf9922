/* Lists for Windows (csrc/debug/xdata_list.c), which can be made on every machine: at each moment a binary
 * search finds the code that is described, and nothing else. */

#include <stdbool.h>

#include "check.h"

#include "../../csrc/debug/xdata_list.h"

enum { SLOTS = 37, SLOT_SIZE = 48, STEPS = 20000 };

static uint32_t list[3 * SLOTS];

/* Finds the entry of a byte as Windows does, by the order of the entries; NULL: there is none. */
static const uint32_t *search(uint32_t offset) {
    size_t low = 0;
    size_t high = SLOTS;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const uint32_t *entry = &list[3 * middle];
        if (offset < entry[0]) {
            high = middle;
        } else if (offset >= entry[1]) {
            low = middle + 1;
        } else {
            return entry;
        }
    }
    return NULL;
}

static void check_all(const uint32_t *lengths) {
    for (uint32_t offset = 0; offset < SLOTS * SLOT_SIZE + 10; offset++) {
        uint32_t slot = offset / SLOT_SIZE;
        const uint32_t *found = search(offset);
        bool is_described = slot < SLOTS && offset % SLOT_SIZE < lengths[slot];
        CHECK((found != NULL) == is_described);
        if (found != NULL) {
            CHECK(found == &list[(size_t)3 * slot] && found[0] == slot * SLOT_SIZE);
            CHECK(found[2] == 100000 + slot + lengths[slot]);
        }
    }
}

static void what_is_described_is_found(void) {
    uint32_t lengths[SLOTS] = {0};
    uint32_t random = 1;
    xb_xdata_list_write(list, SLOT_SIZE, SLOTS);
    check_all(lengths);
    for (int i = 0; i < STEPS; i++) {
        random = random * 1103515245U + 12345U;
        uint32_t slot = (random >> 16) % SLOTS;
        if (lengths[slot] > 0) {
            xb_xdata_list_clear(list, slot);
            lengths[slot] = 0;
        } else {
            lengths[slot] = 1 + (random >> 8) % SLOT_SIZE;
            xb_xdata_list_fill(list, slot, lengths[slot], 100000 + slot + lengths[slot]);
        }
        if (i % 16 == 0) {
            check_all(lengths);
        }
    }
}

int main(void) {
    CHECK(XB_XDATA_LIST_WORDS(SLOTS) * sizeof(uint64_t) >= sizeof list);
    CHECK(XB_XDATA_LIST_WORDS(2) == 3);
    RUN(what_is_described_is_found);
    (void)printf("ok\n");
    return 0;
}
