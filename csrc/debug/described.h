/* The descriptions of the process in one hash table, by the address of the code. The process's lock guards
 * its changes. Readers (see pool/readers.h) take no lock. */
#ifndef XB_DEBUG_DESCRIBED_H
#define XB_DEBUG_DESCRIBED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"
#include "../pool/region.h"
#include "../prim/unwinder.h"
#include "dump_table.h"
#include "gdb_groups.h"
#include "section.h"

/* The description of a buffer. */
typedef struct xb_description {
    struct xb_description *retired; /* first: see xb_retire */
    struct xb_description *next[2]; /* in a bucket of a table with this chain */
    execbuf buffer;                 /* with the length of the code, also while the buffer is reserved */
    xb_section *section;            /* whose entry of the buffer's slot is filled; or NULL */
    const xb_region *region;        /* that the code is in; NULL if it has a dedicated mapping */
    bool is_registered;             /* function is registered, and words is its list */
    bool is_told;                   /* tools know of it, and have to be told of its end */
    uint32_t users;                 /* the table, and threads that tell tools of it; the last one frees it */
    xb_prim_function function;
    uint64_t *words;           /* or NULL */
    const uint8_t *near_table; /* that of Windows (near_tables.h), or NULL */
    xb_gdb_member gdb;
    uint64_t *gdb_table;       /* that of gdb, if it is not words; or NULL */
    xb_dump_table *dump_table; /* that of the dump, or NULL */
    execbuf_line *lines;       /* or NULL */
    size_t line_count;
    size_t name_length;
    uint8_t name[];
} xb_description;

XB_PRIVATE_BEGIN

/* Whether the table has descriptions. No lock is held, as in the functions below. */
bool xb_described_any(void);

/* Makes space for one more description. Without memory the table only becomes slower.
 *
 * Returns: false if there is no table, and no memory for one. */
bool xb_described_make_room(void);

/* Adds a description, and fills the entry in the section that it has, if it has one. There is space.
 *
 * In: rules: for the entry; not used if it has a near_table. */
void xb_described_add(xb_description *description, const xb_rules *rules);

/* Takes the description of a buffer from the table, and its rules from the list of its span. The caller
 * becomes the user that the table was.
 *
 * Returns: the description; NULL: there is none. */
xb_description *xb_described_take(const execbuf *buffer);

/* Finds the description of a buffer, sets is_told, and adds the caller to its users.
 *
 * Returns: the description; NULL: there is none. */
xb_description *xb_described_use(const execbuf *buffer);

/* Takes the caller from the users of a description, and frees it after the last one. */
void xb_described_leave(xb_description *description);

/* Copies the name of a buffer. Async-signal-safe.
 *
 * Returns: whether it has a description with a name.
 * Out: name:   the name, or its beginning, and a zero; untouched if capacity is 0.
 *      length: that of the whole name. */
bool xb_described_name(const execbuf *buffer, char *name, size_t capacity, size_t *length);

/* Frees the memory that is used when no code is described. No other thread is in the library. */
void xb_described_unload(void);

XB_PRIVATE_END

#endif
