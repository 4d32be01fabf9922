/* A buddy allocator of pages.
 *
 * A free block has 2^order pages and begins at a multiple of its size. Each order has a doubly linked list of
 * its free blocks; the links are indices of first pages, in two arrays. Page 0 is never free, so 0 ends a
 * list. Two neighbours of one order that together form an aligned block, its buddies, become one block as
 * soon as both are free:
 *
 *     pages     8   9   10  11  12  13  14  15
 *              ├──────────────┼──────────────┤   two blocks of order 2; after the second is freed,
 *              ├─────────────────────────────┤   one block of order 3, if both are free
 *
 * A run may have any number of pages: the pages of its last block that it does not need stay free. */

#include "region.h"

#include <stdlib.h>

#include "../base/bits.h"
#include "../base/error.h"
#include "../base/fault.h"
#include "../base/list.h"
#include "../base/trap.h"

/* A page's flags: if PAGE_FREE, a free block begins here, and its order is in the bits of PAGE_ORDER.
 * PAGE_RESIDENT says that the page has memory, PAGE_FILLED that it is full of traps where it has no code, and
 * PAGE_HIDDEN that it is hidden. A page that ever had code is filled or hidden. */
#define PAGE_ORDER 0x0fU
#define PAGE_HIDDEN 0x10U
#define PAGE_RESIDENT 0x20U
#define PAGE_FREE 0x40U
#define PAGE_FILLED 0x80U
#define PAGE_STATE (PAGE_HIDDEN | PAGE_RESIDENT | PAGE_FILLED)

/* How many bytes are filled with traps at each side of the ends of a run. Code is at least that far from its
 * end, or fills it up itself. */
#define END_SIZE 16U

/* ---- Making and freeing regions ---- */

/* Allocates the book-keeping of a region without views; NULL: no memory. */
static xb_region *new_bookkeeping(size_t size, size_t page_size) {
    size_t pages = size / page_size;
    size_t bytes = sizeof(xb_region) + pages * (sizeof(void *) + 2 * sizeof(uint16_t) + sizeof(uint8_t));
    xb_region *region = XB_FAULT("calloc") != 0 ? NULL : (xb_region *)calloc(1, bytes);
    if (region != NULL) {
        region->size = size;
        region->bookkeeping = bytes;
        region->page_shift = xb_highest_bit(page_size);
        region->page_count = (uint32_t)pages;
        region->owners = (void **)(void *)(region + 1);
        region->next_free = (uint16_t *)(void *)(region->owners + pages);
        region->previous_free = region->next_free + pages;
        region->flags = (uint8_t *)(region->previous_free + pages);
        xb_region_free_pages(region, 1, region->page_count - 1);
    }
    return region;
}

size_t xb_region_size_for(uint32_t pages) {
    xb_prim_info info = xb_prim_query();
    uint32_t block = 1;
    while (block < pages) {
        block *= 2;
    }
    size_t size = (size_t)block * 2 * info.page_size; /* page 0 makes the first half of a region unfit */
    return size > info.smallest_region ? size : info.smallest_region;
}

execbuf_status xb_region_new(xb_region **out, size_t size, const xb_prim_window *window, const char *name,
                             uint32_t backends, uint32_t key, bool not_inherited, execbuf_error *error) {
    xb_prim_info info = xb_prim_query();
    *out = NULL;
    if (info.pool_backend_count == 0) {
        return xb_error_set(error, EXECBUF_E_UNSUPPORTED, NULL, 0);
    }
    xb_region *region = new_bookkeeping(size, info.page_size);
    if (region == NULL) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    region->views.key = key;
    region->views.not_inherited = not_inherited;
    region->is_active = key == XB_PRIM_NO_KEY;
    execbuf_status status =
        xb_views_new(&region->views, &region->backend, size, window, name, backends, error);
    if (status != EXECBUF_OK) {
        free(region);
        return status;
    }
    region->flags[0] |= PAGE_FILLED | PAGE_RESIDENT; /* by the self-test */
    region->resident = info.page_size;
    region->shrinks_at = XB_SHRINKS_AT;
    region->distance = (ptrdiff_t)((uintptr_t)region->views.rw - (uintptr_t)region->views.rx);
    xb_region_mark(region);
    *out = region;
    return EXECBUF_OK;
}

void xb_region_free(xb_region *region, void (*done)(void *memory)) {
    xb_prim_views views = region->views;
    if (region->is_lost && !region->has_addresses) {
        views.rx = NULL; /* other memory may be there */
    }
    region->parked.not_inherited = views.not_inherited && !region->is_lost;
    /* The parking node is in the region, so the region is freed once its views are unmapped. */
    xb_views_free(&views, region->size, &region->parked, done, region);
}

void xb_region_lose(xb_region *region) {
    region->views.rw = NULL;
    region->is_lost = true;
    region->has_addresses = xb_prim_take_addresses(region->views.rx, region->size).call == NULL;
    region->resident = 0;
}

/* ---- Free blocks ---- */

