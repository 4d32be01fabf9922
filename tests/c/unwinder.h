/* An unwinder like libgcc's for tests: it keeps the lists that the library registers, and checks them. It
 * replaces that of the program. Included once, on x86-64 with ELF. */
#ifndef EXECBUF_TEST_UNWINDER_H
#define EXECBUF_TEST_UNWINDER_H

#include <signal.h>
#include <stdbool.h>

#include "check.h"

#define MOST_LISTS 4000

typedef struct fde {
    uint32_t length; /* of what follows; 0 ends a list */
    uint32_t cie;
    uint64_t address;
    uint64_t size;
} fde;

typedef struct list {
    const uint8_t *first;
    uint64_t start; /* the range of addresses, when it was registered */
    uint64_t end;
} list;

static list lists[MOST_LISTS];
static size_t list_count;
static size_t registrations;
static bool is_inside; /* a thread is in the unwinder */
static bool was_interrupted;
static int signals;

/* Called while a list is removed, unless it is NULL. */
static void (*while_removing)(void);

/* Which addresses the unwinder does not find: those from the middle of ranges of more than so many bytes. */
static uint64_t loses_ranges_from;
/* How many searches fail before one succeeds. */
static int lost_searches;

void __register_frame_info(const void *first, void *object);
void *__deregister_frame_info(const void *first);
const void *_Unwind_Find_FDE(void *address, void *bases);

static void interrupt(void) {
    sigset_t blocked;
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0);
    CHECK(sigismember(&blocked, SIGSEGV) == 0 && sigismember(&blocked, SIGSYS) == 0);
    is_inside = true;
    CHECK(raise(SIGUSR1) == 0);
    is_inside = false;
}

static void handle(int number) {
    (void)number;
    was_interrupted |= is_inside;
    signals++;
}

static bool next_fde(const uint8_t **at, fde *out) {
    memcpy(&out->length, *at, sizeof out->length);
    bool is_fde = out->length != 0;
    if (is_fde) {
        memcpy(out, *at, sizeof *out);
        *at += out->length + 4;
    }
    return is_fde;
}

static list range_of(const uint8_t *first) {
    list range = {first, UINT64_MAX, 0};
    fde entry;
    while (next_fde(&first, &entry)) {
        range.start = entry.address < range.start ? entry.address : range.start;
        range.end = entry.address + entry.size > range.end ? entry.address + entry.size : range.end;
    }
    CHECK(range.start < range.end);
    return range;
}

void __register_frame_info(const void *first, void *object) {
    CHECK(object != NULL && list_count < MOST_LISTS);
    interrupt();
    list added = range_of((const uint8_t *)first);
    for (size_t i = 0; i < list_count; i++) {
        CHECK(added.end <= lists[i].start || lists[i].end <= added.start);
    }
    lists[list_count++] = added;
    registrations++;
}

void *__deregister_frame_info(const void *first) {
    interrupt();
    if (while_removing != NULL) {
        while_removing();
    }
    list now = range_of((const uint8_t *)first);
    for (size_t i = 0; i < list_count; i++) {
        if (lists[i].first == first) {
            CHECK(lists[i].start == now.start && lists[i].end == now.end);
            lists[i] = lists[--list_count];
            return NULL;
        }
    }
    CHECK(false);
    return NULL;
}

/* Searches by bisection, as libgcc does. */
static const uint8_t *search(const uint8_t *first, uint64_t address) {
    size_t low = 0;
    size_t high = 0;
    fde entry;
    for (const uint8_t *at = first; next_fde(&at, &entry);) {
        high++;
    }
    while (low < high) {
        size_t middle = (low + high) / 2;
        const uint8_t *found = first;
        memcpy(&entry, first, sizeof entry);
        found += middle * (entry.length + 4); /* all have the same length */
        memcpy(&entry, found, sizeof entry);
        if (address < entry.address) {
            high = middle;
        } else if (address >= entry.address + entry.size) {
            low = middle + 1;
        } else {
            return found;
        }
    }
    return NULL;
}

const void *_Unwind_Find_FDE(void *address, void *bases) {
    uint64_t place = (uintptr_t)address;
    interrupt();
    CHECK(bases != NULL);
    if (lost_searches > 0) {
        lost_searches--;
        return NULL;
    }
    for (size_t i = 0; i < list_count; i++) {
        uint64_t size = lists[i].end - lists[i].start;
        if (place - lists[i].start < size) {
            bool is_lost = size > loses_ranges_from && place - lists[i].start > size / 2;
            return is_lost ? NULL : search(lists[i].first, place);
        }
    }
    return NULL;
}

#endif
