/* The system calls of a search for free address space, and what happens without the list of mappings or
 * without memory. */

#include "pool_faults.h"

#if !defined(__linux__)
int main(void) {
    return 0;
}
#else
#include <sys/mman.h>

static long opened; /* how often a file was opened */
static long mapped; /* how often mmap was called */

static void count_calls(const char *call) {
    opened += strcmp(call, "open") == 0;
    mapped += strcmp(call, "mmap") == 0;
}

static execbuf_placement near_this(void) {
    execbuf_placement placement = EXECBUF_PLACEMENT_INIT;
    placement.near_to = &opened;
    return placement;
}

/* One piece costs as much as another, however many there are. The list is read once for each free range: the
 * first one may be a gap within the program. */
static void the_list_of_mappings_is_read_once(void) {
    enum { COUNT = 300 };
    static execbuf buffers[COUNT];
    execbuf_placement placement = near_this();
    code one = returning(1);
    watch = count_calls;
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK(execbuf_new_at(&buffers[i], one.bytes, one.length, &placement, NULL) == EXECBUF_OK);
        if (i == 0) { /* the first one includes the self-test of a backend */
            CHECK(opened == 1);
            opened = 0;
            mapped = 0;
        }
    }
    CHECK(opened <= 1 && mapped <= 2 * (COUNT - 1));
    watch = NULL;
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
}

/* A program places code near each of its functions, and in several ranges in turn. */
static void windows_share_what_is_known_of_the_list(void) {
    enum { COUNT = 300 };
    static execbuf buffers[2 * COUNT];
    code one = returning(1);
    watch = count_calls;
    opened = 0;
    for (uint32_t i = 0; i < 2 * COUNT; i++) {
        execbuf_placement placement = near_this();
        if (i % 2 == 0) {
            placement.near_to = (const uint8_t *)&opened + i * (size_t)64;
        } else {
            placement.near_to = NULL;
            placement.lowest = (uintptr_t)&opened + ((size_t)48 << 20);
        }
        CHECK(execbuf_new_at(&buffers[i], one.bytes, one.length, &placement, NULL) == EXECBUF_OK);
    }
    CHECK(opened <= 4);
    watch = NULL;
    for (uint32_t i = 0; i < 2 * COUNT; i++) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
}

/* Room is only below the first piece of a pool with a reach, so the pieces follow one another downwards. */
static void pieces_of_a_pool_share_what_is_known_of_the_list(void) {
    enum { COUNT = 20 };
    static const uint8_t bytes[300000] = {0};
    execbuf buffers[COUNT];
    const size_t size = (size_t)64 << 20;
    uint8_t *taken = (uint8_t *)mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(taken != (uint8_t *)MAP_FAILED && munmap(taken + size - (1 << 20), (size_t)1 << 20) == 0);
    execbuf_pool_options options = options_of(NULL, "reach");
    options.placement.lowest = (uintptr_t)taken;
    options.placement.highest = (uintptr_t)taken + size - (512 << 10);
    options.reach = size;
    CHECK(execbuf_pool_new(&pool, &options, NULL) == EXECBUF_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK(execbuf_pool_publish(pool, &buffers[i], bytes, sizeof bytes, NULL) == EXECBUF_OK);
        if (i == 0) {
            CHECK(munmap(taken, size - (1 << 20)) == 0);
            watch = count_calls;
            opened = 0;
        }
    }
    watch = NULL;
    CHECK(opened <= 3);
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK((const uint8_t *)buffers[i].entry < taken + size - (i == 0 ? 0 : 1 << 20));
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    execbuf_pool_free(pool);
}

