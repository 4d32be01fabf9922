/* Code in slots: publishing in reserved slots, and rewriting.
 *
 * Each function finds the slot of a handle and locks its arena. Bytes change only while the arena is locked,
 * and the region is not shared with another process: own.h says how it becomes this process's own. */

#include "slot.h"

#include "../base/error.h"
#include "../base/handle.h"
#include "../base/trap.h"
#include "../mapping/handles.h"
#include "../prim/lock.h"
#include "index.h"
#include "own.h"
#include "reclaim.h"
#include "registry.h"
#include "shrink.h"

/* Whether a copy has left something to be freed when the arena is unlocked. */
static bool has_rest(const xb_slot_cursor *cursor) {
    return cursor->rest.spans != NULL || cursor->rest.old_rw != NULL;
}

void xb_slot_leave(xb_slot_cursor *cursor) {
    static const xb_slot_cursor nowhere = {NULL, false, {NULL, NULL, 0}};
    if (has_rest(cursor)) {
        xb_own_unlock(cursor->arena, &cursor->rest);
    } else if (cursor->arena != NULL) {
        xb_arena_unlock(cursor->arena);
    }
    *cursor = nowhere;
}

bool xb_slot_find(xb_slot_cursor *cursor, const execbuf *buffer, xb_slot_ref *ref) {
    xb_arena *arena = xb_registry_find(buffer);
    if (arena != cursor->arena) {
        xb_slot_leave(cursor);
    }
    if (arena == NULL) {
        return false;
    }
    if (cursor->arena == NULL) {
        xb_arena_lock(arena);
        cursor->arena = arena;
    }
    bool found = xb_index_find(arena, buffer, ref);
    if (XB_UNLIKELY(found && ref->region->is_shared && !cursor->is_alone)) {
        xb_arena_unlock(arena);
        xb_arena_lock_alone(arena);
        cursor->is_alone = true;
        found = xb_index_find(arena, buffer, ref);
    }
    return found;
}

/* ---- Publishing and rewriting ---- */

/* Keeps guests from freeing a slot while its bytes change: until admit_guests, its handle is stale for them,
 * so they become visitors, and wait. Otherwise the new bytes could replace the traps that a guest has
 * written. The arena is locked.
 *
 * Returns: false if a guest has freed the slot already. */
static bool exclude_guests(const xb_slot_ref *ref) {
    uint16_t tag = ref->tag;
    return XB_EXCHANGE_IF(*xb_slot_tag(ref->span->entries, ref->slot), tag, (uint16_t)(tag - 1U));
}

static void admit_guests(const xb_slot_ref *ref) {
    XB_STORE_RELEASE(*xb_slot_tag(ref->span->entries, ref->slot), ref->tag);
}

/* The report of a region that cannot be copied: of the call that was refused, if there is one. */
static execbuf_status report_frozen(execbuf_error *error, xb_result refused) {
    return refused.code != 0 ? xb_error_set(error, EXECBUF_E_FROZEN, refused.call, refused.code)
                             : xb_error_set(error, EXECBUF_E_FROZEN, "buffer", 0);
}

/* As xb_slot_find, for a function that may copy the region. What an earlier copy has left is freed first. */
static bool find_to_own(xb_slot_cursor *cursor, const execbuf *buffer, xb_slot_ref *ref) {
    if (has_rest(cursor)) {
        xb_slot_leave(cursor);
    }
    return xb_slot_find(cursor, buffer, ref);
}

/* Whether a reserved slot can be filled: its region is this process's own now; or at least no other process
 * can write to it, and the others do not read a slot that is reserved. */
static bool can_fill(const xb_slot_ref *ref, xb_own_rest *rest, xb_result *result) {
    *result = xb_own_region(ref->arena, ref->region, rest);
    return result->call == NULL || ref->region->views.rw != NULL;
}

/* Gives back the whole pages of a reserved slot in which no code was written. The slots of size classes stay
 * as large as they are. */
static void give_back_room(const xb_slot_ref *ref) {
    bool may_trim = ref->span->class_ == XB_NO_CLASS && !ref->region->is_shared;
    if (may_trim && xb_span_trim(ref->span, ref->span->filled)) {
        xb_region_open(&ref->arena->open, ref->region);
    }
}

