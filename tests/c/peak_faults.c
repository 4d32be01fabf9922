/* Memory after a peak, while calls fail: what lives stays, and the memory is given back later. Linux only. */

#include "../../csrc/prim/prim.h"
#include "pool_memory.h"

#include "faults.h"

#if LADDER

#include <sys/wait.h>

#include "peak.h"

enum { COUNT = 12000, LENGTH = 200 };

static long reached; /* how many calls were made */

/* Whether not each call is worth a round: this process is slow, or each publishing makes a system call. */
static bool is_coarse(void) {
#if defined(__aarch64__)
    return true;
#else
    return is_slow();
#endif
}

/* Frees most of the code while calls fail. Returns whether one has failed. */
static bool fail(long number, bool all_after) {
    execbuf_pool_options options = options_of(NULL, "peak");
    CHECK(execbuf_pool_new(&pool, &options, NULL) == EXECBUF_OK);
    publish_all(COUNT, LENGTH);
    execbuf_pool_stats full = stats_of(pool);
    maps before = look_at_code();
    int descriptors = open_fds();
    arm(NULL, number, all_after);
    for (uint32_t i = 0; i < COUNT; i++) {
        if (!survives(i) && i % PART != 9) {
            CHECK(execbuf_free(&buffers[i]) == EXECBUF_OK);
        }
    }
    bool has_failed = failures > 0;
    reached = calls;
    disarm();
    check_survivors(COUNT);
    CHECK(open_fds() == descriptors);
    free_most(COUNT);
    CHECK(execbuf_free(NULL) == EXECBUF_OK); /* unmaps what the system has refused to unmap */
    check_survivors(COUNT);
    maps after = look_at_code();
    CHECK(after.count <= before.count && after.bytes <= before.bytes);
    /* A copy that failed is made at one of the next frees, unless pages cannot be hidden. */
    CHECK(stats_of(pool).resident < full.resident / 3 || !xb_prim_hides_pages());
    arm("madvise", number % 3, all_after); /* hidden pages cannot be shown, or have no memory */
    const uint32_t tried = is_coarse() ? COUNT / 20 : COUNT; /* each one that fails maps regions */
    for (uint32_t i = 0; i < tried; i++) {
        if (buffers[i].id == 0) {
            execbuf_status status = publish_long(&buffers[i], i, LENGTH);
            CHECK(status == EXECBUF_OK || status == EXECBUF_E_NO_MEMORY || status == EXECBUF_E_DENIED);
        }
    }
    disarm();
    publish_all(COUNT, LENGTH);
    for (uint32_t i = 0; i < COUNT; i += is_coarse() ? 16 : 1) { /* an emulator translates what is called */
        CHECK(call(&buffers[i], 0) == (int)(i % 2048));
    }
    end_pool(COUNT);
    return has_failed;
}

/* After some refusals, a process does not try the same again. */
static bool fail_in_child(long number, bool all_after) {
    int status;
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        _exit(fail(number, all_after) ? 0 : 50);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 50));
    return WEXITSTATUS(status) == 0;
}

static void what_lives_stays_if_calls_fail(void) {
    static const int32_t codes[] = {EXHAUSTED, REFUSED};
    put_in_order(COUNT, false);
    if (!make_pool()) {
        return;
    }
    execbuf_pool_free(pool);
    CHECK(!fail(-1, false) && reached > 20);
    const long all = reached;
    const long step = is_coarse() ? all / 5 + 1 : all / 30 + 1;
    for (int variant = 0; variant < 4; variant++) {
        code_given = codes[variant & 1];
        for (long number = variant; number < all; number += number < 25 && !is_coarse() ? 1 : step) {
            /* After a refused membarrier, locks have no owners, and there are fewer calls. */
            CHECK(fail_in_child(number, (variant & 2) != 0) || number > all / 2);
        }
    }
}

/* As on kernels that cannot hide pages of files. */
static void without_guards_all_stays(void) {
    if (!make_pool()) {
        return;
    }
    publish_all(COUNT, LENGTH);
    size_t full = stats_of(pool).resident;
    code_given = INVALID;
    arm("madvise(MADV_GUARD_INSTALL)", 0, true);
    free_most(COUNT);
    CHECK((failures > 0 && failures < 100 && stats_of(pool).resident > full / 2) || failures == 0);
    disarm();
    check_survivors(COUNT);
    end_pool(COUNT);
}

int main(void) {
    RUN(what_lives_stays_if_calls_fail);
    RUN(without_guards_all_stays);
    (void)printf("ok\n");
    return 0;
}

#else

int main(void) {
    (void)fprintf(stderr, "SKIP: memory after a peak: only Linux gives it back\n");
    return 0;
}

#endif
