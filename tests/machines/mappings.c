/* At the limit of vm.max_map_count errors are values, existing code still runs, and nothing is lost. Run by
 * .ci/machines, with a limit of a few hundred mappings. */

#include "pool_helpers.h"

#include <sys/mman.h>

enum { MOST = 2000, LIVE = 8 };
static void *taken[MOST];
static int taken_count;

/* Maps pages until the kernel refuses. Neighbours have different protections, else they would be merged. */
static void take_all_mappings(void) {
    void *base;
    while ((base = mmap(NULL, 4096, taken_count % 2 == 0 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
                        -1, 0)) != MAP_FAILED) {
        CHECK(taken_count < MOST);
        taken[taken_count++] = base;
    }
}

/* Unmaps the last count pages that were taken. */
static void give_back(int count) {
    while (count > 0 && taken_count > 0) {
        CHECK(munmap(taken[--taken_count], 4096) == 0);
        count--;
    }
}

/* Whether a call succeeded. If it failed, mappings were used up. */
static int succeeded(execbuf_status status) {
    CHECK(error.status == status && (status == EXECBUF_OK || status == EXECBUF_E_NO_MEMORY));
    CHECK((status == EXECBUF_OK) == (error.culprit == NULL));
    return status == EXECBUF_OK;
}

/* Does each operation while so many mappings are left. Returns how many succeeded. */
static int use_with(int left) {
    code one = returning(1);
    code two = returning(2);
    static uint8_t large[1 << 20];
    execbuf kept;
    execbuf made[LIVE];
    int done = 0;
    execbuf_pool *old = new_pool();
    execbuf in_pool = publish(old, 3);
    CHECK(execbuf_new(&kept, one.bytes, one.length, NULL) == EXECBUF_OK);
    memset(made, 0, sizeof made);
    memcpy(large, one.bytes, one.length);
    take_all_mappings();
    give_back(left);

    done += succeeded(execbuf_new(&made[0], one.bytes, one.length, &error));
    done += succeeded(execbuf_pool_publish(old, &made[1], one.bytes, one.length, &error));
    done += succeeded(execbuf_pool_publish(old, &made[2], large, sizeof large, &error));
    execbuf_pool *pool = NULL;
    if (succeeded(execbuf_pool_new(&pool, NULL, &error))) {
        done += 1 + succeeded(execbuf_pool_publish(pool, &made[3], one.bytes, one.length, &error));
    }
    int rewritten = succeeded(execbuf_rewrite(&kept, 0, two.bytes, two.length, &error));
    done += rewritten + succeeded(execbuf_rewrite(&in_pool, 0, one.bytes, one.length, &error));
    CHECK(call(&kept, 0) == (rewritten ? 2 : 1));
    for (int i = 0; i < LIVE; i++) {
        CHECK(made[i].id == 0 || call(&made[i], 0) == 1);
    }

    /* Half is freed while nothing is left, half later. */
    take_all_mappings();
    release(&kept);
    for (int i = 0; i < LIVE; i += 2) {
        release(&made[i]);
    }
    give_back(MOST);
    for (int i = 1; i < LIVE; i += 2) {
        CHECK(made[i].id == 0 || call(&made[i], 0) == 1);
        release(&made[i]);
    }
    CHECK(call(&in_pool, 0) == 1 || call(&in_pool, 0) == 3);
    release(&in_pool);
    execbuf_pool_free(old);
    execbuf_pool_free(pool);
    return done;
}

static void used_up_mappings_are_errors_and_nothing_is_lost(void) {
    enum { ENOUGH = 40, ALL = 7 };
    CHECK(use_with(ENOUGH) == ALL);
    CHECK(use_with(0) < ALL); /* the pool's region has space, the others need a mapping */
    maps before = look_at_code();
    for (int left = 0; left < ENOUGH; left++) {
        int done = use_with(left);
        (void)printf("%d mappings left: %d of %d succeed\n", left, done, ALL);
        CHECK(use_with(ENOUGH) == ALL);
    }
    maps after = look_at_code();
    CHECK(after.count == before.count && after.bytes == before.bytes);
}

int main(void) {
    int most = 0;
    FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
    CHECK(file != NULL && fscanf(file, "%d", &most) == 1 && most < MOST);
    (void)fclose(file);
    RUN(used_up_mappings_are_errors_and_nothing_is_lost);
    return 0;
}
