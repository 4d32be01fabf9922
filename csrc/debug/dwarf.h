/* The unwind tables of a adapter, in the two formats there are. Pure. */
#ifndef XB_DEBUG_DWARF_H
#define XB_DEBUG_DWARF_H

#include "../thunk/x86_64/emit.h"

/* A whole .eh_frame section: a CIE, an FDE and the terminator. Where the FDE begins, and how long it is at
 * most. */
#define XB_FDE_OFFSET 24
#define XB_MAX_DWARF_SIZE 192

/* Who reads it. LLVM's unwinder refuses to pass a frame that saves a vector register (outside of Windows its
 * Registers_x86_64::validVectorRegister is false for all), and libgcc's ignores it; debuggers show it. */
typedef enum xb_reader { XB_FOR_UNWINDERS, XB_FOR_DEBUGGERS } xb_reader;

/* Writes call frame information as .eh_frame has it (DWARF 5, 6.4; Linux Standard Base 5.0, 10.6).
 *
 * Returns: the length.
 * Out: out:    the section, XB_MAX_DWARF_SIZE bytes at most.
 * In:  frame:  the adapter's frame.
 *      code:   where the adapter is.
 *      reader: only debuggers are told of vector registers. */
size_t xb_dwarf_write(uint8_t *out, const xb_frame *frame, const void *code, xb_reader reader);

#define XB_MAX_XDATA_SIZE 64

/* Writes an UNWIND_INFO structure (Microsoft, "x64 exception handling").
 *
 * Returns: the length.
 * Out: out:   the structure, XB_MAX_XDATA_SIZE bytes at most.
 * In:  frame: the adapter's frame. */
size_t xb_xdata_write(uint8_t *out, const xb_frame *frame);

#endif
