/* Functions and lines of source in the format of DWARF 4, which the numbers of sections below are of. Each
 * function is a unit of its own: two entries in .debug_info, and a table in .debug_line.
 *
 *     .debug_info                           .debug_line
 *     +---------------------------+         +------------------------------+
 *     | length, version, …        |    +--> | length, version, …           |
 *     | compile_unit              |    |    | the files                    |
 *     |     name: the first file  |    |    | a program, which makes rows: |
 *     |     low_pc, high_pc       |    |    |     set_address code         |
 *     |     stmt_list             | ---+    |     advance_pc, set_file,    |
 *     |   subprogram              |         |       advance_line, copy     |
 *     |     name, low_pc, high_pc |         |     …                        |
 *     +---------------------------+         |     end_sequence             |
 *                                           +------------------------------+ */

#include "dwarf_lines.h"

#include <stdbool.h>
#include <string.h>

#include "lines.h"
#include "shown_name.h"

/* Names of DWARF (7.5.1 to 7.5.4, 7.12, 7.21). */
#define DW_TAG_compile_unit 0x11U
#define DW_TAG_subprogram 0x2eU
#define DW_CHILDREN_no 0U
#define DW_CHILDREN_yes 1U
#define DW_AT_name 0x03U
#define DW_AT_stmt_list 0x10U
#define DW_AT_low_pc 0x11U
#define DW_AT_high_pc 0x12U
#define DW_AT_language 0x13U
#define DW_AT_external 0x3fU
#define DW_FORM_addr 0x01U
#define DW_FORM_data8 0x07U
#define DW_FORM_string 0x08U
#define DW_FORM_data1 0x0bU
#define DW_FORM_sec_offset 0x17U
#define DW_FORM_flag_present 0x19U
#define DW_LANG_C99 0x0cU
#define DW_LNS_copy 1U
#define DW_LNS_advance_pc 2U
#define DW_LNS_advance_line 3U
#define DW_LNS_set_file 4U
#define DW_LNE_end_sequence 1U
#define DW_LNE_set_address 2U

#define DWARF_VERSION 4U
#define ADDRESS_SIZE 8U

/* The numbers of the two kinds of entries. */
#define ENTRY_UNIT 1U
#define ENTRY_FUNCTION 2U

/* The opcodes of a program end before this one: there are no special opcodes. */
#define OPCODE_BASE 13U

/* The header of a table but for the files; set_address and end_sequence; and at most, each entry: advance_pc
 * with 5 bytes, set_file with 5, advance_line with 5, and copy. */
#define TABLE_HEAD 30U
#define TABLE_ENDS (11U + 5U + 3U + 1U)
#define TABLE_ENTRY 19U

/* Tables that might become larger are left out: their lengths have 32 bits. */
#define TABLE_MOST 0x10000000U

/* ---- .debug_abbrev ---- */

void xb_dwarf_write_abbrev(xb_writer *to) {
    static const uint8_t abbrev[XB_DWARF_ABBREV_SIZE] = {
        ENTRY_UNIT,
        DW_TAG_compile_unit,
        DW_CHILDREN_yes, //
        DW_AT_name,
        DW_FORM_string, //
        DW_AT_language,
        DW_FORM_data1, //
        DW_AT_low_pc,
        DW_FORM_addr, //
        DW_AT_high_pc,
        DW_FORM_data8, //
        DW_AT_stmt_list,
        DW_FORM_sec_offset, //
        0,
        0, //
        ENTRY_FUNCTION,
        DW_TAG_subprogram,
        DW_CHILDREN_no, //
        DW_AT_name,
        DW_FORM_string, //
        DW_AT_external,
        DW_FORM_flag_present, //
        DW_AT_low_pc,
        DW_FORM_addr, //
        DW_AT_high_pc,
        DW_FORM_data8, //
        0,
        0,
        0, //
    };
    memcpy(to->out + to->length, abbrev, sizeof abbrev);
    to->length += sizeof abbrev;
}

/* ---- .debug_info ---- */

static size_t shown_length(const char *name, size_t length) {
    return xb_show_name(NULL, (const uint8_t *)name, length);
}

static void write_name(xb_writer *to, const char *name, size_t length) {
    to->length += xb_show_name((char *)to->out + to->length, (const uint8_t *)name, length);
    xb_write_u8(to, 0);
}

size_t xb_dwarf_unit_size(const xb_elf_function *function) {
    if (xb_dwarf_lines_bound(function) == 0) {
        return 0;
    }
    const execbuf_line *first = function->lines;
    size_t names = shown_length(first->file, first->file_length) + 1 +
                   shown_length((const char *)function->name, function->name_length) + 1;
    return 11 + names + (1 + 1 + 8 + 8 + 4) + (1 + 8 + 8) + 1;
}

static void write_range(xb_writer *to, const xb_elf_function *function) {
    xb_write_u64(to, (uintptr_t)function->code);
    xb_write_u64(to, function->length);
}

