/* Lines of source code: checking and copying them. */

#include "lines.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../base/error.h"
#include "../base/fault.h"

execbuf_status xb_lines_check(const execbuf_line *lines, size_t count, size_t length, execbuf_error *error) {
    size_t least = 0;
    for (size_t i = 0; i < count; i++) {
        const execbuf_line *line = &lines[i];
        if (line->file == NULL && line->file_length > 0) {
            return xb_error_set_at(error, EXECBUF_E_NULL, "file", i);
        }
        if (line->file_length > EXECBUF_NAME_MAX) {
            return xb_error_set_at(error, EXECBUF_E_TOO_LARGE, "file", i);
        }
        if (line->reserved != 0) {
            return xb_error_set_at(error, EXECBUF_E_VERSION, "reserved", i);
        }
        if (line->offset < least || line->offset >= length) {
            return xb_error_set_at(error, EXECBUF_E_LINES, "offset", i);
        }
        least = line->offset;
    }
    return EXECBUF_OK;
}

static bool is_same_file(const execbuf_line *one, const execbuf_line *other) {
    return one->file_length == other->file_length &&
           (one->file_length == 0 || memcmp(one->file, other->file, one->file_length) == 0);
}

const execbuf_line *xb_files_meet(xb_files *files, const execbuf_line *line, size_t *index) {
    for (size_t back = 1; back <= XB_FILES_KEPT && back <= files->count; back++) {
        *index = files->count - back;
        const execbuf_line *met = files->met[*index % XB_FILES_KEPT];
        if (is_same_file(met, line)) {
            return met;
        }
    }
    *index = files->count++;
    files->met[*index % XB_FILES_KEPT] = line;
    return NULL;
}

/* How many bytes a copy of lines takes. */
static uint64_t size_of_copy(const execbuf_line *lines, size_t count) {
    xb_files files = {{NULL}, 0};
    uint64_t size = (uint64_t)count * sizeof *lines;
    size_t ignored;
    for (size_t i = 0; i < count; i++) {
        size += xb_files_meet(&files, &lines[i], &ignored) == NULL ? lines[i].file_length : 0;
    }
    return size;
}

execbuf_line *xb_lines_copy(const execbuf_line *lines, size_t count) {
    xb_files files = {{NULL}, 0};
    uint64_t size = size_of_copy(lines, count);
    bool is_refused = XB_FAULT("malloc") != 0 || size > PTRDIFF_MAX;
    execbuf_line *copy = is_refused ? NULL : (execbuf_line *)malloc((size_t)size);
    if (copy == NULL) {
        return NULL;
    }
    memcpy(copy, lines, count * sizeof *lines);
    char *names = (char *)(copy + count);
    for (size_t i = 0; i < count; i++) {
        size_t ignored;
        const execbuf_line *same = xb_files_meet(&files, &copy[i], &ignored);
        if (same != NULL) {
            copy[i].file = same->file;
        } else if (copy[i].file_length > 0) {
            memcpy(names, copy[i].file, copy[i].file_length);
            copy[i].file = names;
            names += copy[i].file_length;
        }
    }
    return copy;
}
