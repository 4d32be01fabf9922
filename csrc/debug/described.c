/* The table of descriptions. The process's lock also guards the records in the lists of spans, and is not
 * held while memory is allocated. */

#include "described.h"

#include <stdlib.h>

#include "../base/fault.h"
#include "../prim/prim.h"

#define FIRST_BUCKETS 64U

static struct {
    xb_description **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t count;        /* of descriptions */
} described;

bool xb_described_any(void) {
    return XB_LOAD_RELAXED(described.count) != 0;
}

/* The bucket of an address. Entries are multiples of 16. */
static xb_description **description_bucket(const void *entry) {
    size_t hash = ((uintptr_t)entry >> 4) * (size_t)0x9e3779b97f4a7c15;
    return &described.buckets[(hash >> (sizeof hash * 4)) & (described.bucket_count - 1)];
}

static void put_in_bucket(xb_description *description) {
    xb_description **bucket = description_bucket(description->buffer.entry);
    description->next = *bucket;
    *bucket = description;
}

/* Moves all descriptions to other buckets. Returns the old ones, which the caller frees. */
static xb_description **rehash_descriptions(xb_description **buckets, size_t bucket_count) {
    xb_description **old = described.buckets;
    size_t old_count = described.bucket_count;
    described.buckets = buckets;
    described.bucket_count = bucket_count;
    for (size_t i = 0; i < old_count; i++) {
        xb_description *next;
        for (xb_description *one = old[i]; one != NULL; one = next) {
            next = one->next;
            put_in_bucket(one);
        }
    }
    return old;
}

bool xb_described_make_room(void) {
    xb_prim_lock();
    bool is_full = described.count >= described.bucket_count;
    size_t wanted = described.bucket_count == 0 ? FIRST_BUCKETS : 2 * described.bucket_count;
    xb_prim_unlock();
    if (!is_full) {
        return true;
    }
    xb_description **buckets =
        XB_FAULT("calloc") != 0 ? NULL : (xb_description **)calloc(wanted, sizeof(void *));
    xb_prim_lock();
    if (buckets != NULL && described.bucket_count < wanted) { /* no other thread was faster */
        buckets = rehash_descriptions(buckets, wanted);
    }
    bool has_room = described.bucket_count != 0;
    xb_prim_unlock();
    free(buckets);
    return has_room;
}

void xb_described_add(xb_description *description, const xb_rules *rules) {
    xb_prim_lock();
    if (description->section != NULL) {
        xb_section_describe(description->section, (const uint8_t *)description->buffer.entry, rules);
    }
    put_in_bucket(description);
    XB_STORE_RELEASE(described.count, described.count + 1);
    xb_prim_unlock();
}

/* The link to the description of a buffer: to NULL if there is none. The lock is held. */
static xb_description **description_link(const execbuf *buffer) {
    static xb_description *none;
    xb_description **link = described.count != 0 ? description_bucket(buffer->entry) : &none;
    while (*link != NULL && ((*link)->buffer.entry != buffer->entry || (*link)->buffer.id != buffer->id)) {
        link = &(*link)->next;
    }
    return link;
}

xb_description *xb_described_take(const execbuf *buffer) {
    xb_prim_lock();
    xb_description **link = description_link(buffer);
    xb_description *found = *link;
    if (found != NULL) {
        *link = found->next;
        XB_STORE_RELEASE(described.count, described.count - 1);
        if (found->section != NULL) {
            xb_section_describe(found->section, (const uint8_t *)found->buffer.entry, NULL);
        }
    }
    xb_prim_unlock();
    return found;
}

xb_description *xb_described_use(const execbuf *buffer) {
    xb_prim_lock();
    xb_description *found = *description_link(buffer);
    if (found != NULL) {
        found->is_told = true;
        found->users++;
    }
    xb_prim_unlock();
    return found;
}

void xb_described_leave(xb_description *description) {
    xb_prim_lock();
    bool is_last = --description->users == 0;
    xb_prim_unlock();
    if (is_last) {
        free(description->words);
        free(description->gdb_table);
        free(description);
    }
}

void xb_described_unload(void) {
    if (described.count == 0) {
        free(described.buckets);
    }
}
