/*
 * Regions: some MiB of address space with an executable and a writable view, given out in runs of pages.
 *
 * Page 0 of a region is given to nobody: the self-test uses it, and so no code begins in the first bytes of a
 * mapping, before which sanitizers could not read. All book-keeping is elsewhere; the views hold code and
 * traps only.
 *
 * Nothing here takes a lock: a region is its pool's, and guarded by its mutex.
 */
#ifndef XB_POOL_REGION_H
#define XB_POOL_REGION_H

#include "../base/compiler.h"
#include "../exec/view.h"

XB_PRIVATE_BEGIN

struct xb_span;

/* Runs have at most 1 << (XB_ORDERS - 1) pages. */
#define XB_ORDERS 15

typedef struct xb_region {
    xb_prim_views views; /* rw is NULL in a child that did not inherit it */
    ptrdiff_t distance;  /* from rx to rw */
    size_t size;
    uint32_t live;       /* slots that are taken, in all its spans */
    uint32_t pins;       /* threads that are making a span in it */
    uint32_t page_shift; /* 2^page_shift is the page size */
    bool is_active;      /* neither frozen nor of a pool that was given up */
    bool frozen;         /* shared with another process: nothing that is published changes any more */
    bool is_open;        /* in the pool's list of regions with free pages */
    execbuf_backend backend;
    size_t committed;       /* how many bytes were ever part of a run */
    struct xb_region *next; /* in the pool's list of all regions */
    struct xb_region *previous;
    struct xb_region *next_open;
    struct xb_region *previous_open;
    size_t bookkeeping; /* bytes on the heap */
    uint32_t page_count;
    uint32_t free_orders;            /* bit k: there are free blocks of 1 << k pages */
    uint16_t free_blocks[XB_ORDERS]; /* heads of lists of their first pages; 0: none */
    struct xb_span **spans;          /* by page: the span that it belongs to, or NULL */
    uint16_t *next_free;             /* by the first page of a free block */
    uint16_t *previous_free;
    uint8_t *flags;   /* by page */
    xb_parked parked; /* for unmapping the views, when the region goes */
} xb_region;

/* Makes a region by the first way that works, and lets it prove itself.
 *
 * Returns: EXECBUF_OK; EXECBUF_E_NO_MEMORY, EXECBUF_E_DENIED, EXECBUF_E_TOO_FAR, with every attempt in
 * *error; EXECBUF_E_UNSUPPORTED if the platform has no regions. Out: out:     the region, or NULL. error: the
 * report, in which attempts that failed before a success are listed too. In:  near_to: as for
 * xb_prim_stage. name:    as for xb_prim_map_region. */
execbuf_status xb_region_new(xb_region **out, const void *near_to, const char *name, execbuf_error *error);

/* Unmaps a region, whatever is in it, and frees its book-keeping. */
void xb_region_free(xb_region *region);

/* Takes a run of pages.
 *
 * Returns: the first page, or 0 if there is no such run.
 * In:  pages: how many, at least 1. */
uint32_t xb_region_alloc(xb_region *region, uint32_t pages);

/* Whether a page was ever part of a run, so that it was filled with traps, or is page 0. */
bool xb_region_was_used(const xb_region *region, uint32_t page);

/* Gives a run, or a part of one, back. */
void xb_region_free_pages(xb_region *region, uint32_t page, uint32_t pages);

XB_PRIVATE_END

#endif
