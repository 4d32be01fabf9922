/* Unwind tables of descriptions in the format of Windows: those of frames that a user describes in words, and
 * the check of finished ones. Pure. */
#ifndef XB_DEBUG_INFO_XDATA_H
#define XB_DEBUG_INFO_XDATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"
#include "eh_frame.h"

/* The size of a table of a frame in words, at most. */
#define XB_MAX_INFO_XDATA 12U

XB_PRIVATE_BEGIN

/* Writes the UNWIND_INFO of a frame (xdata.c draws it).
 *
 * Returns: NULL, or what is wrong: a string literal.
 * Out: out:  XB_MAX_INFO_XDATA bytes.
 *      size: of the table; 0: there is none, since without one the return address is at the stack pointer.
 * In:  info: its unwind is FRAME_POINTER, NO_FRAME or FIXED.
 *      code: the bytes of the code, where they can be read. */
const char *xb_info_xdata(uint8_t *out, size_t *size, const execbuf_info *info, const uint8_t *code,
                          size_t length);

/* Checks a finished UNWIND_INFO.
 *
 * Returns: what is wrong.
 * In: table:  any bytes.
 *     size:   of the table.
 *     length: of the code. */
xb_table_fault xb_info_xdata_check(const uint8_t *table, size_t size, size_t length);

/* Finds the table of a description: one of the two above.
 *
 * Returns: what is wrong.
 * Out: table:  the table, which may be canned; undefined if size is 0.
 *      size:   of the table; 0: there is none.
 *      canned: XB_MAX_INFO_XDATA bytes.
 * In:  info:   its unwind is FRAME_POINTER, NO_FRAME, FIXED or UNWIND_INFO. */
xb_table_fault xb_info_xdata_read(const uint8_t **table, size_t *size, uint8_t *canned,
                                  const execbuf_info *info, const uint8_t *code, size_t length);

/* Where a table that was checked has the address of its handler, of 4 bytes; 0: it has none. */
size_t xb_info_xdata_handler(const uint8_t *table);

/* Whether the address of a handler that a checked table has can count from so many bytes before the code. */
bool xb_info_xdata_handler_fits(const uint8_t *table, uint32_t distance);

/* Makes the address of a handler count from so many bytes before the code. It fits. */
void xb_info_xdata_move_handler(uint8_t *table, uint32_t distance);

XB_PRIVATE_END

#endif
