/* Code in slots: writing, publishing in reserved slots, and rewriting. */
#ifndef XB_POOL_SLOT_H
#define XB_POOL_SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../base/compiler.h"
#include "../prim/icache.h"
#include "../prim/prim.h"
#include "index.h"
#include "own.h"
#include "sizes.h"

XB_PRIVATE_BEGIN

/* ---- Writing ---- */

/* Copies code to a slot that only the caller can change, between xb_prim_begin_write and xb_prim_end_write.
 *
 * In: rw:    where it is written.
 *     entry: where it runs. */
static inline void xb_slot_copy(uint8_t *rw, const void *entry, const void *code, size_t length) {
    memcpy(rw, code, length);
    xb_sync((const uint8_t *)entry, rw, length);
}

/* As xb_slot_copy, and calls these two functions itself.
 *
 * In: key: the region's. */
static inline void xb_slot_write(uint32_t key, uint8_t *rw, const void *entry, const void *code,
                                 size_t length) {
    xb_prim_begin_write(key);
    memcpy(rw, code, length);
    xb_prim_end_write(key);
    xb_sync((const uint8_t *)entry, rw, length);
}

/* Whether xb_slot_write_two_words can write code of this length. */
static inline bool xb_slot_fits_two_words(size_t length) {
    return !XB_ONE_VIEW && length - 8 <= XB_GRANULE - 8;
}

/* As xb_slot_write without a key, for 8 to 16 bytes, without a call: the first and the last 8 bytes, which
 * may overlap. */
XB_INLINE void xb_slot_write_two_words(uint8_t *rw, const void *entry, const void *code, size_t length) {
    uint64_t words[2];
    memcpy(&words[0], code, 8);
    memcpy(&words[1], (const uint8_t *)code + length - 8, 8);
    memcpy(rw, &words[0], 8);
    memcpy(rw + length - 8, &words[1], 8);
    xb_sync((const uint8_t *)entry, rw, length);
}

/* ---- Buffers in slots ---- */

/* The next functions are those of execbuf.h for handles with XB_ID_POOL_BIT, after the checks for NULL and
 * for empty code. No lock is held. */

/* Publishes code in a reserved slot. EXECBUF_E_FROZEN if this process is a child that does not have the
 * writable view. */
execbuf_status xb_slot_publish(execbuf *buffer, const void *code, size_t length, execbuf_error *error);

/* Changes published code, unless it is linked (EXECBUF_E_THUNK) or shared with another process
 * (EXECBUF_E_FROZEN). */
execbuf_status xb_slot_rewrite(const execbuf *buffer, size_t offset, const void *code, size_t length,
                               execbuf_error *error);

/* ---- Many buffers ---- */

/* Where a loop over buffers is. The arena of a slot stays locked until a slot of another arena comes, so that
 * many slots of one arena take its lock once. Initialised to all zero. */
typedef struct xb_slot_cursor {
    xb_arena *arena; /* it is locked; NULL: none is */
    bool is_alone;   /* it is locked alone */
    xb_own_rest rest;
} xb_slot_cursor;

/* Finds the slot of a handle, and locks its arena: alone if the region is shared, so that it can be owned.
 *
 * Returns: false if the handle is stale. */
bool xb_slot_find(xb_slot_cursor *cursor, const execbuf *buffer, xb_slot_ref *ref);

/* Unlocks the arena of a cursor. Called after a loop, and in a loop before any lock is taken. */
void xb_slot_leave(xb_slot_cursor *cursor);

/* xb_slot_publish in two parts, without the barrier, so that many buffers can be published or none.
 *
 * fill  makes the region of a reserved slot this process's own, if it is shared, and writes code there. The
 *       slot still counts as reserved; it may be filled again, or freed. code may be NULL: then only checks,
 *       and owns the region.
 * mark  makes a filled slot a published buffer. False, and nothing has changed, if another thread has freed
 *       it meanwhile. */
execbuf_status xb_slot_fill(xb_slot_cursor *cursor, const execbuf *buffer, const void *code, size_t length,
                            execbuf_error *error);
bool xb_slot_mark(xb_slot_cursor *cursor, execbuf *buffer, size_t length);

/* xb_slot_rewrite without the barrier. code may be NULL: then only checks, and owns the region. */
execbuf_status xb_slot_change(xb_slot_cursor *cursor, const execbuf *buffer, size_t offset, const void *code,
                              size_t length, execbuf_error *error);

/* ---- Adapters ---- */

/* Hides the code of an adapter from lookups, as if its slot were only reserved, or shows it. Does nothing for
 * a dedicated mapping. The arena is locked, and the adapter is live. */
void xb_slot_set_hidden(xb_arena *arena, const execbuf *buffer, bool is_hidden);

XB_PRIVATE_END

#endif
