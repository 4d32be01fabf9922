/* What a debugger is told of a adapter: its name, and how to unwind it. By gdb's interface for compilers at
 * run time (gdb manual, "JIT Compilation Interface"), which lldb has, too. */
#ifndef XB_DEBUG_ELF_H
#define XB_DEBUG_ELF_H

#include "dwarf.h"

/* An entry of the debugger's list, as it has it; then the symbol file: an ELF object without code. */
typedef struct xb_gdb_entry {
    struct xb_gdb_entry *next;
    struct xb_gdb_entry *previous;
    const uint8_t *file;
    uint64_t size;
    uint8_t bytes[1024];
} xb_gdb_entry;

/* Adds a adapter to the list, and takes it out again. The entry stays where it is meanwhile; the list is the
 * caller's to lock.
 *
 * In: frame: the adapter's frame.
 *     code:  where it is.
 *     name:  at most 63 bytes. */
void xb_gdb_add(xb_gdb_entry *entry, const xb_frame *frame, const void *code, const char *name);
void xb_gdb_remove(xb_gdb_entry *entry);

#endif
