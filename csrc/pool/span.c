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
    size_t size = sizeof(xb_span) + word_count(slots) * sizeof(xb_slot_bits) + (size_t)slots * XB_ENTRY_SIZE;
    return (size + 3) & ~(size_t)3;
}

static size_t bookkeeping(uint32_t slot_size, uint32_t slots) {
    size_t lengths = slot_size > LARGEST_WITH_SLACK ? slots * sizeof(uint32_t) : 0;
    return size_without_lengths(slots) + lengths;
}

xb_span *xb_span_new(uint32_t class_, uint32_t slot_size, uint32_t slots) {
    size_t bytes = bookkeeping(slot_size, slots);
    xb_span *span = XB_FAULT("calloc") != 0 ? NULL : (xb_span *)calloc(1, bytes);
    if (span == NULL) {
        return NULL;
    }
    span->class_ = (uint8_t)class_;
    span->entries = (uint8_t *)(xb_span_bits(span) + word_count(slots));
    span->reciprocal = slots == 1 ? 0 : (uint32_t)(((uint64_t)1 << 32) / slot_size) + 1;
    span->slot_size = slot_size;
    span->slots = slots;
    if (slot_size > LARGEST_WITH_SLACK) {
        span->lengths = (uint32_t *)(void *)((uint8_t *)span + size_without_lengths(slots));
    }
    for (uint32_t word = 0; word < word_count(slots); word++) {
        uint32_t left = slots - word * 64;
        xb_span_bits(span)[word].free = left >= 64 ? UINT64_MAX : ((uint64_t)1 << left) - 1;
        span->free_words |= (uint64_t)1 << word;
    }
    return span;
}

size_t xb_span_bookkeeping(const xb_span *span) {
    return bookkeeping(span->slot_size, span->slots);
}

/* Fills some bytes of a region, at an offset, with traps. */
static void fill_range(const xb_region *region, size_t offset, size_t size) {
    xb_prim_begin_write();
    xb_fill_traps(region->views.rw + offset, size);
    xb_prim_end_write();
    xb_prim_sync(region->views.rx + offset, region->views.rw + offset, size);
}

void xb_span_fill_ends(const xb_region *region, uint32_t page, uint32_t pages) {
    size_t start = (size_t)page << region->page_shift;
    size_t end = (size_t)(page + pages) << region->page_shift;
    fill_range(region, start, XB_GRANULE);
    fill_range(region, end - XB_GRANULE, XB_GRANULE);
    if (!xb_region_was_used(region, page - 1)) {
        fill_range(region, start - XB_GRANULE, XB_GRANULE);
    }
    if (end < region->size && !xb_region_was_used(region, page + pages)) {
        fill_range(region, end, XB_GRANULE);
    }
}

void xb_span_fill(const xb_region *region, uint32_t page, uint32_t pages) {
    fill_range(region, (size_t)page << region->page_shift, (size_t)pages << region->page_shift);
}

void xb_span_put(xb_span *span, xb_region *region, uint32_t page, uint32_t pages) {
    span->region = region;
    span->page = page;
    span->pages = pages;
    span->start = region->views.rx + ((size_t)page << region->page_shift);
    for (uint32_t i = page; i < page + pages; i++) {
        region->spans[i] = span;
    }
}

/* Those of a word's slots in quarantine that are retired out, as bits. */
static uint64_t retired_bits(const xb_span *span, uint32_t word) {
    uint64_t retired = 0;
    for (uint64_t bits = xb_span_bits(span)[word].quarantine; bits != 0; bits &= bits - 1) {
        uint32_t bit = xb_lowest_bit(bits);
        uint16_t tag = xb_slot_tag(xb_span_entry(span, word * 64 + bit));
        retired |= (uint64_t)(tag == 0) << bit;
    }
    return retired;
}

void xb_span_end_quarantine(xb_span *span) {
    while (span->quarantine_words != 0) {
        uint32_t word = xb_lowest_bit(span->quarantine_words);
        xb_slot_bits *bits = &xb_span_bits(span)[word];
        span->quarantine_words &= span->quarantine_words - 1;
        bits->free |= span->has_retired ? bits->quarantine & ~retired_bits(span, word) : bits->quarantine;
        bits->quarantine = 0;
        span->free_words |= (uint64_t)(bits->free != 0) << word;
    }
}

/* Slots that were never taken, and those that are retired out, have the tag 0; others that are free an even
 * one.
 */
bool xb_span_is_empty(const xb_span *span) {
    for (uint32_t slot = 0; slot < span->slots; slot++) {
        const xb_slot_bits *bits = &xb_span_bits(span)[slot / 64];
        if (slot % 64 == 0 && bits->free == UINT64_MAX) {
            slot += 63;
        } else if ((bits->free >> slot % 64 & 1) == 0 && xb_slot_tag(xb_span_entry(span, slot)) != 0) {
            return false;
        }
    }
    return true;
}

uint32_t xb_span_quarantined(const xb_span *span) {
    uint32_t count = 0;
    for (uint32_t word = 0; word < word_count(span->slots); word++) {
        for (uint64_t bits = xb_span_bits(span)[word].quarantine; bits != 0; bits &= bits - 1) {
            count++;
        }
    }
    return count;
}

size_t xb_span_sum(const xb_region *region) {
    size_t sum = 0;
    for (uint32_t page = 1; page < region->page_count;) {
        const xb_span *span = region->spans[page];
        for (uint32_t slot = 0; span != NULL && slot < span->slots; slot++) {
            const uint8_t *entry = xb_span_entry(span, slot);
            sum += (xb_slot_tag(entry) & 1) != 0 ? xb_span_length(span, slot, entry) : 0;
        }
        page += span != NULL ? span->pages : 1;
    }
    return sum;
}
