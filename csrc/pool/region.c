/* Regions: a buddy allocator of pages. */

#include "region.h"

#include <stdlib.h>

#include "../base/bits.h"
#include "../base/error.h"
#include "../base/fault.h"
#include "span.h"

/* Flags of a page: the order of the free block that begins here, and whether the page was ever part of a run.
 */
#define ORDER 0x0fU
#define FREE 0x40U
#define TOUCHED 0x80U

/* The book-keeping of a region, in one piece of memory; NULL if there is none. */
static xb_region *new_books(size_t size, size_t page_size) {
    size_t pages = size / page_size;
    size_t bytes =
        sizeof(xb_region) + pages * (sizeof(struct xb_span *) + 2 * sizeof(uint16_t) + sizeof(uint8_t));
    xb_region *region = XB_FAULT("calloc") != 0 ? NULL : (xb_region *)calloc(1, bytes);
    if (region != NULL) {
        region->size = size;
        region->bookkeeping = bytes;
        region->is_active = true;
        region->page_shift = xb_highest_bit(page_size);
        region->page_count = (uint32_t)pages;
        region->spans = (struct xb_span **)(void *)(region + 1);
        region->next_free = (uint16_t *)(void *)(region->spans + pages);
        region->previous_free = region->next_free + pages;
        region->flags = (uint8_t *)(region->previous_free + pages);
        xb_region_free_pages(region, 1, region->page_count - 1);
    }
    return region;
}

execbuf_status xb_region_new(xb_region **out, const void *near_to, const char *name, execbuf_error *error) {
    xb_prim_info info = xb_prim_query();
    *out = NULL;
    if (info.pool_backend_count == 0) {
        return xb_error_set(error, EXECBUF_E_UNSUPPORTED, NULL, 0);
    }
    xb_region *region = new_books(info.region_size, info.page_size);
    if (region == NULL) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
    }
    execbuf_status status = xb_views_new(&region->views, &region->backend, near_to, name, error);
    if (status != EXECBUF_OK) {
        free(region);
        return status;
    }
    region->distance = (ptrdiff_t)((uintptr_t)region->views.rw - (uintptr_t)region->views.rx);
    *out = region;
    return EXECBUF_OK;
}

void xb_region_free(xb_region *region) {
    for (uint32_t page = 1; page < region->page_count;) {
        struct xb_span *span = region->spans[page];
        page += span != NULL ? span->pages : 1;
        free(span);
    }
    /* The node is in the region, so the region is freed when its views are unmapped. */
    xb_views_free(&region->views, region->size, &region->parked, free, region);
}

static void push_block(xb_region *region, uint32_t page, uint32_t order) {
    uint16_t head = region->free_blocks[order];
    region->next_free[page] = head;
    region->previous_free[page] = 0;
    if (head != 0) {
        region->previous_free[head] = (uint16_t)page;
    }
    region->free_blocks[order] = (uint16_t)page;
    region->free_orders |= 1U << order;
    region->flags[page] = (uint8_t)((region->flags[page] & TOUCHED) | FREE | order);
}

static void remove_block(xb_region *region, uint32_t page) {
    uint32_t order = region->flags[page] & ORDER;
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
    region->flags[page] &= TOUCHED;
}

/* Frees an aligned block, together with its neighbours if they are free. */
static void give_block(xb_region *region, uint32_t page, uint32_t order) {
    while (order + 1 < XB_ORDERS) {
        uint32_t buddy = page ^ 1U << order;
        if (buddy >= region->page_count || (region->flags[buddy] & (FREE | ORDER)) != (FREE | order)) {
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
        give_block(region, page, order);
        page += 1U << order;
        pages -= 1U << order;
    }
}

/* Counts pages that become part of a run for the first time. */
static void touch(xb_region *region, uint32_t page, uint32_t pages) {
    for (uint32_t end = page + pages; page < end; page++) {
        if ((region->flags[page] & TOUCHED) == 0) {
            region->flags[page] |= TOUCHED;
            region->committed += (size_t)1 << region->page_shift;
        }
    }
}

bool xb_region_was_used(const xb_region *region, uint32_t page) {
    return page == 0 || (region->flags[page] & TOUCHED) != 0;
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
    touch(region, page, pages);
    return page;
}
