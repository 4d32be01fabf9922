/* The dump of code that perf reads: names, and the code itself. */
#ifndef XB_DEBUG_JITDUMP_H
#define XB_DEBUG_JITDUMP_H

#include "../base/compiler.h"
#include "../base/error.h"
#include "described.h"

/* The environment variable with the directory, which other writers of dumps read, too. */
#define XB_JITDUMP_VARIABLE "JITDUMPDIR"

XB_PRIVATE_BEGIN

/* Sets where the dump of this process is made, unless there is one already, and its greatest size.
 *
 * Returns: false if there is no memory.
 * In: directory: NULL: that of the environment variable, or else the current one
 *     limit:     in bytes; 0: none */
bool xb_jitdump_set(const char *directory, uint64_t limit);

/* Adds code, and makes the dump if there is none. No lock is held.
 *
 * Returns: success, or the call that failed. */
xb_result xb_jitdump_add(const xb_description *description);

/* In the child of a fork: it will have a dump of its own. */
void xb_jitdump_in_child(void);

/* Frees memory. No other thread is in the library. */
void xb_jitdump_unload(void);

XB_PRIVATE_END

#endif
