/* Spans: runs of pages of a region, cut into slots of one size. A slot holds one piece of code.
 *
 * A slot is in one of these states, told by a tag that counts its uses and by two bits:
 *
 *     state        tag    bits            next state
 *     free         even   free            taken, when code is published or reserved
 *     taken        odd    none            quarantined, when it is freed; its bytes become traps
 *     quarantined  even   quarantine      free, after a barrier: until then, processors may still execute
 *                                         instructions that they fetched before it was freed
 *     retired      0      none            none: all tags were used, so old handles could match new code; or
 *                                         its memory was given back
 *
 * A span is one piece of heap memory:
 *
 *     xb_span │ xb_slot_bits for each 64 slots │ entries │ pad │ length for each slot (4 bytes; only if slots
 *                                                                exceed 128 bytes)
 *     entries   for each 4 slots: 4 tags of 2 bytes, 4 uses of 1 byte
 *     use       bit 7       reserved             } slots of at most 128 bytes only;
 *               bit 6       linked               } bit 6 is "linked" up to 32 bytes,
 *               the rest    slot size - length   } else it belongs to the rest
 *     length    bit 31      reserved
 *               the rest    the length, or the capacity of a reserved slot
 *
 * Tags are aligned, so that guests can change them by atomic operations, and near their uses, so that one
 * cache line has both.
 *
 * Taking and freeing a slot take the same few instructions however full a span is: free_words says which
 * words have free bits.
 *
 * Nothing here takes a lock: the arena's lock guards its spans. Guests (see lock.h) change tags and the bits
 * that say which slots they freed. */
#ifndef XB_POOL_SPAN_H
#define XB_POOL_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../base/bits.h"
#include "../base/compiler.h"
#include "region.h"
#include "sizes.h"

XB_PRIVATE_BEGIN

/* The states of 64 slots, one bit each. */
typedef struct xb_slot_bits {
    uint64_t free XB_ALIGNED_8;
    uint64_t quarantine;
    uint64_t guests; /* freed by guests, and not in quarantine yet */
} xb_slot_bits;

/* What debug/ keeps for a span of adapters, or with described code; its own data follow. */
typedef struct xb_span_tables {
    size_t size; /* in bytes, all of it */
    /* Ends and frees the tables, and sets *tables to NULL. No lock is held. A child whose parent forked
     * meanwhile finds NULL if the unwinder has forgotten the tables, or cannot call the unwinder any more. */
    void (*end)(struct xb_span_tables **tables);
} xb_span_tables;

/* What taking a slot and checking a handle use comes first. */
typedef struct xb_span {
    struct xb_span *next; /* in the list of its class; first: see xb_retire */
    uint64_t id;          /* the id of its buffers, with the tag 0 */
    uint8_t *start;       /* its first slot, in the executable view */
    xb_region *region;
    uint64_t free_words;       /* bit k: bits[k].free is not 0 */
    uint64_t quarantine_words; /* bit k: bits[k].quarantine is not 0 */
    uint8_t *entries;
    uint32_t *lengths;  /* by slot; NULL if the entries tell the lengths */
    uint32_t slot_size; /* in bytes */
    uint32_t described; /* how many slots have descriptions; freeing another slot reads this */
    uint32_t slots;
    uint32_t reciprocal; /* 2^32 / slot_size, rounded up; 0 for a single slot */
    struct xb_span *next_quarantine;
    uint64_t guest_words XB_ALIGNED_8; /* bit k: bits[k].guests is not 0 */
    struct xb_span *next_guest;        /* in the list of spans in which guests have freed slots */
    struct xb_span *previous;          /* in the list of its class */
    uint32_t number;                   /* in the arena */
    uint32_t page;                     /* its first page in the region, */
    uint32_t pages;     /* and how many there are up to its last one; others may own some in between */
    uint32_t own_pages; /* how many it owns */
    uint32_t filled;    /* of a single slot: how many bytes were written since it was reserved */
    uint8_t class_;
    bool listed;            /* in the list of its class; full spans may still be in it */
    bool has_retired;       /* some of its slots are retired */
    bool lacks_traps;       /* slots were freed while the region was shared, so they still hold code */
    bool is_leaving;        /* removed from its arena, but its tables have not ended yet */
    bool stays_whole;       /* its tables belong to all of its pages, so it is not cut */
    xb_span_tables *tables; /* NULL until debug/ needs them, and when they have ended */
} xb_span;