void xb_dwarf_write_unit(xb_writer *to, const xb_elf_function *function, size_t lines) {
    xb_write_u32(to, (uint32_t)xb_dwarf_unit_size(function) - 4);
    xb_write_u16(to, DWARF_VERSION);
    xb_write_u32(to, 0); /* where the unit's part of .debug_abbrev is */
    xb_write_u8(to, ADDRESS_SIZE);
    xb_write_u8(to, ENTRY_UNIT);
    write_name(to, function->lines->file, function->lines->file_length);
    xb_write_u8(to, DW_LANG_C99);
    write_range(to, function);
    xb_write_u32(to, (uint32_t)lines);
    xb_write_u8(to, ENTRY_FUNCTION);
    write_name(to, (const char *)function->name, function->name_length);
    write_range(to, function);
    xb_write_u8(to, 0); /* no more children */
}

/* ---- .debug_line ---- */

size_t xb_dwarf_lines_bound(const xb_elf_function *function) {
    xb_files files = {{NULL}, 0};
    bool has_none = function->line_count == 0 || function->length > UINT32_MAX;
    size_t size = has_none ? TABLE_MOST + 1 : TABLE_HEAD + TABLE_ENDS;
    for (size_t i = 0; i < function->line_count && size <= TABLE_MOST; i++) {
        const execbuf_line *line = &function->lines[i];
        size_t ignored;
        if (xb_files_meet(&files, line, &ignored) == NULL) {
            size += shown_length(line->file, line->file_length) + 1 + 3;
        }
        size += TABLE_ENTRY;
    }
    return size <= TABLE_MOST ? size : 0;
}

/* A signed LEB128 (7.6). */
static void write_signed(xb_writer *to, int64_t value) {
    bool is_last;
    do {
        uint32_t low = (uint32_t)value & 0x7f;
        value >>= 7; /* of all compilers, an arithmetic shift */
        is_last = (value == 0 && (low & 0x40) == 0) || (value == -1 && (low & 0x40) != 0);
        xb_write_u8(to, low | (is_last ? 0 : 0x80));
    } while (!is_last);
}

/* Writes a 32-bit length at an offset: what follows it up to the end. */
static void set_length(const xb_writer *to, size_t at) {
    xb_writer back = {to->out, at};
    xb_write_u32(&back, (uint32_t)(to->length - at - 4));
}

static void write_files(xb_writer *to, const xb_elf_function *function) {
    xb_files files = {{NULL}, 0};
    for (size_t i = 0; i < function->line_count; i++) {
        const execbuf_line *line = &function->lines[i];
        size_t ignored;
        if (xb_files_meet(&files, line, &ignored) == NULL) {
            write_name(to, line->file, line->file_length);
            xb_write_u8(to, 0); /* the directory: none */
            xb_write_u8(to, 0); /* the time: unknown */
            xb_write_u8(to, 0); /* the size: unknown */
        }
    }
    xb_write_u8(to, 0);
}

static void write_advance(xb_writer *to, size_t by) {
    if (by > 0) {
        xb_write_u8(to, DW_LNS_advance_pc);
        xb_write_leb128(to, (uint32_t)by);
    }
}

/* Writes the program. The state of its machine begins with file 1 and line 1 (6.2.2). */
static void write_program(xb_writer *to, const xb_elf_function *function) {
    xb_files files = {{NULL}, 0};
    size_t offset = 0;
    size_t file = 0;
    int64_t number = 1;
    xb_write_u8(to, 0);
    xb_write_u8(to, 1 + ADDRESS_SIZE);
    xb_write_u8(to, DW_LNE_set_address);
    xb_write_u64(to, (uintptr_t)function->code);
    for (size_t i = 0; i < function->line_count; i++) {
        const execbuf_line *line = &function->lines[i];
        size_t index;
        (void)xb_files_meet(&files, line, &index);
        write_advance(to, line->offset - offset);
        if (index != file) {
            xb_write_u8(to, DW_LNS_set_file);
            xb_write_leb128(to, (uint32_t)index + 1);
        }
        if (line->line != number) {
            xb_write_u8(to, DW_LNS_advance_line);
            write_signed(to, line->line - number);
        }
        xb_write_u8(to, DW_LNS_copy);
        offset = line->offset;
        file = index;
        number = line->line;
    }
    write_advance(to, function->length - offset);
    xb_write_u8(to, 0);
    xb_write_u8(to, 1);
    xb_write_u8(to, DW_LNE_end_sequence);
}

void xb_dwarf_write_lines(xb_writer *to, const xb_elf_function *function) {
    /* For each opcode, how many operands it has. */
    static const uint8_t operands[OPCODE_BASE - 1] = {0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1};
    size_t start = to->length;
    xb_write_u32(to, 0); /* the length; see below */
    xb_write_u16(to, DWARF_VERSION);
    size_t header = to->length;
    xb_write_u32(to, 0); /* the length of the header; see below */
    xb_write_u8(to, 1);  /* the least length of an instruction */
    xb_write_u8(to, 1);  /* operations in one */
    xb_write_u8(to, 1);  /* each row is the beginning of a statement */
    xb_write_u8(to, 0);  /* of special opcodes: the least advance of the line, and how many advances */
    xb_write_u8(to, 1);
    xb_write_u8(to, OPCODE_BASE);
    for (size_t i = 0; i < sizeof operands; i++) {
        xb_write_u8(to, operands[i]);
    }
    xb_write_u8(to, 0); /* no directories */
    write_files(to, function);
    set_length(to, header);
    write_program(to, function);
    set_length(to, start);
}
