/* The list of code that gdb and lldb read. The lock of the process is held in every function: it guards the
 * list against other threads that use execbuf. (Another compiler in the program that shares the list has a
 * lock of its own, if any; the interface has none.) */

#include "gdb_jit.h"

#if defined(__ELF__)

#include <stddef.h>

/* Debuggers find both symbols by their names: they are exported, whatever the rest of the library is compiled
 * with, and weak, so that the linker makes one list of several in a program. */
#define DEBUGGER_SYMBOL __attribute__((weak, visibility("default")))

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

extern struct gdb_descriptor __jit_debug_descriptor; /* NOLINT(bugprone-reserved-identifier) */
DEBUGGER_SYMBOL struct gdb_descriptor __jit_debug_descriptor = {1, JIT_NOACTION, NULL, NULL};

/* The debugger has a breakpoint here: so the function is not inlined, and calls to it are not removed. */
void __jit_debug_register_code(void); /* NOLINT(bugprone-reserved-identifier) */
DEBUGGER_SYMBOL __attribute__((noinline)) void __jit_debug_register_code(void) {
    __asm__ volatile("" ::: "memory");
}

static void tell_debugger(xb_gdb_entry *entry, uint32_t action) {
    __jit_debug_descriptor.action = action;
    __jit_debug_descriptor.relevant = entry;
    __jit_debug_register_code();
    __jit_debug_descriptor.action = JIT_NOACTION;
}

void xb_gdb_add(xb_gdb_entry *entry, const xb_frame *frame, const void *code, const char *name) {
    entry->file = entry->bytes;
    entry->size = xb_elf_write(entry->bytes, frame, code, name);
    entry->previous = NULL;
    entry->next = __jit_debug_descriptor.first;
    if (entry->next != NULL) {
        entry->next->previous = entry;
    }
    __jit_debug_descriptor.first = entry;
    tell_debugger(entry, JIT_REGISTER_FN);
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
    tell_debugger(entry, JIT_UNREGISTER_FN);
}

#else

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
