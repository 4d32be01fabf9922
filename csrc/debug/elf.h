/* An ELF object in memory that describes published code, for debuggers: the names of functions, how to unwind
 * them, and where they come from. Pure. */
#ifndef XB_DEBUG_ELF_H
#define XB_DEBUG_ELF_H

#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"

/* A function of an object. */
typedef struct xb_elf_function {
    const void *code; /* its address */
    size_t length;
    const uint8_t *name; /* any bytes; shown as by xb_show_name */
    size_t name_length;
    const void *table; /* CIEs and FDEs with absolute addresses, without a terminator */
    size_t table_size; /* may be 0 */
    const execbuf_line *lines;
    size_t line_count; /* may be 0 */
} xb_elf_function;

/* How many functions an object may have. */
#define XB_MOST_ELF_FUNCTIONS 64

/* How many bytes the object of an adapter takes at most, and the longest name of one. */
#define XB_MAX_ELF_SIZE 1024
#define XB_MAX_ELF_NAME 63

XB_PRIVATE_BEGIN

/* How many bytes an object takes. */
size_t xb_elf_size(const xb_elf_function *const *functions, size_t count);

/* Writes an object (elf.c draws it). It contains addresses of the code and of itself, so it is valid where it
 * is written and nowhere else.
 *
 * Out: out: the object, of xb_elf_size bytes, aligned to 8. */
void xb_elf_write(uint8_t *out, const xb_elf_function *const *functions, size_t count);

XB_PRIVATE_END

#endif
