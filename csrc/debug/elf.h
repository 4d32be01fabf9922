/* An ELF object in memory that describes an adapter's code, for debuggers: its name, and how to unwind it.
 * Pure. */
#ifndef XB_DEBUG_ELF_H
#define XB_DEBUG_ELF_H

#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "frame.h"

/* How many bytes an object takes at most, and the longest name, without its zero. */
#define XB_MAX_ELF_SIZE 1024
#define XB_MAX_ELF_NAME 63

XB_PRIVATE_BEGIN

/* Writes the object (elf.c draws it). It contains addresses of the code and of itself, so it is valid where
 * it is written and nowhere else.
 *
 * Returns: its length.
 * Out: out:   the object, at most XB_MAX_ELF_SIZE bytes, aligned to 8.
 * In:  frame: the adapter's frame.
 *      code:  the address of the adapter's code.
 *      name:  the function's name, at most XB_MAX_ELF_NAME bytes and a zero. */
size_t xb_elf_write(uint8_t *out, const xb_frame *frame, const void *code, const char *name);

XB_PRIVATE_END

#endif
