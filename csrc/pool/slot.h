/* Code in slots: writing, publishing in reserved slots, rewriting and freeing. */
#ifndef XB_POOL_SLOT_H
#define XB_POOL_SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../base/compiler.h"
#include "../prim/icache.h"
#include "../prim/prim.h"
#include "sizes.h"

XB_PRIVATE_BEGIN

/* ---- Writing ---- */

/* Copies code to a slot that only the caller can change.
 *
 * In: rw:    where it is written.
 *     entry: where it runs. */
void xb_slot_write(uint8_t *rw, const void *entry, const void *code, size_t length);

/* Whether xb_slot_write_two_words can write code of this length. */
static inline bool xb_slot_fits_two_words(size_t length) {
    return !XB_ONE_VIEW && length - 8 <= XB_GRANULE - 8;
}

/* As xb_slot_write, for 8 to 16 bytes, without a call: the first and the last 8 bytes, which may overlap. */
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

/* Hides the code of an adapter from lookups, as if its slot were only reserved, or shows it. Does nothing for
 * a dedicated mapping. The pool is locked, and the adapter is live. */
void xb_slot_set_hidden(execbuf_pool *pool, const execbuf *buffer, bool is_hidden);

/* Frees a slot. Counts a stale handle itself; in the other two, the caller does. */
execbuf_status xb_slot_free(execbuf *buffer);

XB_PRIVATE_END

#endif
