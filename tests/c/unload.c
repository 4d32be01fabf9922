/* What remains of pools when the library is unloaded (dlclose): live code, and nothing else. */

#if defined(__linux__)

#include <sys/wait.h>
#include <unistd.h>

#include "../../csrc/pool/reclaim.h"
#include "pool_helpers.h"

/* The mappings when there is what the process needs once. */
static maps look_after_first_pool(void) {
    execbuf_pool *pool = new_pool();
    execbuf buffer = publish(pool, 1);
    release(&buffer);
    execbuf_pool_free(pool);
    return look_at_code();
}

static void pools_without_live_code_are_unmapped(void) {
    maps before = look_after_first_pool();
    execbuf_pool *pool = new_pool();
    execbuf freed = publish(pool, 1);
    execbuf other = publish(new_pool(), 2);
    release(&freed);
    release(&other);
    execbuf_pool_free(pool);
    xb_reclaim_all();
    CHECK(same(before, look_at_code()));
}

static void live_code_runs_on_without_its_writable_view(void) {
    maps before = look_after_first_pool();
    execbuf live = publish(new_pool(), 3);
    execbuf_pool *freed = new_pool();
    execbuf other = publish(freed, 4);
    execbuf_pool_free(freed);
    xb_reclaim_all();
    CHECK(call(&live, 0) == 3 && call(&other, 0) == 4);
    maps after = look_at_code();
    CHECK(hides_maps() || after.count <= before.count + 2); /* no writable views */
}

/* In a child, because the library is of no use afterwards, not even at exit. */
static void run_in_child(void (*test)(void)) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(seconds(60));
        test();
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

int main(void) {
    run_in_child(pools_without_live_code_are_unmapped);
    run_in_child(live_code_runs_on_without_its_writable_view);
    (void)printf("ok\n");
    return 0;
}

#else

#include <stdio.h>

int main(void) {
    (void)fprintf(stderr, "SKIP: unloading: the mappings are not known here\n");
    return 0;
}

#endif
