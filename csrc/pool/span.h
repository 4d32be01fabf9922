/*
 * Spans: runs of pages of a region, cut into slots of one size. A slot holds one piece of code.
 *
 * A slot is free, taken, or in quarantine: given up and filled with traps, but not to be used again before a
 * barrier. Taking and giving up a slot take the same few instructions whatever else there is: bits say which
 * slots are free, and one word says which words of bits are not zero.
 *
 * Nothing here takes a lock: a span is its pool's, and guarded by its mutex.
 */
#ifndef XB_POOL_SPAN_H
#define XB_POOL_SPAN_H

#include <string.h>

#include "../base/bits.h"
#include "region.h"

/* A slot's size is a multiple of this, and so is its address. */
#define XB_GRANULE 16U
/* Spans of more than one slot have at most so many bytes, and so many slots. */
#define XB_SPAN_SIZE 65536U
#define XB_SPAN_SLOTS (XB_SPAN_SIZE / XB_GRANULE)

/* Sizes of slots come in classes: multiples of 16 up to 1 KiB, then eight to each doubling. */
#define XB_SIZE_CLASSES 104U
#define XB_MAX_SLOT_SIZE 32768U
/* Larger code has a span of its own. */
#define XB_NO_CLASS XB_SIZE_CLASSES

/* Which of 64 slots are free, and which are in quarantine. */
typedef struct xb_slot_bits {
    uint64_t free;
    uint64_t quarantine;
} xb_slot_bits;

/* Behind it in memory lie the bits, then an entry for each slot: a tag of two bytes, which counts how often
 * the slot was taken and given up, so that it is odd while it is taken, and a byte of slack, which is
 * slot_size minus the length. What is needed to check a handle and to take a slot comes first. */
typedef struct xb_span {
    uint64_t id;    /* the ids of its buffers, but for the tag */
    uint8_t *start; /* where its first slot is, to be executed */
    xb_region *region;
    uint64_t free_words;       /* which words have a free bit that is set */
    uint64_t quarantine_words; /* which words have a quarantine bit that is set */
    uint8_t *entries;          /* by slot */
    uint32_t
        *lengths; /* by slot, where they are larger than 128 bytes; with the highest bit set, a capacity */
    uint32_t slot_size; /* in bytes */
    uint32_t slots;
    uint32_t reciprocal; /* 2^32 / slot_size, rounded up; 0 for a single slot */
    struct xb_span *next_quarantine;
    struct xb_span *next; /* in its class's list of spans, of which those that are full are still to be
                                  taken out */
    struct xb_span *previous;
    uint32_t number; /* in the pool */
    uint32_t page;
    uint32_t pages;
    uint8_t class_;
    bool listed;      /* in its class's list */
    bool has_retired; /* some of its slots are retired out: they had all tags, and are not used again */
} xb_span;

/* The class of the smallest slots with room for size bytes, which are at least 1; XB_NO_CLASS if there
 * is none. */
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

/* The size of a class's slots. */
static inline uint32_t xb_class_size(uint32_t class_) {
    if (class_ < 64) {
        return (class_ + 1) * XB_GRANULE;
    }
    uint32_t eighth = class_ - 64;
    return (eighth % 8 + 9) << (eighth / 8 + 7);
}

/* A new span with all slots free, not yet of any region; NULL if there is no memory. Free it with free. */
xb_span *xb_span_new(uint32_t class_, uint32_t slot_size, uint32_t slots);

/* How many bytes a span takes on the heap. */
size_t xb_span_bookkeeping(const xb_span *span);

/* Fills the 16 bytes at both ends of a run of pages with traps, and those beside it, where nothing was ever:
 * whoever takes a run beside it finds traps there, though the rest is still to be filled. */
void xb_span_fill_ends(const xb_region *region, uint32_t page, uint32_t pages);

/* Fills a run of pages with traps. */
void xb_span_fill(const xb_region *region, uint32_t page, uint32_t pages);

/* Makes a run of pages the span's. */
void xb_span_put(xb_span *span, xb_region *region, uint32_t page, uint32_t pages);

static inline xb_slot_bits *xb_span_bits(const xb_span *span) {
    return (xb_slot_bits *)(void *)((xb_span *)span + 1); /* of the same piece of memory */
}

#define XB_ENTRY_SIZE 3U

/* The entry of a slot. */
static inline uint8_t *xb_span_entry(const xb_span *span, uint32_t slot) {
    return span->entries + (size_t)slot * XB_ENTRY_SIZE;
}

