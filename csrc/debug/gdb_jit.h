/* The interface through which gdb and lldb learn of code that is made at run time (gdb manual, "JIT
 * Compilation Interface"). Where the object format is not ELF, these functions do nothing: other debuggers
 * have interfaces of their own, and those of Windows read the unwind tables of the process. */
#ifndef XB_DEBUG_GDB_JIT_H
#define XB_DEBUG_GDB_JIT_H

#include <stdint.h>

#include "../base/compiler.h"
#include "elf.h"

/* A node of the list that debuggers read. The first four members are the interface's jit_code_entry. */
typedef struct xb_gdb_entry {
    struct xb_gdb_entry *next;
    struct xb_gdb_entry *previous;
    const uint8_t *file; /* an ELF object, which is in bytes */
    uint64_t size;
    uint8_t bytes[XB_MAX_ELF_SIZE]; /* aligned to 8 by the members above */
} xb_gdb_entry;

XB_PRIVATE_BEGIN

/* Adds an adapter to the list. The caller holds the lock of the process, xb_prim_lock, in both functions.
 *
 * Out: entry: stays where it is until xb_gdb_remove.
 * In:  frame: the adapter's frame.
 *      code:  the address of the adapter's code.
 *      name:  at most XB_MAX_ELF_NAME bytes and a zero. */
void xb_gdb_add(xb_gdb_entry *entry, const xb_frame *frame, const void *code, const char *name);

/* Takes an adapter out of the list again. */
void xb_gdb_remove(xb_gdb_entry *entry);

XB_PRIVATE_END

#endif
