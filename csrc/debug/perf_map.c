/* Writes lines of the file of names: address and length in hexadecimal, and the name. */

#include "perf_map.h"

#include <stdlib.h>

#include "../base/fault.h"
#include "../prim/tool_files.h"
#include "shown_name.h"

xb_result xb_perf_map_add(const xb_description *description) {
    size_t name_size = xb_show_name(NULL, description->name, description->name_length);
    size_t size = 0;
    char *line = XB_FAULT("malloc") != 0 ? NULL : (char *)malloc(16 + 1 + 16 + 1 + name_size + 1);
    if (line == NULL) {
        return xb_failed("malloc", 0);
    }
    size += xb_show_hex(line + size, (uintptr_t)description->buffer.entry);
    line[size++] = ' ';
    size += xb_show_hex(line + size, description->buffer.length);
    line[size++] = ' ';
    size += xb_show_name(line + size, description->name, description->name_length);
    line[size++] = '\n';
    xb_result result = xb_prim_append_to_map(line, size);
    free(line);
    return result;
}
