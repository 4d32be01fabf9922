/* Core dumps contain the code of a pool once: the writable mapping of a region is left out. */

#include "pool_helpers.h"
#include "smaps.h"

#if defined(__linux__)
static void core_dumps_contain_the_executable_mapping_only(void) {
    execbuf_pool_options options = options_of(NULL, "dumped-once");
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, &options, NULL) == EXECBUF_OK);
    execbuf buffer = publish(pool, 5);
    smaps_entry rx;
    smaps_entry rw;
    if (find_views("dumped-once", &rx, &rw)) {
        if (strlen(rx.flags) <= 1) {
            (void)fprintf(stderr, "SKIP: no VmFlags in /proc/self/smaps\n");
        } else {
            CHECK(strstr(rx.flags, " dd ") == NULL); /* dd: MADV_DONTDUMP */
            CHECK(strstr(rw.flags, " dd ") != NULL);
            CHECK(strstr(rw.flags, " dc ") != NULL); /* dc: MADV_DONTFORK */
        }
    }
    release(&buffer);
    execbuf_pool_free(pool);
}
#endif

int main(void) {
#if defined(__linux__)
    RUN(core_dumps_contain_the_executable_mapping_only);
#else
    (void)fprintf(stderr, "SKIP: only Linux says what a core dump contains\n");
#endif
    (void)printf("ok\n");
    return 0;
}
