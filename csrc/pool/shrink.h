/* Memory that a peak has left: regions give back what no live code needs.
 *
 * The pages of a region with live code are copied to new memory, which replaces the old one at the same
 * addresses, while other threads run the code. All other pages are free then, and hidden:
 *
 *     before   │ traps │ code │ traps │ traps │ traps │ code │      one span
 *     after    │ traps │ code │ hidden, free          │ code │      the span has lost the slots in between
 *
 * The memory of a sealed file cannot be given back in another way.
 *
 * The first look at a region comes when half of its slots were freed, the next one when half of the rest was,
 * and so on; with fewer slots than pages, when an eighth was. A copy is worth it only if it leaves little of
 * the region and gives back much. Even then it may have to wait until another region needs little, too: when
 * all code is freed in its order, each region is empty soon, and no copy was needed. A region whose little
 * rest is scattered does not wait; if no other region has much memory, little or scattered is enough. Copies
 * make few of a program's system calls: see XB_SHRINK_PRICE. */
#ifndef XB_POOL_SHRINK_H
#define XB_POOL_SHRINK_H

#include <stdbool.h>

#include "../base/compiler.h"
#include "arena.h"

XB_PRIVATE_BEGIN

/* A copy makes about 20 system calls, and one for each range of pages that it hides. So that a program with
 * thousands of functions makes few, an arena pays for each copy. It begins with enough for one, and earns
 * with each span: the size of its slots, but at least XB_SHRINK_WAGE for each. */
#define XB_SHRINK_PRICE ((uint64_t)512 << 10)
#define XB_SHRINK_WAGE 256U

/* The arena has made a span. The arena is locked. */
static inline void xb_shrink_earn(xb_arena *arena, const xb_span *span) {
    uint64_t wage = span->slot_size > XB_SHRINK_WAGE ? span->slot_size : XB_SHRINK_WAGE;
    arena->shrink_credit += wage * span->slots;
}

/* Whether a region should be looked at. The arena is locked. */
static inline bool xb_shrink_is_due(const xb_region *region) {
    return region->above < 0 && xb_region_live(region) != 0 && !region->is_shared;
}

/* Looks at a region that is due. The arena is locked.
 *
 * Returns: whether xb_shrink has something to do. */
bool xb_shrink_look(xb_arena *arena, xb_region *region);

/* Copies the regions of an arena where it is worth it. A copy that fails changes nothing, and is tried again
 * after the next look at the region.
 *
 * Preconditions: no lock is held. The arena may have ended.
 * In: newest: the region at which xb_shrink_look looked last, which may have gone meanwhile; NULL: there was
 *             no look, and all regions that are due are looked at here. */
void xb_shrink(xb_arena *arena, const xb_region *newest);

XB_PRIVATE_END

#endif
