/* Which handles of dedicated mappings are alive.
 *
 * A handle is a plain value, which users may copy, keep too long or overwrite. It is looked up here before
 * the memory that it names is used, and accepted only if its record agrees. A record is reused for later
 * buffers; the generation in the id tells their handles apart. A record whose generations are used up is not
 * reused, so a stale handle is refused for ever.
 *
 * All functions but xb_handles_search take the process's lock themselves, and do not hold it during system
 * calls and allocations. */
#ifndef XB_MAPPING_HANDLES_H
#define XB_MAPPING_HANDLES_H

#include "../base/compiler.h"
#include "../base/handle.h"
#include "../prim/prim.h"

XB_PRIVATE_BEGIN

typedef enum xb_state {
    XB_STATE_UNUSED,    /* no buffer yet: the record is free or claimed */
    XB_STATE_RESERVED,  /* staged pages, nothing published, or filled: see is_filled */
    XB_STATE_STAGED,    /* staged pages that the user writes */
    XB_STATE_PUBLISHED, /* published pages up to the end of the code */
    XB_STATE_LOST,      /* a failed rewrite left pages staged */
    XB_STATE_FREED      /* the buffer is freed, but its mapping may not be unmapped yet */
} xb_state;

/* What the code of a linked buffer, a stub, refers to. */
typedef struct xb_link {
    const uint8_t *adapter; /* it jumps there; NULL: there is no link */
    const void *operand;    /* the address that it loads before */
} xb_link;

/* What is known of a buffer. The functions below copy it, so other threads do not change a caller's record.
 */
typedef struct xb_record {
    void *base;        /* its mapping */
    size_t size;       /* the mapping's size */
    size_t trimmed;    /* how much of it the last publishing gave back */
    const void *entry; /* where its code begins */
    size_t capacity;   /* the largest length that may be published */
    size_t length;     /* the length that is published */
    xb_state state;
    uint32_t owner;     /* the number of the arena that it belongs to, or 0, */
    const void *pool;   /* and the pool, or NULL */
    xb_link link;       /* if the buffer is linked */
    bool is_shared;     /* it is code that thunks share, and no buffer of a user */
    bool is_private;    /* as in xb_rewrite */
    bool not_inherited; /* as in xb_rewrite */
    bool is_lost;       /* this process is a child that did not get the mapping; the base is NULL if other
                         * memory may be there */
    uint32_t backends;  /* as in xb_rewrite */
    uint32_t place;     /* which record this is; set by xb_handles_claim */
    bool is_filled;     /* it is reserved, and its first pages are executable: see xb_mapping_fill */
} xb_record;

/* Takes a free record for a new buffer. This is done before the buffer is mapped, because it may have to
 * allocate; registering and parking the mapping then cannot fail.
 *
 * The caller then calls one of xb_handles_add, xb_handles_release and, if nothing is mapped,
 * xb_handles_cancel.
 * Returns: true, or false if there is no memory for a record.
 * Out: record: its place; the rest is unchanged. */
bool xb_handles_claim(xb_record *record);

/* Makes a claimed record free again. */
void xb_handles_cancel(const xb_record *record);

/* Registers a buffer in a claimed record.
 *
 * Returns: the id of its handle, which is not 0 and does not have XB_ID_POOL_BIT.
 * In: record: the buffer, RESERVED, STAGED or PUBLISHED, with the place that was claimed. */
uint64_t xb_handles_add(const xb_record *record);

/* Looks a handle up.
 *
 * Returns: whether it names a live buffer.
 * Out: record: the buffer's record; unchanged if there is none. */
bool xb_handles_find(const execbuf *buffer, xb_record *record);

/* xb_handles_find for a caller that holds the process's lock. */
bool xb_handles_look(const execbuf *buffer, xb_record *record);

/* Changes the record of a live buffer.
 *
 * In: record: from xb_handles_find, with new values. */
void xb_handles_update(const xb_record *record);

/* Makes every copy of a handle stale. The caller then calls xb_handles_release.
 *
 * Returns and Out as for xb_handles_find: if two threads remove one buffer, exactly one gets true. */
bool xb_handles_remove(const execbuf *buffer, xb_record *record);

/* Unmaps the mapping of a claimed or removed record, now or, if the system refuses, during a later call. Then
 * the record is free again.
 *
 * In: record: its base, size and place. */
void xb_handles_release(const xb_record *record);

/* What a search finds. */
typedef struct xb_handles_found {
    execbuf buffer;   /* a copy of the handle */
    const void *pool; /* as in xb_record */
    bool is_shared;   /* as in xb_record */
} xb_handles_found;

/* Finds the published buffer that contains an address, by a linear search of all records. It takes no lock,
 * and makes no system call, so a signal handler may call it, whatever it interrupted.
 *
 * Returns: whether there is one. If it is published or freed meanwhile, either answer is possible.
 * Out: found: the buffer; unchanged if there is none. */
bool xb_handles_search(const void *address, xb_handles_found *found);

/* Adds 1 to the number of handles that were refused because they named no live buffer. */
void xb_handles_count_stale(void);

/* That number since the process started. */
uint64_t xb_handles_stale_count(void);

/* Marks the mappings that a child of a fork did not get as lost, and takes their addresses. Searches do not
 * find them any more. In the child, before it has other threads; the process's lock is held. */
void xb_handles_in_child(void);

/* Frees all records, also those of live buffers. Nothing here may be called afterwards. */
void xb_handles_free_all(void);

XB_PRIVATE_END

#endif
