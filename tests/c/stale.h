/* Helpers that look at the memory of freed code. */
#ifndef STALE_H
#define STALE_H

#include <stdbool.h>
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "check.h"

/* Whether zeros are instructions, which a stale call would run. */
#if defined(__x86_64__) || defined(__i386__)
#define ZEROS_RUN true
#else
#define ZEROS_RUN false
#endif

#if defined(__linux__)

/* Whether pages can be hidden: on x86 the kernel has to have guards for files, since Linux 6.15. */
static inline bool can_hide(void) {
    bool done = true;
#if defined(__x86_64__) || defined(__i386__)
    enum { GUARD_INSTALL = 102 };
    const size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    done = madvise(page, size, GUARD_INSTALL) == 0;
    CHECK(munmap(page, size) == 0);
#endif
    return done;
}

#endif

/* Whether an address cannot be read, since its memory was given back. */
static inline int is_hidden(const void *address) {
#if defined(__linux__)
    int ends[2];
    CHECK(pipe(ends) == 0);
    int hidden = write(ends[1], address, 1) != 1;
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
    return hidden;
#else
    (void)address;
    return 0;
#endif
}

/* Whether nothing can be run where freed code was: there are traps, or its memory was given back. */
static inline bool is_gone(const uint8_t *entry, size_t size) {
    for (size_t at = 0; at < size;) {
        size_t rest = 4096 - (uintptr_t)(entry + at) % 4096;
        size_t part = rest < size - at ? rest : size - at;
        bool traps = is_hidden(entry + at) || holds_traps(entry + at, part) ||
                     (!ZEROS_RUN && entry[at] == 0 && memcmp(entry + at, entry + at + 1, part - 1) == 0);
        if (!traps) {
            return false;
        }
        at += part;
    }
    return true;
}

#if defined(__linux__)

/* Whether an address is in a mapping that can be executed. When a region has ended, its addresses may become
 * a writable view, or something that is no code. */
static inline bool is_executable(const void *address) {
    for (char *line = read_maps(); *line != '\0'; line = strchr(line, '\n') + 1) {
        unsigned long long start;
        unsigned long long end;
        char protection[5];
        CHECK(sscanf(line, "%llx-%llx %4s", &start, &end, protection) == 3);
        if (start <= (uintptr_t)address && (uintptr_t)address < end) {
            return strchr(protection, 'x') != NULL;
        }
    }
    return false;
}

#endif

#endif
