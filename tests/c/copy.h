/* Helpers for the tests of copies of regions (xb_prim_copy_region): one region, outside of any pool. */
#ifndef COPY_H
#define COPY_H

#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../csrc/prim/prim.h"
#include "check.h"
#include "stale.h"

static const size_t region_size = (size_t)1 << 20;
static xb_prim_views views;
static execbuf_backend backend;

/* Maps a region with one of its two backends. False, with a SKIP: it cannot be had here. */
static inline bool map_region_with(execbuf_backend wanted) {
    views.rx = NULL;
    views.rw = NULL;
    views.key = XB_PRIM_NO_KEY;
    backend = wanted;
    bool done = xb_prim_map_region(wanted, region_size, NULL, "copy", &views).call == NULL;
    if (!done) {
        (void)fprintf(stderr, "SKIP: copies of regions: no region with %s here\n",
                      execbuf_backend_name(wanted));
    }
    return done;
}

static inline void unmap_region(void) {
    CHECK(munmap(views.rx, region_size) == 0);
    CHECK(views.rw == NULL || munmap(views.rw, region_size) == 0);
}

/* Writes a function through the writable view. */
static inline void put(size_t offset, uint32_t value) {
    code made = returning(value);
    memcpy(views.rw + offset, made.bytes, made.length);
    xb_prim_sync(views.rx + offset, views.rw + offset, made.length);
    (void)xb_prim_barrier();
}

/* In front of code at the start of a region is nothing that a sanitizer of calls could read. */
XB_UNCHECKED_CALLS static inline int run_at(size_t offset) {
    int_function function;
    const uint8_t *entry = views.rx + offset;
    memcpy((void *)&function, (const void *)&entry, sizeof function);
    return function();
}

/* qemu-user may run old code after a change through another view. That tells it from a machine, and from an
 * emulator of a whole machine. */
static inline bool is_in_qemu_user(void) {
    static int known = -1;
    if (known < 0 && map_region_with(EXECBUF_BACKEND_MEMFD)) {
        put(0, 1);
        CHECK(run_at(0) == 1);
        put(0, 2);
        known = run_at(0) != 2;
        unmap_region();
        if (known != 0) {
            (void)fprintf(stderr, "SKIP: running code that was changed: the emulator runs the old code\n");
        }
    }
    return known == 1;
}

/* Whether there is a function that returns the value. */
static inline bool has(size_t offset, uint32_t value) {
    code made = returning(value);
    return memcmp(views.rx + offset, made.bytes, made.length) == 0 &&
           (is_in_qemu_user() || run_at(offset) == (int)value);
}

/* The pages from the first to the last, and page 0. */
static inline xb_prim_pages pages_of(size_t from, size_t last) {
    xb_prim_pages pages;
    memset(&pages, 0, sizeof pages);
    xb_prim_add_page(&pages, 0);
    for (size_t page = from; page <= last; page++) {
        xb_prim_add_page(&pages, page);
    }
    return pages;
}

/* Gives the region new memory with this content, and unmaps what is left of the old one. */
static inline xb_result copy_content(const xb_prim_content *content) {
    void *old = NULL;
    xb_result result = xb_prim_copy_region(backend, region_size, "copy", content, &views, &old);
    if (old != NULL) {
        CHECK(munmap(old, region_size) == 0);
    }
    return result;
}

/* Copies pages. */
static inline xb_result copy(size_t from, size_t last) {
    xb_prim_content content = {pages_of(from, last), {{0}}, {{0}}};
    return copy_content(&content);
}

/* Checks that a child ended without a failure. */
static inline void join_child(pid_t child) {
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

#endif
