/* With a greater vm.mmap_min_addr, less of the low address space can be mapped than the list of mappings
 * shows. Run by .ci/machines, as a program that is linked to an address above it. */

#include "pool_helpers.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LOW = 65536, END = 4 << 20, MOST = 100 };

static uintptr_t lowest; /* vm.mmap_min_addr */

static execbuf buffers[MOST];

/* Fills a window with code, from near_to on. Returns how many pieces fit. */
static uint32_t fill(uintptr_t near_to) {
    static const uint8_t bytes[60000] = {0};
    execbuf_placement placement = EXECBUF_PLACEMENT_INIT;
    placement.lowest = LOW;
    placement.highest = END - 1;
    placement.near_to = (const void *)near_to; /* NOLINT(performance-no-int-to-ptr) */
    placement.distance = near_to != 0 ? END : 0;
    uint32_t count = 0;
    execbuf_status status = EXECBUF_OK;
    while (status == EXECBUF_OK) {
        CHECK(count < MOST);
        status = execbuf_new_at(&buffers[count], bytes, sizeof bytes, &placement, &error);
        CHECK(status != EXECBUF_OK || (uintptr_t)buffers[count].entry >= lowest);
        count += status == EXECBUF_OK;
    }
    CHECK(status == EXECBUF_E_TOO_FAR);
    for (uint32_t i = 0; i < count; i++) {
        release(&buffers[i]);
    }
    return count;
}

static void low_addresses_count_as_taken(void) {
    CHECK(fill(0) >= 16);
    CHECK(fill(END - 1) >= 16);
}

int main(void) {
    FILE *file = fopen("/proc/sys/vm/mmap_min_addr", "r");
    unsigned long setting = 0;
    CHECK(file != NULL && fscanf(file, "%lu", &setting) == 1 && fclose(file) == 0);
    CHECK(setting > LOW && setting < END / 2);
    lowest = setting;
    CHECK(setgid(65534) == 0 && setuid(65534) == 0); /* root may map low addresses */
    void *low = (void *)(uintptr_t)LOW;              /* NOLINT(performance-no-int-to-ptr) */
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    CHECK(mmap(low, LOW, PROT_NONE, flags, -1, 0) == MAP_FAILED && errno == EPERM);
    RUN(low_addresses_count_as_taken);
    return 0;
}
