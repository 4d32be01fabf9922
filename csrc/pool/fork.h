/* What a fork does to arenas.
 *
 * Parent and child map the same memory afterwards, so both freeze all regions: no published byte in them
 * changes any more, code can be called and freed, and new code goes to new regions. */
#ifndef XB_POOL_FORK_H
#define XB_POOL_FORK_H

#include <stdbool.h>

#include "../base/compiler.h"

XB_PRIVATE_BEGIN

/* The hooks of a fork for arenas. The process's lock is held. Before the fork, all arenas are locked, so that
 * the child finds none half changed. After it, both processes unlock them.
 *
 * In: in_child: whether this is the child. */
void xb_pools_before_fork(void);
void xb_pools_after_fork(bool in_child);

/* The hook of a child that was made by raw clone(2), without the others. The process's lock is held, but
 * threads of the parent may have held the locks of arenas, so these are made new. */
void xb_pools_in_clone(void);

XB_PRIVATE_END

#endif
