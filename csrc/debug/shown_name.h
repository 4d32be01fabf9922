/* Names as tools show them. A name in a description may have any bytes, but lists of names have one name in a
 * line, and names in objects end at a zero. So each control byte becomes four characters, as in "\x0a". Pure.
 */
#ifndef XB_DEBUG_SHOWN_NAME_H
#define XB_DEBUG_SHOWN_NAME_H

#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"

XB_PRIVATE_BEGIN

/* Writes a name; "execbuf" in place of an empty one.
 *
 * Returns: its length.
 * Out: out:    the name, without a zero at its end; NULL: it is only measured.
 * In:  name:   the name in a description.
 *      length: of it. */
size_t xb_show_name(char *out, const uint8_t *name, size_t length);

/* Writes a number in hexadecimal.
 *
 * Returns: its length, at most 16. */
size_t xb_show_hex(char *out, uint64_t value);

XB_PRIVATE_END

#endif
