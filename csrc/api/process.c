/* What a fork means for the library, and what its unloading means. This is the only file that knows every
 * module with state that a fork concerns; prim calls the hooks below, with the process's lock held.
 *
 * - The ladder forgets which backend worked: a child often gives up rights.
 * - The list of parked mappings drops writable views, which the child does not inherit.
 * - Pools lock themselves before the fork, so that the child finds none half changed. Parent and child share
 *   their regions from then on, and neither writes to one before it is its own.
 *
 * When the library is unloaded, all memory is freed that no live code needs.
 *
 * A child made by raw clone(2) runs no fork handlers. It is noticed later, by the fork mark, when its
 * parent's threads may have held any lock; so in_clone makes all locks new instead of unlocking them. */

#include "process.h"

#include "../debug/described.h"
#include "../debug/jitdump.h"
#include "../debug/near_tables.h"
#include "../debug/observers.h"
#include "../debug/tools.h"
#include "../exec/ladder.h"
#include "../exec/park.h"
#include "../mapping/handles.h"
#include "../pool/chunks.h"
#include "../pool/fork.h"
#include "../pool/pool.h"
#include "../pool/reclaim.h"
#include "../prim/prim.h"
#include "../prim/report.h"

static void hook_in_parent(void) {
    xb_pools_after_fork(false);
}

static void hook_in_child(void) {
    xb_ladder_forget();
    xb_park_after_fork();
    xb_handles_in_child();
    xb_chunks_in_child();
    xb_observers_in_child();
    xb_jitdump_in_child();
    xb_pools_after_fork(true);
}

static void hook_in_clone(void) {
    xb_ladder_forget();
    xb_park_after_fork();
    xb_handles_in_child();
    xb_chunks_in_child();
    xb_observers_in_child();
    xb_jitdump_in_child();
    xb_pools_in_clone();
}

static void hook_unload(void) {
    xb_unmap_parked();
    xb_reclaim_all();
    xb_chunks_unload(); /* arenas have data there, too */
    xb_handles_free_all();
    xb_described_unload();
    xb_jitdump_unload();
    xb_near_tables_unload();
    xb_pools_leave_families();
    xb_prim_free_key();
    xb_prim_remove_fork_mark();
}

execbuf_status xb_process_ready(execbuf_error *error) {
    static const xb_prim_fork_hooks hooks = {xb_pools_before_fork, hook_in_parent, hook_in_child,
                                             hook_in_clone,        hook_unload,    xb_pools_thread_ends};
    xb_prim_check_fork();
    xb_tools_begin(); /* before backends are chosen */
    xb_result result = xb_prim_on_fork(&hooks);
    return result.call == NULL ? EXECBUF_OK : xb_error_from_system(error, result);
}