/* The tag in an entry. */
static inline uint16_t xb_slot_tag(const uint8_t *entry) {
    uint16_t tag;
    memcpy(&tag, entry, sizeof tag);
    return tag;
}

static inline uint16_t xb_slot_next_tag(uint8_t *entry) {
    uint16_t tag = (uint16_t)(xb_slot_tag(entry) + 1U);
    memcpy(entry, &tag, sizeof tag);
    return tag;
}

/* The slot so many bytes behind a span's start, exactly, since the distance and slot_size are less than 2^16
 * where there is more than one slot. For distances that are not in the span, any number. */
static inline uint32_t xb_slot_at(uint64_t distance, uint32_t reciprocal) {
    return (uint32_t)(distance * reciprocal >> 32);
}

/* Where a slot begins. */
static inline uint8_t *xb_span_address(const xb_span *span, uint32_t slot) {
    return span->start + (size_t)slot * span->slot_size;
}

/* Takes a free slot; there is one. */
static inline uint32_t xb_span_take(xb_span *span) {
    uint32_t word = xb_lowest_bit(span->free_words);
    uint64_t *free_bits = &xb_span_bits(span)[word].free;
    uint32_t bit = xb_lowest_bit(*free_bits);
    *free_bits &= *free_bits - 1;
    if (*free_bits == 0) {
        span->free_words &= span->free_words - 1;
    }
    return word * 64 + bit;
}

/* Puts a taken slot in quarantine. */
static inline void xb_span_quarantine(xb_span *span, uint32_t slot) {
    xb_span_bits(span)[slot / 64].quarantine |= (uint64_t)1 << slot % 64;
    span->quarantine_words |= (uint64_t)1 << slot / 64;
}

/* Whether no slot is taken and none is in quarantine: all are free or retired out. */
bool xb_span_is_empty(const xb_span *span);

/* How many slots are in quarantine. */
uint32_t xb_span_quarantined(const xb_span *span);

/* Frees the slots that are in quarantine, but for those that are retired out. */
void xb_span_end_quarantine(xb_span *span);

/* The sum of the lengths and capacities of all slots of a region that are taken. */
size_t xb_span_sum(const xb_region *region);

/* What a taken slot is for. The numbers are bits beside a slack; in slots as small as those of stubs, a
 * slack has neither of them, and in larger ones, where there are no stubs, it may have the lower one. */
typedef enum xb_use {
    XB_USE_CODE = 0,
    XB_USE_LINKED = 0x40,  /* the stub of a thunk, and its code */
    XB_USE_RESERVED = 0x80 /* no code is there yet */
} xb_use;

#define XB_MAX_LINKED_SLOT 32U
#define XB_LENGTH_RESERVED 0x80000000U

static inline bool xb_span_may_be_linked(const uint8_t *entry) {
    return (entry[2] & XB_USE_LINKED) != 0;
}

static inline bool xb_span_is_linked(const xb_span *span, const uint8_t *entry) {
    return xb_span_may_be_linked(entry) && span->slot_size <= XB_MAX_LINKED_SLOT;
}

/* The length of a slot's code, or the capacity that is reserved. */
static inline size_t xb_span_length(const xb_span *span, uint32_t slot, const uint8_t *entry) {
    if (span->lengths != NULL) {
        return span->lengths[slot] & ~XB_LENGTH_RESERVED;
    }
    uint32_t bits = XB_USE_RESERVED;
    bits |= span->slot_size <= XB_MAX_LINKED_SLOT ? (uint32_t)XB_USE_LINKED : 0;
    return span->slot_size - (entry[2] & ~bits);
}

/* Whether a taken slot is only reserved. */
static inline bool xb_span_is_reserved(const xb_span *span, uint32_t slot, const uint8_t *entry) {
    return span->lengths == NULL ? (entry[2] & XB_USE_RESERVED) != 0
                                 : (span->lengths[slot] & XB_LENGTH_RESERVED) != 0;
}

static inline void xb_span_set_length(xb_span *span, uint32_t slot, uint8_t *entry, size_t length,
                                      xb_use use) {
    if (span->lengths == NULL) {
        entry[2] = (uint8_t)((span->slot_size - length) | (uint32_t)use);
    } else {
        span->lengths[slot] = (uint32_t)length | (use == XB_USE_RESERVED ? XB_LENGTH_RESERVED : 0);
    }
}

#endif
