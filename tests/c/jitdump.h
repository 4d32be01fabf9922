/* The dump of code for perf: a directory for it, and reading it. Linux only. */
#ifndef EXECBUF_TEST_JITDUMP_H
#define EXECBUF_TEST_JITDUMP_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

#include "tools.h"

#define JITDUMP EXECBUF_TOOL_JITDUMP

/* A record, as the specification has it. */
typedef struct load_record {
    uint32_t kind;
    uint32_t size;
    uint64_t time;
    uint32_t process;
    uint32_t thread;
    uint64_t address;
    uint64_t code;
    uint64_t code_size;
    uint64_t number;
    char name[64];
    uint8_t bytes[64];
} load_record;

/* An entry in a record of lines. */
typedef struct read_line {
    uint64_t address;
    uint32_t line;
    char file[32];
} read_line;

/* A record of an unwind table. */
typedef struct table_record {
    uint32_t kind;
    uint32_t size;
    uint64_t time;
    uint64_t table_size;
    uint64_t header_size;
    uint64_t mapped_size;
    uint8_t bytes[512];
} table_record;

/* The directory in which a test makes its dumps. */
static char place[64];

static inline void make_place(void) {
    (void)snprintf(place, sizeof place, "/tmp/execbuf-test-XXXXXX");
    CHECK(mkdtemp(place) != NULL);
}

/* The names of what is in a directory: how many, and the last one that begins like this. */
static inline int list(const char *directory, const char *prefix, char *found, size_t size) {
    int count = 0;
    DIR *opened = opendir(directory);
    CHECK(opened != NULL);
    for (struct dirent *entry = readdir(opened); entry != NULL; entry = readdir(opened)) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0) {
            CHECK((size_t)snprintf(found, size, "%s/%s", directory, entry->d_name) < size);
            count++;
        }
    }
    CHECK(closedir(opened) == 0);
    return count;
}

/* Opens the dump of a process, the only one of it in the directory; NULL: there is none. */
static inline FILE *open_dump(const char *directory, pid_t process) {
    FILE *found = NULL;
    DIR *opened = opendir(directory);
    CHECK(opened != NULL);
    for (struct dirent *entry = readdir(opened); entry != NULL; entry = readdir(opened)) {
        char path[PATH_MAX];
        int length =
            snprintf(path, sizeof path, "%s/%s/jit-%ld.dump", directory, entry->d_name, (long)process);
        CHECK((size_t)length < sizeof path);
        if (strncmp(entry->d_name, "execbuf-", 8) == 0 && access(path, F_OK) == 0) {
            CHECK(found == NULL && (found = fopen(path, "r")) != NULL);
        }
    }
    CHECK(closedir(opened) == 0);
    return found;
}

static inline void read_header(FILE *file, pid_t process) {
    uint32_t words[6];
    uint64_t numbers[2];
    CHECK(fread(words, sizeof words, 1, file) == 1 && fread(numbers, sizeof numbers, 1, file) == 1);
    CHECK(words[0] == 0x4a695444 && words[1] == 1 && words[2] == 40 && words[3] != 0 && words[4] == 0);
    CHECK(words[5] == (uint32_t)process && numbers[0] != 0 && numbers[1] == 0);
}

/* Reads the next record, which is one of lines.
 *
 * Returns: how many lines it has. */
static inline size_t read_lines(FILE *file, uintptr_t *start, uint64_t *time, read_line *out, size_t most) {
    uint32_t words[2];
    uint64_t numbers[3];
    CHECK(fread(words, sizeof words, 1, file) == 1 && fread(numbers, sizeof numbers, 1, file) == 1);
    CHECK(words[0] == 2 && numbers[2] <= most);
    size_t size = sizeof words + sizeof numbers;
    for (size_t i = 0; i < numbers[2]; i++) {
        uint32_t line[2];
        size_t length = 0;
        CHECK(fread(&out[i].address, 8, 1, file) == 1 && fread(line, sizeof line, 1, file) == 1 &&
              line[1] == 0);
        out[i].line = line[0];
        do {
            CHECK(length < sizeof out[i].file && fread(&out[i].file[length], 1, 1, file) == 1);
        } while (out[i].file[length++] != '\0');
        size += 16 + length;
    }
    CHECK(size == words[1]);
    *time = numbers[0];
    *start = (uintptr_t)numbers[1];
    return (size_t)numbers[2];
}

/* Reads the next record, which is one of an unwind table, if it is.
 *
 * Returns: whether it is. If not, the record can still be read. */
static inline bool read_table(FILE *file, table_record *out) {
    enum { FIXED = 40, UNWINDING = 4 };
    memset(out, 0, sizeof *out);
    long before = ftell(file);
    if (fread(&out->kind, sizeof out->kind, 1, file) != 1 || out->kind != UNWINDING) {
        CHECK(fseek(file, before, SEEK_SET) == 0);
        return false;
    }
    CHECK(fread(&out->size, FIXED - sizeof out->kind, 1, file) == 1 && out->size == FIXED + out->table_size);
    CHECK(out->table_size <= sizeof out->bytes && out->header_size < out->table_size);
    CHECK(fread(out->bytes, (size_t)out->table_size, 1, file) == 1);
    return true;
}

/* Reads the next record, which is one of code.
 *
 * Returns: whether there is one. */
static inline bool read_record(FILE *file, load_record *out) {
    enum { FIXED = 56 };
    memset(out, 0, sizeof *out);
    if (fread(out, 1, FIXED, file) != FIXED) {
        return false;
    }
    const size_t code_size = (size_t)out->code_size;
    const size_t name_size = out->size - FIXED - code_size;
    CHECK(out->kind == 0);
    CHECK(name_size <= sizeof out->name && code_size <= sizeof out->bytes);
    CHECK(fread(out->name, 1, name_size, file) == name_size && out->name[name_size - 1] == '\0');
    CHECK(fread(out->bytes, 1, code_size, file) == code_size);
    return true;
}

/* Removes the directory of a test, and what is in it. */
static inline void remove_place(void) {
    char path[PATH_MAX];
    char inner[PATH_MAX];
    while (list(place, "execbuf-", path, sizeof path) != 0) {
        while (list(path, "jit-", inner, sizeof inner) != 0) {
            CHECK(unlink(inner) == 0);
        }
        CHECK(rmdir(path) == 0);
    }
    CHECK(rmdir(place) == 0);
}

#endif
