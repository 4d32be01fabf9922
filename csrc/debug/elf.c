/* What a debugger is told of a adapter. */

#include "elf.h"

#if defined(__ELF__)

#include <string.h>

/* The interface: gdb finds these by their names. Another compiler in the program may have them, too; where
 * the linker sees both, they are one list. */
#define SHARED __attribute__((weak, visibility("default")))

#define NO_ACTION 0U
#define REGISTER 1U
#define UNREGISTER 2U

struct jit_descriptor {
    uint32_t version;
    uint32_t action;
    xb_gdb_entry *relevant;
    xb_gdb_entry *first;
};

extern struct jit_descriptor __jit_debug_descriptor; /* NOLINT(bugprone-reserved-identifier) */
SHARED struct jit_descriptor __jit_debug_descriptor = {1, NO_ACTION, NULL, NULL};

/* The debugger has a breakpoint here. */
void __jit_debug_register_code(void); /* NOLINT(bugprone-reserved-identifier) */
SHARED __attribute__((noinline)) void __jit_debug_register_code(void) {
    __asm__ volatile("" ::: "memory");
}

static void tell(xb_gdb_entry *entry, uint32_t action) {
    __jit_debug_descriptor.action = action;
    __jit_debug_descriptor.relevant = entry;
    __jit_debug_register_code();
    __jit_debug_descriptor.action = NO_ACTION;
}

/* ---- The symbol file (System V gABI, chapter 4; psABI, 4.1) ---- */

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
    uint16_t names;
} elf_header;

typedef struct elf_section {
    uint32_t name;
    uint32_t type;
    uint64_t flags;
    uint64_t address;
    uint64_t offset;
    uint64_t size;
    uint32_t link;
    uint32_t info;
    uint64_t alignment;
    uint64_t entry_size;
} elf_section;

typedef struct elf_symbol {
    uint32_t name;
    uint8_t info;
    uint8_t other;
    uint16_t section;
    uint64_t value;
    uint64_t size;
} elf_symbol;

enum { NO_SECTION, TEXT, EH_FRAME, SYMBOLS, STRINGS, SECTIONS };

typedef struct elf_file {
    elf_header header;
    elf_section sections[SECTIONS];
    elf_symbol symbols[2]; /* the first is none */
    char strings[40 + 64];
    uint8_t eh_frame[XB_MAX_DWARF_SIZE];
} elf_file;

typedef char elf_file_fits[sizeof(elf_file) <= sizeof(((xb_gdb_entry *)0)->bytes) ? 1 : -1];

#define TYPE_PROGBITS 1U
#define TYPE_SYMTAB 2U
#define TYPE_STRTAB 3U
#define TYPE_NOBITS 8U
#define FLAG_ALLOC 2U
#define FLAG_EXECINSTR 4U
#define SYMBOL_GLOBAL_FUNCTION 0x12U

/* The names of the sections, each behind a zero; the function's follows. */
static const char section_names[] = "\0.text\0.eh_frame\0.symtab\0.strtab";
#define NAME_TEXT 1U
#define NAME_EH_FRAME 7U
#define NAME_SYMTAB 17U
#define NAME_STRTAB 25U

static elf_section section(uint32_t name, uint32_t type, uint64_t flags, size_t offset, size_t size) {
    elf_section made;
    memset(&made, 0, sizeof made);
    made.name = name;
    made.type = type;
    made.flags = flags;
    made.offset = offset;
    made.size = size;
    made.alignment = 8;
    return made;
}

static void fill_file(elf_file *file, const xb_frame *frame, const void *code, const char *name) {
    static const uint8_t ident[16] = {0x7f, 'E', 'L', 'F', 2 /* 64 bits */, 1 /* little-endian */, 1};
    memset(file, 0, sizeof *file);
    memcpy(file->header.ident, ident, sizeof ident);
    file->header.type = 1;     /* ET_REL */
    file->header.machine = 62; /* EM_X86_64 */
    file->header.version = 1;
    file->header.section_headers = offsetof(elf_file, sections);
    file->header.header_size = sizeof file->header;
    file->header.section_header_size = sizeof file->sections[0];
    file->header.section_count = SECTIONS;
    file->header.names = STRINGS;

    size_t length = xb_dwarf_write(file->eh_frame, frame, code, XB_FOR_DEBUGGERS);
    elf_section *sections = file->sections;
    sections[TEXT] = section(NAME_TEXT, TYPE_NOBITS, FLAG_ALLOC | FLAG_EXECINSTR, 0, frame->length);
    sections[TEXT].address = (uintptr_t)code;
    sections[EH_FRAME] =
        section(NAME_EH_FRAME, TYPE_PROGBITS, FLAG_ALLOC, offsetof(elf_file, eh_frame), length);
    sections[EH_FRAME].address = (uintptr_t)file->eh_frame;
    sections[SYMBOLS] =
        section(NAME_SYMTAB, TYPE_SYMTAB, 0, offsetof(elf_file, symbols), sizeof file->symbols);
    sections[SYMBOLS].link = STRINGS;
    sections[SYMBOLS].info = 1; /* the first symbol that is global */
    sections[SYMBOLS].entry_size = sizeof file->symbols[0];
    sections[STRINGS] =
        section(NAME_STRTAB, TYPE_STRTAB, 0, offsetof(elf_file, strings), sizeof file->strings);
    sections[STRINGS].alignment = 1;

    memcpy(file->strings, section_names, sizeof section_names);
    memcpy(file->strings + sizeof section_names, name, strlen(name) + 1);
    file->symbols[1].name = sizeof section_names;
    file->symbols[1].info = SYMBOL_GLOBAL_FUNCTION;
    file->symbols[1].section = TEXT;
    file->symbols[1].size = frame->length;
}

void xb_gdb_add(xb_gdb_entry *entry, const xb_frame *frame, const void *code, const char *name) {
    fill_file((elf_file *)(void *)entry->bytes, frame, code, name);
    entry->file = entry->bytes;
    entry->size = sizeof(elf_file);
    entry->previous = NULL;
    entry->next = __jit_debug_descriptor.first;
    if (entry->next != NULL) {
        entry->next->previous = entry;
    }
    __jit_debug_descriptor.first = entry;
    tell(entry, REGISTER);
}

void xb_gdb_remove(xb_gdb_entry *entry) {
    if (entry->previous != NULL) {
        entry->previous->next = entry->next;
    } else {
        __jit_debug_descriptor.first = entry->next;
    }
    if (entry->next != NULL) {
        entry->next->previous = entry->previous;
    }
    tell(entry, UNREGISTER);
}

#else

/* Debuggers want ELF, and their own interfaces elsewhere; those of Windows look at unwind tables. */
void xb_gdb_add(xb_gdb_entry *entry, const xb_frame *frame, const void *code, const char *name) {
    (void)entry;
    (void)frame;
    (void)code;
    (void)name;
}

void xb_gdb_remove(xb_gdb_entry *entry) {
    (void)entry;
}

#endif
