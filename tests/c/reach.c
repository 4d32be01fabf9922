/* All pieces of a pool lie within its reach, also if several threads publish near the same address. */

#include "placement.h"

#if !defined(__linux__) || defined(EXECBUF_PRIM_UNIX)
int main(void) {
    return 0;
}
#else
#include <pthread.h>

/* Fills the reach of a pool twice. */
static void the_pieces_of_a_pool_are_within_its_reach(void) {
    enum { COUNT = 200 };
    const size_t reach = (size_t)16 << 20;
    uint8_t *hole =
        take(0, 4 * reach); /* where nothing else is: sanitizers fill the neighbourhood of libraries */
    CHECK(hole != NULL && munmap(hole, 4 * reach) == 0);
    execbuf_pool *pool = pool_with(between(hole, hole + 4 * reach), reach);
    static execbuf buffers[COUNT];
    for (int round = 0; round < 2; round++) {
        uint32_t count = 0;
        size_t size = 0;
        uintptr_t lowest = UINTPTR_MAX;
        uintptr_t end = 0;
        do {
            size = count % 4 == 0 ? 100 : 400000;
            if (execbuf_pool_publish(pool, &buffers[count], code_of(count, size), size, &error) !=
                EXECBUF_OK) {
                break;
            }
            const uintptr_t entry = (uintptr_t)buffers[count].entry;
            lowest = entry < lowest ? entry : lowest;
            end = entry + size > end ? entry + size : end;
            CHECK(end - lowest <= reach);
            count++;
        } while (count < COUNT);
        CHECK(count >= 30 && count < COUNT); /* three quarters of the reach, and not more than it */
        CHECK(error.status == EXECBUF_E_TOO_FAR);
        /* Without /proc, only some addresses are tried, and the report says so. */
        CHECK(strcmp(error.culprit, "placement") == 0 ||
              (strcmp(error.culprit, "open(/proc/self/maps)") == 0 && error.os_error != 0));
        for (uint32_t i = 0; i < count; i++) {
            CHECK(call(&buffers[i], 0) == (int)i);
            release(&buffers[i]);
        }
    }
    execbuf_pool_free(pool);
}

/* A reach that is smaller than a region, than a mapping, or than a page. */
static void a_small_reach_is_kept_too(void) {
    static const size_t reaches[] = {1, PAGE, 4 * PAGE};
    execbuf_placement anywhere = EXECBUF_PLACEMENT_INIT;
    for (size_t i = 0; i < 3; i++) {
        execbuf_pool *pool = pool_with(anywhere, reaches[i]);
        execbuf small;
        execbuf large;
        CHECK(execbuf_pool_publish(pool, &large, code_of(1, 5 * PAGE), 5 * PAGE, &error) ==
              EXECBUF_E_TOO_FAR);
        CHECK(strcmp(error.culprit, "placement") == 0 && is_zero(&large));
        execbuf_status status = execbuf_pool_publish(pool, &small, code_of(1, 16), 16, &error);
        CHECK(status == (i == 0 ? EXECBUF_E_TOO_FAR : EXECBUF_OK));
        CHECK(i == 0 || call(&small, 0) == 1);
        CHECK(execbuf_free(&small) == EXECBUF_OK);
        execbuf_pool_free(pool);
    }
}

/* A region stays when all code is freed, but the range does not. */
static void the_range_shrinks_when_all_code_is_freed(void) {
    enum { COUNT = 40 };
    const size_t reach = (size_t)4 << 20;
    uint8_t *hole = take(0, 3 * reach);
    CHECK(hole != NULL && munmap(hole, 3 * reach) == 0);
    execbuf_pool *pool = pool_with(between(hole, hole + 3 * reach), reach);
    execbuf buffers[COUNT];
    uint32_t count = 0;
    while (count < COUNT) {
        const size_t size = count % 2 == 1 ? 16 : 400000; /* the region is not the first piece */
        if (execbuf_pool_publish(pool, &buffers[count], code_of(1, size), size, NULL) != EXECBUF_OK) {
            break;
        }
        count++;
    }
    CHECK(count > 2 && count < COUNT);
    const uint32_t large = (count + 1) / 2;
    const uintptr_t first = (uintptr_t)buffers[0].entry / PAGE * PAGE + PAGE;
    while (count > 0) {
        release(&buffers[--count]);
    }
    CHECK(take(first, 4 * PAGE) != NULL); /* where the first piece was */
    while (count < COUNT &&
           execbuf_pool_publish(pool, &buffers[count], code_of(1, 400000), 400000, NULL) == EXECBUF_OK) {
        count++;
    }
    CHECK(count >= large);
    while (count > 0) {
        release(&buffers[--count]);
    }
    execbuf_pool_free(pool);
    CHECK(munmap((void *)first, 4 * PAGE) == 0); /* NOLINT(performance-no-int-to-ptr) */
}

static void *publish_near_program(void *argument) {
    execbuf_pool *pool = (execbuf_pool *)argument;
    const size_t size = 300000;
    uint8_t *bytes = (uint8_t *)calloc(1, size);
    CHECK(bytes != NULL);
    const code one = returning(7);
    memcpy(bytes, one.bytes, one.length);
    for (int i = 0; i < 200; i++) {
        execbuf buffers[3];
        execbuf_placement placement = near_program(0);
        for (int j = 0; j < 3; j++) {
            CHECK((j < 2 ? execbuf_pool_publish(pool, &buffers[j], bytes, size, NULL)
                         : execbuf_new_at(&buffers[j], bytes, size, &placement, NULL)) == EXECBUF_OK);
            CHECK(call(&buffers[j], 0) == 7);
            CHECK(is_within(&buffers[j], placement.near_to, EXECBUF_DISTANCE));
        }
        for (int j = 0; j < 3; j++) {
            CHECK(execbuf_free(&buffers[j]) == EXECBUF_OK);
        }
    }
    free(bytes);
    return NULL;
}

static void threads_find_free_ranges_at_the_same_time(void) {
    execbuf_pool *pool = pool_with(near_program(0), (size_t)1 << 31);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, publish_near_program, pool) == 0);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    execbuf_pool_free(pool);
}

int main(void) {
    RUN(the_range_shrinks_when_all_code_is_freed);
    RUN(the_pieces_of_a_pool_are_within_its_reach);
    RUN(a_small_reach_is_kept_too);
    RUN(threads_find_free_ranges_at_the_same_time);
    return 0;
}
#endif
