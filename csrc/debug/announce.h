/* Tells tools of an adapter's code: the unwinder of the process, and debuggers. */
#ifndef XB_DEBUG_ANNOUNCE_H
#define XB_DEBUG_ANNOUNCE_H

#include <stdbool.h>

#include "../base/compiler.h"
#include "../base/error.h"
#include "../prim/unwinder.h"
#include "dwarf.h"
#include "elf.h"
#include "gdb_jit.h"
#include "section.h"
#include "xdata.h"

/* What the tools have been told of an adapter. Some of them keep pointers to it. */
typedef struct xb_announcement {
    bool is_registered; /* function is registered with the unwinder by itself, and dwarf is its table */
    xb_prim_function function;
    uint8_t dwarf[XB_MAX_DWARF_SIZE];
    xb_gdb_entry gdb;
    uint8_t object[XB_MAX_ELF_SIZE]; /* for gdb; aligned to 8 by the members above */
} xb_announcement;

XB_PRIVATE_BEGIN

/* Appends to an adapter's code what this system wants to find behind it, before it is published.
 *
 * Returns: the length of all.
 * In/Out: code:  the adapter's code, of frame->length bytes; XB_MAX_XDATA_SIZE bytes of space follow.
 * In:     frame: the adapter's frame. */
size_t xb_announce_append(uint8_t *code, const xb_frame *frame);

/* Announces an adapter. No lock is held: unwinders take locks, and may allocate.
 *
 * Returns: success, also if nobody listens; or the call that failed, and nobody knows of the adapter. If it
 *          is XB_PRIM_LOST, an adapter at another address may be found.
 * Out: announcement: zero before; stays where it is until xb_announce_end.
 * In:  frame: the adapter's frame.
 *      code:  the address where the code is published, with what xb_announce_append appended.
 *      span:  the span that contains it; NULL if it has a dedicated mapping.
 *      name:  the adapter's name, at most XB_MAX_ELF_NAME bytes and a zero.
 * Out: memory: how many bytes of tables the span has got, also on failure. The pool's book-keeping does not
 *              count them yet. */
xb_result xb_announce(xb_announcement *announcement, const xb_frame *frame, const void *code, xb_span *span,
                      const char *name, size_t *memory);

/* Takes an announcement back, before the code is freed. No lock is held.
 *
 * Returns: true if nobody refers to the announcement any more. Else it has to stay where it is for ever: the
 *          unwinder was lost in a fork (see xb_prim_begin_unwinder). The code can be freed in both cases. */
bool xb_announce_end(xb_announcement *announcement);

XB_PRIVATE_END

#endif
