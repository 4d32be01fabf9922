/* Writes a dump, in the format of Linux, tools/perf/Documentation/jitdump-specification.txt. The process's
 * lock guards what is known of the dump; it is not held while a file is made or written. */

#include "jitdump.h"

#include <stdlib.h>
#include <string.h>

#include "../base/fault.h"
#include "../base/isa.h"
#include "../prim/prim.h"
#include "../prim/tool_files.h"
#include "shown_name.h"

#define DUMP_MAGIC 0x4a695444U /* "JiTD" as a number in the order of the machine */
#define DUMP_VERSION 1U

/* Kinds of records: code was loaded; the lines, and the unwind table, of code that is loaded next. */
#define DUMP_CODE_LOAD 0U
#define DUMP_LINES 2U
#define DUMP_UNWINDING 4U

typedef struct dump_header {
    uint32_t magic;
    uint32_t version;
    uint32_t size; /* of the header */
    uint32_t machine;
    uint32_t reserved;
    uint32_t process;
    uint64_t time;
    uint64_t flags;
} dump_header;

/* What precedes the name, with its zero, and the code. */
typedef struct dump_load {
    uint32_t kind;
    uint32_t size; /* of all of the record */
    uint64_t time;
    uint32_t process;
    uint32_t thread;
    uint64_t address; /* twice: where it runs, and where it is */
    uint64_t code;
    uint64_t code_size;
    uint64_t number; /* a different one for each record */
} dump_load;

/* What precedes the lines. */
typedef struct dump_lines {
    uint32_t kind;
    uint32_t size; /* of all of the record */
    uint64_t time;
    uint64_t code;
    uint64_t count;
} dump_lines;

/* What precedes the name of a line's file, with its zero. */
typedef struct dump_line {
    uint64_t address;
    uint32_t line;
    uint32_t discriminator;
} dump_line;

/* What precedes the unwind table. In it .eh_frame is the first part and .eh_frame_hdr the second, as perf
 * reads it; the text of the specification has them in the other order. */
typedef struct dump_unwinding {
    uint32_t kind;
    uint32_t size; /* of all of the record */
    uint64_t time;
    uint64_t table_size;
    uint64_t header_size; /* of .eh_frame_hdr */
    uint64_t mapped_size; /* how many bytes behind the code perf takes for the table */
} dump_unwinding;

static struct {
    xb_prim_dump *current; /* or NULL */
    xb_prim_dump *parents; /* the one that a fork has left to this process; or NULL */
    char *directory;       /* or NULL */
    uint64_t limit;
    uint64_t size;
    uint64_t count; /* of records */
} jitdump;

bool xb_jitdump_set(const char *directory, uint64_t limit) {
    char *copy = NULL;
    if (directory != NULL) {
        size_t size = strlen(directory) + 1;
        copy = XB_FAULT("malloc") != 0 ? NULL : (char *)malloc(size);
        if (copy == NULL) {
            return false;
        }
        memcpy(copy, directory, size);
    }
    xb_prim_lock();
    char *old = jitdump.directory;
    jitdump.directory = copy;
    jitdump.limit = limit;
    xb_prim_unlock();
    free(old);
    return true;
}

/* ---- The file ---- */

/* Copies the path of the directory in which the dump is made. If it is too long, there is no such directory.
 */
static void copy_directory(char *path, size_t size) {
    memcpy(path, ".", 2);
    (void)xb_prim_environment(XB_JITDUMP_VARIABLE, path, size);
    xb_prim_lock();
    if (jitdump.directory != NULL) {
        size_t length = strlen(jitdump.directory);
        memcpy(path, length < size ? jitdump.directory : "?", length < size ? length + 1 : 2);
    }
    xb_prim_unlock();
}

static xb_result make_dump(xb_prim_dump *out) {
    char directory[4096]; /* PATH_MAX of Linux */
    xb_prim_moment now;
    xb_prim_get_moment(&now);
    dump_header header = {DUMP_MAGIC, DUMP_VERSION, sizeof header, XB_ISA_ELF_MACHINE,
                          0,          now.process,  now.time,      0};
    copy_directory(directory, sizeof directory);
    return xb_prim_begin_dump(directory, &header, sizeof header, out);
}

static void free_dump(xb_prim_dump *dump, bool removes) {
    if (dump != NULL) {
        xb_prim_end_dump(dump, removes);
        free(dump);
    }
}

/* Makes a dump if there is none. */
static xb_result begin_dump_once(void) {
    if (XB_LOAD_ACQUIRE(jitdump.current) != NULL) {
        return xb_ok();
    }
    xb_prim_dump *made = XB_FAULT("malloc") != 0 ? NULL : (xb_prim_dump *)malloc(sizeof *made);
    if (made == NULL) {
        return xb_failed("malloc", 0);
    }
    xb_result result = make_dump(made);
    if (result.call != NULL) {
        free(made);
        return result;
    }
    xb_prim_lock();
    if (jitdump.current == NULL) { /* no other thread was faster */
        jitdump.size = sizeof(dump_header);
        XB_STORE_RELEASE(jitdump.current, made);
        made = NULL;
    }
    xb_prim_dump *parents = jitdump.parents;
    jitdump.parents = NULL;
    xb_prim_unlock();
    free_dump(parents, false);
    free_dump(made, true);
    return xb_ok();
}

void xb_jitdump_in_child(void) {
    if (jitdump.current != NULL) {
        jitdump.parents = jitdump.current; /* if there is another one already, it is lost */
        jitdump.current = NULL;
    }
}

