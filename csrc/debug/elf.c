/* Writes an ELF object with functions, an unwind table, and lines of source (System V gABI, chapter 4 "Object
 * Files"; psABI, section 4.1). Pure: no state, no system calls. Only 64-bit systems use it, and the
 * structures below have the byte order of the file.
 *
 *     +-------------+
 *     | header      |   says where the sections are
 *     +-------------+
 *     | sections[0] |   none; the gABI reserves index 0
 *     |         [1] |   .symtab    ------------+
 *     |         [2] |   .strtab    ------------|-----+
 *     |         [3] |   .eh_frame  ------------|-----|----------+
 *     |         [4] |   .text0     no bytes in the file; address and length of the first function
 *     |          …  |   .text1     of the second one; debuggers want the name of each section only once
 *     |             |   .debug_abbrev, .debug_info and .debug_line, if there are lines ----+
 *     +-------------+                          |     |          |                         |
 *     | symbols[0]  |   none; reserved      <--+     |          |                         |
 *     |        [1]  |   the first function           |          |                         |
 *     |         …   |                                |          |                         |
 *     +-------------+                                |          |                         |
 *     | strings     |   names                     <--+          |                         |
 *     +-------------+                                           |                         |
 *     | eh_frame    |   the unwind tables, and a terminator  <--+                         |
 *     +-------------+                                                                     |
 *     | debug       |   dwarf_lines.c draws it  <-----------------------------------------+
 *     +-------------+ */

#include "elf.h"

#include <string.h>

#include "../base/isa.h"
#include "dwarf.h"
#include "dwarf_lines.h"
#include "shown_name.h"

typedef struct elf_header {
    uint8_t ident[16];
    uint16_t type;
    uint16_t machine;
    uint32_t version;
    uint64_t entry;
    uint64_t program_headers;
    uint64_t section_headers;
    uint32_t flags;
    uint16_t header_size;
    uint16_t program_header_size;
    uint16_t program_header_count;
    uint16_t section_header_size;
    uint16_t section_count;
    uint16_t names; /* the section with the sections' names */
} elf_header;

typedef struct elf_section {
    uint32_t name; /* an offset in .strtab */
    uint32_t type;
    uint64_t flags;
    uint64_t address;
    uint64_t offset; /* in the file */
    uint64_t size;
    uint32_t link;
    uint32_t info;
    uint64_t alignment;
    uint64_t entry_size;
} elf_section;

typedef struct elf_symbol {
    uint32_t name; /* an offset in .strtab */
    uint8_t info;
    uint8_t other;
    uint16_t section;
    uint64_t value; /* an offset in the section */
    uint64_t size;
} elf_symbol;

/* Indices of sections; and of those behind the functions' sections. */
enum { SECTION_NONE, SECTION_SYMTAB, SECTION_STRTAB, SECTION_EH_FRAME, SECTION_TEXT };
enum { DEBUG_ABBREV, DEBUG_INFO, DEBUG_LINE, DEBUG_SECTIONS };

/* The names of the sections, and where each begins. Behind the last zero are those of the functions'
 * sections, SECTION_NAME bytes for each, and then the functions' names. */
static const char section_names[] = "\0.symtab\0.strtab\0.eh_frame\0.debug_abbrev\0.debug_info\0.debug_line";
#define NAME_SYMTAB 1U
#define NAME_STRTAB 9U
#define NAME_EH_FRAME 17U
#define NAME_ABBREV 27U
#define NAME_INFO 41U
#define NAME_LINE 53U
#define NAME_TEXT ((uint32_t)sizeof section_names)
#define SECTION_NAME 8U

XB_STATIC_ASSERT(sizeof(elf_header) + (SECTION_TEXT + 1) * sizeof(elf_section) + 2 * sizeof(elf_symbol) +
                         sizeof section_names + SECTION_NAME + XB_MAX_ELF_NAME + 1 + 7 + XB_MAX_DWARF_SIZE +
                         8 <=
                     XB_MAX_ELF_SIZE,
                 "the object of an adapter fits");

