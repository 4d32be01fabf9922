/* What a fork means for the library: all locks are held across it, and what both processes share is frozen.
 */

#include "process.h"

#include "../exec/ladder.h"
#include "../pool/slot.h"

static void in_child(void) {
    execbuf_backend_forget();
    execbuf_pools_after_fork(true);
    execbuf_prim_unwinder_after_fork();
    execbuf_prim_arm_canary();
}

static void in_parent(void) {
    execbuf_pools_after_fork(false);
}

execbuf_prim_result execbuf_fork_watch(void) {
    static const execbuf_prim_fork_hooks hooks = {execbuf_pools_before_fork, in_parent, in_child};
    return execbuf_prim_on_fork(&hooks);
}

void execbuf_fork_noticed_late(void) {
    if (execbuf_prim_lock_in_clone()) {
        execbuf_backend_forget();
        execbuf_pools_in_clone();
        execbuf_prim_unwinder_after_fork();
        execbuf_prim_arm_canary();
        execbuf_prim_unlock();
    }
}
