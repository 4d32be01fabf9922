/* A pool, and its lock. */
#ifndef XB_POOL_POOL_H
#define XB_POOL_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../prim/lock.h"
#include "../prim/prim.h"
#include "sizes.h"
#include "span.h"

XB_PRIVATE_BEGIN

struct xb_span_place; /* see index.h */

/* How a pool calls the module that uses links.
 *
 * A linked slot, and a dedicated mapping with a link, holds a stub: code that jumps to an adapter, which many
 * stubs share. A pool does not know what an adapter is. It tells its module when a stub is freed, so that an
 * adapter is freed with its last stub:
 *
 *     slot LINKED ── stub ──jumps to──▶ adapter ◀──jumps to── stub ── dedicated mapping with a link
 *                                    (code of the same pool) */
typedef struct xb_pool_links {
    /* The address of the adapter that a stub jumps to.
     *
     * In: bytes:  a copy or another view of the stub's code.
     *     length: its length.
     *     entry:  the address at which the stub runs. */
    const uint8_t *(*target)(const uint8_t *bytes, size_t length, const void *entry);
    /* Takes one stub from its adapter, unless it is the last one. The pool is locked. This does the work of
     * target, too, so that freeing a stub takes one indirect call.
     *
     * Returns: true if other stubs link to the adapter; false if it is the last one, and nothing changed.
     * In: data: links_data of the pool. The rest is as for target. */
    bool (*release_shared)(void *data, const uint8_t *bytes, size_t length, const void *entry);
    /* Takes one stub from an adapter; with the last one, the adapter is freed. The pool is not locked. */
    void (*release)(execbuf_pool *pool, const uint8_t *target);
    /* Whether an adapter begins at this address. The pool is locked. Only for adapters in slots; a dedicated
     * mapping says itself whether it is one.
     *
     * In: data: links_data of the pool. */
    bool (*is_target)(void *data, const void *entry);
    /* Frees data when the pool ends, without stubs and adapters. The pool is not locked. */
    void (*end)(void *data);
} xb_pool_links;

/* The options of a pool, checked. */
typedef struct xb_pool_options {
    xb_prim_window window;
    size_t reach;
    const char *name;  /* at most EXECBUF_POOL_NAME_MAX bytes */
    uint32_t backends; /* the set of those that may be used; 0: all */
    bool has_key;      /* whether a protection key guards its writable views: */
    uint32_t key;      /* this one, or XB_PRIM_NO_KEY */
} xb_pool_options;

struct execbuf_pool {
    /* A constant: longer code does not take the fast path of xb_pool_put. 0 if the pool has a protection key,
     * so that the fast path need not look at the key. It is read together with the lock. */
    size_t fast_limit;
    xb_biased_lock lock; /* guards all members below that are not constants */
    uint32_t number; /* constant, not 0; that of the memory, which serves several pools one after another */
    struct execbuf_pool *next_unused; /* registry.c's: in the list of pools that are not in use */

    /* Constants, set by xb_registry_add. */
    xb_prim_window window; /* where its code may lie */
    size_t reach;          /* its pieces together cover at most this many bytes; 0: any number */
    char name[EXECBUF_POOL_NAME_MAX + 1];
    uint32_t backends; /* the set of those that may be used; 0: all */
    size_t largest;    /* longer code gets a dedicated mapping */
    uint32_t key;      /* the protection key of writable views, or XB_PRIM_NO_KEY */

    bool is_freed;   /* by its user; what it published may still be alive */
    bool must_sweep; /* there may be frozen regions without live slots, which can be unmapped */

    /* Slots. */
    uint32_t first_serial;              /* of new spans (see index.h) */
    uint32_t serials;                   /* greater than all serial numbers that were used */
    xb_span *classes[XB_ALL_CLASSES];   /* by class: the list of spans with free slots */
    size_t class_bytes[XB_ALL_CLASSES]; /* by class: bytes of spans in regions that are not frozen */
    xb_span *quarantine;                /* the list of spans with slots in quarantine */
    size_t quarantine_size;             /* bytes of slots in quarantine */
    size_t quarantine_wait;             /* at that size a barrier that was refused is tried again; or 0 */
    struct xb_span_place *places;       /* by span number */
    uint32_t place_count;               /* elements of places */
    uint32_t unused_place;              /* the first place without a span; place_count: there is none */

    /* Regions. */
    xb_region *regions;      /* the list of all regions */
    xb_region *open;         /* the list of regions with free pages */
    uint32_t retry_interval; /* the last value of retry_after when a region could not be made; 0: it could */
    uint32_t retry_after;    /* how many buffers get dedicated mappings before a region is tried again */
    execbuf_backend backend; /* of the newest region */
    execbuf_error why;       /* the report of the last attempt to make a region */
    uintptr_t first_byte;    /* of the range that its pieces cover (see placement.h), if it has any */
    uintptr_t last_byte;

    /* Sizes in bytes. */
    size_t resident;    /* the sum of all regions' */
    size_t bookkeeping; /* heap memory */
    size_t large_count; /* buffers with dedicated mappings, */
    size_t large_bytes; /* the sum of their lengths, and of the capacities of reserved ones, */
    size_t large_size;  /* and of their mappings */

    /* Links. Set together when the pool gets its first adapter, then constant. */
    const xb_pool_links *links; /* or NULL */
    void *links_data;
};

/* Locks a pool, and notices if this process was made by raw clone(2). The thread holds no lock: neither the
 * process's nor another pool's. */
static inline void xb_pool_lock(execbuf_pool *pool) {
    xb_prim_check_fork();
    xb_lock(&pool->lock);
}

/* Unlocks a pool that this thread has locked. */
static inline void xb_pool_unlock(execbuf_pool *pool) {
    xb_unlock(&pool->lock);
}

XB_PRIVATE_END

#endif
