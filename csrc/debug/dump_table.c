/* Writes unwind tables for perf (DWARF 5, 6.4 "Call Frame Information"; Linux Standard Base Core 5.0, 10.6
 * "Exception Frames"). Pure: no state, no system calls. Only 64-bit systems use it.
 *
 * All addresses are distances from where they stand, because perf inject gives the code another address in
 * its file. Personality routines and LSDAs are left out: perf only finds callers. Functions that come from
 * one CIE share one here, too.
 *
 *     offset  size  CIE
 *          0     4  length of the rest
 *          4     4  0: this is a CIE
 *          8     1  version: 1
 *          9     3  augmentation "zR": a length, then the encoding of addresses
 *         12     1  code alignment factor
 *         13     1  data alignment factor
 *         14     1  return address register
 *         15     1  augmentation length: 1
 *         16     1  encoding of addresses: a distance from here, of 4 bytes
 *         17     *  instructions, then DW_CFA_nop, to the multiple of 8
 *
 *     offset  size  FDE
 *          0     4  length of the rest
 *          4     4  distance from here back to the CIE
 *          8     4  distance from here to the function
 *         12     4  length of the function
 *         16     1  augmentation length: 0
 *         17     *  instructions, then DW_CFA_nop, to the multiple of 8
 *
 *     offset  size  .eh_frame_hdr
 *          0     1  version: 1
 *          1     3  encodings: of the next number, of the one behind it, and of the table
 *          4     4  distance from here to .eh_frame
 *          8     4  the number of functions
 *         12   8*n  of each function: the distances from the start of .eh_frame_hdr to the function and its
 * FDE */

#include "dump_table.h"

#include <stdbool.h>
#include <string.h>

#include "canned.h"
#include "writer.h"

/* The size of a CIE and of an FDE without instructions. */
#define DUMP_HEAD 17U

#define DUMP_HDR 12U
#define DUMP_HDR_ENTRY 8U

#define DW_EH_PE_UDATA4 0x03U
#define DW_EH_PE_SDATA4 0x0bU
#define DW_EH_PE_PCREL 0x10U
#define DW_EH_PE_DATAREL 0x30U

static size_t round_to_8(size_t value) {
    return (value + 7) & ~(size_t)7;
}

size_t xb_dump_table_offset(size_t length) {
    return round_to_8(length);
}

size_t xb_dump_table_room(const execbuf_info *info) {
    size_t program = XB_MAX_CANNED;
    if (info->unwind == EXECBUF_UNWIND_UNKNOWN || info->unwind == EXECBUF_UNWIND_UNWIND_INFO) {
        return 0;
    }
    if (info->unwind == EXECBUF_UNWIND_EH_FRAME) {
        program = info->table_length; /* the instructions are part of it */
    }
    return 7 + round_to_8(DUMP_HEAD + XB_MAX_INITIAL) + round_to_8(DUMP_HEAD + program) + DUMP_HDR +
           DUMP_HDR_ENTRY;
}

/* ---- Records ---- */

/* Whether functions can share a CIE: they have been read from one. */
static bool have_one_cie(const xb_rules *one, const xb_rules *other) {
    return one->initial == other->initial && one->code_unit == other->code_unit &&
           one->data_unit == other->data_unit && one->return_register == other->return_register;
}

static bool needs_cie(const xb_rules *rules, size_t index) {
    return index == 0 || !have_one_cie(&rules[index - 1], &rules[index]);
}

static size_t header_size(size_t count) {
    return DUMP_HDR + DUMP_HDR_ENTRY * count;
}

size_t xb_dump_table_size(const xb_rules *rules, size_t count) {
    size_t size = header_size(count);
    for (size_t i = 0; i < count; i++) {
        size += needs_cie(rules, i) ? round_to_8(DUMP_HEAD + rules[i].initial_size) : 0;
        size += round_to_8(DUMP_HEAD + rules[i].program_size);
    }
    return size;
}

/* Writes the end of a record, and its length in front of it.
 *
 * In: start: where the record begins in the table. */
static void end_dump_record(xb_writer *to, size_t start, const uint8_t *program, size_t size) {
    if (size > 0) {
        memcpy(to->out + to->length, program, size);
    }
    to->length += size;
    size_t end = round_to_8(to->length); /* a table begins with a multiple of 8 */
    memset(to->out + to->length, 0, end - to->length);
    to->length = start;
    xb_write_u32(to, (uint32_t)(end - start - 4));
    to->length = end;
}

static void write_dump_cie(xb_writer *to, const xb_rules *rules) {
    size_t start = to->length;
    xb_write_u32(to, 0); /* the length is written at the end */
    xb_write_u32(to, 0);
    xb_write_u8(to, 1);
    xb_write_u8(to, 'z');
    xb_write_u8(to, 'R');
    xb_write_u8(to, 0);
    xb_write_u8(to, rules->code_unit);
    xb_write_u8(to, rules->data_unit);
    xb_write_u8(to, rules->return_register);
    xb_write_u8(to, 1);
    xb_write_u8(to, DW_EH_PE_PCREL | DW_EH_PE_SDATA4);
    end_dump_record(to, start, rules->initial, rules->initial_size);
}

/* In: cie:     where the CIE is in the table
 *     address: of the table */
static void write_dump_fde(xb_writer *to, const xb_rules *rules, size_t cie, uint64_t address) {
    size_t start = to->length;
    xb_write_u32(to, 0); /* the length is written at the end */
    xb_write_u32(to, (uint32_t)(to->length - cie));
    xb_write_u32(to, (uint32_t)(rules->start - (address + to->length)));
    xb_write_u32(to, (uint32_t)rules->size);
    xb_write_u8(to, 0);
    end_dump_record(to, start, rules->program, rules->program_size);
}

/* ---- The table ---- */

void xb_dump_table_write(xb_dump_table *out, const xb_rules *rules, size_t count, uint64_t entry,
                         size_t length) {
    const uint64_t address = entry + xb_dump_table_offset(length);
    const uint64_t header = address + out->size - header_size(count);
    xb_writer records = {out->bytes, 0};
    xb_writer index = {out->bytes, (size_t)(header - address)};
    size_t cie = 0;
    out->header = header_size(count);
    xb_write_u8(&index, 1);
    xb_write_u8(&index, DW_EH_PE_PCREL | DW_EH_PE_SDATA4);
    xb_write_u8(&index, DW_EH_PE_UDATA4);
    xb_write_u8(&index, DW_EH_PE_DATAREL | DW_EH_PE_SDATA4);
    xb_write_u32(&index, (uint32_t)(0 - index.length));
    xb_write_u32(&index, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        if (needs_cie(rules, i)) {
            cie = records.length;
            write_dump_cie(&records, &rules[i]);
        }
        xb_write_u32(&index, (uint32_t)(rules[i].start - header));
        xb_write_u32(&index, (uint32_t)(address + records.length - header));
        write_dump_fde(&records, &rules[i], cie, address);
    }
}
