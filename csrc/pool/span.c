/* Spans: their book-keeping, where they are in a region, and the end of quarantine. span.h draws the layout.
 *
 * The arena of a span is locked in every function that is given a span which others can find. */

#include "span.h"

#include <stdlib.h>

#include "../base/fault.h"
#include "../base/list.h"
#include "readers.h"

/* Slots of at most this size have their length in the entry: slot size - length then fits into 7 bits, since
 * no length is 0. */
#define LARGEST_WITHOUT_LENGTHS 128U

/* How many xb_slot_bits there are. */
static uint32_t word_count(uint32_t slots) {
    return (slots + 63) / 64;
}

/* The size of the struct, the bits and the entries: 12 bytes for each 4 slots. */
static size_t size_without_lengths(uint32_t slots) {
    return sizeof(xb_span) + word_count(slots) * sizeof(xb_slot_bits) + (size_t)(slots + 3) / 4 * 12;
}

static size_t span_bytes(uint32_t slot_size, uint32_t slots) {
    size_t lengths = slot_size > LARGEST_WITHOUT_LENGTHS ? slots * sizeof(uint32_t) : 0;
    return size_without_lengths(slots) + lengths;
}

xb_span *xb_span_new(uint32_t class_, uint32_t slot_size, uint32_t slots) {
    size_t bytes = span_bytes(slot_size, slots);
    xb_span *span = XB_FAULT("calloc") != 0 ? NULL : (xb_span *)calloc(1, bytes);
    if (span == NULL) {
        return NULL;
    }
    span->class_ = (uint8_t)class_;
    span->entries = (uint8_t *)(xb_span_bits(span) + word_count(slots));
    span->reciprocal = slots == 1 ? 0 : (uint32_t)(((uint64_t)1 << 32) / slot_size) + 1;
    span->slot_size = slot_size;
    span->slots = slots;
    if (slot_size > LARGEST_WITHOUT_LENGTHS) {
        span->lengths = (uint32_t *)(void *)((uint8_t *)span + size_without_lengths(slots));
    }
    for (uint32_t word = 0; word < word_count(slots); word++) {
        uint32_t left = slots - word * 64;
        xb_span_bits(span)[word].free = left >= 64 ? UINT64_MAX : ((uint64_t)1 << left) - 1;
        span->free_words |= (uint64_t)1 << word;
    }
    return span;
}

void xb_span_end_tables(xb_span *span) {
    if (span->tables != NULL) {
        span->tables->end(&span->tables);
    }
}

void xb_span_free(xb_span *span) {
    if (span != NULL) {
        xb_span_end_tables(span);
        xb_retire(span);
    }
}

size_t xb_span_bookkeeping(const xb_span *span) {
    size_t tables = span->tables != NULL ? span->tables->size : 0;
    return span_bytes(span->slot_size, span->slots) + tables;
}

/* ---- Spans in a region ---- */

void xb_span_attach(xb_span *span, xb_region *region, uint32_t page, uint32_t pages) {
    span->region = region;
    span->page = page;
    span->pages = pages;
    span->own_pages = pages;
    span->start = region->views.rx + ((size_t)page << region->page_shift);
    for (uint32_t i = page; i < page + pages; i++) {
        XB_STORE_RELEASE(region->owners[i], (void *)span);
    }
}

/* Whether a span owns a page. */
static bool owns(const xb_span *span, uint32_t page) {
    return span->region->owners[page] == span;
}

/* Takes those pages from a span that are not in a set, or all if the set is NULL. Returns them to the region
 * if returns is true. */
static void leave_pages(const xb_span *span, const xb_prim_pages *kept, bool returns) {
    const uint32_t end = span->page + span->pages;
    for (uint32_t page = span->page; page < end;) {
        uint32_t first = page;
        while (page < end && owns(span, page) && (kept == NULL || !xb_prim_has_page(kept, page))) {
            XB_STORE_RELEASE(span->region->owners[page++], NULL);
        }
        if (page == first) {
            page++;
        } else if (returns) {
            xb_region_free_pages(span->region, first, page - first);
        }
    }
}

void xb_span_detach(const xb_span *span) {
    leave_pages(span, NULL, true);
}

void xb_span_forget(const xb_span *span) {
    leave_pages(span, NULL, false);
}

bool xb_span_trim(xb_span *span, size_t length) {
    const uint32_t shift = span->region->page_shift;
    uint32_t pages = (uint32_t)((length - 1) >> shift) + 1;
    if (pages == span->pages) {
        return false;
    }
    for (uint32_t page = span->page + pages; page < span->page + span->pages; page++) {
        XB_STORE_RELEASE(span->region->owners[page], NULL);
    }
    xb_region_free_pages(span->region, span->page + pages, span->pages - pages);
    span->pages = pages;
    span->own_pages = pages;
    XB_STORE_RELEASE(span->slot_size, pages << shift); /* lookups read it */
    return true;
}

