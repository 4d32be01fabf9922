/* Code in slots: writing, publishing in reserved slots, rewriting and freeing.
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

/* Finds the slot of a handle, and locks its arena: alone if the region is shared, so that it can be owned.
 *
 * Returns: false if the handle is stale. */
static bool find_and_lock(xb_slot_cursor *cursor, const execbuf *buffer, xb_slot_ref *ref) {
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

/* ---- Writing ---- */

/* Fills a slot with traps. */
static inline void write_traps(uint32_t key, uint8_t *rw, const void *entry, size_t size) {
    xb_prim_begin_write(key);
    xb_fill_traps(rw, size);
    xb_prim_end_write(key);
    xb_sync((const uint8_t *)entry, rw, size);
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

/* As find_and_lock, for a function that may copy the region. What an earlier copy has left is freed first. */
static bool find_to_own(xb_slot_cursor *cursor, const execbuf *buffer, xb_slot_ref *ref) {
    if (has_rest(cursor)) {
        xb_slot_leave(cursor);
    }
    return find_and_lock(cursor, buffer, ref);
}

/* Whether a reserved slot can be filled: its region is this process's own now; or at least no other process
 * can write to it, and the others do not read a slot that is reserved. */
static bool can_fill(const xb_slot_ref *ref, xb_own_rest *rest, xb_result *result) {
    *result = xb_own_region(ref->arena, ref->region, rest);
    return result->call == NULL || ref->region->views.rw != NULL;
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
        admit_guests(&ref);
    }
    return EXECBUF_OK;
}

bool xb_slot_mark(xb_slot_cursor *cursor, execbuf *buffer, size_t length) {
    xb_slot_ref ref;
    if (!find_and_lock(cursor, buffer, &ref) || !xb_span_is_reserved(ref.span, ref.slot) ||
        !exclude_guests(&ref)) {
        return false;
    }
    xb_span_set_length(ref.span, ref.slot, length, XB_USE_CODE);
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

/* ---- Freeing ---- */

/* Where to read the code of a slot: through the writable view if it can be read, because the processor's
 * caches have it by that address. */
XB_INLINE const uint8_t *readable_code(const xb_region *region, const execbuf *buffer) {
    bool can_read = region->views.rw != NULL && region->views.key == XB_PRIM_NO_KEY;
    return can_read ? xb_region_writable(region, buffer->entry) : (const uint8_t *)buffer->entry;
}

/* The link of a taken slot: the address of the adapter that its stub jumps to, or NULL. That of a lost slot
 * cannot be read: its adapter is lost as well, and stays until the process ends. */
static const uint8_t *link_of(const xb_slot_ref *ref, const execbuf *buffer) {
    if (ref->region->is_lost || !xb_span_is_linked(ref->span, ref->slot)) {
        return NULL;
    }
    size_t length = xb_span_length(ref->span, ref->slot);
    return ref->arena->links->target(readable_code(ref->region, buffer), length, buffer->entry);
}

/* xb_slot_free in all cases. */
XB_COLD execbuf_status free_slowly(execbuf *buffer) {
    xb_slot_ref ref;
    xb_slot_cursor cursor = {NULL, false, {NULL, NULL, 0}};
    if (!find_and_lock(&cursor, buffer, &ref)) {
        xb_slot_leave(&cursor);
        xb_handles_count_stale();
        return EXECBUF_E_STALE;
    }
    xb_arena *arena = ref.arena;
    const uint8_t *link = link_of(&ref, buffer);
    bool is_own = xb_own_adopt(arena, ref.region);
    if (is_own) {
        uint8_t *rw = xb_region_writable(ref.region, buffer->entry);
        write_traps(ref.region->views.key, rw, buffer->entry, ref.span->slot_size);
    }
    xb_reclaim_slot(&ref, !is_own);
    bool is_due = xb_reclaim_is_due(arena, ref.region);
    xb_arena_unlock(arena);
    if (is_due) {
        (void)xb_reclaim(arena, false);
    }
    if (link != NULL) {
        arena->links->release(arena, link); /* the arena has not ended: the code at link is live */
    }
    *buffer = xb_no_buffer;
    return EXECBUF_OK;
}

/* Releases the link of a slot on the fast path. The arena is locked.
 *
 * Returns: true if the slot can be freed; false, and nothing has changed, if it is the last one with its
 * link. In: the parts of an xb_slot_ref: if its address were passed, it could not stay in registers on the
 * path without links. */
XB_NOINLINE bool release_link(xb_arena *arena, const xb_region *region, const xb_span *span, uint32_t slot,
                              const execbuf *buffer) {
    if (!xb_span_is_linked(span, slot)) {
        return true;
    }
    size_t length = xb_span_length(span, slot);
    const uint8_t *code = xb_region_writable(region, buffer->entry); /* readable, as the region is active */
    return arena->links->release_shared(arena->links_data, code, length, buffer->entry);
}

/* The end of the fast path for slots that write_two_words does not fill. The slot is in quarantine; since the
 * arena is still locked, no other thread takes it before the traps are written. */
XB_NOINLINE execbuf_status finish_free(xb_arena *arena, uint8_t *rw, size_t size, execbuf *buffer) {
    write_traps(XB_PRIM_NO_KEY, rw, buffer->entry, size);
    xb_unlock_biased(&arena->lock);
    *buffer = xb_no_buffer;
    return EXECBUF_OK;
}

/* Makes a guest's handle stale. False: another thread did so first. */
static bool claim(const xb_slot_ref *ref) {
    uint16_t tag = ref->tag;
    return XB_EXCHANGE_IF(*xb_slot_tag(ref->span->entries, ref->slot), tag, (uint16_t)(tag + 1U));
}

/* Frees a slot of an arena that this thread does not own. As a guest it takes no lock, so threads that free
 * what another one has published do not make that one slower. The region has to be active, and the slot
 * without link. */
XB_NOINLINE execbuf_status free_as_guest(xb_arena *arena, execbuf *buffer) {
    if (!xb_enter_as_guest(&arena->lock)) {
        return free_slowly(buffer);
    }
    xb_slot_ref ref;
    if (!xb_index_find(arena, buffer, &ref) || !ref.region->is_active ||
        xb_span_may_be_linked(ref.span, ref.slot) || !claim(&ref)) {
        (void)xb_leave_as_guest(&arena->lock, 0);
        return free_slowly(buffer);
    }
    uint32_t size = ref.span->slot_size;
    write_traps(XB_PRIM_NO_KEY, xb_region_writable(ref.region, buffer->entry), buffer->entry, size);
    xb_reclaim_guest_slot(&ref);
    uint32_t sum = xb_leave_as_guest(&arena->lock, size);
    *buffer = xb_no_buffer;
    if (XB_UNLIKELY(xb_reclaim_is_overdue(sum, size))) {
        (void)xb_reclaim(arena, false);
    }
    return EXECBUF_OK;
}

/* The fast path applies if the lock is biased to this thread, the region is active (not shared with another
 * process, without a protection key, the arena not freed) and stays in use. All else goes to free_slowly. On
 * the path of small slots without links, all calls are tail calls, so that no registers are saved. */
execbuf_status xb_slot_free(execbuf *buffer) {
    xb_arena *arena = xb_registry_find(buffer);
    if (XB_UNLIKELY(arena == NULL || xb_prim_is_clone())) {
        return free_slowly(buffer);
    }
    if (!xb_try_lock_biased(&arena->lock)) {
        return free_as_guest(arena, buffer);
    }
    xb_slot_ref ref;
    if (XB_UNLIKELY(!xb_index_find(arena, buffer, &ref) || !ref.region->is_active ||
                    (ref.region->live == 1 && !ref.region->is_kept))) {
        xb_unlock_biased(&arena->lock);
        return free_slowly(buffer);
    }
    if (XB_UNLIKELY(xb_span_may_be_linked(ref.span, ref.slot)) &&
        !release_link(arena, ref.region, ref.span, ref.slot, buffer)) {
        xb_unlock_biased(&arena->lock);
        return free_slowly(buffer);
    }
    xb_reclaim_slot(&ref, false);
    uint8_t *rw = xb_region_writable(ref.region, buffer->entry);
    if (!xb_slot_fits_two_words(ref.span->slot_size)) {
        return finish_free(arena, rw, ref.span->slot_size, buffer);
    }
    xb_slot_write_two_words(rw, buffer->entry, xb_traps, XB_GRANULE);
    xb_unlock_biased(&arena->lock);
    *buffer = xb_no_buffer;
    return EXECBUF_OK;
}
