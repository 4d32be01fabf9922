/* What arenas contain: the code at an address, and statistics. No lock is held in any of these functions. */
#ifndef XB_POOL_QUERY_H
#define XB_POOL_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "../base/compiler.h"
#include "pool.h"

XB_PRIVATE_BEGIN

/* Lookups take no lock, and make no system call, so a signal handler may call the next two functions,
 * whatever it interrupted. They find all code that is published before the call and freed after it. */

/* Finds the published code of a pool that contains an address.
 *
 * Returns: whether there is some.
 * Out: place: where it is; unchanged if there is none. */
bool xb_pool_find(const execbuf_pool *pool, const void *address, execbuf_place *place);

/* Finds the published buffer that contains an address, in the regions of all pools and among all dedicated
 * mappings. Adapters are not buffers.
 *
 * Returns: whether there is one.
 * Out: out: a copy of its handle, which may become stale at any time; unchanged if there is none. */
bool xb_find_handle(const void *address, execbuf *out);

/* The span of a live buffer of an arena, which stays as long as the buffer; NULL if that has a dedicated
 * mapping. */
xb_span *xb_arena_span_of(xb_arena *arena, const execbuf *buffer);

/* Counts what a pool has. One arena after the other is locked, to read its counters, and to take over what
 * other threads have freed since that was done last.
 *
 * Out: stats: the numbers. */
void xb_pool_stats(execbuf_pool *pool, execbuf_pool_stats *stats);

/* The sum of the lengths of published buffers and of the capacities of reserved ones. Looks at all slots,
 * without a lock. */
size_t xb_pool_code_bytes(execbuf_pool *pool);

XB_PRIVATE_END

#endif
