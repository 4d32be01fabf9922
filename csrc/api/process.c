/* What a fork means for the library: all locks are held across it, and what both processes share is frozen.
 */

#include "process.h"

#include "../exec/ladder.h"
#include "../pool/slot.h"

static void in_child(void) {
    xb_ladder_forget();
    xb_pools_after_fork(true);
    xb_prim_unwinder_after_fork();
    xb_prim_arm_fork_mark();
}

static void in_parent(void) {
    xb_pools_after_fork(false);
}

xb_result xb_fork_watch(void) {
    static const xb_prim_fork_hooks hooks = {xb_pools_before_fork, in_parent, in_child};
    return xb_prim_on_fork(&hooks);
}

void xb_fork_noticed_late(void) {
    if (xb_prim_lock_in_clone()) {
        xb_ladder_forget();
        xb_pools_in_clone();
        xb_prim_unwinder_after_fork();
        xb_prim_arm_fork_mark();
        xb_prim_unlock();
    }
}
