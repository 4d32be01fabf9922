/* Spans: runs of pages of a region, cut into slots of one size. */

#include "span.h"

#include <stdlib.h>

#include "../exec/ladder.h"
#include "../base/fault.h"

/* Slots of at most this size have slacks instead of lengths; 7 bits are enough for any length that is not 0.
 */
#define LARGEST_WITH_SLACK 128U

/* How many words of bits there are. */
static uint32_t word_count(uint32_t slots) {
    return (slots + 63) / 64;
}

/* The size of all that has no length of its own, up to where an array of them can be. */
static size_t size_without_lengths(uint32_t slots) {
    size_t size =
        sizeof(execbuf_span) + word_count(slots) * sizeof(execbuf_bits) + (size_t)slots * EXECBUF_ENTRY_SIZE;
    return (size + 3) & ~(size_t)3;
}

static size_t bookkeeping(uint32_t slot_size, uint32_t slots) {
    size_t lengths = slot_size > LARGEST_WITH_SLACK ? slots * sizeof(uint32_t) : 0;
    return size_without_lengths(slots) + lengths;
}

execbuf_span *execbuf_span_new(uint32_t class_, uint32_t slot_size, uint32_t slots) {
    size_t bytes = bookkeeping(slot_size, slots);
    execbuf_span *span = EXECBUF_FAULT("calloc") != 0 ? NULL : (execbuf_span *)calloc(1, bytes);
    if (span == NULL) {
        return NULL;
    }
    span->class_ = (uint8_t)class_;
    span->entries = (uint8_t *)(execbuf_span_bits(span) + word_count(slots));
    span->reciprocal = slots == 1 ? 0 : (uint32_t)(((uint64_t)1 << 32) / slot_size) + 1;
    span->slot_size = slot_size;
    span->slots = slots;
    if (slot_size > LARGEST_WITH_SLACK) {
        span->lengths = (uint32_t *)(void *)((uint8_t *)span + size_without_lengths(slots));
    }
    for (uint32_t word = 0; word < word_count(slots); word++) {
        uint32_t left = slots - word * 64;
        execbuf_span_bits(span)[word].free = left >= 64 ? UINT64_MAX : ((uint64_t)1 << left) - 1;
        span->free_words |= (uint64_t)1 << word;
    }
    return span;
}

size_t execbuf_span_bookkeeping(const execbuf_span *span) {
    return bookkeeping(span->slot_size, span->slots);
}

/* Fills some bytes of a region, at an offset, with traps. */
static void fill(const execbuf_region *region, size_t offset, size_t size) {
    execbuf_prim_begin_write();
    execbuf_fill_trap(region->views.rw + offset, size);
    execbuf_prim_end_write();
    execbuf_prim_sync(region->views.rx + offset, region->views.rw + offset, size);
}

void execbuf_span_fill_ends(const execbuf_region *region, uint32_t page, uint32_t pages) {
    size_t start = (size_t)page << region->page_shift;
    size_t end = (size_t)(page + pages) << region->page_shift;
    fill(region, start, EXECBUF_GRANULE);
    fill(region, end - EXECBUF_GRANULE, EXECBUF_GRANULE);
    if (!execbuf_region_was_used(region, page - 1)) {
        fill(region, start - EXECBUF_GRANULE, EXECBUF_GRANULE);
    }
    if (end < region->size && !execbuf_region_was_used(region, page + pages)) {
        fill(region, end, EXECBUF_GRANULE);
    }
}

void execbuf_span_fill(const execbuf_region *region, uint32_t page, uint32_t pages) {
    fill(region, (size_t)page << region->page_shift, (size_t)pages << region->page_shift);
}

void execbuf_span_put(execbuf_span *span, execbuf_region *region, uint32_t page, uint32_t pages) {
    span->region = region;
    span->page = page;
    span->pages = pages;
    span->start = region->views.rx + ((size_t)page << region->page_shift);
    for (uint32_t i = page; i < page + pages; i++) {
        region->spans[i] = span;
    }
}

/* Those of a word's slots in limbo that are worn out, as bits. */
static uint64_t worn_out(const execbuf_span *span, uint32_t word) {
    uint64_t worn = 0;
    for (uint64_t bits = execbuf_span_bits(span)[word].limbo; bits != 0; bits &= bits - 1) {
        uint32_t bit = execbuf_lowest_bit(bits);
        uint16_t tag = execbuf_entry_tag(execbuf_span_entry(span, word * 64 + bit));
        worn |= (uint64_t)(tag == 0) << bit;
    }
    return worn;
}

void execbuf_span_end_limbo(execbuf_span *span) {
    while (span->limbo_words != 0) {
        uint32_t word = execbuf_lowest_bit(span->limbo_words);
        execbuf_bits *bits = &execbuf_span_bits(span)[word];
        span->limbo_words &= span->limbo_words - 1;
        bits->free |= span->is_worn ? bits->limbo & ~worn_out(span, word) : bits->limbo;
        bits->limbo = 0;
        span->free_words |= (uint64_t)(bits->free != 0) << word;
    }
}

/* Slots that were never taken, and those that are worn out, have the tag 0; others that are free an even one.
 */
bool execbuf_span_is_empty(const execbuf_span *span) {
    for (uint32_t slot = 0; slot < span->slots; slot++) {
        const execbuf_bits *bits = &execbuf_span_bits(span)[slot / 64];
        if (slot % 64 == 0 && bits->free == UINT64_MAX) {
            slot += 63;
        } else if ((bits->free >> slot % 64 & 1) == 0 &&
                   execbuf_entry_tag(execbuf_span_entry(span, slot)) != 0) {
            return false;
        }
    }
    return true;
}

uint32_t execbuf_span_in_limbo(const execbuf_span *span) {
    uint32_t count = 0;
    for (uint32_t word = 0; word < word_count(span->slots); word++) {
        for (uint64_t bits = execbuf_span_bits(span)[word].limbo; bits != 0; bits &= bits - 1) {
            count++;
        }
    }
    return count;
}

size_t execbuf_span_sum(const execbuf_region *region) {
    size_t sum = 0;
    for (uint32_t page = 1; page < region->page_count;) {
        const execbuf_span *span = region->spans[page];
        for (uint32_t slot = 0; span != NULL && slot < span->slots; slot++) {
            const uint8_t *entry = execbuf_span_entry(span, slot);
            sum += (execbuf_entry_tag(entry) & 1) != 0 ? execbuf_span_length(span, slot, entry) : 0;
        }
        page += span != NULL ? span->pages : 1;
    }
    return sum;
}