bool xb_span_owns_slot(const xb_span *span, uint32_t slot) {
    const uint32_t shift = span->region->page_shift;
    size_t offset = (size_t)(xb_span_address(span, slot) - span->region->views.rx);
    size_t last = (offset + span->slot_size - 1) >> shift;
    size_t page = offset >> shift;
    while (page < last && owns(span, (uint32_t)page)) {
        page++;
    }
    return owns(span, (uint32_t)page);
}

/* Whether a slot can be used: the span owns it, and the 16 bytes before it are in a page that is kept. */
static bool is_usable(const xb_span *span, uint32_t slot, const xb_prim_pages *kept) {
    size_t offset = (size_t)(xb_span_address(span, slot) - span->region->views.rx);
    return xb_span_owns_slot(span, slot) &&
           xb_prim_has_page(kept, (offset - XB_GRANULE) >> span->region->page_shift);
}

void xb_span_cut(xb_span *span, const xb_prim_pages *kept) {
    leave_pages(span, kept, true);
    uint32_t first = span->page;
    uint32_t last = span->page + span->pages - 1;
    while (!owns(span, first)) {
        first++;
    }
    while (!owns(span, last)) {
        last--;
    }
    XB_STORE_RELEASE(span->page, first); /* read without a lock, too */
    span->pages = last + 1 - first;
    span->own_pages = 0;
    for (uint32_t page = first; page <= last; page++) {
        span->own_pages += owns(span, page);
    }
    for (uint32_t word = 0; word < word_count(span->slots); word++) {
        xb_slot_bits *bits = &xb_span_bits(span)[word];
        for (uint64_t left = bits->free; left != 0; left &= left - 1) {
            uint32_t bit = xb_lowest_bit(left);
            if (!is_usable(span, word * 64 + bit, kept)) {
                bits->free &= ~((uint64_t)1 << bit);
                XB_STORE_RELEASE(*xb_slot_tag(span->entries, word * 64 + bit), 0);
            }
        }
        span->free_words &= ~((uint64_t)(bits->free == 0) << word);
    }
}

xb_span *xb_span_next(const xb_region *region, uint32_t *page) {
    xb_span *span = NULL;
    while (span == NULL && *page < region->page_count) {
        span = xb_span_at_page(region, *page);
        if (span != NULL && span->page != *page) {
            span = NULL; /* not its first page */
        }
        *page += span != NULL && span->own_pages == span->pages ? span->pages : 1;
    }
    return span;
}

/* ---- The list of a class ---- */

void xb_span_list(xb_span **list, xb_span *span) {
    if (!span->listed) {
        XB_LIST_PUSH(*list, span, next, previous);
        span->listed = true;
    }
}

void xb_span_unlist(xb_span **list, xb_span *span) {
    if (span->listed) {
        XB_LIST_REMOVE(*list, span, next, previous);
        span->listed = false;
    }
}

/* ---- Quarantine ---- */

/* Which of a word's slots in quarantine are retired, as bits. A slot has the tag 0 in quarantine only if its
 * last tag wrapped around. */
static uint64_t retired_bits(const xb_span *span, uint32_t word) {
    uint64_t retired = 0;
    for (uint64_t bits = xb_span_bits(span)[word].quarantine; bits != 0; bits &= bits - 1) {
        uint32_t bit = xb_lowest_bit(bits);
        uint16_t tag = xb_span_tag(span, word * 64 + bit);
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

/* Slots that are not free have the tag 0 only if they are retired: taken ones have an odd tag, and those in
 * quarantine that are not retired an even one. Whole words of free slots are skipped. */
bool xb_span_is_empty(const xb_span *span) {
    for (uint32_t slot = 0; slot < span->slots; slot++) {
        const xb_slot_bits *bits = &xb_span_bits(span)[slot / 64];
        if (slot % 64 == 0 && bits->free == UINT64_MAX) {
            slot += 63;
        } else if ((bits->free >> slot % 64 & 1) == 0 && xb_span_tag(span, slot) != 0) {
            return false;
        }
    }
    return true;
}

bool xb_span_has_taken(const xb_span *span, uint32_t first, uint32_t last) {
    for (uint32_t slot = first; slot <= last && slot < span->slots; slot++) {
        const xb_slot_bits *bits = &xb_span_bits(span)[slot / 64];
        if (slot % 64 == 0 && (bits->free | bits->quarantine) == UINT64_MAX) {
            slot += 63;
        } else if (xb_tag_is_taken(xb_span_tag(span, slot))) {
            return true;
        }
    }
    return false;
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
