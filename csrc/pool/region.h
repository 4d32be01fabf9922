/* Regions: some MiB of address space with an executable and a writable view of the same memory, allocated in
 * runs of pages.
 *
 *     page     0       1 …                                                        page_count
 *              │ traps │ run │ run      │ free                │ run │ free        │
 *              └─ the self-test used it; it is never allocated
 *
 * Because page 0 is not allocated, no code begins where a mapping begins: sanitizers read the bytes before
 * an entry. All book-keeping is on the heap; the views hold code and traps only. A page that was never part
 * of a run holds zeros. A page whose memory was given back is hidden: it can be neither run nor read, until
 * it is part of a run again.
 *
 * A region does not know what its runs are for. It keeps one pointer for each page, which its arena sets.
 *
 * Nothing here takes a lock: the lock of the region's arena guards a region, and all bytes in it. */
#ifndef XB_POOL_REGION_H
#define XB_POOL_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../exec/park.h"
#include "../exec/view.h"
#include "../prim/prim.h"

XB_PRIVATE_BEGIN

/* Runs have at most 2^(XB_ORDERS - 1) pages. */
#define XB_ORDERS 15

typedef struct xb_region {
    struct xb_region *next; /* in the arena's list of all regions; first: see xb_retire */
    /* What publishing and freeing use comes first. */
    xb_prim_views views; /* rw is NULL in the child of a fork, until the child has a copy */
    ptrdiff_t distance;  /* from rx to rw */
    size_t size;         /* of each view, in bytes */
    int32_t above;       /* taken slots in all spans of the region, less the mark */
    uint32_t mark; /* if not more slots than that are taken, freeing one has more to do: xb_region_mark */
    uint32_t pins; /* spans that threads are making or removing; meanwhile it is not unmapped */
    uint32_t page_shift; /* a page has 2^page_shift bytes */
    bool is_active;      /* neither shared, nor with a protection key, nor of an arena that was freed */
    bool is_kept;        /* stays when it is empty; only one region of an arena is */
    bool is_shared;      /* since a fork: another process may run its code, so no byte of it changes */
    bool hides;          /* the last copy has hidden pages; some may still be hidden */
    bool is_stuck;       /* it is shared, and a copy of it could not be made since the last fork */
    bool is_lost;        /* this process is a child that did not get its memory; it is shared, too */
    bool has_addresses;  /* it is lost, and nothing else is at its addresses */
    bool is_open;        /* in the arena's list of regions with free pages */
    bool may_shrink;     /* it needed little of its memory when it was looked at last (see shrink.h) */
    uint8_t family;      /* of all processes that may share it (see fork.h) */
    uint32_t copies;     /* how many times its memory was replaced by a copy */
    execbuf_backend backend;
    size_t resident;   /* bytes of pages that were ever written */
    size_t shrinks_at; /* with so much, it may give some back */
    struct xb_region *previous;
    struct xb_region *next_readable; /* in the list of all regions of the process (see readers.h) */
    struct xb_region *previous_readable;
    const void *pool;            /* constant: which pool's it is, for lookups */
    struct xb_region *next_open; /* in the arena's list of regions with free pages */
    struct xb_region *previous_open;
    struct xb_region *next_piece; /* in the list of all regions of a pool with a reach */
    struct xb_region *previous_piece;
    size_t bookkeeping; /* bytes on the heap */
    uint32_t page_count;
    uint32_t free_orders;            /* bit k: there are free blocks of 2^k pages */
    uint16_t free_blocks[XB_ORDERS]; /* by order: the first page of the first free block; 0: there is none */
    xb_parked parked;                /* for the views, if the system refuses to unmap them */
    /* Arrays behind the struct, in the same piece of heap memory. */
    void **owners;       /* by page: what the arena set for the run that it belongs to, or NULL. Lookups read
                          * it without a lock */
    uint16_t *next_free; /* by first page of a free block: the next one of its order, or 0 */
    uint16_t *previous_free;
    uint8_t *flags; /* by page */
} xb_region;

/* The smallest region in which a run of this length fits, in bytes; at most the platform's largest if the run
 * has at most 1/4 of that.
 *
 * In: pages: how many (>= 1). */
size_t xb_region_size_for(uint32_t pages);

/* Maps a region by the first backend of the platform that passes the self-test.
 *
 * Preconditions: the arena is not locked.
 * Returns: EXECBUF_OK;
 *          EXECBUF_E_NO_MEMORY, EXECBUF_E_DENIED, EXECBUF_E_TOO_FAR, EXECBUF_E_READ_IMPLIES_EXEC;
 *          EXECBUF_E_UNSUPPORTED   the platform has no regions.
 * Out: out:     the region, without runs; NULL on failure.
 * In:  size:    as for xb_prim_map_region.
 *      window:  where the code is, as for xb_prim_stage.
 *      name:    as for xb_prim_map_region.
 *      backends: the set of those that may be used; 0: all.
 *      key:     the protection key of its writable view, or XB_PRIM_NO_KEY.
 *      not_inherited: whether children of a fork do not get it.
 * Out: error:   the report, not NULL. On success it lists the attempts that failed before. */
