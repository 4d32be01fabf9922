/*
 * The table of live buffers. It stands between a handle, which users copy and keep too long, and the
 * memory: a handle is believed only if its record agrees.
 *
 * All functions take the process's lock for themselves, and none makes a system call while it has it.
 */
#ifndef XB_MAPPING_HANDLES_H
#define XB_MAPPING_HANDLES_H

#include "../prim/prim.h"

typedef enum xb_state {
    XB_STATE_UNUSED,    /* no buffer */
    XB_STATE_RESERVED,  /* staged pages, nothing published */
    XB_STATE_PUBLISHED, /* committed pages up to the end of the code */
    XB_STATE_LOST,      /* a failed rewrite left pages staged */
    XB_STATE_FREED      /* no buffer any more, but its mapping is not unmapped yet */
} xb_state;

/* What is known of a buffer. */
typedef struct xb_record {
    void *base;        /* its mapping */
    size_t size;       /* the mapping's size */
    const void *entry; /* where its code begins */
    size_t capacity;   /* the largest length that may be published */
    size_t length;     /* the length that is published */
    xb_state state;
    uint32_t owner;      /* the number of the pool that it belongs to, or 0 */
    const uint8_t *link; /* of a stub: the address it jumps to; else NULL */
    uint32_t place;      /* the record's index + 1; the table's own, like all that follows */
    uint32_t generation; /* counts the buffers that this record has described */
    uint32_t next;       /* the place of the next record in a list */
} xb_record;

/* Of all the ids that this table gives, none has this bit. */
#define XB_ID_POOL_BIT ((uint64_t)1 << 63)

/* The handle of no buffer. */
static const execbuf xb_no_buffer = {NULL, 0, 0};

/* Enters a buffer.
 *
 * Returns: its id, or 0 if there is no memory for a record.
 * In:  record: what is known of it, RESERVED or PUBLISHED. */
uint64_t xb_handles_add(const xb_record *record);

/* Looks a buffer up.
 *
 * Returns: whether the handle is that of a live buffer.
 * In:  buffer: the handle.
 * Out: record: what is known of it. */
bool xb_handles_find(const execbuf *buffer, xb_record *record);

/* Changes what is known of a live buffer.
 *
 * In: record: from xb_handles_find, with new values. */
void xb_handles_update(const xb_record *record);

/* Makes every handle of a buffer stale. The caller then tries to unmap its memory and calls
 * xb_handles_release.
 *
 * Returns and Out as for xb_handles_find: of two threads that remove one buffer, one gets true. */
bool xb_handles_remove(const execbuf *buffer, xb_record *record);

/* Looks for the published buffer of a pool that contains an address. Takes time in proportion to the number
 * of records.
 *
 * Returns: whether there is one.
 * In:  owner:   the pool's number.
 *      address: the address.
 * Out: record:  what is known of the buffer. */
bool xb_handles_search(uint32_t owner, const void *address, xb_record *record);

/* Takes out a mapping that an earlier xb_handles_release could only put aside. The caller goes on as after
 * xb_handles_remove.
 *
 * Returns: whether there was one.
 * Out: record: its base and size. */
bool xb_handles_remove_parked(xb_record *record);

/* Unmaps a mapping that no record describes; one that the system would not unmap is put aside as below. */
void xb_unmap_or_add(void *base, size_t size);

/* Ends what xb_handles_remove and xb_handles_remove_parked began: the record may be used again, or, if
 * the system would not unmap the mapping, is put aside until somebody tries anew. */
void xb_handles_release(const xb_record *record, bool unmapped);

/* Counts a handle that named no live buffer, and says how many there were. */
void xb_handles_count_stale(void);
uint64_t xb_handles_stale_count(void);

#endif
