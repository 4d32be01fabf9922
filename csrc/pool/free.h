/* Freeing code in slots, and the descriptions that end before. */
#ifndef XB_POOL_FREE_H
#define XB_POOL_FREE_H

#include <stdbool.h>
#include <stddef.h>

#include "arena.h"

XB_PRIVATE_BEGIN

/* Frees a slot, after its description. Counts a stale handle itself. */
execbuf_status xb_slot_free(execbuf *buffer);

/* ---- Descriptions ---- */

/* The pool does not know what a description is. It counts in each span how many slots have one, so that
 * freeing code in other spans takes no time for them, and calls this function before it frees a slot of a
 * span with some. It ends the description of a buffer; returns false if there is none. No lock is held. NULL
 * until the first description is made. */
extern bool (*xb_slot_undescribe)(const execbuf *buffer);

/* What is known of a buffer in a slot. */
typedef struct xb_slot_facts {
    xb_span *span; /* stays as long as the buffer */
    size_t length; /* of the code, or the capacity of a reserved buffer */
    bool is_reserved;
    bool is_linked;
} xb_slot_facts;

/* Returns: whether the handle is that of a live buffer.
 * Out: facts: undefined if it is not. */
bool xb_slot_look(const execbuf *buffer, xb_slot_facts *facts);

/* Counts a description of a buffer in its span. Does nothing if the handle is stale.
 *
 * In: is_added: whether it was added, or taken away. */
void xb_slot_count_description(const execbuf *buffer, bool is_added);

/* Keeps the span of a buffer whole (see shrink.h), so that it can have tables.
 *
 * Returns: false if it has given pages back already, where other code may be, or if the handle is stale. */
bool xb_slot_keep_whole(const execbuf *buffer);

/* Adds to the arena's book-keeping what a span of it, which is in use, has got as tables. */
void xb_slot_count_tables(const execbuf *buffer, size_t memory);

/* What the code of a linked buffer of a pool refers to, in a slot or in a dedicated mapping.
 *
 * Returns: EXECBUF_OK, and the arena is locked; EXECBUF_E_STALE, EXECBUF_E_NOT_INHERITED, or
 *          EXECBUF_E_UNSUPPORTED if the buffer is not linked.
 * Out: arena, link: unchanged on failure. */
execbuf_status xb_lock_linked(const execbuf *buffer, xb_arena **arena, xb_link *link);

XB_PRIVATE_END

#endif
