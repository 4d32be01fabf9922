/* A pool with little code takes little memory, also if /sys/kernel/mm/transparent_hugepage/shmem_enabled is
 * "always", which makes the first write to shared memory allocate 2 MiB. Run by .ci/machines, in a machine
 * where nothing else uses shared memory. */

#include "pool_helpers.h"

/* The shared memory of all processes, in KiB. */
static long shared_memory(void) {
    char line[128];
    long found = -1;
    FILE *file = fopen("/proc/meminfo", "r");
    CHECK(file != NULL);
    while (found < 0 && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "Shmem: %ld kB", &found);
    }
    (void)fclose(file);
    CHECK(found >= 0);
    return found;
}

static void a_small_function_takes_little_memory(void) {
    long before = shared_memory();
    execbuf_pool *pool = new_pool();
    execbuf buffer = publish(pool, 1);
    long after = shared_memory();
    (void)printf("a pool with one function takes %ld KiB\n", after - before);
    CHECK(stats_of(pool).regions == 1);
    CHECK(after - before < 256);
    CHECK(call(&buffer, 0) == 1);
    release(&buffer);
    execbuf_pool_free(pool);
}

int main(void) {
    char setting[128] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "r");
    CHECK(file != NULL && fgets(setting, sizeof setting, file) != NULL);
    (void)fclose(file);
    CHECK(strstr(setting, "[always]") != NULL);
    RUN(a_small_function_takes_little_memory);
    return 0;
}
