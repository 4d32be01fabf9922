/* Reads what unwind tables consist of: numbers, addresses in one of DWARF's encodings, and instructions. A
 * fault stops the cursor: from then on it reads zeros. Pure. */
#ifndef XB_DEBUG_CURSOR_H
#define XB_DEBUG_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"

typedef struct xb_cursor {
    const uint8_t *table;
    size_t at; /* an offset in the table, like the next two */
    size_t end;
    size_t fault_at;
    const char *fault; /* what is wrong there, a string literal; or NULL */
} xb_cursor;

/* Encodings of addresses (Linux Standard Base Core 5.0, 10.5): a format, what the number is relative to, and
 * whether it is the address of a pointer. */
#define XB_PE_OMIT 0xffU
#define XB_PE_FORMAT 0x0fU

/* Instructions that are being read. */
typedef struct xb_program {
    uint8_t code_unit;
    uint64_t size;    /* of the function; 0 in a CIE */
    bool defines_cfa; /* whether the CFA is defined */
} xb_program;

XB_PRIVATE_BEGIN

static inline xb_cursor xb_cursor_new(const uint8_t *table, size_t at, size_t end) {
    xb_cursor cursor = {table, at, end, 0, NULL};
    return cursor;
}

/* Reads a little-endian number of 1 to 8 bytes. */
uint64_t xb_read_number(xb_cursor *cursor, size_t size);

/* Reads a LEB128 of at most 64 bits, signed or not; of a signed one, the bits as they are. */
uint64_t xb_read_leb128(xb_cursor *cursor);

/* Whether addresses may have this encoding: numbers of 2, 4 or 8 bytes, absolute or relative to their own
 * place. */
bool xb_is_encoding(uint8_t encoding);

static inline bool xb_is_indirect(uint8_t encoding) {
    return (encoding & 0x80) != 0;
}

/* Reads an address; 0 is 0 in each encoding. Of an indirect one, the address of the pointer. */
uint64_t xb_read_address(xb_cursor *cursor, uint8_t encoding);

/* Reads instructions up to the cursor's end.
 *
 * Returns: their size without the DW_CFA_nop at the end.
 * In/Out: program: whether the CFA is defined before and after. */
size_t xb_read_program(xb_cursor *cursor, xb_program *program);

XB_PRIVATE_END

#endif
