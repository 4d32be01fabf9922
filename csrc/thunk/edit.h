/* Adapters that edit the list of arguments: how they are named where those of thunks have the caller's
 * convention.
 *
 * An adapter of a thunk is called by one convention, EXECBUF_ABI_SYSV64 or EXECBUF_ABI_WIN64, and calls its
 * target by the other. An adapter that edits is called by a convention and calls its target by the same one.
 * All that it does fits into one number, which is no value of execbuf_abi for users:
 *
 *     bits 0 to 3     bits 4 to 7     bits 8 to 15
 *     convention      xb_edit         position of the argument, from 0 on
 *
 * The convention of AArch64 is EXECBUF_ABI_NATIVE, -1, of which the lowest four bits are 15. */
#ifndef XB_THUNK_EDIT_H
#define XB_THUNK_EDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../call/layout.h"
#include "../call/signature.h"
#include "../include/execbuf.h"

/* What happens to the list of arguments. The position is that of the argument in the longer list. */
typedef enum xb_edit {
    XB_EDIT_NONE,
    XB_EDIT_INSERT, /* the target gets one more argument, a pointer: the context. Stubs have cells */
    XB_EDIT_DROP    /* the target gets one argument less */
} xb_edit;

/* The number of an edit. position is below EXECBUF_MAX_ARGUMENTS. */
static inline execbuf_abi xb_edit_abi(execbuf_abi abi, xb_edit edit, uint32_t position) {
    return (execbuf_abi)(((uint32_t)abi & 0xf) | (uint32_t)edit << 4 | position << 8);
}

/* The parts of the number. The edit of EXECBUF_ABI_SYSV64 or EXECBUF_ABI_WIN64 by itself, and of an
 * xb_packed_abi, is XB_EDIT_NONE. */
static inline execbuf_abi xb_edit_convention(execbuf_abi abi) {
    uint32_t bits = (uint32_t)abi & 0xf;
    return bits == 0xf ? EXECBUF_ABI_NATIVE : (execbuf_abi)bits;
}

static inline xb_edit xb_edit_of(execbuf_abi abi) {
    return (xb_edit)((uint32_t)abi >> 4 & 0xf);
}

static inline uint32_t xb_edit_position(execbuf_abi abi) {
    return (uint32_t)abi >> 8;
}

/* ---- Both lists of arguments ---- */

/* A place of an argument beside those of execbuf_where: the context, in the cell whose address the stub has
 * loaded. Only for adapters that insert an argument. */
#define XB_IN_CELL 16U
#define XB_CELL_CONTEXT 8U /* its offset there */

XB_PRIVATE_BEGIN

/* Says where the arguments are, before and after an edit. Each argument has the same index in both layouts
 * and in the target's signature, and an argument that is dropped has none. If no place on the stack changes,
 * arguments on the stack become EXECBUF_NOWHERE in `where`.
 *
 * Returns: whether a place on the stack changes, so that the adapter needs a frame.
 * Out: from, where: where the caller has the arguments, and where the target wants them.
 *      short_:      the shorter signature.
 * In:  signature:   the longer one.
 *      edit:        what is done.
 *      layout_of:   fills a layout by the convention. */
bool xb_edit_layouts(xb_layout *from, xb_layout *where, xb_signature *short_, const xb_signature *signature,
                     execbuf_abi edit, void (*layout_of)(xb_layout *, const xb_signature *, execbuf_abi));

XB_PRIVATE_END

#endif
