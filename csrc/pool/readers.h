/* Readers: threads that look up addresses without a lock, also in signal handlers, whatever function of the
 * library the signal interrupted.
 *
 * A reader finds a region in the list of all regions, the span of the page in the region's owners, and in the
 * span the tag and the length of the slot. All of these are changed by single atomic stores. What a reader
 * may have found is not freed before the reader has left:
 *
 *     reader   readers + 1                    others   take it out of the list, or of owners
 *              read lists, owners, spans               xb_retire: readers + 0
 *              readers - 1                             0: free all that was retired
 *                                                      else: a later call does
 *
 * The additions to readers have one order. If a reader's comes first, nothing is freed. If it comes last, the
 * reader sees that the memory is out of the lists.
 *
 * Nobody waits for readers, so a reader that never leaves, since a signal handler has left it by longjmp,
 * costs memory, but no thread hangs. */
#ifndef XB_POOL_READERS_H
#define XB_POOL_READERS_H

#include <stdint.h>

#include "../base/compiler.h"
#include "region.h"

XB_PRIVATE_BEGIN

/* The list of all regions of the process, by next_readable. The process's lock guards its changes. A region
 * that was taken out keeps its next_readable, so readers that are at it go on. */
extern xb_region *xb_readable_regions;

/* How many readers there are. */
extern uint32_t xb_reader_count;

static inline void xb_readers_enter(void) {
    (void)XB_FETCH_ADD(xb_reader_count, 1U);
}

static inline void xb_readers_leave(void) {
    (void)XB_FETCH_ADD(xb_reader_count, UINT32_MAX);
}

/* Adds a region to the list, or takes it out. No lock is held. */
void xb_readers_add(xb_region *region);
void xb_readers_remove(xb_region *region);

/* Frees heap memory that begins with a pointer which readers do not read, as soon as no reader can have found
 * it. It is in no list that readers begin at.
 *
 * Preconditions: the process's lock is not held. */
void xb_retire(void *memory);

/* In the child of a fork: none of the parent's readers is here. The process's lock is held. */
void xb_readers_in_child(void);

XB_PRIVATE_END

#endif
