/* Where code lies: near an address, in a range, and within the reach of a pool, also where little of the
 * address space is free. reach.c tests the reach, and placement_faults.c counts the
 * system calls of the search. */

#include "placement.h"

#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/wait.h>
#endif

/* Large pieces have a mapping each, small ones share regions. The pieces are many more than the addresses
 * that a search in steps would try. */
static void thousands_of_pieces_are_near_the_program(void) {
    enum { SMALL = 20000, LARGE = 1500 };
    static execbuf buffers[SMALL + LARGE];
#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
    /* Without the list of mappings, 512 addresses are tried, and a mapping may take more than one of them. */
    const int is_searched = access("/proc/self/maps", R_OK) == 0;
    const uint32_t large_count = !is_searched ? 50 : under_valgrind() ? 100 : LARGE;
    const uint32_t small_count = some(SMALL, 2000);
#else
    const uint32_t large_count = 50; /* some addresses are tried only */
    const uint32_t small_count = some(SMALL, 50);
#endif
    const size_t large = 300000;
    execbuf_pool *pool = pool_with(near_program(0), 0);
    for (uint32_t i = 0; i < small_count + large_count; i++) {
        const size_t size = i < large_count ? large : 16;
        execbuf_status status =
            execbuf_pool_publish(pool, &buffers[i], code_of(i % 2048, size), size, &error);
        CHECK(status == EXECBUF_OK);
        CHECK(is_within(&buffers[i], address_of_program(), EXECBUF_DISTANCE));
    }
    for (uint32_t i = 0; i < small_count + large_count; i++) {
        CHECK(call(&buffers[i], 0) == (int)(i % 2048));
        release(&buffers[i]);
    }
    execbuf_pool_free(pool);
}

/* The reach of a branch of AArch64. */
static void code_is_within_the_distance(void) {
    const size_t distances[] = {(size_t)128 << 20, (size_t)64 << 20};
    for (size_t i = 0; i < 2; i++) {
        execbuf_placement placement = near_program(distances[i]);
        execbuf_pool *pool = pool_with(placement, 0);
        execbuf in_pool[50];
        for (uint32_t j = 0; j < 50; j++) {
            const size_t size = j % 2 == 0 ? 16 : 300000;
            execbuf alone;
            execbuf reserved;
            CHECK(execbuf_pool_publish(pool, &in_pool[j], code_of(j, size), size, NULL) == EXECBUF_OK);
            CHECK(execbuf_new_at(&alone, code_of(j, size), size, &placement, NULL) == EXECBUF_OK);
            CHECK(execbuf_reserve_at(&reserved, size, &placement, NULL) == EXECBUF_OK);
            CHECK(execbuf_publish(&reserved, code_of(j, size), size, NULL) == EXECBUF_OK);
            const execbuf *all[] = {&in_pool[j], &alone, &reserved};
            for (size_t k = 0; k < 3; k++) {
                CHECK(call(all[k], 0) == (int)j);
                CHECK(is_within(all[k], placement.near_to, distances[i]));
            }
            CHECK(execbuf_free(&alone) == EXECBUF_OK && execbuf_free(&reserved) == EXECBUF_OK);
        }
        /* If nothing is free below the program, the pieces are in the heap's room, which another test needs.
         */
        for (uint32_t j = 0; j < 50; j++) {
            release(&in_pool[j]);
        }
        execbuf_pool_free(pool);
    }
}