/* Names of the gABI and the psABI. */
#define ELFCLASS64 2
#define ELFDATA2LSB 1
#define EV_CURRENT 1
#define ET_REL 1
#define SHT_PROGBITS 1U
#define SHT_SYMTAB 2U
#define SHT_STRTAB 3U
#define SHT_NOBITS 8U
#define SHF_ALLOC 2U
#define SHF_EXECINSTR 4U
#define STB_GLOBAL 1U
#define STT_FUNC 2U

/* Where the parts of an object begin. */
typedef struct elf_parts {
    size_t symbols;
    size_t strings;
    size_t eh_frame;
    size_t debug;         /* .debug_abbrev, if there are lines */
    size_t info;          /* the size of .debug_info; 0: there are no lines */
    size_t debug_section; /* the index of the first section of lines */
    size_t end;
} elf_parts;

static size_t count_sections(const elf_parts *parts) {
    return parts->debug_section + (parts->info > 0 ? (size_t)DEBUG_SECTIONS : 0);
}

static elf_parts measure_parts(const xb_elf_function *const *functions, size_t count) {
    elf_parts parts = {0, 0, 0, 0, 0, 0, 0};
    size_t lines = 0;
    size_t strings = sizeof section_names + count * SECTION_NAME;
    size_t tables = 8; /* the terminator */
    for (size_t i = 0; i < count; i++) {
        strings += xb_show_name(NULL, functions[i]->name, functions[i]->name_length) + 1;
        tables += functions[i]->table_size;
        parts.info += xb_dwarf_unit_size(functions[i]);
        lines += xb_dwarf_lines_bound(functions[i]);
    }
    parts.debug_section = SECTION_TEXT + count;
    parts.symbols = sizeof(elf_header) + count_sections(&parts) * sizeof(elf_section);
    parts.strings = parts.symbols + (1 + count) * sizeof(elf_symbol);
    parts.eh_frame = (parts.strings + strings + 7) & ~(size_t)7; /* aligned, as its section says */
    parts.debug = parts.eh_frame + tables;
    parts.end = parts.debug + (parts.info > 0 ? XB_DWARF_ABBREV_SIZE : 0) + parts.info + lines;
    return parts;
}

size_t xb_elf_size(const xb_elf_function *const *functions, size_t count) {
    return measure_parts(functions, count).end;
}

static void fill_header(elf_header *header, const elf_parts *parts) {
    static const uint8_t ident[16] = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT};
    memcpy(header->ident, ident, sizeof ident);
    header->type = ET_REL;
    header->machine = XB_ISA_ELF_MACHINE;
    header->version = EV_CURRENT;
    header->section_headers = sizeof *header;
    header->header_size = sizeof *header;
    header->section_header_size = sizeof(elf_section);
    header->section_count = (uint16_t)count_sections(parts);
    header->names = SECTION_STRTAB;
}

static void fill_section(elf_section *section, uint32_t name, uint32_t type, size_t offset, size_t size) {
    section->name = name;
    section->type = type;
    section->offset = offset;
    section->size = size;
    section->alignment = 8;
}

/* Fills the sections that are not those of functions. */
static void fill_sections(uint8_t *out, const elf_parts *parts) {
    elf_section *sections = (elf_section *)(void *)(out + sizeof(elf_header));
    elf_section *symtab = &sections[SECTION_SYMTAB];
    fill_section(symtab, NAME_SYMTAB, SHT_SYMTAB, parts->symbols, parts->strings - parts->symbols);
    symtab->link = SECTION_STRTAB;
    symtab->info = 1; /* the first symbol that is global */
    symtab->entry_size = sizeof(elf_symbol);

    elf_section *strtab = &sections[SECTION_STRTAB];
    fill_section(strtab, NAME_STRTAB, SHT_STRTAB, parts->strings, parts->eh_frame - parts->strings);
    strtab->alignment = 1;

    elf_section *eh_frame = &sections[SECTION_EH_FRAME];
    fill_section(eh_frame, NAME_EH_FRAME, SHT_PROGBITS, parts->eh_frame, parts->debug - parts->eh_frame);
    eh_frame->flags = SHF_ALLOC;
    eh_frame->address = (uintptr_t)(out + parts->eh_frame);
}

