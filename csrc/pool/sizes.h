/* Sizes in arenas: the size classes of slots, how large a new span is, which larger class may be used, and
 * how much freed code is worth a barrier. Policy only: no function here has state, allocates or knows an
 * arena. */
#ifndef XB_POOL_SIZES_H
#define XB_POOL_SIZES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/bits.h"
#include "../base/compiler.h"

XB_PRIVATE_BEGIN

/* Sizes and addresses of slots are multiples of this. */
#define XB_GRANULE 16U

/* Slot sizes are multiples of 16 up to 1 KiB, then eight sizes for each doubling:
 *
 *     class       0   1   2  …    63     64    65  …    71     72  …    103
 *     slot size  16  32  48  …  1024   1152  1280  …  2048   2304  …  32768   bytes
 */
#define XB_SIZE_CLASSES 104U
#define XB_MAX_SLOT_SIZE 32768U

/* Adapters have classes and spans of their own, apart from the code of users: then one list of unwind tables
 * serves a whole span, and no address in it is ever in a table of a user. Their slots have powers of two:
 *
 *     class      104  105  …   109
 *     slot size  128  256  …  4096   bytes
 */
#define XB_ADAPTER_CLASSES 6U
#define XB_MIN_ADAPTER_SLOT 128U
#define XB_MAX_ADAPTER_SLOT (XB_MIN_ADAPTER_SLOT << (XB_ADAPTER_CLASSES - 1))
#define XB_ALL_CLASSES (XB_SIZE_CLASSES + XB_ADAPTER_CLASSES)

/* Instead of a class: the code is longer than XB_MAX_SLOT_SIZE, and has a span with a single slot. */
#define XB_NO_CLASS XB_ALL_CLASSES

/* A span of a size class has at most XB_SPAN_SIZE bytes, one of an adapter class at most
 * XB_ADAPTER_SPAN_SIZE. Therefore no span has more than XB_SPAN_SLOTS slots. */
#define XB_SPAN_SIZE 65536U
#define XB_SPAN_SLOTS (XB_SPAN_SIZE / XB_GRANULE)
#define XB_ADAPTER_SPAN_SIZE ((size_t)XB_SPAN_SLOTS * XB_MIN_ADAPTER_SLOT)

/* Code that is larger than this part of a region gets a dedicated mapping: a region could hold few pieces of
 * such code, and would waste much between them. */
#define XB_LARGEST_PART 32U

/* Smallest size class that fits size (>= 1); XB_NO_CLASS if there is none. */
static inline uint32_t xb_size_class(size_t size) {
    if (size <= 1024) {
        return (uint32_t)(size - 1) / XB_GRANULE;
    }
    if (size > XB_MAX_SLOT_SIZE) {
        return XB_NO_CLASS;
    }
    uint32_t last = (uint32_t)size - 1;
    uint32_t doubling = xb_highest_bit(last);
    return 64 + (doubling - 10) * 8 + (last >> (doubling - 3) & 7);
}

/* The class for an adapter of this size (1 to XB_MAX_ADAPTER_SLOT). */
static inline uint32_t xb_adapter_class(size_t size) {
    uint32_t class_ = XB_SIZE_CLASSES;
    while (XB_MIN_ADAPTER_SLOT << (class_ - XB_SIZE_CLASSES) < size) {
        class_++;
    }
    return class_;
}

/* Whether a class is one of adapters. */
static inline bool xb_is_adapter_class(uint32_t class_) {
    return class_ >= XB_SIZE_CLASSES && class_ < XB_ALL_CLASSES;
}

/* Slot size of a class (< XB_ALL_CLASSES). */
static inline uint32_t xb_class_size(uint32_t class_) {
    if (xb_is_adapter_class(class_)) {
        return XB_MIN_ADAPTER_SLOT << (class_ - XB_SIZE_CLASSES);
    }
    if (class_ < 64) {
        return (class_ + 1) * XB_GRANULE;
    }
    uint32_t eighth = class_ - 64;
    return (eighth % 8 + 9) << (eighth / 8 + 7);
}

/* Whether code of this length may use a slot of the class larger instead of its own class_: if at most 1/16
 * is wasted. Without this, each class would keep the memory that it needed at its peak. Users and adapters do
 * not use each other's slots. */
static inline bool xb_sizes_may_use(uint32_t larger, uint32_t class_, size_t length) {
    if (larger == class_) {
        return class_ != XB_NO_CLASS;
    }
    return larger < XB_SIZE_CLASSES && xb_class_size(larger) - length <= length / 16;
}

/* How a span is divided. */
typedef struct xb_span_design {
    uint32_t slot_size; /* in bytes */
    uint32_t slots;
    uint32_t pages;
} xb_span_design;

/* Designs a span for code of this class and length.
 *
 * In: class_bytes: how many bytes of spans the class has already. The more it has, the larger the new span:
 *                  large spans leave less unused at their ends, small ones waste less if they stay empty. */
xb_span_design xb_sizes_design(uint32_t class_, size_t length, size_t class_bytes, size_t page_size);

/* Makes a design smaller so that it fits exactly into a free block of pages that is too small for it. Blocks
 * like that are left where spans were returned, and larger spans cannot use them.
 *
 * Returns: whether there is such a block that slots of the class divide well; if not, *design is unchanged.
 * In/out: design: of at least one page.
 * In:     class_:      a size class.
 *         free_orders: bit k says that there are free blocks of 2^k pages. */
bool xb_sizes_use_remains(xb_span_design *design, uint32_t class_, uint32_t free_orders, size_t page_size);

/* Whether so many bytes in quarantine are worth a barrier, and whether the barrier is better than a new
 * region.
 *
 * In: quarantined: the bytes of slots in quarantine.
 *     resident:    the memory of the arena, in bytes. */
bool xb_sizes_are_worth_barrier(size_t quarantined, size_t resident);
bool xb_sizes_replace_region(size_t quarantined, size_t resident);

XB_PRIVATE_END

#endif