static void impossible_placements_are_refused(void) {
    code one = returning(1);
    struct {
        execbuf_placement placement;
        execbuf_status status;
        const char *culprit;
    } const refused[] = {
        {{NULL, 1 << 20, 0, 0}, EXECBUF_E_NULL, "near_to"},
        {{NULL, 0, 2 * PAGE, PAGE}, EXECBUF_E_TOO_FAR, "placement"},
        {{address_of_program(), 0, (uintptr_t)address_of_program() + EXECBUF_DISTANCE, 0},
         EXECBUF_E_TOO_FAR,
         "placement"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
        execbuf_pool *pool;
        execbuf buffer;
        options.placement = refused[i].placement;
        CHECK(execbuf_pool_new(&pool, &options, &error) == refused[i].status && pool == NULL);
        CHECK(strcmp(error.culprit, refused[i].culprit) == 0);
        CHECK(execbuf_new_at(&buffer, one.bytes, one.length, &refused[i].placement, &error) ==
              refused[i].status);
        CHECK(strcmp(error.culprit, refused[i].culprit) == 0 && is_zero(&buffer));
        CHECK(execbuf_reserve_at(&buffer, 1, &refused[i].placement, &error) == refused[i].status);
        CHECK(is_zero(&buffer));
    }
    execbuf buffer; /* no conditions */
    execbuf_placement anywhere = EXECBUF_PLACEMENT_INIT;
    CHECK(execbuf_new_at(&buffer, one.bytes, one.length, &anywhere, NULL) == EXECBUF_OK);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    CHECK(execbuf_new_at(&buffer, one.bytes, one.length, NULL, NULL) == EXECBUF_OK);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    CHECK(execbuf_new_at(NULL, one.bytes, one.length, NULL, NULL) == EXECBUF_E_NULL);
    CHECK(execbuf_new_at(&buffer, NULL, one.length, NULL, NULL) == EXECBUF_E_NULL);
    CHECK(execbuf_reserve_at(NULL, 1, NULL, NULL) == EXECBUF_E_NULL);
}

#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)

/* All of a range is taken but for one hole of a page, in an odd place. */
static void the_only_hole_is_found(void) {
    const size_t size = (size_t)256 << 20;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *taken = take(0, size);
    CHECK(taken != NULL);
    uint8_t *hole = taken + 12345 * page;
    CHECK(munmap(hole, page) == 0);
    execbuf_placement placement = between(taken, taken + size);
    code one = returning(1);
    for (int round = 0; round < 3; round++) {
        execbuf buffer;
        execbuf second;
        CHECK(execbuf_new_at(&buffer, one.bytes, one.length, &placement, NULL) == EXECBUF_OK);
        CHECK((const uint8_t *)buffer.entry > hole && (const uint8_t *)buffer.entry < hole + page);
        CHECK(execbuf_new_at(&second, one.bytes, one.length, &placement, &error) == EXECBUF_E_TOO_FAR);
        CHECK(strcmp(error.culprit, "placement") == 0 && is_zero(&second));
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    }
    CHECK(munmap(taken, size) == 0);
}

/* A pool takes smaller regions where no larger one fits, then dedicated mappings. */
static void all_free_pages_of_a_range_are_used(void) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t size = 4096 * page;
    uint8_t *taken = take(0, size);
    CHECK(taken != NULL);
    size_t free_pages = 0;
    for (size_t at = 1, length = 1; at + length < size / page; at += length + 7, length = length % 60 + 1) {
        CHECK(munmap(taken + at * page, length * page) == 0);
        free_pages += length;
    }
    execbuf_pool *pool = pool_with(between(taken, taken + size), 0);
    static execbuf buffers[4096];
    size_t count = 0;
    while (count < 4096 && execbuf_pool_publish(pool, &buffers[count], code_of(1, page - 16), page - 16,
                                                &error) == EXECBUF_OK) {
        CHECK(call(&buffers[count], 0) == 1);
        count++;
    }
    CHECK(error.status == EXECBUF_E_TOO_FAR && strcmp(error.culprit, "placement") == 0);
    CHECK(count * 10 >= free_pages * (size_t)some(6, 9)); /* regions have a page of their own, and ends */
    while (count > 0) {
        release(&buffers[--count]);
    }
    execbuf_pool_free(pool);
    CHECK(munmap(taken, size) == 0);
}