/* Addresses are tried instead, and the error says that not all were. */
static void without_the_list_some_addresses_are_tried(void) {
    static int elsewhere; /* no cursor exists for it */
    code one = returning(1);
    execbuf_placement placement = EXECBUF_PLACEMENT_INIT;
    placement.near_to = (const uint8_t *)&elsewhere + ((size_t)1 << 20);
    always[0] = "open";
    CHECK(execbuf_new_at(&buffer, one.bytes, one.length, &placement, &error) == EXECBUF_OK);
    const uintptr_t distance = (uintptr_t)buffer.entry > (uintptr_t)placement.near_to
                                   ? (uintptr_t)buffer.entry - (uintptr_t)placement.near_to
                                   : (uintptr_t)placement.near_to - (uintptr_t)buffer.entry;
    CHECK(call(&buffer, 0) == 1 && distance < EXECBUF_DISTANCE);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);

    const size_t size = (size_t)64 << 20;
    uint8_t *taken = (uint8_t *)mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(taken != (uint8_t *)MAP_FAILED);
    placement.near_to = NULL;
    placement.lowest = (uintptr_t)taken;
    placement.highest = (uintptr_t)taken + size - 1;
    CHECK(execbuf_new_at(&buffer, one.bytes, one.length, &placement, &error) == EXECBUF_E_TOO_FAR);
    CHECK(strcmp(error.culprit, "open(/proc/self/maps)") == 0 && error.os_error == REFUSED);
    always[0] = "";
    CHECK(execbuf_new_at(&buffer, one.bytes, one.length, &placement, &error) == EXECBUF_E_TOO_FAR);
    CHECK(strcmp(error.culprit, "placement") == 0);

    /* The end of the range is tried, too, although it is far from its beginning. */
    CHECK(munmap(taken + size / 4 * 3, size / 4) == 0);
    always[0] = "open";
    placement.lowest += 65536; /* no cursor exists for it */
    CHECK(execbuf_new_at(&buffer, one.bytes, one.length, &placement, &error) == EXECBUF_OK);
    CHECK((uintptr_t)buffer.entry - placement.lowest < size - 65536);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    always[0] = "";
    CHECK(munmap(taken, size / 4 * 3) == 0);
}

/* The kernel has no memory for the pages of a region. Code then gets a dedicated mapping, or an error if
 * there is no memory for that either; and the pool works again later. */
static void want_of_memory_is_an_error(void) {
    make_pool_with_code();
    const size_t regions = stats_of_pool().regions;
    if (regions == 0) {
        (void)fprintf(stderr, "SKIP: memory of regions: there are none here\n");
    }
    static execbuf buffers[100];
    for (int round = 0; round < 2 && regions > 0; round++) {
        static const char *const failing[] = {NULL, "madvise(MADV_POPULATE_WRITE)"};
        arm(failing[round], 0, true);
        execbuf_status status = EXECBUF_OK;
        for (uint32_t i = 0; i < 100 && status == EXECBUF_OK; i++) {
            status = publish_size(&buffers[i], 1, 4000);
        }
        disarm();
        CHECK(status == (round == 0 ? EXECBUF_E_NO_MEMORY : EXECBUF_OK));
        CHECK(round == 0 || stats_of_pool().dedicated > 80);
        for (uint32_t i = 0; i < 100; i++) {
            CHECK(buffers[i].id == 0 || call(&buffers[i], 0) == 1);
            CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
        }
        CHECK(stats_of_pool().live == 1 && stats_of_pool().regions <= regions + 1);
    }
    /* After a pause, regions are tried again. */
    bool in_region = regions == 0;
    for (int i = 0; i < 2000 && !in_region; i++) {
        CHECK(publish_size(&buffers[0], 1, 4000) == EXECBUF_OK);
        in_region = stats_of_pool().dedicated == 0;
        CHECK(execbuf_free(&buffers[0]) == EXECBUF_OK);
    }
    CHECK(in_region);
    clean_up();
}

static long refusals; /* how many calls of mmap are refused as they are below vm.mmap_min_addr */

static int32_t refuse_low_addresses(const char *call) {
    return strcmp(call, "mmap") == 0 && refusals-- > 0 ? EPERM : 0;
}

/* With a greater vm.mmap_min_addr, the free range at low addresses is not as large as it looks. */
static void addresses_that_cannot_be_mapped_count_as_taken(void) {
    code one = returning(1);
    CHECK(execbuf_new(&buffer, one.bytes, one.length, &error) == EXECBUF_OK); /* tests a backend */
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    execbuf_placement placement = EXECBUF_PLACEMENT_INIT;
    placement.lowest = 65536;
    placement.highest = ((uintptr_t)64 << 20) - 1;
    CHECK(execbuf_new_at(&buffer, one.bytes, one.length, &placement, &error) == EXECBUF_OK);
    bool is_lowest = (uintptr_t)buffer.entry < 65536U << 1;
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    if (!is_lowest) {
        (void)fprintf(stderr, "SKIP: vm.mmap_min_addr: the lowest addresses are not free here\n");
        return;
    }
    answer = refuse_low_addresses;
    refusals = 5;
    CHECK(execbuf_new_at(&buffer, one.bytes, one.length, &placement, &error) == EXECBUF_OK);
    CHECK(refusals == -1 && (uintptr_t)buffer.entry >= 65536U << 5 && call(&buffer, 0) == 1);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    /* A policy that refuses all of them is reported. */
    refusals = 1000;
    CHECK(execbuf_new_at(&buffer, one.bytes, one.length, &placement, &error) == EXECBUF_E_DENIED);
    CHECK(strcmp(error.culprit, "mmap") == 0 && error.os_error == EPERM && refusals > 900);
    /* If none is left, the window is full. */
    refusals = 1000;
    placement.highest = ((uintptr_t)1 << 20) - 1;
    CHECK(execbuf_new_at(&buffer, one.bytes, one.length, &placement, &error) == EXECBUF_E_TOO_FAR);
    answer = NULL;
}

