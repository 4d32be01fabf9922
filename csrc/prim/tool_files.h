/* Files of a process that profilers read. */
#ifndef XB_PRIM_TOOL_FILES_H
#define XB_PRIM_TOOL_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../base/error.h"

XB_PRIVATE_BEGIN

/* Appends a line to the file in which profilers look for the names of this process's code, and creates the
 * file if there is none. Several system calls.
 *
 * In: text: the line, with its end
 *     size: its length */
xb_result xb_prim_append_to_map(const char *text, size_t size);

/* When and where something happens, as a dump notes it. */
typedef struct xb_prim_moment {
    uint64_t time; /* in nanoseconds */
    uint32_t process;
    uint32_t thread;
} xb_prim_moment;

void xb_prim_get_moment(xb_prim_moment *out);

/* A file of this process in which profilers find its code. */
typedef struct xb_prim_dump {
    char *path;
    void *mark; /* mapped memory, by which profilers notice the file */
} xb_prim_dump;

/* Makes a dump in a new directory. About 15 system calls.
 *
 * In:  directory: where to make the new one
 *      header:    the first bytes
 *      size:      how many
 * Out: out:       zeros on failure */
xb_result xb_prim_begin_dump(const char *directory, const void *header, size_t size, xb_prim_dump *out);

/* Appends a record by one call. A few system calls. */
xb_result xb_prim_append_to_dump(const xb_prim_dump *dump, const void *record, size_t size);

/* Ends the use of a dump, and perhaps removes it. */
void xb_prim_end_dump(xb_prim_dump *dump, bool removes);

XB_PRIVATE_END

#endif