execbuf_status xb_region_new(xb_region **out, size_t size, const xb_prim_window *window, const char *name,
                             uint32_t backends, uint32_t key, bool not_inherited, execbuf_error *error);

/* Unmaps a region, whatever is in it, then has its book-keeping freed.
 *
 * Preconditions: no arena has the region in its lists. No lock is held.
 * In: done: frees the memory that it is given; called once, now or during a later call. */
void xb_region_free(xb_region *region, void (*done)(void *memory));

/* Allocates a run of pages, whose content is undefined.
 *
 * Returns: the first page; 0 if no run of this length is free.
 * In: pages: how many (>= 1). */
uint32_t xb_region_alloc(xb_region *region, uint32_t pages);

/* Returns a run, or a part of one. */
void xb_region_free_pages(xb_region *region, uint32_t page, uint32_t pages);

/* Gives memory to a new run and to the pages beside it, which count as resident from now on. Then fills the
 * first and the last 16 bytes of the run with traps, and the 16 bytes before and after it if their page is
 * not full of traps: then traps surround all code in the run, whatever its neighbours do meanwhile.
 *
 * Preconditions: the arena is locked. The region is not shared.
 * Returns: success, or the call that failed: there is no memory. Then the caller returns the run. */
xb_result xb_region_start(xb_region *region, uint32_t page, uint32_t pages);

/* Fills a whole run with traps.
 *
 * Preconditions: the arena is locked. The region is not shared. */
void xb_region_fill(xb_region *region, uint32_t page, uint32_t pages);

/* Replaces the memory of a region by a copy of some pages, at the same addresses. Some more pages are filled
 * with traps. All others lose their memory. The caller sets the mark.
 *
 * Preconditions: the arena is locked alone.
 * Returns: success, or the call that failed; then nothing has changed.
 * In:  name:   as for xb_region_new.
 *      kept:   the pages.
 *      all:    these and the pages that are filled. Page 0 is one of them.
 *      hides:  whether all others that may have had code are hidden.
 * Out: old_rw: as for xb_prim_copy_region. */
xb_result xb_region_copy(xb_region *region, const char *name, const xb_prim_pages *kept,
                         const xb_prim_pages *all, bool hides, void **old_rw);

/* Whether a page is hidden. */
bool xb_region_is_hidden(const xb_region *region, uint32_t page);

/* Whether a page may have had code since the region was made: a stale call may jump there. */
bool xb_region_may_be_stale(const xb_region *region, uint32_t page);

/* Marks a region as lost: the process is a child of a fork that did not get its memory. Its addresses are
 * taken, so that no other code comes to be there while old handles and pointers exist. */
void xb_region_lose(xb_region *region);

/* Adds a region to a list of regions with free pages, unless it is in it. */
void xb_region_open(xb_region **list, xb_region *region);

/* Takes a region out of a list of regions with free pages, if it is in it. */
void xb_region_close(xb_region **list, xb_region *region);

/* How many slots are taken in all spans of a region. */
static inline uint32_t xb_region_live(const xb_region *region) {
    return (uint32_t)region->above + region->mark;
}

/* A region may give memory back if it has at least so much; after it has done so, 1/16 of the size of the
 * largest regions is enough. So programs that again and again make a thousand functions and free them do not
 * make copies each time. */
#define XB_SHRINKS_AT ((size_t)1 << 20)

/* Whether a region may give memory back. Regions that children of a fork do not get stay as they are: their
 * new memory would have to be kept from children as well. */
static inline bool xb_region_is_shrinkable(const xb_region *region) {
    return region->resident >= region->shrinks_at && !region->views.not_inherited && xb_prim_hides_pages();
}

/* Sets the mark of a region. The last free of a region that is not kept has more to do: it removes the
 * region. In a region that is shrinkable, also the free after which half of its slots are gone, or an
 * eighth if they are fewer than the pages: it looks whether memory can be given back (see shrink.h). The fast
 * path of freeing compares one number for both.
 *
 * To be called when a region has got memory, or is kept or not, or was looked at. */
static inline void xb_region_mark(xb_region *region) {
    uint32_t live = xb_region_live(region);
    uint32_t last = region->is_kept ? 0 : 1;
    uint32_t part = live > region->page_count ? live / 2 : (live + 7) / 8;
    uint32_t less = xb_region_is_shrinkable(region) ? live - part : 0;
    region->mark = less > last ? less : last;
    region->above = (int32_t)(live - region->mark);
}

/* Whether a region has no taken slots, and no thread is making or removing a span in it. */
static inline bool xb_region_is_unused(const xb_region *region) {
    return xb_region_live(region) == 0 && region->pins == 0;
}

/* Where the code that runs at an address is written.
 *
 * Preconditions: the address is in the executable view, and this process has the writable one. */
XB_INLINE uint8_t *xb_region_writable(const xb_region *region, const void *address) {
    return (uint8_t *)((uintptr_t)address + (uintptr_t)region->distance); /* NOLINT */
}

XB_PRIVATE_END

#endif