static long tested; /* how many regions have memory for their self-test */

/* There is memory for the first page of a new region only. */
static int32_t give_one_page(const char *call) {
    static bool is_new;
    is_new |= strcmp(call, "ftruncate") == 0;
    if (strcmp(call, "madvise(MADV_POPULATE_WRITE)") != 0) {
        return 0;
    }
    tested += is_new;
    const int32_t given = is_new ? 0 : EXHAUSTED;
    is_new = false;
    return given;
}

static void want_of_memory_maps_few_regions(void) {
    make_pool_with_code();
    const size_t regions = stats_of_pool().regions;
    static execbuf buffers[500];
    answer = give_one_page;
    for (uint32_t i = 0; i < 500; i++) {
        CHECK(publish_size(&buffers[i], 1, 4000) == EXECBUF_OK && call(&buffers[i], 0) == 1);
    }
    answer = NULL;
    CHECK(tested <= 4 && stats_of_pool().regions <= regions + 1);
    for (uint32_t i = 0; i < 500; i++) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    clean_up();
}

/* Adds the resident memory of the mappings whose line in /proc/self/smaps contains a name and a protection,
 * and checks that none may use huge pages. */
static size_t resident_of(const char *name, const char *protection) {
    FILE *smaps = fopen("/proc/self/smaps", "r");
    CHECK(smaps != NULL);
    char line[256];
    size_t sum = 0;
    int counts = 0;
    while (fgets(line, sizeof line, smaps) != NULL) {
        unsigned long long start;
        unsigned long kibibytes;
        if (sscanf(line, "%llx-%*x", &start) == 1) {
            counts = strstr(line, name) != NULL && strstr(line, protection) != NULL;
        } else if (counts && sscanf(line, "Rss: %lu", &kibibytes) == 1) {
            sum += (size_t)kibibytes << 10;
        } else if (counts && strncmp(line, "VmFlags:", 8) == 0) {
            CHECK(strstr(line, " nh") != NULL);
        }
    }
    (void)fclose(smaps);
    return sum;
}

static void resident_is_what_is_resident(void) {
    execbuf_pool_options options = options_of(NULL, "resident");
    static const uint8_t bytes[40000] = {0};
    static execbuf buffers[400];
    CHECK(execbuf_pool_new(&pool, &options, NULL) == EXECBUF_OK);
    for (uint32_t i = 0; i < 400; i++) {
        const size_t size = 16 + i * (size_t)97 % 39000;
        CHECK(execbuf_pool_publish(pool, &buffers[i], bytes, size, NULL) == EXECBUF_OK);
        if (i == 0 || i % 100 == 99) {
            execbuf_pool_stats stats = stats_of(pool);
            if (stats.backend != EXECBUF_BACKEND_MEMFD || hides_maps()) {
                (void)fprintf(stderr, "SKIP: resident memory: no named regions here\n");
                break;
            }
            CHECK(stats.resident == resident_of("memfd:resident", "-w-s"));
            CHECK(i > 0 || (stats.resident <= 3 * 65536 && stats.mapped <= 8 * 65536));
        }
    }
    for (uint32_t i = 0; i < 400; i++) {
        CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
    }
    execbuf_pool_free(pool);
}

int main(void) {
    RUN(the_list_of_mappings_is_read_once);
    RUN(windows_share_what_is_known_of_the_list);
    RUN(pieces_of_a_pool_share_what_is_known_of_the_list);
    RUN(without_the_list_some_addresses_are_tried);
    RUN(addresses_that_cannot_be_mapped_count_as_taken);
    RUN(want_of_memory_is_an_error);
    RUN(want_of_memory_maps_few_regions);
    RUN(resident_is_what_is_resident);
    return 0;
}
#endif
