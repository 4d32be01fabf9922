/* Buffers of an arena with dedicated mappings.
 *
 * mapping/ does the work, without the arena's lock. Then the arena's counters are updated, with the lock. A
 * new buffer is counted before its handle is returned, and a freed one until its memory and its link are
 * released; so the arena is not over in between. */

#include "large.h"

#include "../base/handle.h"
#include "../mapping/mapping.h"
#include "placement.h"
#include "reclaim.h"
#include "registry.h"

/* Counts a new buffer. False if it is too far from another piece of the pool, which a thread has added in the
 * meantime. */
static bool count_new(xb_arena *arena, const xb_record *record) {
    if (!xb_placement_add_large(arena->pool, record->base, record->size)) {
        return false;
    }
    xb_arena_lock(arena);
    arena->large_bytes += record->length > 0 ? record->length : record->capacity;
    arena->large_count++;
    arena->large_size += record->size;
    xb_arena_unlock(arena);
    return true;
}

/* Makes a buffer as options say, but for those of the arena. */
static execbuf_status new_large(xb_arena *arena, execbuf *out, const void *code, size_t length,
                                xb_mapping_options *options, execbuf_error *error) {
    xb_prim_window window;
    xb_record record;
    options->owner = arena->number;
    options->pool = arena->pool;
    options->backends = arena->pool->options.backends;
    options->not_inherited = arena->pool->options.not_inherited;
    if (options->not_inherited) {
        const uint32_t in_place =
            EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_FLIP) | EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_MAP_JIT);
        options->backends = options->backends != 0 ? options->backends & in_place : in_place;
        if (options->backends == 0) {
            return xb_error_set(error, EXECBUF_E_DENIED, "not_inherited", 0);
        }
    }
    if (length > 0 && !xb_placement_allows(arena->pool, xb_mapping_size(length))) {
        return xb_error_set(error, EXECBUF_E_TOO_FAR, XB_PRIM_TOO_FAR, 0);
    }
    for (;;) {
        options->window = xb_placement_window(arena->pool, &window);
        execbuf_status status = code != NULL ? xb_mapping_new(out, code, length, options, error)
                                             : xb_mapping_reserve(out, length, options, error);
        if (status != EXECBUF_OK || !xb_handles_find(out, &record) || count_new(arena, &record)) {
            return status;
        }
        (void)xb_mapping_free(out, &record);
        *out = xb_no_buffer;
    }
}

execbuf_status xb_large_new(xb_arena *arena, execbuf *out, const void *code, size_t length,
                            const xb_link *link, execbuf_error *error) {
    xb_mapping_options options = {0, NULL, NULL, NULL, false, 0, false, false};
    options.link = link;
    return new_large(arena, out, code, length, &options, error);
}

execbuf_status xb_large_stage(xb_arena *arena, execbuf *out, size_t capacity, execbuf_error *error) {
    xb_mapping_options options = {0, NULL, NULL, NULL, false, 0, false, true};
    return new_large(arena, out, NULL, capacity, &options, error);
}

execbuf_status xb_large_new_shared(xb_arena *arena, execbuf *out, const void *code, size_t length,
                                   execbuf_error *error) {
    xb_mapping_options options = {0, NULL, NULL, NULL, true, 0, false, false};
    return new_large(arena, out, code, length, &options, error);
}

void xb_large_count_published(const xb_record *record) {
    xb_arena *arena = xb_registry[record->owner];
    xb_arena_lock(arena);
    arena->large_bytes -= record->capacity - record->length;
    arena->large_size -= record->trimmed;
    xb_arena_unlock(arena);
}

void xb_large_count_freed(const xb_record *record) {
    xb_arena *arena = xb_registry[record->owner];
    if (record->link.adapter != NULL && !record->is_lost) {
        arena->links->release(arena, &record->link); /* the arena has not ended: this buffer still counts */
    }
    xb_placement_remove_large(arena->pool);
    xb_arena_lock(arena);
    arena->large_bytes -= record->length > 0 ? record->length : record->capacity;
    arena->large_count--;
    arena->large_size -= record->size;
    xb_reclaim_unlock(arena, NULL, NULL);
}

void xb_large_free(execbuf *buffer) {
    xb_record record;
    if (xb_mapping_free(buffer, &record) == EXECBUF_OK) {
        xb_large_count_freed(&record);
    }
    *buffer = xb_no_buffer;
}
