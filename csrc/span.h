/*
 * Spans: runs of pages of a region, cut into slots of one size. A slot holds one piece of code.
 *
 * A slot is free, taken, or in limbo: given up and filled with traps, but not to be used again before a barrier.
 * Taking and giving up a slot take the same few instructions whatever else there is: bits say which slots are free, and
 * one word says which words of bits are not zero.
 *
 * Nothing here takes a lock: a span is its pool's, and guarded by its mutex.
 */
#ifndef EXECBUF_SPAN_H
#define EXECBUF_SPAN_H

#include "bits.h"
#include "region.h"

/* A slot's size is a multiple of this, and so is its address. */
#define EXECBUF_GRANULE 16U
/* Spans of more than one slot have at most so many bytes, and so many slots. */
#define EXECBUF_SPAN_SIZE 65536U
#define EXECBUF_SPAN_SLOTS (EXECBUF_SPAN_SIZE / EXECBUF_GRANULE)

/* Sizes of slots come in classes: multiples of 16 up to 1 KiB, then eight to each doubling. */
#define EXECBUF_CLASSES 104U
#define EXECBUF_LARGEST_SLOT 32768U
/* Larger code has a span of its own. */
#define EXECBUF_NO_CLASS EXECBUF_CLASSES

typedef struct execbuf_span {
    execbuf_region *region;
    struct execbuf_span *next; /* in its class's list of spans with free slots */
    struct execbuf_span *previous;
    struct execbuf_span *next_limbo;
    uint32_t offset;    /* of the first slot, in the region */
    uint32_t slot_size; /* in bytes */
    uint32_t slots;
    uint32_t reciprocal; /* 2^32 / slot_size, rounded up */
    uint32_t taken;
    uint32_t limbo; /* how many slots are in limbo */
    uint32_t page;
    uint32_t pages;
    uint16_t serial; /* a part of the ids of its buffers */
    uint16_t class_;
    bool listed; /* in its class's list */
    uint64_t free_words;  /* which words of free_bits are not 0 */
    uint64_t limbo_words; /* which words of limbo_bits are not 0 */
    uint64_t *free_bits;
    uint64_t *limbo_bits;
    uint32_t *lengths; /* by slot, for slots of more than 1 KiB; with the highest bit set, a capacity */
    uint16_t *tags;    /* by slot: how often it was given up */
    uint8_t *slacks;   /* by slot, else: slot_size minus the length; with the highest bit set, minus the capacity */
} execbuf_span;

/* The class of the smallest slots with room for size bytes, which are at least 1; EXECBUF_NO_CLASS if there is none. */
static inline uint32_t execbuf_class_of(size_t size) {
    if (size <= 1024) {
        return (uint32_t)(size - 1) / EXECBUF_GRANULE;
    }
    if (size > EXECBUF_LARGEST_SLOT) {
        return EXECBUF_NO_CLASS;
    }
    uint32_t last = (uint32_t)size - 1;
    uint32_t doubling = execbuf_highest_bit(last);
    return 64 + (doubling - 10) * 8 + (last >> (doubling - 3) & 7);
}

/* The size of a class's slots. */
static inline uint32_t execbuf_class_size(uint32_t class_) {
    if (class_ < 64) {
        return (class_ + 1) * EXECBUF_GRANULE;
    }
    uint32_t eighth = class_ - 64;
    return (eighth % 8 + 9) << (eighth / 8 + 7);
}

/* A new span with all slots free, not yet of any region; NULL if there is no memory. Free it with free. */
execbuf_span *execbuf_span_new(uint32_t class_, uint32_t slot_size, uint32_t slots);

/* How many bytes a span takes on the heap. */
size_t execbuf_span_bookkeeping(const execbuf_span *span);

/* The pages of a span. */
uint32_t execbuf_span_pages(const execbuf_span *span);

/* Makes a run of pages the span's, fills it with traps. */
void execbuf_span_place(execbuf_span *span, execbuf_region *region, uint32_t page, uint32_t pages);

/* The slot at an offset in the region; span->slots if no slot begins there. */
static inline uint32_t execbuf_span_slot(const execbuf_span *span, uint32_t offset) {
    uint32_t relative = offset - span->offset;
    /* Exact, since relative and slot_size are less than 2^16 where there is more than one slot. */
    uint32_t slot = span->slots == 1 ? 0 : (uint32_t)((uint64_t)relative * span->reciprocal >> 32);
    return slot < span->slots && slot * span->slot_size == relative ? slot : span->slots;
}

/* Where a slot begins in its region. */
static inline uint32_t execbuf_span_offset(const execbuf_span *span, uint32_t slot) {
    return span->offset + slot * span->slot_size;
}

/* Takes a free slot; there is one. */
static inline uint32_t execbuf_span_take(execbuf_span *span) {
    uint32_t word = execbuf_lowest_bit(span->free_words);
    uint32_t bit = execbuf_lowest_bit(span->free_bits[word]);
    span->free_bits[word] &= span->free_bits[word] - 1;
    if (span->free_bits[word] == 0) {
        span->free_words &= span->free_words - 1;
    }
    span->taken++;
    return word * 64 + bit;
}

/* Whether a slot is taken, and not free or in limbo. */
static inline bool execbuf_span_is_taken(const execbuf_span *span, uint32_t slot) {
    uint64_t bits = span->free_bits[slot / 64] | span->limbo_bits[slot / 64];
    return (bits >> slot % 64 & 1) == 0;
}

/* Puts a taken slot in limbo. */
static inline void execbuf_span_give_up(execbuf_span *span, uint32_t slot) {
    span->limbo_bits[slot / 64] |= (uint64_t)1 << slot % 64;
    span->limbo_words |= (uint64_t)1 << slot / 64;
    span->limbo++;
    span->taken--;
}

/* Frees the slots that are in limbo. */
void execbuf_span_end_limbo(execbuf_span *span);

#define EXECBUF_SLACK_RESERVED 0x80U
#define EXECBUF_LENGTH_RESERVED 0x80000000U

/* The length of a slot's code, or the capacity that is reserved. */
static inline size_t execbuf_span_length(const execbuf_span *span, uint32_t slot) {
    return span->lengths == NULL ? span->slot_size - (span->slacks[slot] & ~EXECBUF_SLACK_RESERVED)
                                 : span->lengths[slot] & ~EXECBUF_LENGTH_RESERVED;
}

/* Whether a taken slot is only reserved. */
static inline bool execbuf_span_reserved(const execbuf_span *span, uint32_t slot) {
    return span->lengths == NULL ? (span->slacks[slot] & EXECBUF_SLACK_RESERVED) != 0
                                 : (span->lengths[slot] & EXECBUF_LENGTH_RESERVED) != 0;
}

static inline void execbuf_span_set_length(execbuf_span *span, uint32_t slot, size_t length, bool reserved) {
    if (span->lengths == NULL) {
        span->slacks[slot] = (uint8_t)((span->slot_size - length) | (reserved ? EXECBUF_SLACK_RESERVED : 0));
    } else {
        span->lengths[slot] = (uint32_t)length | (reserved ? EXECBUF_LENGTH_RESERVED : 0);
    }
}

#endif
