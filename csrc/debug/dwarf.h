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

XB_PRIVATE_END

#endif
