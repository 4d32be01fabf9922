/* Unmapping. Memory that the system refuses to unmap is parked: later calls try again.
 *
 * Linux refuses munmap(2) with ENOMEM at the limit of vm.max_map_count, if the kernel has merged the mapping
 * with a neighbour and would have to split the two again. Freeing code never fails, so the refusal cannot be
 * reported to the caller; the mapping is kept in a list instead.
 *
 * Parking never allocates, because the caller provides the node of the list. The record of a buffer and the
 * region of a pool contain one. A temporary mapping (of a self-test, of a rewrite that fails) gets one of a
 * fixed number of static nodes. */
#ifndef XB_EXEC_PARK_H
#define XB_EXEC_PARK_H

#include "../base/compiler.h"
#include "../prim/prim.h"

XB_PRIVATE_BEGIN

/* A node of the list of parked mappings. It describes one mapping or the two views of a region. Its members
 * belong to park.c. */
typedef struct xb_parked {
    struct xb_parked *next;
    void *base;                /* NULL if it is unmapped */
    void *second;              /* NULL if there is none, or if it is unmapped */
    size_t size;               /* of each */
    void (*done)(void *owner); /* called when both are unmapped */
    void *owner;
    bool not_inherited; /* set by the caller: a child of a fork does not have the mapping */
} xb_parked;

/* Unmaps a mapping and, if second is not NULL, a second one of the same size. Parks what the system refuses
 * to unmap.
 *
 * When both are unmapped, done(owner) is called: before this function returns, or by a later call of
 * xb_unmap_parked in any thread. No lock of park.c is held then, and done may free the node. Until then the
 * node must stay where it is.
 *
 * Preconditions: the process's lock is not held; no other thread uses the mappings.
 * In: node:   memory for the node; its content does not matter.
 *     base:   the start of a whole mapping.
 *     second: the start of another whole mapping, or NULL.
 *     size:   the size of each mapping.
 *     done:   a function such as free.
 *     owner:  the argument of done. */
void xb_unmap_or_park(xb_parked *node, void *base, void *second, size_t size, void (*done)(void *owner),
                      void *owner);

/* As xb_unmap_or_park, but for temporary mappings: uses a static node if the system refuses. */
void xb_unmap_temporary(void *base, void *second, size_t size);

/* Whether a temporary mapping may be made. Called before each one. It fails while many of them are parked, so
 * that a program that keeps trying does not accumulate mappings that the system refuses to unmap.
 *
 * Preconditions: the process's lock is not held.
 * Returns: success, or the last refusal to unmap. */
xb_result xb_may_map_temporary(void);

/* Tries again to unmap what is parked, and stops at the first refusal. Called before memory is mapped and
 * when a buffer is freed.
 *
 * Preconditions: the process's lock is not held. */
void xb_unmap_parked(void);

/* Called in the child of a fork: removes the writable views of regions from the list, and all mappings that
 * are not inherited. The child does not have them, so their addresses may hold other mappings by now.
 *
 * Preconditions: the process's lock is held. */
void xb_park_after_fork(void);

XB_PRIVATE_END

#endif
