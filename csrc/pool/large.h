/* Buffers of an arena with dedicated mappings: large code, and all code where the arena has no regions. Their
 * handles are those of mapping/; the arena only counts them, and lives until the last one is freed. */
#ifndef XB_POOL_LARGE_H
#define XB_POOL_LARGE_H

#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../mapping/handles.h"
#include "arena.h"

XB_PRIVATE_BEGIN

/* Makes a buffer with a dedicated mapping.
 *
 * Preconditions: no lock is held.
 * Returns: the status of xb_mapping_new or xb_mapping_reserve.
 * Out: out:    the buffer; unchanged on failure.
 * In:  code:   the code; NULL: the buffer is reserved.
 *      length: of the code, or the capacity.
 *      link:   not NULL: the code is a stub, which refers to this.
 * Out: error:  the report, or NULL. */
execbuf_status xb_large_new(xb_arena *arena, execbuf *out, const void *code, size_t length,
                            const xb_link *link, execbuf_error *error);

/* As xb_large_new, for code that is an adapter (see xb_arena_links): xb_find_handle does not find it. */
execbuf_status xb_large_new_shared(xb_arena *arena, execbuf *out, const void *code, size_t length,
                                   execbuf_error *error);

/* As xb_large_new without code, but the buffer is staged. */
execbuf_status xb_large_stage(xb_arena *arena, execbuf *out, size_t capacity, execbuf_error *error);

/* Frees a live buffer of an arena, and sets the handle to all zero. No lock is held. */
void xb_large_free(execbuf *buffer);

/* Updates the arena's counters after one of its dedicated mappings was published or freed. After
 * xb_large_count_freed the arena may have ended. No lock is held.
 *
 * In: record: from xb_mapping_publish, xb_staged_publish or xb_mapping_free. Its owner is not 0. */
void xb_large_count_published(const xb_record *record);
void xb_large_count_freed(const xb_record *record);

XB_PRIVATE_END

#endif
