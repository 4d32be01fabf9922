/* An adapter's unwind table in the format of Windows. Pure. */
#ifndef XB_DEBUG_XDATA_H
#define XB_DEBUG_XDATA_H

#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "frame.h"

/* The table begins at a multiple of 4; behind code of this length it is here. */
static inline uint32_t xb_xdata_offset(uint32_t length) {
    return (length + 3) & ~3U;
}

/* Operations of unwind codes. */
#define XB_UWOP_PUSH_NONVOL 0U
#define XB_UWOP_ALLOC_LARGE 1U
#define XB_UWOP_ALLOC_SMALL 2U
#define XB_UWOP_SET_FPREG 3U
#define XB_UWOP_SAVE_NONVOL 4U
#define XB_UWOP_SAVE_NONVOL_FAR 5U
#define XB_UWOP_SAVE_XMM128 8U
#define XB_UWOP_SAVE_XMM128_FAR 9U
#define XB_UWOP_PUSH_MACHFRAME 10U

/* How many bytes the table takes at most, with what aligns it. */
#define XB_MAX_XDATA_SIZE 64

XB_PRIVATE_BEGIN

/* Appends an UNWIND_INFO structure (xdata.c draws it) to an adapter's code: Windows finds the structure by
 * its 32-bit distance from the code, so it has to lie close.
 *
 * Returns: the length of code and structure.
 * In/Out: code:  the adapter's code, of frame->length bytes; XB_MAX_XDATA_SIZE bytes of space follow.
 * In:     frame: the adapter's frame. */
size_t xb_xdata_append(uint8_t *code, const xb_frame *frame);

XB_PRIVATE_END

#endif