/* Allocates a span with all slots free, not yet in a region.
 *
 * Returns: the span; NULL: no memory. */
xb_span *xb_span_new(uint32_t class_, uint32_t slot_size, uint32_t slots);

/* Frees a span that no arena and no region knows any more, and its tables; lookups may still read it. No lock
 * is held.
 *
 * In: span: or NULL. */
void xb_span_free(xb_span *span);

/* Ends the tables of a span without taken slots, if it has any. No lock is held. */
void xb_span_end_tables(xb_span *span);

/* How many bytes of heap memory a span takes, with its tables. */
size_t xb_span_bookkeeping(const xb_span *span);

/* Places a new span in a run of pages, and makes it the owner of the pages. */
void xb_span_attach(xb_span *span, xb_region *region, uint32_t page, uint32_t pages);

/* Returns the pages of a span to its region. */
void xb_span_detach(const xb_span *span);

/* The span that a page belongs to, or NULL. */
static inline xb_span *xb_span_at_page(const xb_region *region, size_t page) {
    return (xb_span *)XB_LOAD_ACQUIRE(region->owners[page]);
}

/* Makes the region forget who owns the pages of a span. */
void xb_span_forget(const xb_span *span);

/* Returns the last pages of a span with a single slot, so that it has room for this length and no more.
 *
 * Returns: whether there were any. */
bool xb_span_trim(xb_span *span, size_t length);

/* Whether a span owns all pages of a slot. Otherwise other code may be there (see xb_span_cut). */
bool xb_span_owns_slot(const xb_span *span, uint32_t slot);

/* Returns those pages of a span to its region that are not in a set. The slots in them are retired; none is
 * taken or in quarantine.
 *
 * Preconditions: the arena is locked alone. The span keeps a page. */
void xb_span_cut(xb_span *span, const xb_prim_pages *kept);

/* The first span at this page of a region or behind it. Loops over all spans begin with page 1.
 *
 * Returns: the span; NULL: there is none.
 * In/out: page: where to begin; then the page behind the span. */
xb_span *xb_span_next(const xb_region *region, uint32_t *page);

/* Adds a span to the list of its class, unless it is in it. The list begins at *list. */
void xb_span_list(xb_span **list, xb_span *span);

/* Takes a span out of the list of its class, if it is in it. */
void xb_span_unlist(xb_span **list, xb_span *span);

/* Whether all slots are free or retired. */
bool xb_span_is_empty(const xb_span *span);

/* Whether a slot from first to last is taken. Numbers of slots that do not exist are ignored. */
bool xb_span_has_taken(const xb_span *span, uint32_t first, uint32_t last);

/* How many slots are in quarantine. */
uint32_t xb_span_quarantined(const xb_span *span);

/* Frees the slots in quarantine that are not retired. The barrier has been made. */
void xb_span_end_quarantine(xb_span *span);

/* ---- Bits ---- */

static inline xb_slot_bits *xb_span_bits(const xb_span *span) {
    return (xb_slot_bits *)(void *)((xb_span *)span + 1); /* in the same piece of memory */
}

/* Takes the lowest free slot. There is one: free_words is not 0. */
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

/* Puts a taken slot into quarantine. */
static inline void xb_span_quarantine(xb_span *span, uint32_t slot) {
    xb_span_bits(span)[slot / 64].quarantine |= (uint64_t)1 << slot % 64;
    span->quarantine_words |= (uint64_t)1 << slot / 64;
}

/* ---- Addresses ---- */

/* The size of the pages that a span owns. */
static inline size_t xb_span_size(const xb_span *span) {
    return (size_t)span->own_pages << span->region->page_shift;
}

/* Where a slot begins, in the executable view. */
static inline uint8_t *xb_span_address(const xb_span *span, uint32_t slot) {
    return span->start + (size_t)slot * span->slot_size;
}

/* The slot that contains the byte at a distance from its span's start, without a division. This is exact if
 * distance * slot_size is below 2^32, as it is in spans with several slots: at most 2^16 * 2^15, for adapters
 * 2^19 * 2^12. The reciprocal of a single slot is 0. A distance that is not in the span gives any number. */
