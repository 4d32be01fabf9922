/* Described code in the list that debuggers read. Each change of the list stops a debugger. So functions that
 * are described together, as those of a batch, come into one object, up to 64 of them. It is written anew
 * when one of them goes. */
#ifndef XB_DEBUG_GDB_GROUPS_H
#define XB_DEBUG_GDB_GROUPS_H

#include <stdbool.h>

#include "../base/compiler.h"
#include "../base/error.h"
#include "elf.h"

typedef struct xb_gdb_group xb_gdb_group;

/* A function that may be in an object. All zero at first, but for function. */
typedef struct xb_gdb_member {
    xb_elf_function function;
    xb_gdb_group *group; /* NULL: it is in none */
    bool has_left;
} xb_gdb_member;

XB_PRIVATE_BEGIN

/* Adds a function, if it has not left yet. Debuggers learn of it by xb_gdb_flush. No lock is held, as in the
 * functions below.
 *
 * Returns: success; or the call that failed, for want of memory.
 * In: member: stays where it is until xb_gdb_leave. */
xb_result xb_gdb_join(xb_gdb_member *member);

/* Writes all objects that functions have been added to.
 *
 * Returns: success; or the call that failed, for want of memory. Then debuggers learn of the functions later.
 */
xb_result xb_gdb_flush(void);

/* Takes a function out. */
void xb_gdb_leave(xb_gdb_member *member);

XB_PRIVATE_END

#endif
