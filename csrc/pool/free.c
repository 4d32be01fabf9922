/* Freeing code in slots, by the thread that owns the arena, by others, and in all other cases. A description
 * of the code ends before. */

#include "free.h"

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
#include "slot.h"

static const xb_slot_cursor nowhere = {NULL, false, {NULL, NULL, 0}};

/* ---- Descriptions ---- */

bool (*xb_slot_undescribe)(const execbuf *buffer);

/* The arena is locked. Guests read the number meanwhile. */
static void add_described(xb_span *span, uint32_t difference) {
    XB_STORE_RELEASE(span->described, span->described + difference);
}

bool xb_slot_look(const execbuf *buffer, xb_slot_facts *facts) {
    xb_slot_cursor cursor = nowhere;
    xb_slot_ref ref;
    bool found = xb_slot_find(&cursor, buffer, &ref);
    if (found) {
        facts->span = ref.span;
        facts->length = xb_span_length(ref.span, ref.slot);
        facts->is_reserved = xb_span_is_reserved(ref.span, ref.slot);
        facts->is_linked = xb_span_is_linked(ref.span, ref.slot);
    }
    xb_slot_leave(&cursor);
    return found;
}

void xb_slot_count_description(const execbuf *buffer, bool is_added) {
    xb_slot_cursor cursor = nowhere;
    xb_slot_ref ref;
    if (xb_slot_find(&cursor, buffer, &ref)) {
        add_described(ref.span, is_added ? 1U : UINT32_MAX);
    }
    xb_slot_leave(&cursor);
}

bool xb_slot_keep_whole(const execbuf *buffer) {
    xb_slot_cursor cursor = nowhere;
    xb_slot_ref ref;
    bool is_whole = xb_slot_find(&cursor, buffer, &ref) &&
                    xb_span_size(ref.span) >= (size_t)ref.span->slots * ref.span->slot_size;
    if (is_whole) {
        ref.span->stays_whole = true;
    }
    xb_slot_leave(&cursor);
    return is_whole;
}

void xb_slot_count_tables(const execbuf *buffer, size_t memory) {
    xb_arena *arena = xb_registry_find(buffer);
    xb_arena_lock(arena);
    arena->bookkeeping += memory;
    xb_arena_unlock(arena);
}

/* ---- Freeing ---- */

/* Fills a slot with traps. */
static inline void write_traps(uint32_t key, uint8_t *rw, const void *entry, size_t size) {
    xb_prim_begin_write(key);
    xb_fill_traps(rw, size);
    xb_prim_end_write(key);
    xb_sync((const uint8_t *)entry, rw, size);
}

/* Where to read the code of a slot: through the writable view if it can be read, because the processor's
 * caches have it by that address. */
XB_INLINE const uint8_t *readable_code(const xb_region *region, const execbuf *buffer) {
    bool can_read = region->views.rw != NULL && region->views.key == XB_PRIM_NO_KEY;
    return can_read ? xb_region_writable(region, buffer->entry) : (const uint8_t *)buffer->entry;
}

/* The link of a taken slot, if it has one. That of a lost slot cannot be read: its adapter is lost as well,
 * and stays until the process ends. */
static xb_link link_of(const xb_slot_ref *ref, const execbuf *buffer) {
    if (ref->region->is_lost || !xb_span_is_linked(ref->span, ref->slot)) {
        static const xb_link none = {NULL, NULL};
        return none;
    }
    size_t length = xb_span_length(ref->span, ref->slot);
    return ref->arena->links->target(readable_code(ref->region, buffer), length, buffer->entry);
}

/* Finds the slot of a handle and locks its arena. If the buffer has a description, ends that before, while
 * nothing is locked.
 *
 * Returns: false, and nothing is locked, if the handle is stale. */
static bool find_to_free(const execbuf *buffer, xb_slot_ref *ref) {
    xb_slot_cursor cursor = nowhere;
    bool found = xb_slot_find(&cursor, buffer, ref);
    if (found && ref->span->described != 0) {
        xb_slot_leave(&cursor);
        bool was_described = XB_LOAD_ACQUIRE(xb_slot_undescribe)(buffer);
        found = xb_slot_find(&cursor, buffer, ref);
        if (found && was_described) {
            add_described(ref->span, UINT32_MAX);
        }
    }
    if (!found) {
        xb_slot_leave(&cursor);
    }
    return found;
}

/* xb_lock_linked for a slot. */
static execbuf_status lock_linked_slot(const execbuf *buffer, xb_arena **arena, xb_link *link) {
    xb_slot_cursor cursor = nowhere;
    xb_slot_ref ref;
    if (!xb_slot_find(&cursor, buffer, &ref)) {
        xb_slot_leave(&cursor);
        return EXECBUF_E_STALE;
    }
    bool is_lost = ref.region->is_lost;
    xb_link found = link_of(&ref, buffer);
    if (found.adapter == NULL) {
        xb_slot_leave(&cursor);
        return is_lost ? EXECBUF_E_NOT_INHERITED : EXECBUF_E_UNSUPPORTED;
    }
    *arena = ref.arena;
    *link = found;
    return EXECBUF_OK;
}

