/* Writes an ELF object with a symbol and an unwind table (System V gABI, chapter 4 "Object Files"; psABI,
 * section 4.1). Pure: no state, no system calls. Only x86-64 uses it, so the structures below have the byte
 * order of the file.
 *
 *     elf_file
 *     +-------------+
 *     | header      |   says where the sections are
 *     +-------------+
 *     | sections[0] |   none; the gABI reserves index 0
 *     |         [1] |   .text      no bytes in the file; address and length of the adapter's code
 *     |         [2] |   .eh_frame  -----------------------------+
 *     |         [3] |   .symtab    ------------+                |
 *     |         [4] |   .strtab    ------------|-----+          |
 *     +-------------+                          |     |          |
 *     | symbols[0]  |   none; reserved      <--+     |          |
 *     |        [1]  |   the adapter, in .text        |          |
 *     +-------------+                                |          |
 *     | strings     |   names of sections and symbol <          |
 *     +-------------+                                           |
 *     | eh_frame    |   the unwind table (dwarf.c)           <--+
 *     +-------------+ */

#include "elf.h"

#include <string.h>

#include "dwarf.h"

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

/* Indices of sections. */
enum { SECTION_NONE, SECTION_TEXT, SECTION_EH_FRAME, SECTION_SYMTAB, SECTION_STRTAB, SECTION_COUNT };

/* The names of the sections, and where each begins. The symbol's name follows the last zero. */
static const char section_names[] = "\0.text\0.eh_frame\0.symtab\0.strtab";
#define NAME_TEXT 1U
#define NAME_EH_FRAME 7U
#define NAME_SYMTAB 17U
#define NAME_STRTAB 25U
#define NAME_SYMBOL ((uint32_t)sizeof section_names)

#define STRINGS_SIZE (sizeof section_names + XB_MAX_ELF_NAME + 1)

typedef struct elf_file {
    elf_header header;
    elf_section sections[SECTION_COUNT];
    elf_symbol symbols[2];
    char strings[(STRINGS_SIZE + 7) & ~(size_t)7]; /* so that eh_frame is aligned, as its section says */
    uint8_t eh_frame[XB_MAX_DWARF_SIZE];
} elf_file;

XB_STATIC_ASSERT(sizeof(elf_file) <= XB_MAX_ELF_SIZE, "the object fits");

/* Names of the gABI and the psABI. */
#define ELFCLASS64 2
#define ELFDATA2LSB 1
#define EV_CURRENT 1
#define ET_REL 1
#define EM_X86_64 62
#define SHT_PROGBITS 1U
#define SHT_SYMTAB 2U
#define SHT_STRTAB 3U
#define SHT_NOBITS 8U
#define SHF_ALLOC 2U
#define SHF_EXECINSTR 4U
#define STB_GLOBAL 1U
#define STT_FUNC 2U

static void fill_header(elf_header *header) {
    static const uint8_t ident[16] = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT};
    memcpy(header->ident, ident, sizeof ident);
    header->type = ET_REL;
    header->machine = EM_X86_64;
    header->version = EV_CURRENT;
    header->section_headers = offsetof(elf_file, sections);
    header->header_size = sizeof(elf_header);
    header->section_header_size = sizeof(elf_section);
    header->section_count = SECTION_COUNT;
    header->names = SECTION_STRTAB;
}

static void fill_section(elf_section *section, uint32_t name, uint32_t type, size_t offset, size_t size) {
    section->name = name;
    section->type = type;
    section->offset = offset;
    section->size = size;
    section->alignment = 8;
}

static void fill_sections(elf_file *file, const xb_frame *frame, const void *code, size_t eh_frame_size) {
    elf_section *text = &file->sections[SECTION_TEXT];
    fill_section(text, NAME_TEXT, SHT_NOBITS, 0, frame->length);
    text->flags = SHF_ALLOC | SHF_EXECINSTR;
    text->address = (uintptr_t)code;

    elf_section *eh_frame = &file->sections[SECTION_EH_FRAME];
    fill_section(eh_frame, NAME_EH_FRAME, SHT_PROGBITS, offsetof(elf_file, eh_frame), eh_frame_size);
    eh_frame->flags = SHF_ALLOC;
    eh_frame->address = (uintptr_t)file->eh_frame;

    elf_section *symtab = &file->sections[SECTION_SYMTAB];
    fill_section(symtab, NAME_SYMTAB, SHT_SYMTAB, offsetof(elf_file, symbols), sizeof file->symbols);
    symtab->link = SECTION_STRTAB;
    symtab->info = 1; /* the first symbol that is global */
    symtab->entry_size = sizeof(elf_symbol);

    elf_section *strtab = &file->sections[SECTION_STRTAB];
    fill_section(strtab, NAME_STRTAB, SHT_STRTAB, offsetof(elf_file, strings), sizeof file->strings);
    strtab->alignment = 1;
}

size_t xb_elf_write(uint8_t *out, const xb_frame *frame, const void *code, const char *name) {
    elf_file *file = (elf_file *)(void *)out;
    memset(file, 0, sizeof *file);
    size_t eh_frame_size = xb_dwarf_write(file->eh_frame, frame, code, XB_FOR_DEBUGGERS);
    fill_header(&file->header);
    fill_sections(file, frame, code, eh_frame_size);
    memcpy(file->strings, section_names, sizeof section_names);
    memcpy(file->strings + NAME_SYMBOL, name, strlen(name) + 1);
    elf_symbol *symbol = &file->symbols[1];
    symbol->name = NAME_SYMBOL;
    symbol->info = STB_GLOBAL << 4 | STT_FUNC;
    symbol->section = SECTION_TEXT;
    symbol->size = frame->length;
    return sizeof *file;
}
