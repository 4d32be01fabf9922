/* Unmapping. Memory that the system refuses to unmap is parked: later calls try again.
 *
 * Linux refuses munmap(2) with ENOMEM at the limit of vm.max_map_count, if the kernel has merged the mapping
 * with a neighbour and would have to split it again. Freeing code can't fail, so nobody could be told.
 *
 * Parking never allocates: it links a node that its caller provides. What lives long has the node in its own
 * book-keeping (the record of a buffer, the region of a pool); temporary mappings have one of a few static
 * nodes. */
#ifndef XB_EXEC_PARK_H
#define XB_EXEC_PARK_H

#include "../base/compiler.h"
#include "../prim/prim.h"

XB_PRIVATE_BEGIN

/* A node of the list of parked mappings: one mapping, or the two views of a region. The caller of
 * xb_unmap_or_park provides the memory and does not look inside. */
typedef struct xb_parked {
    struct xb_parked *next;
    void *base;   /* still mapped, or NULL */
    void *second; /* a second mapping of the same size, or NULL */
    size_t size;
    void (*done)(void *owner);
    void *owner;
} xb_parked;

/* Unmaps a mapping, and a second one of the same size; parks them if the system refuses.
 *
 * done(owner) is called when both are unmapped: before this function returns, or in a later call of
 * xb_unmap_parked, in any thread, without a lock. Until then the node belongs to this file; done may free it.
 *
 * Preconditions: the process's lock is not held. No other thread uses the mappings.
 * In: node:   any content.
 *     base:   a whole mapping.
 *     second: another one, or NULL.
 *     size:   the size of each.
 *     done:   free, or another function. */
void xb_unmap_or_park(xb_parked *node, void *base, void *second, size_t size, void (*done)(void *owner),
                      void *owner);

/* As xb_unmap_or_park, for mappings that nothing else describes: it takes a static node if the system
 * refuses. */
void xb_unmap_temporary(void *base, void *second, size_t size);

/* Whether temporary memory may be mapped. To be asked before it is: where the system goes on refusing to
 * unmap such memory, this is how a program that tries again and again does not fill up with it.
 *
 * Returns: success, or how the system refused to unmap what is parked. */
xb_result xb_may_map_temporary(void);

/* Tries again to unmap what is parked, until the first refusal. Called before memory is mapped and when code
 * is freed. The process's lock is not held. */
void xb_unmap_parked(void);

/* In the child of a fork, which does not inherit the writable views of regions: their addresses may hold
 * other mappings by now. The process's lock is held. */
void xb_park_after_fork(void);

XB_PRIVATE_END

#endif
