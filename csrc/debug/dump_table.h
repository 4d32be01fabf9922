/* The unwind table of a piece of code as a dump has it for perf: .eh_frame, then .eh_frame_hdr. Pure.
 *
 * perf inject makes a file of the code and the table behind it, and says that the process has mapped both
 * there. perf reads the table through that mapping, so the bytes behind the code must not belong to any other
 * code. Nothing is written to them. */
#ifndef XB_DEBUG_DUMP_TABLE_H
#define XB_DEBUG_DUMP_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"
#include "rules.h"

/* A table. */
typedef struct xb_dump_table {
    size_t size;
    size_t header; /* the size of .eh_frame_hdr, at its end */
    uint8_t bytes[];
} xb_dump_table;

XB_PRIVATE_BEGIN

/* How much longer than the code a slot should be, so that the table of this info fits behind it; 0: it has no
 * table. For more than one function it may be too little. */
size_t xb_dump_table_room(const execbuf_info *info);

/* The size of a table.
 *
 * In: rules: of functions, in the order of their addresses
 *     count: how many; at least 1 */
size_t xb_dump_table_size(const xb_rules *rules, size_t count);

/* Where a table begins, as a distance from code of this length. */
size_t xb_dump_table_offset(size_t length);

/* Writes a table. Only addresses within 2 GiB can be written.
 *
 * In:  rules, count: as above
 *      entry:        where the code begins
 *      length:       of the code
 * Out: out:          its size is set before */
void xb_dump_table_write(xb_dump_table *out, const xb_rules *rules, size_t count, uint64_t entry,
                         size_t length);

XB_PRIVATE_END

#endif