void xb_jitdump_unload(void) {
    free_dump(jitdump.current, false);
    free_dump(jitdump.parents, false);
    free(jitdump.directory);
}

/* ---- Records ---- */

/* Takes the number for records of this size, if the dump may become so large. */
static xb_result take_number(uint64_t size, uint64_t *number) {
    xb_prim_lock();
    bool fits =
        size <= UINT32_MAX &&
        (jitdump.limit == 0 || (jitdump.size <= jitdump.limit && size <= jitdump.limit - jitdump.size));
    if (fits) {
        jitdump.size += size;
        *number = jitdump.count++;
    }
    xb_prim_unlock();
    return fits ? xb_ok() : xb_failed("the limit of the dump", 0);
}

/* What is known of a piece of code before its records are written. */
typedef struct dump_sizes {
    size_t name;        /* with its zero */
    uint64_t lines;     /* of the record of lines; 0: there is none */
    uint64_t unwinding; /* of the record of the unwind table; 0: there is none */
    uint64_t load;      /* of the record of the code */
    uint64_t all;
} dump_sizes;

/* The size of a line with its address. */
static uint64_t size_of_line(const execbuf_line *line) {
    return sizeof(dump_line) + xb_show_name(NULL, (const uint8_t *)line->file, line->file_length) + 1;
}

static dump_sizes measure(const xb_description *description) {
    dump_sizes sizes = {0, 0, 0, 0, 0};
    const size_t count = description->line_count;
    sizes.name = xb_show_name(NULL, description->name, description->name_length) + 1;
    sizes.load = (uint64_t)sizeof(dump_load) + sizes.name + description->buffer.length;
    for (size_t i = 0; i < count; i++) {
        sizes.lines += size_of_line(&description->lines[i]);
    }
    sizes.lines += count > 0 ? sizeof(dump_lines) + size_of_line(&description->lines[count - 1]) : 0;
    if (description->dump_table != NULL) {
        sizes.unwinding = sizeof(dump_unwinding) + description->dump_table->size;
    }
    sizes.all = sizes.lines + sizes.unwinding + sizes.load;
    return sizes;
}

/* Writes a line.
 *
 * Returns: where the next one goes. */
static uint8_t *write_line(uint8_t *out, const execbuf_line *line, const uint8_t *address) {
    dump_line head = {(uintptr_t)address, line->line, 0};
    memcpy(out, &head, sizeof head);
    out += sizeof head;
    out += xb_show_name((char *)out, (const uint8_t *)line->file, line->file_length);
    *out = '\0';
    return out + 1;
}

/* Writes the record of lines, which precedes that of the code. perf takes the last entry for the end of its
 * table, so the last line is there twice: also at the end of the code. */
static void write_lines_record(uint8_t *out, const xb_description *description, uint64_t size,
                               uint64_t time) {
    const uint8_t *entry = (const uint8_t *)description->buffer.entry;
    const size_t count = description->line_count;
    dump_lines head = {DUMP_LINES, (uint32_t)size, time, (uintptr_t)entry, count + 1};
    memcpy(out, &head, sizeof head);
    out += sizeof head;
    for (size_t i = 0; i < count; i++) {
        out = write_line(out, &description->lines[i], entry + description->lines[i].offset);
    }
    (void)write_line(out, &description->lines[count - 1], entry + description->buffer.length);
}

/* Writes the record of the unwind table, which precedes that of the code, too. */
static void write_unwinding_record(uint8_t *out, const xb_dump_table *table, uint64_t size, uint64_t time) {
    dump_unwinding head = {DUMP_UNWINDING, (uint32_t)size, time, table->size, table->header, table->size};
    memcpy(out, &head, sizeof head);
    memcpy(out + sizeof head, table->bytes, table->size);
}

/* Writes the record of code. */
static void write_load_record(uint8_t *out, const xb_description *description, const dump_sizes *sizes,
                              const xb_prim_moment *now, uint64_t number) {
    const execbuf *buffer = &description->buffer;
    const uint64_t entry = (uintptr_t)buffer->entry;
    dump_load load = {DUMP_CODE_LOAD, (uint32_t)sizes->load, now->time, now->process, now->thread, entry,
                      entry,          buffer->length,        number};
    memcpy(out, &load, sizeof load);
    (void)xb_show_name((char *)out + sizeof load, description->name, description->name_length);
    out[sizeof load + sizes->name - 1] = '\0';
    memcpy(out + sizeof load + sizes->name, buffer->entry, buffer->length);
}

xb_result xb_jitdump_add(const xb_description *description) {
    const dump_sizes sizes = measure(description);
    uint64_t number = 0;
    xb_prim_moment now;
    xb_result result = begin_dump_once();
    if (result.call == NULL) {
        result = take_number(sizes.all, &number);
    }
    if (result.call != NULL) {
        return result;
    }
    size_t size = (size_t)sizes.all;
    uint8_t *records = XB_FAULT("malloc") != 0 ? NULL : (uint8_t *)malloc(size);
    if (records == NULL) {
        return xb_failed("malloc", 0);
    }
    xb_prim_get_moment(&now);
    if (sizes.lines > 0) {
        write_lines_record(records, description, sizes.lines, now.time);
    }
    if (sizes.unwinding > 0) {
        write_unwinding_record(records + sizes.lines, description->dump_table, sizes.unwinding, now.time);
    }
    write_load_record(records + sizes.lines + sizes.unwinding, description, &sizes, &now, number);
    result = xb_prim_append_to_dump(jitdump.current, records, size);
    free(records);
    return result;
}
