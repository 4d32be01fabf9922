/* Helpers for all C tests: CHECK, machine code to publish, and the list of mappings. */
#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "execbuf.h"

/* Ends the program with an error unless the condition is true. */
#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            (void)fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                  \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

/* Prints the name of a test, then runs it: if the program crashes, the last name is that of the test. */
#define RUN(test)                                                                                            \
    do {                                                                                                     \
        (void)printf("%s\n", #test);                                                                         \
        (void)fflush(stdout);                                                                                \
        test();                                                                                              \
    } while (0)

/* Whether a whole machine is emulated, as by .ci/machines. Tests that take long do fewer rounds there. */
static inline int is_emulated(void) {
    return getenv("EXECBUF_EMULATED") != NULL;
}

/* For alarm: how long to wait for what usually takes a few seconds. */
static inline unsigned seconds(unsigned usual) {
    return is_emulated() ? 20 * usual : usual;
}

typedef int (*int_function)(void);

/* Whether this machine has closures and dynamic calls. */
#if defined(__x86_64__) || (defined(__aarch64__) && !defined(_WIN32))
#define HAS_CLOSURES
#endif

/* Machine code of a function. */
typedef struct code {
    uint8_t bytes[8];
    size_t length;
} code;

/* Machine code of "int f(void) { return value; }". The first bytes of the code contain the value.
 *
 * In: value: less than 2048. */
static inline code returning(uint32_t value) {
    code made = {{0}, 0};
#if defined(__x86_64__) || defined(__i386__)
    const uint8_t bytes[] = {
        0xb8, (uint8_t)value, (uint8_t)(value >> 8), 0, 0, /* mov eax, value */
        0xc3,                                              /* ret */
    };
#elif defined(__aarch64__)
    uint32_t mov = 0x52800000U | value << 5; /* mov w0, #value */
    const uint8_t bytes[] = {
        (uint8_t)mov, (uint8_t)(mov >> 8), (uint8_t)(mov >> 16), (uint8_t)(mov >> 24), 0xc0, 0x03, 0x5f,
        0xd6, /* ret */
    };
#elif defined(__riscv)
    uint32_t addi = 0x00000513U | value << 20; /* addi a0, zero, value */
    const uint8_t bytes[] = {
        (uint8_t)addi, (uint8_t)(addi >> 8), (uint8_t)(addi >> 16), (uint8_t)(addi >> 24), 0x67, 0x80, 0x00,
        0x00, /* ret */
    };
#else
#error "the C tests support x86, AArch64 and RISC-V"
#endif
    memcpy(made.bytes, bytes, sizeof bytes);
    made.length = sizeof bytes;
    return made;
}

/* Calls the function at an offset in a buffer. */
static inline int call(const execbuf *buffer, size_t offset) {
    int_function function = (int_function)execbuf_entry(buffer, offset);
    CHECK(function != NULL);
    return function();
}

/* Whether a range contains only trap instructions, aligned to their size. */
static inline int holds_traps(const void *start, size_t size) {
#if defined(__x86_64__) || defined(__i386__)
    const uint8_t trap[4] = {0xcc, 0xcc, 0xcc, 0xcc}; /* int3 */
#elif defined(__riscv)
    const uint8_t trap[4] = {0x73, 0x00, 0x10, 0x00}; /* ebreak */
#else
    const uint8_t trap[4] = {0x00, 0x00, 0x20, 0xd4}; /* brk #0 */
#endif
    const uint8_t *bytes = (const uint8_t *)start;
    for (size_t at = 0; at < size; at++) {
        if (bytes[at] != trap[((uintptr_t)bytes + at) % 4]) {
            return 0;
        }
    }
    return 1;
}

/* The stats of a pool. The struct contains garbage before the call, so a member that the library does not
 * write is noticed. */
static inline execbuf_pool_stats stats_of(const execbuf_pool *pool) {
    execbuf_pool_stats stats;
    memset(&stats, 0xa5, sizeof stats);
    stats.size = sizeof stats;
    CHECK(execbuf_pool_get_stats(pool, &stats) == EXECBUF_OK && stats.size == sizeof stats);
    return stats;
}

/* Whether a pool has published code at an address. Fills place unless it is NULL. */
static inline int finds(const execbuf_pool *pool, const void *address, execbuf_place *place) {
    if (place != NULL) {
        memset(place, 0xa5, sizeof *place);
        place->size = sizeof *place;
    }
    execbuf_status status = execbuf_pool_lookup(pool, place, address);
    CHECK(status == EXECBUF_OK || status == EXECBUF_E_NOT_FOUND);
    CHECK(place == NULL || place->size == sizeof *place);
    CHECK(status == EXECBUF_OK || place == NULL || (place->entry == NULL && place->length == 0));
    return status == EXECBUF_OK;
}

/* Options for execbuf_pool_new. */
static inline execbuf_pool_options options_of(const void *near_to, const char *name) {
    execbuf_pool_options options = EXECBUF_POOL_OPTIONS_INIT;
    options.placement.near_to = near_to;
    options.name = name;
    return options;
}

/* Parses a signature. The caller frees it. */
static inline execbuf_signature *parsed(const char *text) {
    execbuf_signature *signature;
    CHECK(execbuf_signature_parse(&signature, text, NULL) == EXECBUF_OK && signature != NULL);
    return signature;
}

static inline int is_zero(const execbuf *buffer) {
    return buffer->entry == NULL && buffer->length == 0 && buffer->id == 0;
}

/* Whether a process can make a region its own that it shares since a fork. */
#if defined(__linux__) && !defined(EXECBUF_PRIM_UNIX)
#define COPIES_REGIONS 1
#else
#define COPIES_REGIONS 0
#endif

/* Whether the allocator is that of AddressSanitizer, which wants much address space. In older ones, it stays
 * locked in the child of a fork if another thread was using it. */
static inline int under_address_sanitizer(void) {
#if defined(__SANITIZE_ADDRESS__)
    return 1;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
    return 1;
#endif
#endif
    return 0;
}

/* ThreadSanitizer maps memory at any time. */
static inline int under_thread_sanitizer(void) {
#if defined(__SANITIZE_THREAD__)
    return 1;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
    return 1;
#endif
#endif
    return 0;
}

static inline int under_valgrind(void) {
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded != NULL && strstr(preloaded, "vgpreload") != NULL;
}

/* The mappings of this process: how many, and their size. Both are 0 if they cannot be listed. */
typedef struct maps {
    size_t count;
    size_t bytes;
} maps;

/* Whether the mappings have not changed. Always true under ThreadSanitizer. */
static inline int same(maps one, maps other) {
    return under_thread_sanitizer() || (one.count == other.count && one.bytes == other.bytes);
}

/* look counts the mappings of this process, and checks that none is writable and executable. */
#if defined(_WIN32)
#include <windows.h>
static inline maps look(void) {
    maps seen = {0, 0};
    MEMORY_BASIC_INFORMATION info;
    for (char *at = NULL; VirtualQuery(at, &info, sizeof info) == sizeof info;
         at = (char *)info.BaseAddress + info.RegionSize) {
        if (info.State == MEM_COMMIT) {
            CHECK((info.Protect & 0xff) != PAGE_EXECUTE_READWRITE);
            CHECK((info.Protect & 0xff) != PAGE_EXECUTE_WRITECOPY);
            /* Counts only the kinds of memory that execbuf maps; heap and stacks grow and shrink. */
            DWORD protection = info.Protect & 0xff;
            if ((info.Type == MEM_PRIVATE && protection == PAGE_EXECUTE_READ) ||
                (info.Type == MEM_MAPPED &&
                 (protection == PAGE_EXECUTE_READ || protection == PAGE_READWRITE))) {
                seen.count++;
                seen.bytes += info.RegionSize;
            }
        }
    }
    return seen;
}
#elif defined(__linux__)
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* The text of /proc/self/maps. It is not read with stdio, whose buffers would change the mappings. */
static inline char *read_maps(void) {
    static char text[1 << 20];
    size_t length = 0;
    int fd = open("/proc/self/maps", O_RDONLY);
    if (fd < 0 && errno == ENOENT) {
        (void)fprintf(stderr, "SKIP: the rest of this test: /proc is not mounted\n");
        _Exit(0);
    }
    CHECK(fd >= 0);
    for (ssize_t got; (got = read(fd, text + length, sizeof text - 1 - length)) > 0;) {
        length += (size_t)got;
    }
    (void)close(fd);
    CHECK(length < sizeof text - 1);
    text[length] = '\0';
    return text;
}

/* The number of mappings whose protection ("rwxp" or "rwxs") contains the given letters. */
static inline size_t count_mappings(const char *letters) {
    size_t count = 0;
    for (char *line = read_maps(); *line != '\0'; line = strchr(line, '\n') + 1) {
        char protection[5] = "";
        CHECK(sscanf(line, "%*s %4s", protection) == 1);
        count += strstr(protection, letters) != NULL;
    }
    return count;
}

/* Whether the mappings of valgrind or ThreadSanitizer hide those of execbuf: they change with each region. */
static inline int hides_maps(void) {
    return under_thread_sanitizer() || under_valgrind();
}

static inline maps look(void) {
    maps seen = {0, 0};
    if (hides_maps()) {
        static int said = 0;
        if (!said++) {
            (void)fprintf(stderr, "SKIP: mappings are not compared under valgrind and ThreadSanitizer\n");
        }
        return seen;
    }
    for (char *line = read_maps(); *line != '\0'; line = strchr(line, '\n') + 1) {
        unsigned long long start;
        unsigned long long end;
        char protection[5];
        CHECK(sscanf(line, "%llx-%llx %4s", &start, &end, protection) == 3);
        CHECK(strstr(protection, "wx") == NULL);
        seen.count++;
        seen.bytes += (size_t)(end - start);
    }
    return seen;
}

/* As look, but counts only mappings that can belong to a buffer or a region: executable, shared, or writable
 * but not readable. The heap has none of these, so a test that uses the heap can compare the results. */
static inline maps look_at_code(void) {
    maps seen = {0, 0};
    if (hides_maps()) {
        return look();
    }
    for (char *line = read_maps(); *line != '\0'; line = strchr(line, '\n') + 1) {
        unsigned long long start;
        unsigned long long end;
        char protection[5];
        CHECK(sscanf(line, "%llx-%llx %4s", &start, &end, protection) == 3);
        CHECK(strstr(protection, "wx") == NULL);
        if (strchr(protection, 'x') != NULL || protection[3] == 's' || strncmp(protection, "-w", 2) == 0) {
            seen.count++;
            seen.bytes += (size_t)(end - start);
        }
    }
    return seen;
}
#define LOOKS_AT_CODE 1
#else
static inline maps look(void) {
    maps seen = {0, 0};
    return seen;
}
#endif

#if !defined(LOOKS_AT_CODE)
static inline maps look_at_code(void) {
    return look();
}
#endif

#endif
