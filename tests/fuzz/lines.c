/* Lines of source: the input makes descriptions of three functions, some with wrong lines. What is accepted
 * is copied, and written for debuggers. */

#include "fuzz.h"

#include "../../csrc/debug/elf.h"
#include "../../csrc/debug/lines.h"

enum { FUNCTIONS = 3, MOST = 40 };

typedef struct described {
    xb_elf_function function;
    execbuf_line lines[MOST];
    execbuf_line *copy;
} described;

/* Makes the lines of a function. Names of files are parts of the input. */
static void make(input *from, described *out) {
    xb_elf_function *function = &out->function;
    memset(out, 0, sizeof *out);
    function->code = (const void *)(uintptr_t)take_u64(from);
    function->length = 1U + take_u8(from);
    function->name_length = take_u8(from) % 16;
    function->name_length = function->name_length <= from->size ? function->name_length : 0;
    function->name = from->data;
    size_t count = take_u8(from) % (MOST + 1);
    size_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        execbuf_line *line = &out->lines[i];
        const uint8_t how = take_u8(from);
        offset += how % 8;
        line->offset = how == 255 ? (size_t)take_u64(from) : offset;
        line->file_length = how / 8 % 8;
        line->file = line->file_length <= from->size ? (const char *)from->data : NULL;
        line->line = how >= 192 ? (uint32_t)take_u64(from) : how;
        line->reserved = how == 254;
    }
    execbuf_error error;
    execbuf_status status = xb_lines_check(out->lines, count, function->length, &error);
    CHECK(status == EXECBUF_OK || error.position < count);
    if (status != EXECBUF_OK || count == 0) {
        return;
    }
    out->copy = xb_lines_copy(out->lines, count);
    CHECK(out->copy != NULL);
    for (size_t i = 0; i < count; i++) {
        const execbuf_line *line = &out->lines[i];
        CHECK(out->copy[i].offset == line->offset && out->copy[i].line == line->line);
        CHECK(out->copy[i].file_length == line->file_length);
        CHECK(line->file_length == 0 || memcmp(out->copy[i].file, line->file, line->file_length) == 0);
    }
    function->lines = out->copy;
    function->line_count = count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input from = {data, size};
    static described all[FUNCTIONS];
    const xb_elf_function *functions[FUNCTIONS];
    for (size_t i = 0; i < FUNCTIONS; i++) {
        make(&from, &all[i]);
        functions[i] = &all[i].function;
    }
    for (size_t count = 1; count <= FUNCTIONS; count++) {
        uint8_t *object = (uint8_t *)exactly(xb_elf_size(functions, count));
        xb_elf_write(object, functions, count);
        free(object);
    }
    for (size_t i = 0; i < FUNCTIONS; i++) {
        free(all[i].copy);
    }
    return 0;
}
