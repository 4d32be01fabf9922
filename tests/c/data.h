/* Helpers for the tests of constants and data. */
#ifndef EXECBUF_TEST_DATA_H
#define EXECBUF_TEST_DATA_H

#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#endif

#include "check.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

static inline int is_no_data(const execbuf_data *data) {
    return data->address == NULL && data->length == 0 && data->id == 0;
}

/* A handle with garbage, which each call that makes data has to overwrite. */
static inline execbuf_data garbage(void) {
    execbuf_data data;
    memset(&data, 0xa5, sizeof data);
    return data;
}

static inline execbuf_data new_constants(execbuf_pool *pool, const void *bytes, size_t length, size_t align) {
    execbuf_data data = garbage();
    CHECK(execbuf_pool_constants(pool, &data, bytes, length, align, NULL) == EXECBUF_OK);
    CHECK(data.length == length && data.id != 0 && (uintptr_t)data.address % align == 0);
    CHECK(memcmp(data.address, bytes, length) == 0);
    return data;
}

static inline execbuf_data new_data(execbuf_pool *pool, size_t size, size_t align) {
    execbuf_data data = garbage();
    CHECK(execbuf_pool_data(pool, &data, size, align, NULL) == EXECBUF_OK);
    CHECK(data.length == size && data.id != 0 && (uintptr_t)data.address % align == 0);
    for (size_t i = 0; i < size; i++) {
        CHECK(((const uint8_t *)data.address)[i] == 0);
    }
    return data;
}

static inline execbuf_data stage_constants(execbuf_pool *pool, size_t size, size_t align) {
    execbuf_data data = garbage();
    CHECK(execbuf_pool_stage_constants(pool, &data, size, align, NULL) == EXECBUF_OK);
    CHECK(data.length == size && data.id != 0 && (uintptr_t)data.address % align == 0);
    for (size_t i = 0; i < size; i++) {
        CHECK(((const uint8_t *)data.address)[i] == 0);
    }
    return data;
}

static inline void free_data(execbuf_data *data) {
    CHECK(execbuf_data_free(data) == EXECBUF_OK && is_no_data(data));
}

#if defined(__linux__)
/* The letters of the rights of the mapping that contains an address; "" if there is none. */
static inline const char *listed_at(const void *address) {
    static char rights[5];
    rights[0] = '\0';
    for (char *line = read_maps(); *line != '\0'; line = strchr(line, '\n') + 1) {
        unsigned long long start;
        unsigned long long end;
        char protection[5];
        CHECK(sscanf(line, "%llx-%llx %4s", &start, &end, protection) == 3);
        if ((uintptr_t)address >= start && (uintptr_t)address < end) {
            memcpy(rights, protection, sizeof rights);
        }
    }
    return rights;
}

/* Whether the list of mappings is true: that of qemu-user shows the rights of a page also for those behind
 * it. */
static inline int lists_rights(void) {
    static int known = -1;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (known < 0) {
        char *two = (char *)mmap(NULL, 2 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(two != MAP_FAILED);
        (void)mprotect(two, page, PROT_READ | PROT_EXEC);
        known = strcmp(listed_at(two + page), "r--p") == 0;
        CHECK(munmap(two, 2 * page) == 0);
        if (!known) {
            (void)fprintf(stderr, "SKIP: the list of mappings does not show the rights of pages\n");
        }
    }
    return known;
}
#endif

/* The rights of the page at an address, as "r--", "rw-" and so on; "" if nothing is mapped there. Writable
 * pages count as readable, as they are for the processors of the tests. "?" if it cannot be known. */
static inline const char *rights_at(const void *address) {
#if defined(_WIN32)
    MEMORY_BASIC_INFORMATION info;
    CHECK(VirtualQuery(address, &info, sizeof info) == sizeof info);
    if (info.State != MEM_COMMIT) {
        return "";
    }
    DWORD protection = info.Protect & 0xff;
    return protection == PAGE_READONLY ? "r--" : protection == PAGE_READWRITE ? "rw-" : "other";
#elif defined(__linux__)
    static char rights[5];
    if (under_valgrind() || !lists_rights()) {
        return "?";
    }
    memcpy(rights, listed_at(address), sizeof rights);
    CHECK(rights[0] == '\0' || rights[3] == 'p'); /* private to the process after a fork */
    rights[3] = '\0';
    rights[0] = rights[0] == '-' && rights[1] == 'w' ? 'r' : rights[0];
    return rights;
#else
    (void)address;
    return "?";
#endif
}

static inline int has_rights(const void *address, const char *rights) {
    const char *found = rights_at(address);
    return strcmp(found, "?") == 0 || strcmp(found, rights) == 0;
}

static inline size_t page_size(void) {
#if defined(_WIN32)
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwPageSize;
#elif defined(__linux__)
    return (size_t)sysconf(_SC_PAGESIZE);
#else
    return 4096;
#endif
}

#endif