/* The heap grows upwards from the end of the program. */
static void the_room_of_the_heap_is_used_last(void) {
    (void)sbrk(100); /* then the heap ends within a page; musl refuses it */
    const uint8_t *heap = (const uint8_t *)sbrk(0);
    const size_t room = (size_t)64 << 20;
    const size_t below = (size_t)1 << 30;
    code one = returning(1);
    execbuf buffer;
    execbuf_placement placement = between(heap, heap + room);
    execbuf_status status = execbuf_new_at(&buffer, one.bytes, one.length, &placement, NULL);
    /* Emulators and valgrind have a heap of their own kind. */
    if (status != EXECBUF_OK || some(1, 0) == 0 || under_valgrind()) {
        (void)fprintf(stderr, "SKIP: the room of the heap: something else is there\n");
        CHECK(execbuf_free(&buffer) == EXECBUF_OK);
        return;
    }
    CHECK(heap + room - (const uint8_t *)buffer.entry <= PAGE); /* at its end */
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
    if ((uintptr_t)heap < 2 * below) {
        return; /* the program is not position-independent, and nothing is free below */
    }
    placement = between(heap - below, heap + room);
    placement.near_to = heap;
    CHECK(execbuf_new_at(&buffer, one.bytes, one.length, &placement, NULL) == EXECBUF_OK);
    CHECK((const uint8_t *)buffer.entry < heap);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

/* What is free begins 128 MiB below the stack. */
static void the_room_of_the_stack_is_not_used(void) {
    if (some(1, 0) == 0) {
        (void)fprintf(stderr, "SKIP: the room of the stack: stacks of emulators do not grow\n");
        return;
    }
    char *line = strstr(read_maps(), "[stack]");
    CHECK(line != NULL);
    while (line[-1] != '\n') {
        line--;
    }
    unsigned long long stack;
    CHECK(sscanf(line, "%llx", &stack) == 1);
    execbuf_placement placement = EXECBUF_PLACEMENT_INIT;
    placement.lowest = (uintptr_t)stack - ((uintptr_t)64 << 20);
    placement.highest = (uintptr_t)stack - 1;
    execbuf buffer;
    code one = returning(1);
    CHECK(execbuf_new_at(&buffer, one.bytes, one.length, &placement, NULL) == EXECBUF_E_TOO_FAR);
    if (hides_maps()) {
        (void)fprintf(stderr, "SKIP: addresses of the kernel: ThreadSanitizer replaces them by 0\n");
        return;
    }
    if (sizeof(void *) < 8) {
        (void)fprintf(stderr,
                      "SKIP: addresses of the kernel: 32-bit programs on a 64-bit kernel can use them\n");
        return;
    }
    /* Addresses of the kernel. */
    placement.lowest = UINTPTR_MAX / 4 * 3;
    placement.highest = UINTPTR_MAX / 8 * 7;
    for (int i = 0; i < 3; i++) {
        CHECK(execbuf_new_at(&buffer, one.bytes, one.length, &placement, &error) == EXECBUF_E_TOO_FAR);
        CHECK(strcmp(error.culprit, "placement") == 0);
    }
}

/* Blocks of 128 KiB lie everywhere around the program, 16 MiB apart: 0.8 % of the address space there. */
static void a_crowded_address_space_is_used(void) {
    uint8_t *blocks[256] = {NULL};
    const uintptr_t origin = (uintptr_t)address_of_program() & ~(uintptr_t)0xffff;
    for (uintptr_t i = 0; i < 256; i++) {
        blocks[i] = take(origin + (i << 24) - ((uintptr_t)1 << 31), (size_t)128 << 10);
    }
    execbuf_pool *pools[2] = {pool_with(near_program(0), 0),
                              pool_with(near_program(0), (size_t)1 << 31)}; /* the second with a reach */
    execbuf buffers[2][300];
    for (uint32_t i = 0; i < 300; i++) {
        const size_t size = i % 3 == 0 ? 300000 : 1000;
        for (int j = 0; j < 2; j++) {
            publish_of_size(pools[j], &buffers[j][i], i, size);
            CHECK(is_within(&buffers[j][i], address_of_program(), EXECBUF_DISTANCE));
            CHECK(j == 0 || is_within(&buffers[j][i], buffers[j][0].entry, EXECBUF_DISTANCE));
        }
    }
    for (int j = 0; j < 2; j++) {
        for (uint32_t i = 0; i < 300; i++) {
            release(&buffers[j][i]);
        }
        execbuf_pool_free(pools[j]);
    }
    for (size_t i = 0; i < 256; i++) {
        CHECK(blocks[i] == NULL || munmap(blocks[i], (size_t)128 << 10) == 0);
    }
}

/* Runs a test in a child, since it changes limits of the process. */
static void in_child(void (*test)(void)) {
    (void)fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        test();
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void publish_in_two_mebibytes(void) {
    enum { COUNT = 4000 };
    static execbuf buffers[COUNT];
    code one = returning(1);
    execbuf_pool *pool = new_pool();
    maps now = look(); /* a superset of what RLIMIT_AS counts */
    struct rlimit limit = {now.bytes + 2 * MEBIBYTE, now.bytes + 2 * MEBIBYTE};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK(execbuf_pool_publish(pool, &buffers[i], one.bytes, one.length, NULL) == EXECBUF_OK);
        CHECK(call(&buffers[i], 0) == 1);
    }
    CHECK(stats_of(pool).dedicated == 0);
}

static void thousands_of_functions_fit_into_little_address_space(void) {
    if (some(1, 0) == 0 || hides_maps() || under_address_sanitizer()) {
        (void)fprintf(stderr, "SKIP: little address space: tools need more\n");
        return;
    }
    in_child(publish_in_two_mebibytes);
}

/* Without random addresses, little is free between the heap's room and the stack's. What follows the last
 * mapping looks free, but is behind the end of the address space. */
static void reserve_above_the_heap(void) {
    execbuf_placement placement = EXECBUF_PLACEMENT_INIT;
    placement.lowest = (uintptr_t)sbrk(0) + PAGE;
    execbuf buffer;
    CHECK(execbuf_reserve_at(&buffer, (size_t)256 << 20, &placement, NULL) == EXECBUF_OK);
    CHECK(execbuf_free(&buffer) == EXECBUF_OK);
}

static void run_without_random_addresses(void) {
    CHECK(personality(ADDR_NO_RANDOMIZE) != -1);
    (void)execl("/proc/self/exe", "placement", "above the heap", (char *)NULL);
    _exit(1);
}

static void the_room_of_the_heap_comes_before_what_is_above_the_stack(void) {
    if (some(1, 0) == 0 || hides_maps() || under_address_sanitizer()) {
        (void)fprintf(stderr, "SKIP: above the stack: tools have address spaces of their own kind\n");
        return;
    }
    in_child(run_without_random_addresses);
}

#endif

int main(int argc, char **argv) {
#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
    if (argc > 1) {
        reserve_above_the_heap();
        return 0;
    }
#endif
    (void)argc;
    (void)argv;
    RUN(thousands_of_pieces_are_near_the_program);
    RUN(code_is_within_the_distance);
    RUN(impossible_placements_are_refused);
#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
    (void)read_maps(); /* ends the program here if there is no list to search */
    RUN(the_only_hole_is_found);
    RUN(all_free_pages_of_a_range_are_used);
    RUN(the_room_of_the_heap_is_used_last);
    RUN(the_room_of_the_stack_is_not_used);
    RUN(a_crowded_address_space_is_used);
    RUN(thousands_of_functions_fit_into_little_address_space);
    RUN(the_room_of_the_heap_comes_before_what_is_above_the_stack);
#endif
    return 0;
}