/* Adds a free block to the list of its order. */
static void push_block(xb_region *region, uint32_t page, uint32_t order) {
    uint16_t head = region->free_blocks[order];
    region->next_free[page] = head;
    region->previous_free[page] = 0;
    if (head != 0) {
        region->previous_free[head] = (uint16_t)page;
    }
    region->free_blocks[order] = (uint16_t)page;
    region->free_orders |= 1U << order;
    region->flags[page] = (uint8_t)((region->flags[page] & PAGE_STATE) | PAGE_FREE | order);
}

/* Takes a free block out of its list. */
static void remove_block(xb_region *region, uint32_t page) {
    uint32_t order = region->flags[page] & PAGE_ORDER;
    uint16_t next = region->next_free[page];
    uint16_t previous = region->previous_free[page];
    if (previous != 0) {
        region->next_free[previous] = next;
    } else {
        region->free_blocks[order] = next;
    }
    if (next != 0) {
        region->previous_free[next] = previous;
    }
    if (region->free_blocks[order] == 0) {
        region->free_orders &= ~(1U << order);
    }
    region->flags[page] &= PAGE_STATE;
}

/* Frees an aligned block, and joins it with its buddy as long as that is free. */
static void free_block(xb_region *region, uint32_t page, uint32_t order) {
    while (order + 1 < XB_ORDERS) {
        uint32_t buddy = page ^ 1U << order;
        if (buddy >= region->page_count ||
            (region->flags[buddy] & (PAGE_FREE | PAGE_ORDER)) != (PAGE_FREE | order)) {
            break;
        }
        remove_block(region, buddy);
        page &= ~(1U << order);
        order++;
    }
    push_block(region, page, order);
}

void xb_region_free_pages(xb_region *region, uint32_t page, uint32_t pages) {
    while (pages > 0) {
        uint32_t aligned = xb_lowest_bit(page);
        uint32_t fitting = xb_highest_bit(pages);
        uint32_t order = aligned < fitting ? aligned : fitting;
        free_block(region, page, order);
        page += 1U << order;
        pages -= 1U << order;
    }
}

uint32_t xb_region_alloc(xb_region *region, uint32_t pages) {
    uint32_t order = xb_highest_bit(pages);
    order += (pages & (pages - 1)) != 0; /* round up */
    if (order >= XB_ORDERS || region->free_orders >> order == 0) {
        return 0;
    }
    uint32_t found = order + xb_lowest_bit(region->free_orders >> order);
    uint32_t page = region->free_blocks[found];
    remove_block(region, page);
    while (found > order) {
        found--;
        push_block(region, page + (1U << found), found);
    }
    xb_region_free_pages(region, page + pages, (1U << order) - pages);
    return page;
}

/* ---- Memory and traps ---- */

/* To save system calls, memory for short runs is requested in chunks: this part of a small region, or of a
 * large one, whichever is more. Behind a longer run, there may be pages that are too few for another one. A
 * region that has given memory back gets no more than it needs. */
#define SMALL_CHUNK_PART 8U
#define SMALL_CHUNK_SIZE 65536U
#define CHUNK_PART 32U
#define SHORT_RUN 81920U /* a span and its neighbours */

/* How many pages a chunk of a region has: a power of 2. */
static uint32_t chunk_of(const xb_region *region) {
    uint32_t small = region->page_count / SMALL_CHUNK_PART;
    uint32_t most = SMALL_CHUNK_SIZE >> region->page_shift;
    uint32_t large = region->page_count / CHUNK_PART;
    small = small < most ? small : most;
    large = large > small ? large : small;
    return large > 0 ? large : 1;
}

/* Gives memory to the pages of a range, and marks them. */
static xb_result populate(xb_region *region, uint32_t page, uint32_t end) {
    uint8_t *rw = region->views.rw + ((size_t)page << region->page_shift);
    xb_prim_begin_write(region->views.key); /* the kernel checks the rights of the thread */
    xb_result result = xb_prim_populate(rw, (size_t)(end - page) << region->page_shift);
    xb_prim_end_write(region->views.key);
    for (; page < end && result.call == NULL; page++) {
        if ((region->flags[page] & PAGE_RESIDENT) == 0) {
            region->flags[page] |= PAGE_RESIDENT;
            region->resident += (size_t)1 << region->page_shift;
        }
    }
    return result;
}

/* Gives memory to the pages of a range that have none, and to the rest of the last chunk if there is enough.
 */
static xb_result make_resident(xb_region *region, uint32_t page, uint32_t end) {
    while (page < end && (region->flags[page] & PAGE_RESIDENT) != 0) {
        page++;
    }
    if (page == end) {
        return xb_ok();
    }
    uint32_t chunk = chunk_of(region);
    bool is_short = (size_t)(end - page) << region->page_shift <= SHORT_RUN && !region->hides;
    uint32_t chunk_end = is_short ? (end + chunk - 1) & ~(chunk - 1) : end;
    xb_result result = populate(region, page, chunk_end);
    return result.call != NULL && chunk_end != end ? populate(region, page, end) : result;
}

