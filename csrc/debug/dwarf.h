/* An adapter's unwind table in the format of DWARF: for unwinders on all systems but Windows, and for
 * debuggers. Pure. */
#ifndef XB_DEBUG_DWARF_H
#define XB_DEBUG_DWARF_H

#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "frame.h"

/* The size of the table is at most this, and the FDE begins at this offset. */
#define XB_MAX_DWARF_SIZE 192
#define XB_FDE_OFFSET 24

/* The size of the terminator at the end of the table. */
#define XB_DWARF_END_SIZE 4U

/* A list for unwinders, in words of 8 bytes: a CIE, FDEs of fixed size, the terminator. */
#define XB_FDE_WORDS 8U
#define XB_LIST_WORDS(count) (XB_FDE_OFFSET / 8 + XB_FDE_WORDS * (size_t)(count) + 1)

/* For whom a table is. Only debuggers learn where vector registers are saved: libgcc's unwinder ignores it,
 * and LLVM's refuses to pass such a frame (Registers_x86_64::validVectorRegister is false for all registers
 * outside of Windows). */
typedef enum xb_reader { XB_FOR_UNWINDERS, XB_FOR_DEBUGGERS } xb_reader;

XB_PRIVATE_BEGIN

/* Writes a whole .eh_frame section: a CIE, an FDE and the terminator (dwarf.c draws them).
 *
 * Returns: its length, a multiple of 4.
 * Out: out:    the section, at most XB_MAX_DWARF_SIZE bytes.
 * In:  frame:  the adapter's frame.
 *      code:   the address of the adapter's code.
 *      reader: for whom. */
size_t xb_dwarf_write(uint8_t *out, const xb_frame *frame, const void *code, xb_reader reader);

/* Writes a list of FDEs for slots that lie one behind the other, without instructions.
 *
 * Out: words: XB_LIST_WORDS(count) words.
 * In:  start: the address of the first slot.
 *      size:  of each slot.
 *      count: how many slots. */
void xb_dwarf_write_list(uint64_t *words, const uint8_t *start, size_t size, size_t count);

/* The FDE of a slot in a list. */
uint64_t *xb_dwarf_fde(uint64_t *words, size_t index);

/* Replaces the instructions of an FDE by those for an adapter that begins where the slot begins. Nobody runs
 * code in the slot. Other threads may search the list meanwhile: what they read of other slots' FDEs does not
 * change, and neither do the address and the length of this one. */
void xb_dwarf_fill(uint64_t *words, size_t index, const xb_frame *frame);

XB_PRIVATE_END

#endif
