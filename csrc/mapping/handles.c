/* Records in chunks that double in size. A record never moves and is never deallocated, so looking up any
 * handle is safe, and a parked mapping can use the node in its record.
 *
 * The id of a handle:
 *
 *     bit 63   62 ... 32     31 ... 0
 *     0        generation    place: the index of the record + 1
 *
 * A record that has had all generations is retired, not reused, so that a stale handle is refused for ever.
 * That costs one handle_entry (160 bytes on 64-bit systems) for each 2^31 - 1 buffers that a process makes,
 * because the record that became free last is reused first. The records of a process suffice for more than
 * 2^62 buffers.
 *
 * The process's lock guards all data here. xb_handles_search reads without it what is shown of an entry, the
 * generation and the chunks, which are written by atomic stores. */

#include "handles.h"

#include <stdlib.h>

#include "../base/fault.h"
#include "../exec/park.h"

/* Chunk k holds FIRST_CHUNK << k records. All chunks together hold fewer than 2^32, so a place has 32 bits.
 */
#define FIRST_CHUNK 64U
#define CHUNKS 26U
/* The last generation. It has 31 bits, since bit 63 of an id is XB_ID_POOL_BIT. A test builds the library
 * with a smaller one, and sees records retire. */
#if !defined(XB_LAST_GENERATION)
#define XB_LAST_GENERATION 0x7fffffffU
#endif
/* The place of no record. */
#define NO_PLACE 0U

typedef struct handle_entry {
    xb_record record;
    uint32_t generation; /* counts the buffers that this entry has described, from 1 on */
    uint32_t next;       /* the place of the next unused entry, or NO_PLACE */
    /* What searches see: the published code. The length is 0 if there is none. The generation changes before
     * the next buffer is shown. */
    size_t shown_length;
    const void *shown_entry;
    const void *shown_pool;
    bool shown_is_shared;
    xb_parked parked; /* parks the mapping if the system refuses to unmap it */
} handle_entry;

static handle_entry *chunks[CHUNKS];
static unsigned chunk_count;
static uint32_t unused_place; /* the first of the list of unused entries, or NO_PLACE */
static uint64_t stale_count;
static bool has_not_inherited; /* whether there was ever a mapping that children do not get */

/* The first index of a chunk. */
static uint32_t first_of(unsigned chunk) {
    return FIRST_CHUNK * ((1U << chunk) - 1U);
}

/* The entry at a place, or NULL if there is none. */
static handle_entry *entry_at(uint32_t place) {
    if (place == NO_PLACE) {
        return NULL;
    }
    uint32_t index = place - 1;
    unsigned chunk = 0;
    while (chunk < chunk_count && index >= first_of(chunk + 1)) {
        chunk++;
    }
    return chunk < chunk_count ? &chunks[chunk][index - first_of(chunk)] : NULL;
}

/* Whether a record is that of a live buffer. */
static bool is_alive(const xb_record *record) {
    return record->state != XB_STATE_UNUSED && record->state != XB_STATE_FREED;
}

/* The entry of a handle that names a live buffer, otherwise NULL. */
static handle_entry *entry_of(const execbuf *buffer) {
    handle_entry *entry = entry_at((uint32_t)buffer->id);
    bool agrees = entry != NULL && entry->generation == (uint32_t)(buffer->id >> 32) &&
                  entry->record.entry == buffer->entry && is_alive(&entry->record);
    return agrees ? entry : NULL;
}

/* Adds an entry to the list of unused ones, unless it had all generations. */
static void push_unused(handle_entry *entry) {
    entry->record.state = XB_STATE_UNUSED;
    if (entry->generation < XB_LAST_GENERATION) {
        entry->next = unused_place;
        unused_place = entry->record.place;
    }
}

/* Adds the chunk of this number, unless another thread did. Returns false if there is no memory.
 *
 * The lock is not held during the allocation: malloc may have fork handlers and a lock of its own, and a
 * thread that forks may hold that lock while it waits for ours. */
static bool add_chunk(unsigned chunk) {
    size_t count = (size_t)FIRST_CHUNK << chunk;
    if (chunk >= CHUNKS || XB_FAULT("calloc") != 0) {
        return false;
    }
    handle_entry *entries = (handle_entry *)calloc(count, sizeof *entries);
    if (entries == NULL) {
        return false;
    }
    uint32_t place = first_of(chunk) + 1;
    for (size_t i = 0; i < count; i++) {
        entries[i].record.place = place + (uint32_t)i;
        entries[i].next = place + (uint32_t)i + 1;
    }
    xb_prim_lock();
    if (chunk_count == chunk) {
        entries[count - 1].next = unused_place;
        unused_place = place;
        chunks[chunk] = entries;
        XB_STORE_RELEASE(chunk_count, chunk + 1);
        entries = NULL;
    }
    xb_prim_unlock();
    free(entries);
    return true;
}

/* The id of the buffer that an entry describes. */
static uint64_t id_of(const handle_entry *entry) {
    return (uint64_t)entry->generation << 32 | entry->record.place;
}

bool xb_handles_claim(xb_record *record) {
    for (;;) {
        xb_prim_lock();
        unsigned chunk = chunk_count;
        const handle_entry *entry = entry_at(unused_place);
        if (entry != NULL) {
            unused_place = entry->next;
            record->place = entry->record.place;
        }
        xb_prim_unlock();
        if (entry != NULL || !add_chunk(chunk)) {
            return entry != NULL;
        }
    }
}

