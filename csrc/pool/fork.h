/* What a fork does to arenas.
 *
 * Parent and child map the same memory afterwards, so all regions become shared in both: no byte in them
 * changes any more before one of the processes has made the region its own (own.h).
 *
 * A region has the number of a family: the processes that may share its memory are in it (xb_prim_family).
 * Families are begun before a fork; at most a few exist at a time. */
#ifndef XB_POOL_FORK_H
#define XB_POOL_FORK_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/compiler.h"

XB_PRIVATE_BEGIN

/* The number of no family: nobody knows who shares the region. */
#define XB_NO_FAMILY 0

/* The numbers of families are below this. */
#define XB_MOST_FAMILIES 8

/* Whether this process is the only one left of a family. An arena is locked. A system call. */
bool xb_family_is_alone(uint8_t family);

/* The hooks of a fork for arenas. The process's lock is held. Before the fork, all arenas are locked, so that
 * the child finds none half changed. After it, both processes unlock them.
 *
 * In: in_child: whether this is the child. */
void xb_pools_before_fork(void);
void xb_pools_after_fork(bool in_child);

/* The hook of a child that was made by raw clone(2), without the others. The process's lock is held, but
 * threads of the parent may have held the locks of arenas, so these are made new. */
void xb_pools_in_clone(void);

/* Leaves all families. For the hook unload. */
void xb_pools_leave_families(void);

XB_PRIVATE_END

#endif
