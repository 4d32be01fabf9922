/* The unwind tables of a body, in the two formats there are. Pure. */
#ifndef EXECBUF_UNWIND_H
#define EXECBUF_UNWIND_H

#include "../thunk/x86_64/emit.h"

/* A whole .eh_frame section: a CIE, an FDE and the terminator. Where the FDE begins, and how long it is at
 * most. */
#define EXECBUF_FDE_OFFSET 24
#define EXECBUF_MOST_DWARF 192

/* Who reads it. LLVM's unwinder refuses to pass a frame that saves a vector register (outside of Windows its
 * Registers_x86_64::validVectorRegister is false for all), and libgcc's ignores it; debuggers show it. */
typedef enum execbuf_reader { EXECBUF_FOR_UNWINDERS, EXECBUF_FOR_DEBUGGERS } execbuf_reader;

/* Writes call frame information as .eh_frame has it (DWARF 5, 6.4; Linux Standard Base 5.0, 10.6).
 *
 * Returns: the length.
 * Out: out:    the section, EXECBUF_MOST_DWARF bytes at most.
 * In:  frame:  the body's frame.
 *      code:   where the body is.
 *      reader: only debuggers are told of vector registers. */
size_t execbuf_unwind_dwarf(uint8_t *out, const execbuf_frame *frame, const void *code,
                            execbuf_reader reader);

#define EXECBUF_MOST_XDATA 64

/* Writes an UNWIND_INFO structure (Microsoft, "x64 exception handling").
 *
 * Returns: the length.
 * Out: out:   the structure, EXECBUF_MOST_XDATA bytes at most.
 * In:  frame: the body's frame. */
size_t execbuf_unwind_xdata(uint8_t *out, const execbuf_frame *frame);

#endif
