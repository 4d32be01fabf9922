/* A pool, and its lock. */
#ifndef XB_POOL_POOL_H
#define XB_POOL_POOL_H

#include "../base/compiler.h"
#include "../prim/lock.h"
#include "span.h"

/* A pool's linked slots, and its dedicated mappings that have a link, hold stubs: code that jumps to an
 * adapter, which many stubs share. Pools do not know what an adapter is. Its owner gives the pool this table,
 * and is told when a stub goes, so that an adapter goes with its last stub. */
typedef struct xb_pool_links {
    /* The link in a stub: the address of the adapter it jumps to.
     *
     * In: bytes:  the stub's code, where it can be read; not necessarily at entry.
     *     length: the length of the code.
     *     entry:  the address at which the stub runs. */
    const uint8_t *(*target)(const uint8_t *bytes, size_t length, const void *entry);
    /* Takes a stub from its adapter, unless it is the last one. The pool is locked. It reads the link itself,
     * so that freeing a stub takes one indirect call.
     *
     * Returns: true if other stubs still link to the adapter; false if this is the last, and nothing changed.
     * In: data: the pool's links_data; others as for target. */
    bool (*release_shared)(void *data, const uint8_t *bytes, size_t length, const void *entry);
    /* Takes one stub from an adapter, whether it is the last one or not. The pool is not locked. */
    void (*release)(execbuf_pool *pool, const uint8_t *target);
    /* Frees data, as the pool ends. No adapter is left. The pool is not locked. */
    void (*end)(void *data);
} xb_pool_links;

/* Numbers are less than this. */
#define XB_MAX_POOLS 8192U

/* An id is, from the highest bit on: XB_ID_POOL_BIT, the pool's number, the span's number in the pool, a
 * serial number of the spans that had this number, and the slot's tag. Which slot it is follows from the
 * address. Numbers and slots are not used again when they had all serial numbers and all tags. */
#define XB_SPAN_BITS 19
#define XB_SERIAL_BITS 15
#define XB_TAG_BITS 16
#define XB_SPAN_SHIFT (XB_SERIAL_BITS + XB_TAG_BITS)
#define XB_MAX_SERIALS ((uint32_t)1 << XB_SERIAL_BITS)
#define XB_MAX_SPANS ((uint32_t)1 << XB_SPAN_BITS)

/* What a span's number stands for, with all that it takes to find a slot: the spans of a large pool are not
 * in the processor's caches, but these are, so that what is needed of a span can be fetched at once. */
typedef struct xb_span_place {
    xb_span *span;
    const uint8_t *start; /* copies of what is in the span, or its region */
    ptrdiff_t distance;
    uint32_t slot_size;
    uint32_t slots; /* 0: there is no span */
    uint32_t reciprocal;
    uint32_t serial; /* of the next span */
    union {
        uint8_t *entries;
        uint32_t next_unused; /* if there is no span */
    } u;
} xb_span_place;

struct execbuf_pool {
    xb_biased_lock mutex; /* guards all below but number, near_to, name and largest */
    uint32_t number;      /* not 0 */
    struct execbuf_pool *next_unused;
    const void *near_to;
    char name[EXECBUF_POOL_NAME_MAX + 1];
    size_t largest;                      /* longer code has a dedicated mapping; a constant of the platform */
    bool given_up;                       /* by its user; what it published may still live */
    bool must_sweep;                     /* there may be frozen regions without live slots */
    uint32_t first_serial;               /* of spans */
    uint32_t serials;                    /* all that were used are less */
    xb_span *classes[XB_SIZE_CLASSES];   /* lists of spans with free slots */
    size_t class_bytes[XB_SIZE_CLASSES]; /* in spans, of regions that are not frozen */
    xb_span *quarantine;                 /* list of spans with slots in quarantine */
    size_t quarantine_size;              /* bytes in quarantine */
    xb_span_place *spans;                /* by number */
    uint32_t span_places;                /* how many spans there is room for */
    uint32_t unused_place;               /* the first of a list of places without a span, or span_places */
    xb_region *regions;                  /* list of all regions */
    xb_region *open;                     /* list of regions with free pages */
    uint32_t pause;                      /* how long the next pause is to be */
    uint32_t paused;  /* how many buffers get dedicated mappings before a region is tried again */
    size_t committed; /* of all regions */
    size_t bookkeeping;
    size_t large_count; /* buffers with dedicated mappings, the sum of their lengths, and that of their
                           mappings */
    size_t large_bytes;
    size_t large_size;
    const xb_pool_links *links; /* NULL until the first linked slot; then it does not change */
    void *links_data;
    execbuf_backend backend;
    execbuf_error why;
};

static inline void xb_pool_lock(execbuf_pool *pool) {
    xb_prim_check_fork();
    xb_lock(&pool->mutex);
}

static inline void xb_pool_unlock(execbuf_pool *pool) {
    xb_unlock(&pool->mutex);
}

#endif
