/* The list of a span for Windows: a RUNTIME_FUNCTION for each slot, in the order of addresses. Pure.
 *
 * A RUNTIME_FUNCTION is three words of 32 bits, which are distances from the start of the span:
 *
 *     begin   where the code begins: the slot
 *     end     where it ends; where it begins, if the slot is not described
 *     xdata   its UNWIND_INFO
 *
 * Windows may search a list at any time, so the order never changes. An entry without length contains no
 * address: Windows finds nothing for its slot, as for code without a table. */
#ifndef XB_DEBUG_XDATA_LIST_H
#define XB_DEBUG_XDATA_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"

/* The size of the list, in words of 8 bytes. */
#define XB_XDATA_LIST_WORDS(count) ((3 * (size_t)(count) + 1) / 2)

XB_PRIVATE_BEGIN

/* Writes a list for slots that are not described.
 *
 * Out: list:  3 * count words.
 * In:  size:  of each slot.
 *      count: how many slots. */
void xb_xdata_list_write(uint32_t *list, uint32_t size, uint32_t count);

/* Describes a slot, whose code nobody runs. Other threads may search the list meanwhile: they do not look for
 * this slot.
 *
 * In: length: of the code.
 *     xdata:  distance of the UNWIND_INFO from the start of the span. */
void xb_xdata_list_fill(uint32_t *list, size_t index, uint32_t length, uint32_t xdata);

/* Takes the description of a slot back, whose code nobody runs. */
void xb_xdata_list_clear(uint32_t *list, size_t index);

XB_PRIVATE_END

#endif
