/* The table of descriptions. The process's lock also guards the records in the lists of spans, and is not
 * held while memory is allocated.
 *
 * Readers take no lock, so a table that becomes too small is replaced by one with the other chain: each
 * description has a link for each of the two. Readers that are at the old table go on there, and find what it
 * had. One that finds nothing looks again if the table was replaced meanwhile. */

#include "described.h"

#include <stdlib.h>
#include <string.h>

#include "../base/fault.h"
#include "../pool/readers.h"
#include "../prim/prim.h"
#include "near_tables.h"

#define FIRST_BUCKETS 64U

typedef struct description_table {
    struct description_table *retired; /* first: see xb_retire */
    size_t bucket_count;               /* a power of two */
    uint32_t chain;                    /* the index of next that its buckets use */
    xb_description *buckets[];
} description_table;

static description_table *described_table; /* or NULL */
static size_t described_count;             /* of descriptions */

bool xb_described_any(void) {
    return XB_LOAD_RELAXED(described_count) != 0;
}

/* ---- Tables ---- */

/* The bucket of an address. Entries are multiples of 16. */
static xb_description **description_bucket(description_table *table, const void *entry) {
    size_t hash = ((uintptr_t)entry >> 4) * (size_t)0x9e3779b97f4a7c15;
    return &table->buckets[(hash >> (sizeof hash * 4)) & (table->bucket_count - 1)];
}

static void put_in_bucket(description_table *table, xb_description *description) {
    xb_description **bucket = description_bucket(table, description->buffer.entry);
    XB_STORE_RELEASE(description->next[table->chain], *bucket);
    XB_STORE_RELEASE(*bucket, description);
}

/* Puts all descriptions of a table into a larger one. */
static void fill_table(description_table *table, const description_table *old) {
    for (size_t i = 0; i < old->bucket_count; i++) {
        for (xb_description *one = old->buckets[i]; one != NULL; one = one->next[old->chain]) {
            put_in_bucket(table, one);
        }
    }
}

static description_table *new_table(size_t bucket_count) {
    size_t size = sizeof(description_table) + bucket_count * sizeof(xb_description *);
    description_table *made = XB_FAULT("calloc") != 0 ? NULL : (description_table *)calloc(1, size);
    if (made != NULL) {
        made->bucket_count = bucket_count;
    }
    return made;
}

/* How many buckets a table should have for one more description; 0: the present one is large enough. The lock
 * is held. */
static size_t wanted_buckets(void) {
    if (described_table == NULL) {
        return FIRST_BUCKETS;
    }
    return described_count < described_table->bucket_count ? 0 : 2 * described_table->bucket_count;
}

bool xb_described_make_room(void) {
    xb_prim_lock();
    size_t wanted = wanted_buckets();
    xb_prim_unlock();
    if (wanted == 0) {
        return true;
    }
    description_table *made = new_table(wanted);
    description_table *old = NULL;
    xb_prim_lock();
    if (made != NULL && wanted_buckets() == wanted) { /* no other thread was faster */
        old = described_table;
        if (old != NULL) {
            made->chain = 1 - old->chain;
            fill_table(made, old);
        }
        XB_STORE_RELEASE(described_table, made);
        made = NULL;
    }
    bool has_room = described_table != NULL;
    xb_prim_unlock();
    free(made);
    if (old != NULL) {
        xb_retire(old);
    }
    return has_room;
}

/* ---- Changes ---- */

void xb_described_add(xb_description *description, const xb_rules *rules) {
    xb_section *section = description->section;
    const uint8_t *entry = (const uint8_t *)description->buffer.entry;
    xb_prim_lock();
    if (section != NULL && description->near_table != NULL) {
        xb_section_describe_xdata(section, entry, description->buffer.length, description->near_table);
    } else if (section != NULL) {
        xb_section_describe(section, entry, rules);
    }
    put_in_bucket(described_table, description);
    XB_STORE_RELEASE(described_count, described_count + 1);
    xb_prim_unlock();
}

static bool is_of_buffer(const xb_description *description, const execbuf *buffer) {
    return description->buffer.entry == buffer->entry && description->buffer.id == buffer->id;
}

/* The link to the description of a buffer: to NULL if there is none. The lock is held. */
static xb_description **description_link(const execbuf *buffer) {
    static xb_description *none;
    if (described_count == 0) {
        return &none;
    }
    xb_description **link = description_bucket(described_table, buffer->entry);
    while (*link != NULL && !is_of_buffer(*link, buffer)) {
        link = &(*link)->next[described_table->chain];
    }
    return link;
}

xb_description *xb_described_take(const execbuf *buffer) {
    xb_prim_lock();
    xb_description **link = description_link(buffer);
    xb_description *found = *link;
    if (found != NULL) {
        XB_STORE_RELEASE(*link, found->next[described_table->chain]);
        XB_STORE_RELEASE(described_count, described_count - 1);
        if (found->section != NULL) {
            xb_section_undescribe(found->section, (const uint8_t *)found->buffer.entry);
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
        free(description->dump_table);
        free(description->lines);
        if (description->near_table != NULL) {
            xb_near_tables_drop(description->near_table);
        }
        xb_retire(description);
    }
}

/* ---- Readers ---- */

/* Finds the description of a buffer. The caller is a reader. */
static const xb_description *read_description(const execbuf *buffer) {
    description_table *table = XB_LOAD_ACQUIRE(described_table);
    description_table *last = NULL;
    const xb_description *found = NULL;
    while (table != last && found == NULL) {
        found = XB_LOAD_ACQUIRE(*description_bucket(table, buffer->entry));
        while (found != NULL && !is_of_buffer(found, buffer)) {
            found = XB_LOAD_ACQUIRE(found->next[table->chain]);
        }
        last = table;
        table = XB_LOAD_ACQUIRE(described_table);
    }
    return found;
}

bool xb_described_name(const execbuf *buffer, char *name, size_t capacity, size_t *length) {
    xb_readers_enter();
    const xb_description *found = read_description(buffer);
    bool has_name = found != NULL && found->name_length > 0;
    if (has_name) {
        *length = found->name_length;
        if (capacity > 0) {
            size_t copied = *length < capacity ? *length : capacity - 1;
            memcpy(name, found->name, copied);
            name[copied] = '\0';
        }
    }
    xb_readers_leave();
    return has_name;
}

void xb_described_unload(void) {
    if (described_count == 0) {
        free(described_table);
    }
}
