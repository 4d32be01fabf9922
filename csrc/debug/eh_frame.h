/* Reads finished .eh_frame tables of users, and refuses what an unwinder could not read. Pure. */
#ifndef XB_DEBUG_EH_FRAME_H
#define XB_DEBUG_EH_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "rules.h"

/* What is wrong with a table. */
typedef struct xb_table_fault {
    const char *reason; /* a string literal; NULL: nothing is */
    size_t offset;
} xb_table_fault;

XB_PRIVATE_BEGIN

/* Reads a table. Addresses that are relative to their own place are taken relative to where the table lies
 * now.
 *
 * Returns: what is wrong.
 * In:  table:  any bytes.
 *      length: of the table.
 *      start:  where the code begins; all functions of the table have to lie in it.
 *      size:   of the code.
 * Out: rules:  the functions, in the order of the table; or NULL. They refer to the table.
 *      count:  how many functions there are. */
xb_table_fault xb_eh_frame_read(const uint8_t *table, size_t length, uint64_t start, uint64_t size,
                                xb_rules *rules, size_t *count);

/* Sorts functions by address.
 *
 * Returns: false if two of them overlap. */
bool xb_eh_frame_sort(xb_rules *rules, size_t count);

XB_PRIVATE_END

#endif