execbuf_status xb_slot_fill(xb_slot_cursor *cursor, const execbuf *buffer, const void *code, size_t length,
                            execbuf_error *error) {
    xb_slot_ref ref;
    xb_result result;
    if (!find_to_own(cursor, buffer, &ref)) {
        return xb_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    if (ref.region->is_lost) {
        return xb_error_set(error, EXECBUF_E_NOT_INHERITED, "buffer", 0);
    }
    if (xb_span_is_linked(ref.span, ref.slot)) {
        return xb_error_set(error, EXECBUF_E_THUNK, "buffer", 0);
    }
    if (!xb_span_is_reserved(ref.span, ref.slot)) {
        return xb_error_set(error, EXECBUF_E_PUBLISHED, "buffer", 0);
    }
    if (length > xb_span_length(ref.span, ref.slot)) {
        return xb_error_set(error, EXECBUF_E_CAPACITY, "length", 0);
    }
    if (!can_fill(&ref, &cursor->rest, &result)) {
        return report_frozen(error, result);
    }
    if (code != NULL) {
        if (!exclude_guests(&ref)) {
            return xb_error_set(error, EXECBUF_E_STALE, "buffer", 0);
        }
        xb_slot_write(ref.region->views.key, xb_region_writable(ref.region, buffer->entry), buffer->entry,
                      code, length);
        ref.span->filled = (uint32_t)length > ref.span->filled ? (uint32_t)length : ref.span->filled;
        admit_guests(&ref);
    }
    return EXECBUF_OK;
}

bool xb_slot_mark(xb_slot_cursor *cursor, execbuf *buffer, size_t length) {
    xb_slot_ref ref;
    if (!xb_slot_find(cursor, buffer, &ref) || !xb_span_is_reserved(ref.span, ref.slot) ||
        !exclude_guests(&ref)) {
        return false;
    }
    xb_span_set_length(ref.span, ref.slot, length, XB_USE_CODE);
    give_back_room(&ref);
    admit_guests(&ref);
    buffer->length = length;
    return true;
}

/* No other thread publishes in the slot before it is marked, because the arena stays locked. A guest may free
 * it; then it is not marked, as if it had been freed just afterwards. */
execbuf_status xb_slot_publish(execbuf *buffer, const void *code, size_t length, execbuf_error *error) {
    xb_slot_cursor cursor = {NULL, false, {NULL, NULL, 0}};
    execbuf_status status = xb_slot_fill(&cursor, buffer, code, length, error);
    if (status == EXECBUF_OK) {
        (void)xb_slot_mark(&cursor, buffer, length);
    }
    xb_slot_leave(&cursor);
    if (status != EXECBUF_OK) {
        return status;
    }
    xb_fresh_barrier();
    return xb_error_ok(error);
}

/* Overwrites published code at rx. */
static void overwrite(const xb_region *region, const uint8_t *rx, const void *code, size_t length) {
    const xb_prim_views *views = &region->views;
    const uint8_t *source = (const uint8_t *)code;
    uint8_t *rw = xb_region_writable(region, rx);
    /* The source may be code of this region, even of this slot. memmove copies overlapping bytes correctly
     * only if it is given both by their addresses in one view. */
    if ((uintptr_t)source - (uintptr_t)views->rx < region->size) {
        source = views->rw + (source - views->rx);
    }
    xb_prim_begin_write(views->key);
    memmove(rw, source, length);
    xb_prim_end_write(views->key);
    xb_prim_sync(rx, rw, length);
}

execbuf_status xb_slot_change(xb_slot_cursor *cursor, const execbuf *buffer, size_t offset, const void *code,
                              size_t length, execbuf_error *error) {
    xb_slot_ref ref;
    if (!find_to_own(cursor, buffer, &ref)) {
        return xb_error_set(error, EXECBUF_E_STALE, "buffer", 0);
    }
    if (ref.region->is_lost) {
        return xb_error_set(error, EXECBUF_E_NOT_INHERITED, "buffer", 0);
    }
    if (xb_span_is_linked(ref.span, ref.slot)) {
        return xb_error_set(error, EXECBUF_E_THUNK, "buffer", 0);
    }
    if (xb_span_is_reserved(ref.span, ref.slot)) {
        return xb_error_set(error, EXECBUF_E_NOT_PUBLISHED, "buffer", 0);
    }
    size_t published = xb_span_length(ref.span, ref.slot);
    if (offset > published || length > published - offset) {
        const char *culprit = offset > published ? "offset" : "length";
        return xb_error_set(error, EXECBUF_E_OUT_OF_BOUNDS, culprit, 0);
    }
    xb_result result = xb_own_region(ref.arena, ref.region, &cursor->rest);
    if (result.call != NULL) {
        return report_frozen(error, result);
    }
    if (code != NULL) {
        if (!exclude_guests(&ref)) {
            return xb_error_set(error, EXECBUF_E_STALE, "buffer", 0);
        }
        overwrite(ref.region, (const uint8_t *)buffer->entry + offset, code, length);
        admit_guests(&ref);
    }
    return EXECBUF_OK;
}

execbuf_status xb_slot_rewrite(const execbuf *buffer, size_t offset, const void *code, size_t length,
                               execbuf_error *error) {
    xb_slot_cursor cursor = {NULL, false, {NULL, NULL, 0}};
    execbuf_status status = xb_slot_change(&cursor, buffer, offset, code, length, error);
    xb_slot_leave(&cursor);
    if (status != EXECBUF_OK) {
        return status;
    }
    (void)xb_prim_barrier(); /* other processors may have fetched the old code */
    return xb_error_ok(error);
}

void xb_slot_set_hidden(xb_arena *arena, const execbuf *buffer, bool is_hidden) {
    xb_slot_ref ref;
    if ((buffer->id & XB_ID_POOL_BIT) != 0 && xb_index_find(arena, buffer, &ref)) {
        xb_use use = is_hidden ? XB_USE_RESERVED : XB_USE_CODE;
        xb_span_set_length(ref.span, ref.slot, buffer->length, use);
    }
}