/* Fills a range of a region with traps. */
static void fill_range(const xb_region *region, size_t offset, size_t size) {
    xb_prim_begin_write(region->views.key);
    xb_fill_traps(region->views.rw + offset, size);
    xb_prim_end_write(region->views.key);
    xb_prim_sync(region->views.rx + offset, region->views.rw + offset, size);
}

/* Shows the hidden pages of a range, which have memory, after it has filled them with traps. */
static xb_result show_pages(xb_region *region, uint32_t page, uint32_t end) {
    const size_t page_size = (size_t)1 << region->page_shift;
    bool any_hidden = false;
    for (uint32_t i = page; i < end && region->hides; i++) {
        if ((region->flags[i] & PAGE_HIDDEN) != 0) {
            fill_range(region, i * page_size, page_size);
            any_hidden = true;
        }
    }
    if (!any_hidden) {
        return xb_ok();
    }
    xb_result result = xb_prim_show(region->views.rx + page * page_size, (end - page) * page_size);
    for (; page < end && result.call == NULL; page++) {
        if ((region->flags[page] & PAGE_HIDDEN) != 0) {
            region->flags[page] = (uint8_t)((region->flags[page] & ~PAGE_HIDDEN) | PAGE_FILLED);
        }
    }
    return result;
}

xb_result xb_region_start(xb_region *region, uint32_t page, uint32_t pages) {
    const uint32_t end = page + pages;
    /* A hidden page may follow the run, but the bytes before it can be read. */
    bool fills_before = (region->flags[page - 1] & PAGE_FILLED) == 0;
    bool fills_after = end < region->page_count && (region->flags[end] & (PAGE_HIDDEN | PAGE_FILLED)) == 0;
    xb_result result = make_resident(region, page - fills_before, end + fills_after);
    if (result.call == NULL) {
        result = show_pages(region, page - fills_before, end);
    }
    if (result.call != NULL) {
        return result;
    }
    size_t start_offset = (size_t)page << region->page_shift;
    size_t end_offset = (size_t)end << region->page_shift;
    fill_range(region, start_offset, END_SIZE);
    fill_range(region, end_offset - END_SIZE, END_SIZE);
    if (fills_before) {
        fill_range(region, start_offset - END_SIZE, END_SIZE);
    }
    if (fills_after) {
        fill_range(region, end_offset, END_SIZE);
    }
    return xb_ok();
}

void xb_region_fill(xb_region *region, uint32_t page, uint32_t pages) {
    fill_range(region, (size_t)page << region->page_shift, (size_t)pages << region->page_shift);
    for (uint32_t i = page; i < page + pages; i++) {
        region->flags[i] |= PAGE_FILLED;
    }
}

/* ---- Copies ---- */

/* The region has new memory. */
static void use_copy(xb_region *region, const xb_prim_content *content) {
    region->distance = (ptrdiff_t)((uintptr_t)region->views.rw - (uintptr_t)region->views.rx);
    region->copies++;
    region->resident = 0;
    region->hides = false;
    for (uint32_t page = 0; page < region->page_count; page++) {
        region->flags[page] &= (uint8_t)~PAGE_STATE;
        if (xb_prim_has_page(&content->hidden, page)) {
            region->flags[page] |= PAGE_HIDDEN;
            region->hides = true;
        } else if (xb_prim_has_page(&content->copies, page) || xb_prim_has_page(&content->traps, page)) {
            region->flags[page] |= PAGE_FILLED | PAGE_RESIDENT;
            region->resident += (size_t)1 << region->page_shift;
        }
    }
}

xb_result xb_region_copy(xb_region *region, const char *name, const xb_prim_pages *kept,
                         const xb_prim_pages *all, bool hides, void **old_rw) {
    xb_prim_content content = {*kept, {{0}}, {{0}}};
    for (uint32_t page = 0; page < region->page_count; page++) {
        if (xb_prim_has_page(all, page) && !xb_prim_has_page(kept, page)) {
            xb_prim_add_page(&content.traps, page);
        } else if (hides && !xb_prim_has_page(all, page) && xb_region_may_be_stale(region, page)) {
            xb_prim_add_page(&content.hidden, page);
        }
    }
    xb_result result =
        xb_prim_copy_region(region->backend, region->size, name, &content, &region->views, old_rw);
    if (result.call == NULL) {
        use_copy(region, &content);
    }
    return result;
}

bool xb_region_is_hidden(const xb_region *region, uint32_t page) {
    return (region->flags[page] & PAGE_HIDDEN) != 0;
}

bool xb_region_may_be_stale(const xb_region *region, uint32_t page) {
    return (region->flags[page] & (PAGE_FILLED | PAGE_HIDDEN)) != 0;
}

/* ---- The list of regions with free pages ---- */

void xb_region_open(xb_region **list, xb_region *region) {
    if (!region->is_open) {
        XB_LIST_PUSH(*list, region, next_open, previous_open);
        region->is_open = true;
    }
}

void xb_region_close(xb_region **list, xb_region *region) {
    if (region->is_open) {
        XB_LIST_REMOVE(*list, region, next_open, previous_open);
        region->is_open = false;
    }
}