execbuf_status xb_lock_linked(const execbuf *buffer, xb_arena **arena, xb_link *link) {
    xb_record record;
    if ((buffer->id & XB_ID_POOL_BIT) != 0) {
        return lock_linked_slot(buffer, arena, link);
    }
    /* The arena is locked before another thread can free the buffer: that thread gives the cell back
     * afterwards, while it has the arena's lock. */
    xb_prim_lock();
    bool found = xb_handles_look(buffer, &record);
    bool is_linked = found && !record.is_lost && record.link.adapter != NULL;
    if (is_linked) {
        *arena = xb_registry[record.owner];
        *link = record.link;
        xb_arena_lock(*arena);
    }
    xb_prim_unlock();
    if (!found) {
        return EXECBUF_E_STALE;
    }
    return is_linked ? EXECBUF_OK : record.is_lost ? EXECBUF_E_NOT_INHERITED : EXECBUF_E_UNSUPPORTED;
}

/* xb_slot_free in all cases. */
XB_COLD execbuf_status free_slowly(execbuf *buffer) {
    xb_slot_ref ref;
    if (!find_to_free(buffer, &ref)) {
        xb_handles_count_stale();
        return EXECBUF_E_STALE;
    }
    xb_arena *arena = ref.arena;
    const xb_link link = link_of(&ref, buffer);
    bool is_own = xb_own_adopt(arena, ref.region);
    if (is_own) {
        uint8_t *rw = xb_region_writable(ref.region, buffer->entry);
        write_traps(ref.region->views.key, rw, buffer->entry, ref.span->slot_size);
    }
    xb_reclaim_slot(&ref, !is_own);
    bool is_due = xb_reclaim_is_due(arena, ref.region);
    const xb_region *region = ref.region;
    bool may_shrink = xb_shrink_is_due(ref.region) && xb_shrink_look(arena, ref.region);
    xb_arena_unlock(arena);
    if (is_due) {
        (void)xb_reclaim(arena, false);
    }
    if (link.adapter != NULL) {
        arena->links->release(arena, &link); /* the arena has not ended: its adapter is live */
    }
    if (may_shrink) {
        xb_shrink(arena, region);
    }
    *buffer = xb_no_buffer;
    return EXECBUF_OK;
}

/* Releases the link of a slot on the fast path. The arena is locked.
 *
 * Returns: true if the slot can be freed; false, and nothing has changed, if that takes the slow path.
 * In: the parts of an xb_slot_ref: if its address were passed, it could not stay in registers on the path
 *     without links. */
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
 * what another one has published do not make that one slower. The region has to be active, the slot without
 * link, and the span without descriptions. */
XB_NOINLINE execbuf_status free_as_guest(xb_arena *arena, execbuf *buffer) {
    if (!xb_enter_as_guest(&arena->lock)) {
        return free_slowly(buffer);
    }
    xb_slot_ref ref;
    if (!xb_index_find(arena, buffer, &ref) || !ref.region->is_active ||
        XB_LOAD_RELAXED(ref.span->described) != 0 || xb_span_may_be_linked(ref.span, ref.slot) ||
        !claim(&ref)) {
        (void)xb_leave_as_guest(&arena->lock, 0);
        return free_slowly(buffer);
    }
    uint32_t size = ref.span->slot_size;
    write_traps(XB_PRIM_NO_KEY, xb_region_writable(ref.region, buffer->entry), buffer->entry, size);
    xb_reclaim_guest_slot(&ref);
    uint32_t sum = xb_leave_as_guest(&arena->lock, size);
    *buffer = xb_no_buffer;
    if (XB_UNLIKELY(xb_reclaim_is_overdue(arena, sum, size))) {
        (void)xb_reclaim(arena, false);
        xb_shrink(arena, NULL);
    }
    return EXECBUF_OK;
}

/* The fast path applies if the lock is biased to this thread, the region is active (not shared with another
 * process, without a protection key, the arena not freed), more slots than its mark are in use, and no code
 * of the span is described. All else goes to free_slowly. On the path of small slots without links, all calls
 * are tail calls, so that no registers are saved. */
execbuf_status xb_slot_free(execbuf *buffer) {
    xb_arena *arena = xb_registry_find(buffer);
    if (XB_UNLIKELY(arena == NULL || xb_prim_is_clone())) {
        return free_slowly(buffer);
    }
    if (!xb_try_lock_biased(&arena->lock)) {
        return free_as_guest(arena, buffer);
    }
    xb_slot_ref ref;
    if (XB_UNLIKELY(!xb_index_find(arena, buffer, &ref) || !ref.region->is_active || ref.region->above <= 0 ||
                    ref.span->described != 0)) {
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