void xb_handles_cancel(const xb_record *record) {
    xb_prim_lock();
    push_unused(entry_at(record->place));
    xb_prim_unlock();
}

/* Shows an entry's code to searches, or hides it. The entry has its generation. */
static void show(handle_entry *entry) {
    const xb_record *record = &entry->record;
    bool is_published = record->state == XB_STATE_PUBLISHED || record->state == XB_STATE_LOST;
    XB_STORE_RELEASE(entry->shown_entry, record->entry);
    XB_STORE_RELEASE(entry->shown_pool, record->pool);
    XB_STORE_RELEASE(entry->shown_is_shared, record->is_shared);
    XB_STORE_RELEASE(entry->shown_length, is_published ? record->length : 0);
}

uint64_t xb_handles_add(const xb_record *record) {
    xb_prim_lock();
    handle_entry *entry = entry_at(record->place);
    entry->record = *record;
    /* At most XB_LAST_GENERATION: see push_unused. */
    XB_STORE_RELEASE(entry->generation, entry->generation + 1);
    has_not_inherited |= record->not_inherited;
    show(entry);
    uint64_t id = id_of(entry);
    xb_prim_unlock();
    return id;
}

bool xb_handles_look(const execbuf *buffer, xb_record *record) {
    const handle_entry *entry = entry_of(buffer);
    if (entry != NULL) {
        *record = entry->record;
    }
    return entry != NULL;
}

bool xb_handles_find(const execbuf *buffer, xb_record *record) {
    xb_prim_lock();
    bool found = xb_handles_look(buffer, record);
    xb_prim_unlock();
    return found;
}

void xb_handles_update(const xb_record *record) {
    xb_prim_lock();
    handle_entry *entry = entry_at(record->place);
    entry->record = *record;
    show(entry);
    xb_prim_unlock();
}

bool xb_handles_remove(const execbuf *buffer, xb_record *record) {
    xb_prim_lock();
    handle_entry *entry = entry_of(buffer);
    if (entry != NULL) {
        entry->record.state = XB_STATE_FREED;
        XB_STORE_RELEASE(entry->shown_length, (size_t)0);
        *record = entry->record;
    }
    xb_prim_unlock();
    return entry != NULL;
}

/* The done function of a record's mapping; owner is the entry. */
static void release_entry(void *owner) {
    xb_prim_lock();
    push_unused((handle_entry *)owner);
    xb_prim_unlock();
}

void xb_handles_release(const xb_record *record) {
    xb_prim_lock();
    handle_entry *entry = entry_at(record->place);
    xb_prim_unlock();
    entry->parked.not_inherited = record->not_inherited && !record->is_lost;
    xb_unmap_or_park(&entry->parked, record->base, NULL, record->size, release_entry, entry);
}

/* Reads what is shown of an entry, and checks by the generation that all of it is of one buffer. */
static bool read_shown(const handle_entry *entry, uint32_t place, const void *address,
                       xb_handles_found *found) {
    uint32_t generation = XB_LOAD_ACQUIRE(entry->generation);
    size_t length = XB_LOAD_ACQUIRE(entry->shown_length);
    const void *start = XB_LOAD_ACQUIRE(entry->shown_entry);
    if ((uintptr_t)address - (uintptr_t)start >= length) {
        return false;
    }
    const void *pool = XB_LOAD_ACQUIRE(entry->shown_pool);
    bool is_shared = XB_LOAD_ACQUIRE(entry->shown_is_shared);
    if (XB_LOAD_ACQUIRE(entry->generation) != generation) {
        return false;
    }
    found->buffer.entry = start;
    found->buffer.length = length;
    found->buffer.id = (uint64_t)generation << 32 | place;
    found->pool = pool;
    found->is_shared = is_shared;
    return true;
}

/* Published code does not overlap, so there is at most one buffer. */
bool xb_handles_search(const void *address, xb_handles_found *found) {
    unsigned count = XB_LOAD_ACQUIRE(chunk_count);
    for (unsigned chunk = 0; chunk < count; chunk++) {
        for (uint32_t i = 0; i < FIRST_CHUNK << chunk; i++) {
            if (read_shown(&chunks[chunk][i], first_of(chunk) + i + 1, address, found)) {
                return true;
            }
        }
    }
    return false;
}

void xb_handles_in_child(void) {
    for (unsigned chunk = 0; has_not_inherited && chunk < chunk_count; chunk++) {
        for (uint32_t i = 0; i < FIRST_CHUNK << chunk; i++) {
            handle_entry *entry = &chunks[chunk][i];
            xb_record *record = &entry->record;
            if (is_alive(record) && record->not_inherited && !record->is_lost) {
                bool is_taken = xb_prim_take_addresses(record->base, record->size).call == NULL;
                record->base = is_taken ? record->base : NULL;
                record->is_lost = true;
                XB_STORE_RELEASE(entry->shown_length, (size_t)0);
            }
        }
    }
}

void xb_handles_count_stale(void) {
    xb_prim_lock();
    stale_count++;
    xb_prim_unlock();
}

uint64_t xb_handles_stale_count(void) {
    xb_prim_lock();
    uint64_t count = stale_count;
    xb_prim_unlock();
    return count;
}

void xb_handles_free_all(void) {
    for (unsigned chunk = 0; chunk < chunk_count; chunk++) {
        free(chunks[chunk]);
    }
}
