/*
 * The table of live buffers. It stands between a handle, which users copy and keep too long, and the
 * memory: a handle is believed only if its record agrees.
 *
 * All functions take the process's lock for themselves, and none makes a system call while it has it.
 */
#ifndef EXECBUF_TABLE_H
#define EXECBUF_TABLE_H

#include "../prim/prim.h"

typedef enum execbuf_state {
    EXECBUF_STATE_UNUSED,    /* no buffer */
    EXECBUF_STATE_RESERVED,  /* staged pages, nothing published */
    EXECBUF_STATE_PUBLISHED, /* committed pages up to the end of the code */
    EXECBUF_STATE_LOST,      /* a failed rewrite left pages staged */
    EXECBUF_STATE_FREED      /* no buffer any more, but its mapping is not unmapped yet */
} execbuf_state;

/* What is known of a buffer. */
typedef struct execbuf_record {
    void *base;        /* its mapping */
    size_t size;       /* the mapping's size */
    const void *entry; /* where its code begins */
    size_t capacity;   /* the largest length that may be published */
    size_t length;     /* the length that is published */
    execbuf_state state;
    uint32_t owner;      /* the number of the pool that it belongs to, or 0 */
    const uint8_t *body; /* of a thunk, whose leaf this is; or NULL */
    uint32_t place;      /* the record's index + 1; the table's own, like all that follows */
    uint32_t generation; /* counts the buffers that this record has described */
    uint32_t next;       /* the place of the next record in a list */
} execbuf_record;

/* Of all the ids that this table gives, none has this bit. */
#define EXECBUF_ID_OF_POOL ((uint64_t)1 << 63)

/* Enters a buffer.
 *
 * Returns: its id, or 0 if there is no memory for a record.
 * In:  record: what is known of it, RESERVED or PUBLISHED. */
uint64_t execbuf_table_add(const execbuf_record *record);

/* Looks a buffer up.
 *
 * Returns: whether the handle is that of a live buffer.
 * In:  buffer: the handle.
 * Out: record: what is known of it. */
bool execbuf_table_find(const execbuf *buffer, execbuf_record *record);

/* Changes what is known of a live buffer.
 *
 * In: record: from execbuf_table_find, with new values. */
void execbuf_table_update(const execbuf_record *record);

/* Makes every handle of a buffer stale. The caller then tries to unmap its memory and calls
 * execbuf_table_retire.
 *
 * Returns and Out as for execbuf_table_find: of two threads that remove one buffer, one gets true. */
bool execbuf_table_remove(const execbuf *buffer, execbuf_record *record);

/* Looks for the published buffer of a pool that contains an address. Takes time in proportion to the number
 * of records.
 *
 * Returns: whether there is one.
 * In:  owner:   the pool's number.
 *      address: the address.
 * Out: record:  what is known of the buffer. */
bool execbuf_table_search(uint32_t owner, const void *address, execbuf_record *record);

/* Takes out a mapping that an earlier execbuf_table_retire could only put aside. The caller goes on as after
 * execbuf_table_remove.
 *
 * Returns: whether there was one.
 * Out: record: its base and size. */
bool execbuf_table_remove_parked(execbuf_record *record);

/* Unmaps a mapping that no record describes; one that the system would not unmap is put aside as below. */
void execbuf_table_unmap(void *base, size_t size);

/* Ends what execbuf_table_remove and execbuf_table_remove_parked began: the record may be used again, or, if
 * the system would not unmap the mapping, is put aside until somebody tries anew. */
void execbuf_table_retire(const execbuf_record *record, bool unmapped);

/* Counts a handle that named no live buffer, and says how many there were. */
void execbuf_table_count_stale(void);
uint64_t execbuf_table_stale_count(void);

#endif
