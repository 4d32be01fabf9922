/* Which handles of dedicated mappings are alive.
 *
 * A handle is a plain value that users copy, keep too long or overwrite. It is looked up here before the
 * memory that it names is touched, and believed only if its record agrees. A record is used for one buffer
 * after the other; the generation in the id tells them apart.
 *
 * All functions take the process's lock themselves. None makes a system call or allocates while it holds the
 * lock. */
#ifndef XB_MAPPING_HANDLES_H
#define XB_MAPPING_HANDLES_H

#include "../base/compiler.h"
#include "../base/handle.h"
#include "../prim/prim.h"

XB_PRIVATE_BEGIN

typedef enum xb_state {
    XB_STATE_UNUSED,    /* no buffer: free, or claimed for one that is not live yet */
    XB_STATE_RESERVED,  /* staged pages, nothing published */
    XB_STATE_PUBLISHED, /* published pages up to the end of the code */
    XB_STATE_LOST,      /* a failed rewrite left pages staged */
    XB_STATE_FREED      /* no buffer any more, but its mapping is not unmapped yet */
} xb_state;

/* What is known of a buffer. Callers have a copy, which other threads do not change. */
typedef struct xb_record {
    void *base;        /* its mapping */
    size_t size;       /* the mapping's size */
    const void *entry; /* where its code begins */
    size_t capacity;   /* the largest length that may be published */
    size_t length;     /* the length that is published */
    xb_state state;
    uint32_t owner;      /* the number of the pool that it belongs to, or 0 */
    const uint8_t *link; /* of a linked buffer: the address that its owner has to be told, or NULL */
    uint32_t place;      /* where the record is; set by xb_handles_claim */
} xb_record;

/* Takes an unused record for a new buffer. Done before anything is mapped, so that whatever is mapped can be
 * registered, and parked, without an allocation.
 *
 * The caller ends with exactly one of xb_handles_add, xb_handles_cancel (if nothing is mapped) and
 * xb_handles_retire.
 * Returns: whether there is memory for one.
 * Out: record: its place; the rest is unchanged. */
bool xb_handles_claim(xb_record *record);

/* Gives a claimed record back. */
void xb_handles_cancel(const xb_record *record);

/* Makes a claimed record that of a live buffer.
 *
 * Returns: the id of the buffer's handle. It is not 0 and does not have XB_ID_POOL_BIT.
 * In: record: what is known of the buffer, which is RESERVED or PUBLISHED. */
uint64_t xb_handles_add(const xb_record *record);

/* Looks a handle up.
 *
 * Returns: whether it is that of a live buffer.
 * Out: record: what is known of the buffer; unchanged if there is none. */
bool xb_handles_find(const execbuf *buffer, xb_record *record);

/* Changes what is known of a live buffer.
 *
 * In: record: from xb_handles_find, with new values. */
void xb_handles_update(const xb_record *record);

/* Makes every copy of a handle stale. The caller then calls xb_handles_retire.
 *
 * Returns and Out as for xb_handles_find: if two threads remove one buffer, exactly one gets true. */
bool xb_handles_remove(const execbuf *buffer, xb_record *record);

/* Unmaps the mapping of a record that was claimed or removed, now or, if the system refuses, in a later call.
 * Then the record is unused.
 *
 * In: record: its base, size and place. */
void xb_handles_retire(const xb_record *record);

/* Looks for the published buffer of a pool that contains an address. Takes time in proportion to the number
 * of records.
 *
 * Returns: whether there is one.
 * In:  owner:   the pool's number.
 *      address: the address.
 * Out: record:  what is known of the buffer; unchanged if there is none. */
bool xb_handles_search(uint32_t owner, const void *address, xb_record *record);

/* Counts a handle that named no live buffer. */
void xb_handles_count_stale(void);

/* How many there were since the program started. */
uint64_t xb_handles_stale_count(void);

XB_PRIVATE_END

#endif
