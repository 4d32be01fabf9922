/* Spans: runs of pages of a region, cut into slots of one size. */

#include "span.h"

#include <stdlib.h>

#include "backend.h"
#include "prim/fault.h"

/* Slots of at most this size have slacks of 7 bits instead of lengths. */
#define LARGEST_WITH_SLACK 1024U

static size_t word_count(uint32_t slots) {
    return (slots + 63) / 64;
}

static size_t bookkeeping(uint32_t slot_size, uint32_t slots) {
    size_t length_size = slot_size > LARGEST_WITH_SLACK ? sizeof(uint32_t) : sizeof(uint8_t);
    return sizeof(execbuf_span) + 2 * word_count(slots) * sizeof(uint64_t) +
           slots * (length_size + sizeof(uint16_t));
}

execbuf_span *execbuf_span_new(uint32_t class_, uint32_t slot_size, uint32_t slots) {
    size_t bytes = bookkeeping(slot_size, slots);
    execbuf_span *span = EXECBUF_FAULT("calloc") != 0 ? NULL : (execbuf_span *)calloc(1, bytes);
    if (span == NULL) {
        return NULL;
    }
    size_t words = word_count(slots);
    span->class_ = (uint16_t)class_;
    span->slot_size = slot_size;
    span->slots = slots;
    span->reciprocal = (uint32_t)(((uint64_t)1 << 32) / slot_size) + 1;
    span->free_bits = (uint64_t *)(void *)(span + 1);
    span->limbo_bits = span->free_bits + words;
    uint8_t *rest = (uint8_t *)(span->limbo_bits + words);
    if (slot_size > LARGEST_WITH_SLACK) {
        span->lengths = (uint32_t *)(void *)rest;
        rest += slots * sizeof(uint32_t);
    }
    span->tags = (uint16_t *)(void *)rest;
    span->slacks = rest + slots * sizeof(uint16_t);
    for (size_t word = 0; word < words; word++) {
        uint32_t left = slots - (uint32_t)word * 64;
        span->free_bits[word] = left >= 64 ? UINT64_MAX : ((uint64_t)1 << left) - 1;
        span->free_words |= (uint64_t)1 << word;
    }
    return span;
}

size_t execbuf_span_bookkeeping(const execbuf_span *span) {
    return bookkeeping(span->slot_size, span->slots);
}

uint32_t execbuf_span_pages(const execbuf_span *span) {
    return span->pages;
}

void execbuf_span_place(execbuf_span *span, execbuf_region *region, uint32_t page, uint32_t pages) {
    span->region = region;
    span->page = page;
    span->pages = pages;
    span->offset = page << region->page_shift;
    size_t size = (size_t)pages << region->page_shift;
    execbuf_prim_begin_write();
    execbuf_fill_trap(region->views.rw + span->offset, size);
    execbuf_prim_end_write();
    execbuf_prim_sync(region->views.rx + span->offset, region->views.rw + span->offset, size);
}

void execbuf_span_end_limbo(execbuf_span *span) {
    while (span->limbo_words != 0) {
        uint32_t word = execbuf_lowest_bit(span->limbo_words);
        span->limbo_words &= span->limbo_words - 1;
        span->free_bits[word] |= span->limbo_bits[word];
        span->free_words |= (uint64_t)1 << word;
        span->limbo_bits[word] = 0;
    }
    span->limbo = 0;
}
