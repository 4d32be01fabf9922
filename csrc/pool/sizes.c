/* How large a new span is. Pure. */

#include "sizes.h"

/* A new span has this part of what its class has already, so that what is unused in it is at most a small
 * part of the class. */
#define SPAN_PART 32U

/* How many larger sizes of a span are compared with the one that is wanted. */
#define MORE_PAGES 3U

/* Parts of a span are counted in units of 1 / PART_UNIT. */
#define PART_SHIFT 20U
#define PART_UNIT (1U << PART_SHIFT)

/* A span in the remains of others may waste up to this part at its end. */
#define REMAINS_WASTE (PART_UNIT / 8)

/* Divides so many pages into slots of a class. */
static xb_span_design divide_pages(uint32_t class_, size_t pages, size_t page_size) {
    xb_span_design design = {0, 0, 0};
    size_t size = xb_class_size(class_);
    size_t slots = pages * page_size / size;
    design.slot_size = (uint32_t)size;
    design.slots = (uint32_t)(slots < XB_SPAN_SLOTS ? slots : XB_SPAN_SLOTS);
    design.pages = (uint32_t)pages;
    return design;
}

/* The part of a span that belongs to no slot. */
static uint64_t wasted_part(xb_span_design design, size_t page_size) {
    uint64_t size = (uint64_t)design.pages * page_size;
    return ((size - (uint64_t)design.slots * design.slot_size) << PART_SHIFT) / size;
}

/* A span for adapters, of a power of two bytes: as many as the class has already. So there are few spans
 * however many adapters there are, and a small one for a single adapter. */
static xb_span_design design_for_adapters(uint32_t class_, size_t class_bytes, size_t page_size) {
    size_t size = page_size;
    size_t wanted = class_bytes < XB_ADAPTER_SPAN_SIZE ? class_bytes : XB_ADAPTER_SPAN_SIZE;
    while (2 * size <= wanted) {
        size *= 2;
    }
    return divide_pages(class_, size / page_size, page_size);
}

xb_span_design xb_sizes_design(uint32_t class_, size_t length, size_t class_bytes, size_t page_size) {
    if (class_ == XB_NO_CLASS) {
        size_t pages = (length + page_size - 1) / page_size;
        xb_span_design single = {(uint32_t)(pages * page_size), 1, (uint32_t)pages};
        return single;
    }
    if (xb_is_adapter_class(class_)) {
        return design_for_adapters(class_, class_bytes, page_size);
    }
    size_t wanted = class_bytes / SPAN_PART;
    wanted = wanted > XB_SPAN_SIZE ? XB_SPAN_SIZE : wanted;
    size_t least = xb_class_size(class_);
    size_t pages = ((wanted > least ? wanted : least) + page_size - 1) / page_size;
    xb_span_design best = divide_pages(class_, pages, page_size);
    for (size_t more = pages + 1; more <= pages + MORE_PAGES && more * page_size <= XB_SPAN_SIZE; more++) {
        xb_span_design other = divide_pages(class_, more, page_size);
        if (wasted_part(other, page_size) < wasted_part(best, page_size)) {
            best = other;
        }
    }
    return best;
}

bool xb_sizes_use_remains(xb_span_design *design, uint32_t class_, uint32_t free_orders, size_t page_size) {
    uint32_t order = xb_highest_bit(design->pages);
    uint32_t smaller_orders = free_orders & ((1U << order) - 1);
    while (smaller_orders != 0) {
        uint32_t largest = xb_highest_bit(smaller_orders);
        xb_span_design smaller = divide_pages(class_, (size_t)1 << largest, page_size);
        if (smaller.slots > 0 && wasted_part(smaller, page_size) < REMAINS_WASTE) {
            *design = smaller;
            return true;
        }
        smaller_orders &= ~(1U << largest);
    }
    return false;
}

/* A barrier is worthwhile if half of the arena's memory is in quarantine. It interrupts the process's other
 * threads, which takes some microseconds, in virtual machines more than ten: so a small arena waits until at
 * least the least size is in quarantine. Above the most, a barrier costs little for each piece of code. */
#define LEAST_QUARANTINE ((size_t)128 << 10)
#define MOST_QUARANTINE ((size_t)384 << 10)

/* A barrier is better than a new region if this many bytes are in quarantine, and also this part of the
 * arena's memory. */
#define QUARANTINE_FOR_REGION ((size_t)64 << 10)
#define QUARANTINE_PART 16

bool xb_sizes_are_worth_barrier(size_t quarantined, size_t resident) {
    size_t wanted = resident / 2;
    wanted = wanted < LEAST_QUARANTINE ? LEAST_QUARANTINE : wanted;
    wanted = wanted > MOST_QUARANTINE ? MOST_QUARANTINE : wanted;
    return quarantined >= wanted;
}

bool xb_sizes_replace_region(size_t quarantined, size_t resident) {
    return quarantined >= QUARANTINE_FOR_REGION && quarantined >= resident / QUARANTINE_PART;
}
