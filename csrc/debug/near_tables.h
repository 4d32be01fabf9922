/* Unwind tables that Windows finds by their 32-bit distance from code: copies of them in memory that is
 * writable, never executable, and lies above the code. Equal tables share a copy, so thousands of functions
 * need little memory. The process's lock guards all of it. */
#ifndef XB_DEBUG_NEAR_TABLES_H
#define XB_DEBUG_NEAR_TABLES_H

#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../base/error.h"

XB_PRIVATE_BEGIN

/* Copies a table. No lock is held, as in the functions below.
 *
 * Returns: success, or the call that failed: no memory, or no free addresses where the table may be.
 * Out: out:   the copy, at a multiple of 16, less than 4 GiB above code.
 * In:  code:  where the code begins, or its span.
 *      table: of size bytes, at most UINT32_MAX. */
xb_result xb_near_tables_add(const uint8_t *code, const uint8_t *table, size_t size, const uint8_t **out);

/* Takes one user from a copy. Memory without users is used again, and stays mapped. */
void xb_near_tables_drop(const uint8_t *copy);

/* Unmaps memory without users. No other thread is in the library. */
void xb_near_tables_unload(void);

XB_PRIVATE_END

#endif
