/* The interface through which gdb and lldb learn of code that is made at run time (gdb manual, "JIT
 * Compilation Interface"). Where the object format is not ELF, these functions do nothing: other debuggers
 * have interfaces of their own, and those of Windows read the unwind tables of the process. */
#ifndef XB_DEBUG_GDB_JIT_H
#define XB_DEBUG_GDB_JIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"

/* A node of the list that debuggers read. It is the interface's jit_code_entry. */
typedef struct xb_gdb_entry {
    struct xb_gdb_entry *next;
    struct xb_gdb_entry *previous;
    const uint8_t *file; /* an ELF object */
    uint64_t size;
} xb_gdb_entry;

XB_PRIVATE_BEGIN

/* Whether there is such an interface here. */
bool xb_gdb_exists(void);

/* Adds an object to the list. The caller holds the lock of the process, xb_prim_lock, in both functions.
 *
 * Out: entry: stays where it is until xb_gdb_remove.
 * In:  file:  does not change until then.
 *      size:  of it. */
void xb_gdb_add(xb_gdb_entry *entry, const uint8_t *file, size_t size);

/* Takes an object out of the list again. */
void xb_gdb_remove(xb_gdb_entry *entry);

XB_PRIVATE_END

#endif
