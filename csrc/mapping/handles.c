/* The table of live buffers: records that never move, in chunks that double in size. */

#include "handles.h"

#include <stdlib.h>

#include "../base/fault.h"

/* Chunk k holds FIRST_CHUNK << k records; all together fewer than 2^32, so that an index fits. */
#define FIRST_CHUNK 64U
#define CHUNKS 26U
/* The generations of a record; the highest bit of an id is kept free for pools. */
#define GENERATIONS 0x7fffffffU
/* The end of a list of records. */
#define END 0U

/* All of it guarded by the process's lock. */
static xb_record *chunks[CHUNKS];
static unsigned chunk_count;
static uint32_t unused_records; /* head of the list of UNUSED records, index + 1 */
static uint32_t parked_records; /* head of the list of FREED records that wait to be unmapped, index + 1 */

static uint64_t stale_count;

/* The first index of a chunk. */
static uint32_t first_of(unsigned chunk) {
    return FIRST_CHUNK * ((1U << chunk) - 1U);
}

/* The record of an index, or NULL if there is no such record. */
static xb_record *record_at(uint32_t index) {
    unsigned chunk = 0;
    while (chunk < chunk_count && index >= first_of(chunk + 1)) {
        chunk++;
    }
    return chunk < chunk_count ? &chunks[chunk][index - first_of(chunk)] : NULL;
}

/* The record of a handle whose buffer lives, or NULL. */
static xb_record *record_of(const execbuf *buffer) {
    uint32_t place = (uint32_t)buffer->id;
    xb_record *record = place == END ? NULL : record_at(place - 1);
    bool alive = record != NULL && record->generation == (uint32_t)(buffer->id >> 32) &&
                 record->entry == buffer->entry && record->state != XB_STATE_UNUSED &&
                 record->state != XB_STATE_FREED;
    return alive ? record : NULL;
}

/* Takes the first record out of a list; its place, or END. */
static uint32_t pop_record(uint32_t *list) {
    uint32_t place = *list;
    if (place != END) {
        *list = record_at(place - 1)->next;
    }
    return place;
}

static void push_record(uint32_t *list, uint32_t place) {
    record_at(place - 1)->next = *list;
    *list = place;
}

/* Copies what callers may set. */
static void assign(xb_record *to, const xb_record *from) {
    to->base = from->base;
    to->size = from->size;
    to->entry = from->entry;
    to->capacity = from->capacity;
    to->length = from->length;
    to->state = from->state;
    to->owner = from->owner;
    to->link = from->link;
}

/* Adds a chunk behind the given number of them, unless another thread did. False: no memory.
 *
 * The allocation happens without the lock: a malloc with fork handlers of its own would otherwise wait for
 * us while we wait for it. */
static bool add_chunk(unsigned chunk) {
    size_t count = (size_t)FIRST_CHUNK << chunk;
    if (chunk >= CHUNKS || XB_FAULT("calloc") != 0) {
        return false;
    }
    xb_record *records = (xb_record *)calloc(count, sizeof *records);
    if (records == NULL) {
        return false;
    }
    uint32_t place = first_of(chunk) + 1;
    for (size_t i = 0; i + 1 < count; i++) {
        records[i].next = place + (uint32_t)i + 1;
    }
    xb_prim_lock();
    if (chunk_count == chunk) {
        records[count - 1].next = unused_records;
        unused_records = place;
        chunks[chunk_count++] = records;
        records = NULL;
    }
    xb_prim_unlock();
    free(records);
    return true;
}

uint64_t xb_handles_add(const xb_record *record) {
    for (;;) {
        uint64_t id = 0;
        xb_prim_lock();
        unsigned chunk = chunk_count;
        uint32_t place = pop_record(&unused_records);
        if (place != END) {
            xb_record *added = record_at(place - 1);
            assign(added, record);
            added->place = place;
            added->generation = (added->generation + 1) & GENERATIONS;
            id = (uint64_t)added->generation << 32 | place;
        }
        xb_prim_unlock();
        if (id != 0 || !add_chunk(chunk)) {
            return id;
        }
    }
}

bool xb_handles_find(const execbuf *buffer, xb_record *record) {
    xb_prim_lock();
    const xb_record *found = record_of(buffer);
    if (found != NULL) {
        *record = *found;
    }
    xb_prim_unlock();
    return found != NULL;
}

bool xb_handles_search(uint32_t owner, const void *address, xb_record *record) {
    bool found = false;
    xb_prim_lock();
    for (unsigned chunk = 0; chunk < chunk_count && !found; chunk++) {
        for (size_t i = 0; i < (size_t)FIRST_CHUNK << chunk && !found; i++) {
            const xb_record *other = &chunks[chunk][i];
            uintptr_t offset = (uintptr_t)address - (uintptr_t)other->entry;
            bool published = other->state == XB_STATE_PUBLISHED || other->state == XB_STATE_LOST;
            if (published && other->owner == owner && offset < other->length) {
                *record = *other;
                found = true;
            }
        }
    }
    xb_prim_unlock();
    return found;
}

void xb_handles_update(const xb_record *record) {
    xb_prim_lock();
    assign(record_at(record->place - 1), record);
    xb_prim_unlock();
}

bool xb_handles_remove(const execbuf *buffer, xb_record *record) {
    xb_prim_lock();
    xb_record *found = record_of(buffer);
    if (found != NULL) {
        found->state = XB_STATE_FREED;
        *record = *found;
    }
    xb_prim_unlock();
    return found != NULL;
}

bool xb_handles_remove_parked(xb_record *record) {
    xb_prim_lock();
    uint32_t place = pop_record(&parked_records);
    if (place != END) {
        *record = *record_at(place - 1);
    }
    xb_prim_unlock();
    return place != END;
}

void xb_handles_release(const xb_record *record, bool unmapped) {
    xb_prim_lock();
    if (unmapped) {
        record_at(record->place - 1)->state = XB_STATE_UNUSED;
    }
    push_record(unmapped ? &unused_records : &parked_records, record->place);
    xb_prim_unlock();
}

void xb_unmap_or_add(void *base, size_t size) {
    if (xb_prim_release(base, size).call == NULL) {
        return;
    }
    xb_record record = {base, size, base, 0, 0, XB_STATE_RESERVED, 0, NULL, 0, 0, 0};
    execbuf handle = {base, 0, xb_handles_add(&record)};
    if (handle.id != 0 && xb_handles_remove(&handle, &record)) {
        xb_handles_release(&record, false);
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
