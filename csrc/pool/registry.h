/* All arenas of the process, by number.
 *
 * The memory of an arena is never freed, but serves the next arena. So any handle, however old or wrong, can
 * be checked safely: the arena that its id names can be locked and looked into.
 *
 * An arena counts as over when its pool was freed and nothing that it published is alive; then
 * xb_registry_remove makes its memory available. */
#ifndef XB_POOL_REGISTRY_H
#define XB_POOL_REGISTRY_H

#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "index.h"
#include "pool.h"

XB_PRIVATE_BEGIN

/* The arenas by number; no arena has number 0. An element is NULL until its number is used for the first
 * time, and constant from then on, so it is read without a lock by those who have the number from a handle.
 * The arena may have been freed, and may be over. Loops over all elements hold the process's lock. */
extern xb_arena *xb_registry[XB_MAX_ARENAS];

/* How xb_registry_add ended. */
typedef enum xb_registry_added {
    XB_REGISTRY_NO_NUMBER = -2, /* XB_MAX_ARENAS - 1 arenas exist */
    XB_REGISTRY_NO_MEMORY = -1,
    XB_REGISTRY_ADDED = 0
} xb_registry_added;

/* Makes an empty arena.
 *
 * Preconditions: no lock is held.
 * Returns: XB_REGISTRY_ADDED, or why there is no arena.
 * Out: out:     the arena; NULL on failure.
 * In:  options: they are copied. */
xb_registry_added xb_registry_add(xb_arena **out, const xb_pool_options *options);

/* Makes the memory of an arena that has ended available for another arena, of any thread.
 *
 * Preconditions: no lock is held. No other thread does the same. */
void xb_registry_remove(xb_arena *arena);

/* Lets any thread own what was reserved for one that is ending, and owns no arena any more. The process's
 * lock is held. */
void xb_registry_release(uintptr_t thread);

/* Lets any thread own all arenas that have no owner: in a child, which has no other threads. The process's
 * lock is held. */
void xb_registry_release_all(void);

/* How many numbers have been used: 1 up to this. The process's lock is held. */
uint32_t xb_registry_count(void);

/* The arena that the id of a handle names.
 *
 * Returns: NULL if there was never an arena with this number.
 * In: buffer: any handle with XB_ID_POOL_BIT. */
XB_INLINE xb_arena *xb_registry_find(const execbuf *buffer) {
    return xb_registry[buffer->id >> XB_ARENA_SHIFT & (XB_MAX_ARENAS - 1)];
}

XB_PRIVATE_END

#endif
