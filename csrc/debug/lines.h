/* Lines of source code, as descriptions have them. No state. */
#ifndef XB_DEBUG_LINES_H
#define XB_DEBUG_LINES_H

#include <stddef.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"

#define XB_FILES_KEPT 8U

/* The files that were met last, so that entries of one file share one copy of its name. */
typedef struct xb_files {
    const execbuf_line *met[XB_FILES_KEPT];
    size_t count; /* of files, also of those that were forgotten */
} xb_files;

XB_PRIVATE_BEGIN

/* Checks the lines of a description.
 *
 * Returns: EXECBUF_OK, and error is untouched; EXECBUF_E_NULL, EXECBUF_E_VERSION, EXECBUF_E_TOO_LARGE,
 *          EXECBUF_E_LINES.
 * In:  lines:  the entries; not NULL if count is not 0.
 *      length: of the code.
 * Out: error:  the report, with the index of the entry; may be NULL. */
execbuf_status xb_lines_check(const execbuf_line *lines, size_t count, size_t length, execbuf_error *error);

/* Copies lines that were checked, and the names of their files.
 *
 * Returns: the copy, to be freed with free; NULL: no memory. */
execbuf_line *xb_lines_copy(const execbuf_line *lines, size_t count);

/* Finds an entry of the same file among the files that were met last. If there is none, the file is new, even
 * if it was met long before.
 *
 * Returns: the entry; NULL: the file is new.
 * In/out: files: zeroed before the first entry.
 * Out:    index: that of the file, from 0. */
const execbuf_line *xb_files_meet(xb_files *files, const execbuf_line *line, size_t *index);

XB_PRIVATE_END

#endif