static inline uint32_t xb_slot_at(uint64_t distance, uint32_t reciprocal) {
    return (uint32_t)(distance * reciprocal >> 32);
}

/* ---- Entries ---- */

static inline uint16_t *xb_slot_tag(uint8_t *entries, uint32_t slot) {
    return (uint16_t *)(void *)(entries + 2 * (size_t)slot + (slot & ~3U));
}

static inline uint8_t *xb_slot_use(uint8_t *entries, uint32_t slot) {
    return entries + slot + 2 * (size_t)(slot & ~3U) + 8;
}

static inline uint16_t xb_span_tag(const xb_span *span, uint32_t slot) {
    return XB_LOAD_ACQUIRE(*xb_slot_tag(span->entries, slot));
}

/* Whether the slot with this tag is taken. */
static inline bool xb_tag_is_taken(uint16_t tag) {
    return (tag & 1) != 0;
}

/* The id of the buffer in a slot with this tag. */
static inline uint64_t xb_slot_id(const xb_span *span, uint16_t tag) {
    return span->id ^ tag;
}

/* What a taken slot is used for. The values are bits of its use. */
typedef enum xb_use {
    XB_USE_CODE = 0,
    XB_USE_LINKED = 0x40,  /* a stub: its code links to other code (see xb_arena_links) */
    XB_USE_RESERVED = 0x80 /* no code yet */
} xb_use;

/* Linked slots are at most this large, so that slot size - length leaves bit 6 of the use alone. */
#define XB_MAX_LINKED_SLOT 32U

/* Bit 31 of an element of lengths. */
#define XB_LENGTH_RESERVED 0x80000000U

/* Whether a slot can be linked: a quick test that is exact for slots of at most XB_MAX_LINKED_SLOT, and may
 * be true for larger ones. */
static inline bool xb_span_may_be_linked(const xb_span *span, uint32_t slot) {
    return (*xb_slot_use(span->entries, slot) & XB_USE_LINKED) != 0;
}

/* Whether a taken slot is linked. */
static inline bool xb_span_is_linked(const xb_span *span, uint32_t slot) {
    return xb_span_may_be_linked(span, slot) && span->slot_size <= XB_MAX_LINKED_SLOT;
}

/* Whether a taken slot is reserved. Lookups call this and the next function without a lock. */
static inline bool xb_span_is_reserved(const xb_span *span, uint32_t slot) {
    return span->lengths == NULL ? (XB_LOAD_ACQUIRE(*xb_slot_use(span->entries, slot)) & XB_USE_RESERVED) != 0
                                 : (XB_LOAD_ACQUIRE(span->lengths[slot]) & XB_LENGTH_RESERVED) != 0;
}

/* The length of a taken slot's code, or the capacity of a reserved slot. */
static inline size_t xb_span_length(const xb_span *span, uint32_t slot) {
    if (span->lengths != NULL) {
        return XB_LOAD_ACQUIRE(span->lengths[slot]) & ~XB_LENGTH_RESERVED;
    }
    uint32_t bits = XB_USE_RESERVED;
    bits |= span->slot_size <= XB_MAX_LINKED_SLOT ? (uint32_t)XB_USE_LINKED : 0;
    return span->slot_size - (XB_LOAD_ACQUIRE(*xb_slot_use(span->entries, slot)) & ~bits);
}

/* Sets length (1 to slot_size) and use of a slot. XB_USE_LINKED only if slots are at most XB_MAX_LINKED_SLOT.
 * A lookup that sees the new length of a slot that was taken again also sees that its tag changed. */
static inline void xb_span_set_length(xb_span *span, uint32_t slot, size_t length, xb_use use) {
    if (span->lengths == NULL) {
        uint8_t bits = (uint8_t)((span->slot_size - length) | (uint32_t)use);
        XB_STORE_RELEASE(*xb_slot_use(span->entries, slot), bits);
    } else {
        uint32_t bits = (uint32_t)length | (use == XB_USE_RESERVED ? XB_LENGTH_RESERVED : 0);
        XB_STORE_RELEASE(span->lengths[slot], bits);
    }
}

XB_PRIVATE_END

#endif