/* Fills the section of a function, and its symbol.
 *
 * In: name: the offset of the function's name in .strtab. */
static void fill_function(uint8_t *out, const elf_parts *parts, const xb_elf_function *function, size_t index,
                          size_t name) {
    elf_section *text = (elf_section *)(void *)(out + sizeof(elf_header)) + SECTION_TEXT + index;
    size_t text_name = NAME_TEXT + index * SECTION_NAME;
    fill_section(text, (uint32_t)text_name, SHT_NOBITS, 0, function->length);
    text->flags = SHF_ALLOC | SHF_EXECINSTR;
    text->address = (uintptr_t)function->code;
    char *shown = (char *)out + parts->strings + text_name;
    memcpy(shown, ".text", sizeof ".text");
    (void)xb_show_hex(shown + 5, index);

    elf_symbol *symbol = (elf_symbol *)(void *)(out + parts->symbols) + 1 + index;
    symbol->name = (uint32_t)name;
    symbol->info = STB_GLOBAL << 4 | STT_FUNC;
    symbol->section = (uint16_t)(SECTION_TEXT + index);
    symbol->size = function->length;
}

/* Writes the lines of all functions, and fills their sections. */
static void write_lines(uint8_t *out, const elf_parts *parts, const xb_elf_function *const *functions,
                        size_t count) {
    elf_section *sections = (elf_section *)(void *)(out + sizeof(elf_header)) + parts->debug_section;
    xb_writer info = {out + parts->debug + XB_DWARF_ABBREV_SIZE, 0};
    xb_writer lines = {info.out + parts->info, 0};
    xb_writer abbrev = {out + parts->debug, 0};
    xb_dwarf_write_abbrev(&abbrev);
    for (size_t i = 0; i < count; i++) {
        if (xb_dwarf_unit_size(functions[i]) > 0) {
            xb_dwarf_write_unit(&info, functions[i], lines.length);
            xb_dwarf_write_lines(&lines, functions[i]);
        }
    }
    fill_section(&sections[DEBUG_ABBREV], NAME_ABBREV, SHT_PROGBITS, parts->debug, abbrev.length);
    fill_section(&sections[DEBUG_INFO], NAME_INFO, SHT_PROGBITS, parts->debug + abbrev.length, info.length);
    fill_section(&sections[DEBUG_LINE], NAME_LINE, SHT_PROGBITS, (size_t)(lines.out - out), lines.length);
    for (size_t i = 0; i < DEBUG_SECTIONS; i++) {
        sections[i].alignment = 1;
    }
}

void xb_elf_write(uint8_t *out, const xb_elf_function *const *functions, size_t count) {
    elf_parts parts = measure_parts(functions, count);
    memset(out, 0, parts.end);
    fill_header((elf_header *)(void *)out, &parts);
    fill_sections(out, &parts);
    memcpy(out + parts.strings, section_names, sizeof section_names);
    size_t name = NAME_TEXT + count * SECTION_NAME;
    size_t table = parts.eh_frame;
    for (size_t i = 0; i < count; i++) {
        const xb_elf_function *function = functions[i];
        fill_function(out, &parts, function, i, name);
        char *shown = (char *)out + parts.strings + name;
        name += xb_show_name(shown, function->name, function->name_length) + 1;
        if (function->table_size > 0) {
            memcpy(out + table, function->table, function->table_size);
            table += function->table_size;
        }
    }
    if (parts.info > 0) {
        write_lines(out, &parts, functions, count);
    }
}
