/* Functions and lines of source in the format of DWARF, for debuggers. Pure. */
#ifndef XB_DEBUG_DWARF_LINES_H
#define XB_DEBUG_DWARF_LINES_H

#include <stddef.h>

#include "../base/compiler.h"
#include "elf.h"
#include "writer.h"

/* The size of .debug_abbrev. */
#define XB_DWARF_ABBREV_SIZE 29U

XB_PRIVATE_BEGIN

/* Writes .debug_abbrev: the attributes of the entries below. */
void xb_dwarf_write_abbrev(xb_writer *to);

/* How many bytes a function takes in .debug_info; 0: it has no lines, or so many that they are left out. */
size_t xb_dwarf_unit_size(const xb_elf_function *function);

/* Writes the unit of a function to .debug_info.
 *
 * In: lines: the offset in .debug_line of the function's table. */
void xb_dwarf_write_unit(xb_writer *to, const xb_elf_function *function, size_t lines);

/* How many bytes a function takes in .debug_line at most; 0: as above. */
size_t xb_dwarf_lines_bound(const xb_elf_function *function);

/* Writes the table of a function to .debug_line. */
void xb_dwarf_write_lines(xb_writer *to, const xb_elf_function *function);

XB_PRIVATE_END

#endif
