/* What /proc/self/smaps says of a mapping. */
#ifndef SMAPS_H
#define SMAPS_H

#include "check.h"

#if defined(__linux__)

/* A mapping in /proc/self/smaps. */
typedef struct smaps_entry {
    unsigned long long start;
    unsigned long long end;
    char protection[5]; /* such as "r-xs" */
    char flags[256];    /* the line VmFlags: a space before and after each flag */
    long key;           /* the line ProtectionKey; -1 if there is none */
} smaps_entry;

/* Finds the mappings whose line contains a name. Returns how many there are, which may be more than limit; -1
 * if the system does not list them. */
static inline int find_in_smaps(const char *name, smaps_entry *found, int limit) {
    int fd = open("/proc/self/smaps", O_RDONLY);
    if (fd < 0) {
        return -1;
    }
    static char text[1 << 21];
    size_t length = 0;
    for (ssize_t got; (got = read(fd, text + length, sizeof text - 1 - length)) > 0;) {
        length += (size_t)got;
    }
    (void)close(fd);
    CHECK(length < sizeof text - 1);
    text[length] = '\0';
    int count = 0;
    smaps_entry *entry = NULL;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        smaps_entry begun = {0, 0, "", " ", -1};
        if (sscanf(line, "%llx-%llx %4s", &begun.start, &begun.end, begun.protection) == 3) {
            entry = NULL;
            if (strstr(line, name) != NULL && count++ < limit) {
                entry = &found[count - 1];
                *entry = begun;
            }
        } else if (entry != NULL) {
            (void)sscanf(line, "ProtectionKey: %ld", &entry->key);
            if (strncmp(line, "VmFlags:", 8) == 0) {
                (void)snprintf(entry->flags, sizeof entry->flags, "%s ", line + 8);
            }
        }
    }
    return count;
}

/* Finds the two mappings of the one region of a pool that has this name. Returns false, and prints SKIP, if
 * they are not listed. */
static inline int find_views(const char *name, smaps_entry *rx, smaps_entry *rw) {
    smaps_entry found[2];
    int count = find_in_smaps(name, found, 2);
    if (count < 2) {
        (void)fprintf(stderr, "SKIP: %s\n", count < 0 ? "no /proc/self/smaps" : "no region in a memfd");
        return 0;
    }
    CHECK(count == 2);
    int first_is_rx = strchr(found[0].protection, 'x') != NULL;
    *rx = found[first_is_rx ? 0 : 1];
    *rw = found[first_is_rx ? 1 : 0];
    CHECK(strcmp(rx->protection, "r-xs") == 0 && strcmp(rw->protection, "-w-s") == 0);
    return 1;
}

#endif

#endif
