/* memfds work under each value of vm.memfd_noexec, also where nothing else works: with MDWE (Linux 6.3),
 * which refuses the flip. Run by .ci/machines. */

#include "pool_helpers.h"

#include <sys/prctl.h>

/* include/uapi/linux/prctl.h, Linux 6.3 */
#define SET_MDWE 65
#define REFUSE_EXEC_GAIN 1L

static void memfds_pass_their_self_tests(void) {
    execbuf_probe probe = EXECBUF_PROBE_INIT;
    CHECK(execbuf_probe_system(&probe) == EXECBUF_OK && probe.status == EXECBUF_OK);
    int found = 0;
    for (uint32_t i = 0; i < probe.buffer_count; i++) {
        found += probe.buffer[i].backend == EXECBUF_BACKEND_MEMFD && probe.buffer[i].call == NULL;
    }
    for (uint32_t i = 0; i < probe.pool_count; i++) {
        found += probe.pool[i].backend == EXECBUF_BACKEND_MEMFD && probe.pool[i].call == NULL;
    }
    CHECK(found == 2);
}

static void pools_and_buffers_work(void) {
    execbuf_pool *pool = new_pool();
    execbuf small = publish(pool, 1);
    CHECK(stats_of(pool).regions == 1);
    code two = returning(2);
    code three = returning(3);
    execbuf buffer;
    CHECK(execbuf_new(&buffer, two.bytes, two.length, NULL) == EXECBUF_OK);
    CHECK(call(&small, 0) == 1 && call(&buffer, 0) == 2);
    CHECK(execbuf_rewrite(&small, 0, three.bytes, three.length, NULL) == EXECBUF_OK);
    CHECK(execbuf_rewrite(&buffer, 0, three.bytes, three.length, NULL) == EXECBUF_OK);
    CHECK(call(&small, 0) == 3 && call(&buffer, 0) == 3);
    CHECK(count_mappings("wx") == 0);
    release(&small);
    release(&buffer);
    execbuf_pool_free(pool);
}

int main(void) {
    RUN(memfds_pass_their_self_tests);
    RUN(pools_and_buffers_work);
    CHECK(prctl(SET_MDWE, REFUSE_EXEC_GAIN, 0L, 0L, 0L) == 0);
    RUN(memfds_pass_their_self_tests);
    RUN(pools_and_buffers_work);
    return 0;
}
