/* What a debugger is told of a body: its name, and how to unwind it. By gdb's interface for compilers at run
 * time (gdb manual, "JIT Compilation Interface"), which lldb has, too. */
#ifndef EXECBUF_DEBUG_H
#define EXECBUF_DEBUG_H

#include "dwarf.h"

/* An entry of the debugger's list, as it has it; then the symbol file: an ELF object without code. */
typedef struct execbuf_debug_entry {
    struct execbuf_debug_entry *next;
    struct execbuf_debug_entry *previous;
    const uint8_t *file;
    uint64_t size;
    uint8_t bytes[1024];
} execbuf_debug_entry;

/* Adds a body to the list, and takes it out again. The entry stays where it is meanwhile; the list is the
 * caller's to lock.
 *
 * In: frame: the body's frame.
 *     code:  where it is.
 *     name:  at most 63 bytes. */
void execbuf_debug_add(execbuf_debug_entry *entry, const execbuf_frame *frame, const void *code,
                       const char *name);
void execbuf_debug_remove(execbuf_debug_entry *entry);

#endif
