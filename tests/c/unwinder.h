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
    const uint8_t *first; /* or an array of lists */
    bool is_array;
    uint8_t *object; /* memory for the unwinder */
    uint64_t start;  /* the range of addresses, when it was registered */
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

/* The next FDE at or behind *at; CIEs may lie between. Out: at: behind it. */
static bool next_fde(const uint8_t **at, fde *out) {
    out->cie = 0;
    for (memcpy(&out->length, *at, 4); out->length != 0 && out->cie == 0; memcpy(&out->length, *at, 4)) {
        memcpy(out, *at, sizeof *out);
        *at += out->length + 4;
        if (out->cie != 0) {
            return true;
        }
    }
    return false;
}

static void extend_range(list *range, const uint8_t *first) {
    fde entry;
    while (next_fde(&first, &entry)) {
        range->start = entry.address < range->start ? entry.address : range->start;
        range->end = entry.address + entry.size > range->end ? entry.address + entry.size : range->end;
    }
    CHECK(range->start < range->end);
}

static list range_of(const uint8_t *first) {
    list range = {first, false, NULL, UINT64_MAX, 0};
    extend_range(&range, first);
    return range;
}

void __register_frame_info(const void *first, void *object) {
    CHECK(object != NULL && list_count < MOST_LISTS);
    interrupt();
    list added = range_of((const uint8_t *)first);
    added.object = (uint8_t *)object;
#if !defined(UNWINDER_TAKES_ARRAYS)
    for (size_t i = 0; i < list_count; i++) {
        CHECK(added.end <= lists[i].start || lists[i].end <= added.start);
    }
#endif
    lists[list_count++] = added;
    registrations++;
}

void *__deregister_frame_info(const void *first) {
    interrupt();
    if (while_removing != NULL) {
        while_removing();
    }
    for (size_t i = 0; i < list_count; i++) {
        if (lists[i].first == first) {
            list now = lists[i].is_array ? lists[i] : range_of(lists[i].first);
            CHECK(lists[i].start == now.start && lists[i].end == now.end);
            memmove(&lists[i], &lists[i + 1], (--list_count - i) * sizeof *lists);
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
    size_t stride = 0; /* from each FDE to the next: all have the same length */
    fde entry;
    for (const uint8_t *at = first; next_fde(&at, &entry);) {
        stride = high == 1 ? (size_t)(at - first) - entry.length - 4 : stride;
        high++;
    }
    while (low < high) {
        size_t middle = (low + high) / 2;
        const uint8_t *found = first;
        found += middle * stride;
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

#if defined(UNWINDER_TAKES_ARRAYS)

/* As libgcc up to 12: it takes arrays of lists, looks into all that is registered, and searches only what
 * begins closest below an address. Of two that begin there, it searches the one that was registered first. */
void __register_frame_info_table(const void *array, void *object);

void __register_frame_info_table(const void *array, void *object) {
    list added = {(const uint8_t *)array, true, (uint8_t *)object, UINT64_MAX, 0};
    CHECK(object != NULL && list_count < MOST_LISTS);
    interrupt();
    for (const uint8_t *const *one = (const uint8_t *const *)array; *one != NULL; one++) {
        extend_range(&added, *one);
    }
    lists[list_count++] = added;
    registrations++;
}

static const uint8_t *find_fde(uint64_t place) {
    const list *closest = NULL;
    const uint8_t *found = NULL;
    for (size_t i = 0; i < list_count; i++) {
        lists[i].object[0] = 1;
        bool is_closer = lists[i].start <= place && (closest == NULL || lists[i].start > closest->start);
        closest = is_closer ? &lists[i] : closest;
    }
    if (closest != NULL && !closest->is_array) {
        return search(closest->first, place);
    }
    const uint8_t *const *one = closest != NULL ? (const uint8_t *const *)(const void *)closest->first : NULL;
    for (; one != NULL && *one != NULL && found == NULL; one++) {
        found = search(*one, place);
    }
    return found;
}

#else

static const uint8_t *find_fde(uint64_t place) {
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

const void *_Unwind_Find_FDE(void *address, void *bases) {
    interrupt();
    CHECK(bases != NULL);
    if (lost_searches > 0) {
        lost_searches--;
        return NULL;
    }
    return find_fde((uintptr_t)address);
}

#endif
