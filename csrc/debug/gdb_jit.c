/* The list of code that gdb reads. The lock of the process is held in every function: it guards the list
 * against other threads that use execbuf.
 *
 * The interface has no lock for a list that several compilers share, so nobody may share this one: neither
 * LLVM, which defines the same symbols, nor another copy of execbuf. A debugger finds the two symbols by
 * their names in the symbol table of each program and library, where it also reads local symbols. So both are
 * static, and no linker can replace them. (The price: strip removes local symbols, gdb 15 does not read them,
 * and where LLVM and execbuf are linked into one file, gdb reads LLVM's list only.) */

#include "gdb_jit.h"

#if defined(__ELF__)

#include <stddef.h>

/* Values of action. */
#define JIT_NOACTION 0U
#define JIT_REGISTER_FN 1U
#define JIT_UNREGISTER_FN 2U

/* The interface's jit_descriptor. */
struct gdb_descriptor {
    uint32_t version;
    uint32_t action;        /* what the debugger is told at the moment */
    xb_gdb_entry *relevant; /* about which entry */
    xb_gdb_entry *first;
};

XB_PRIVATE_BEGIN
extern struct gdb_descriptor xb_gdb_descriptor;
void xb_gdb_notify(void);
XB_PRIVATE_END

struct gdb_descriptor xb_gdb_descriptor = {1, JIT_NOACTION, NULL, NULL};

/* The debugger has a breakpoint here, and reads the descriptor: so the function is not inlined, and for the
 * compiler the assembly reads the descriptor. */
__attribute__((noinline)) void xb_gdb_notify(void) {
    __asm__ volatile("" : : "r"(&xb_gdb_descriptor) : "memory");
}

/* The names that the debugger knows. They are aliases because whole-program optimisation would rename, with a
 * suffix, static symbols to which other functions refer; nothing refers to these. */
#define DEBUGGER_ALIAS(name) __attribute__((used, alias(name)))
/* NOLINTBEGIN(bugprone-reserved-identifier) */
static DEBUGGER_ALIAS("xb_gdb_descriptor") struct gdb_descriptor __jit_debug_descriptor;
static DEBUGGER_ALIAS("xb_gdb_notify") void __jit_debug_register_code(void);
/* NOLINTEND(bugprone-reserved-identifier) */

static void tell_debugger(xb_gdb_entry *entry, uint32_t action) {
    xb_gdb_descriptor.action = action;
    xb_gdb_descriptor.relevant = entry;
    xb_gdb_notify();
    xb_gdb_descriptor.action = JIT_NOACTION;
}

bool xb_gdb_exists(void) {
    return sizeof(void *) == 8;
}

void xb_gdb_add(xb_gdb_entry *entry, const uint8_t *file, size_t size) {
    entry->file = file;
    entry->size = size;
    entry->previous = NULL;
    entry->next = xb_gdb_descriptor.first;
    if (entry->next != NULL) {
        entry->next->previous = entry;
    }
    xb_gdb_descriptor.first = entry;
    tell_debugger(entry, JIT_REGISTER_FN);
}

void xb_gdb_remove(xb_gdb_entry *entry) {
    if (entry->previous != NULL) {
        entry->previous->next = entry->next;
    } else {
        xb_gdb_descriptor.first = entry->next;
    }
    if (entry->next != NULL) {
        entry->next->previous = entry->previous;
    }
    tell_debugger(entry, JIT_UNREGISTER_FN);
}

#else

bool xb_gdb_exists(void) {
    return false;
}

void xb_gdb_add(xb_gdb_entry *entry, const uint8_t *file, size_t size) {
    (void)entry;
    (void)file;
    (void)size;
}

void xb_gdb_remove(xb_gdb_entry *entry) {
    (void)entry;
}

#endif
