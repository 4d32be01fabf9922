/* An arena: the part of a pool that one thread publishes in, and its lock.
 *
 *     execbuf_pool ──┬── arena of thread 1: regions ── spans ── slots
 *                    ├── arena of thread 2
 *                    └── arena without a thread: the next thread that publishes takes it over
 *
 * A thread that publishes in a pool gets an arena there, and becomes the owner of the arena's biased lock. So
 * threads do not wait for each other. Arenas share nothing but the options of their pool, and the range of
 * addresses that they cover if the pool has a reach. A buffer names its arena in its id.
 *
 * Where no lock has an owner (see lock.h), a pool has one arena for all threads. */
#ifndef XB_POOL_ARENA_H
#define XB_POOL_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../mapping/handles.h"
#include "../prim/lock.h"
#include "../prim/prim.h"
#include "fork.h"
#include "sizes.h"
#include "span.h"

XB_PRIVATE_BEGIN

struct xb_span_place; /* see index.h */
typedef struct xb_arena xb_arena;

/* How an arena calls the module that uses links.
 *
 * A linked slot, and a dedicated mapping with a link, holds a stub: code that jumps to an adapter, which many
 * stubs share. An arena does not know what an adapter is. It tells its module when a stub is freed, so that
 * an adapter is freed with its last stub:
 *
 *     slot LINKED ── stub ──jumps to──▶ adapter ◀──jumps to── stub ── dedicated mapping with a link
 *                                    (code of the same arena) */
typedef struct xb_arena_links {
    /* What a stub refers to.
     *
     * In: bytes:  a copy or another view of the stub's code.
     *     length: its length.
     *     entry:  the address at which the stub runs. */
    xb_link (*target)(const uint8_t *bytes, size_t length, const void *entry);
    /* As release, if the arena can stay locked. This does the work of target, too, so that freeing a stub
     * takes one indirect call.
     *
     * Returns: true if that is done; false, and nothing has changed, if it is the last stub, or more has to
     *          be done that needs the arena unlocked.
     * In: data: links_data of the arena. The rest is as for target. */
    bool (*release_shared)(void *data, const uint8_t *bytes, size_t length, const void *entry);
    /* Ends what a stub refers to: takes it from its adapter, which is freed with the last one. The arena is
     * not locked. */
    void (*release)(xb_arena *arena, const xb_link *link);
    /* When the pool is freed: what no stub links to goes, too. collect, with the arena locked, finds it; the
     * arena does not end before drop. drop, with the arena not locked, frees it.
     *
     * Returns: of collect, what drop gets; NULL: there is nothing to drop. */
    void *(*collect)(void *data);
    void (*drop)(xb_arena *arena, void *collected);
    /* Frees data when the arena ends, without stubs and adapters. The arena is not locked. */
    void (*end)(void *data);
} xb_arena_links;

/* The greatest guests_shift. */
#define XB_GUESTS_SHIFT 20U

struct xb_arena {
    xb_biased_lock lock; /* guards all members below that are not constants */
    /* A constant: longer code does not take the fast path of xb_pool_put. 0 if the pool has a protection key,
     * so that the fast path need not look at the key. It is read together with the lock. */
    size_t fast_limit;
    uint32_t number; /* constant, not 0; that of the memory, which serves several arenas one after another */
    /* The thread that alone may own the lock, because it may be taking it as an owner right now, although it
     * has none; or XB_NO_OWNER: any may. The process's lock guards it. See registry.c. */
    uintptr_t reserved_for;
    struct xb_arena *next_unused; /* registry.c's: in a list of arenas that are not in use */
    struct xb_arena *next_list;   /* registry.c's: the first arena of the next such list */

    /* Constants, set by xb_registry_add. */
    execbuf_pool *pool;    /* of which it is a part; NULL if it is not in use */
    size_t largest;        /* longer code gets a dedicated mapping */
    uint32_t key;          /* the protection key of writable views, or XB_PRIM_NO_KEY */
    struct xb_arena *next; /* in the list of the pool's arenas */

    uint32_t leaving; /* threads that are taking regions out of the pool's range of addresses */
    bool is_freed;    /* with its pool; what it published may still be alive */
    bool must_sweep;  /* there may be shared regions without live slots, which can be unmapped */

    /* Slots. */
    uint32_t first_serial;              /* of new spans (see index.h) */
    uint32_t serials;                   /* greater than all serial numbers that were used */
    xb_span *classes[XB_ALL_CLASSES];   /* by class: the list of spans with free slots */
    size_t class_bytes[XB_ALL_CLASSES]; /* by class: bytes of spans in regions that are not shared */
    xb_span *quarantine;                /* the list of spans with slots in quarantine */
    size_t quarantine_size;             /* bytes of slots in quarantine */
    xb_span *guest_spans;               /* the list of spans in which guests have freed slots */
    uint32_t guests_shift;              /* see xb_reclaim_is_overdue: of a limit of 2^this bytes */
    uint64_t shrink_credit;             /* see XB_SHRINK_PRICE */
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

    /* Counters, so that statistics need no walk. Sizes in bytes. */
    size_t live;                             /* taken slots in all regions */
    size_t region_count;                     /* regions, */
    uint32_t shared_count[XB_MOST_FAMILIES]; /* and by family those that are shared */
    size_t mapped;                           /* the sum of all regions' sizes */
    size_t resident;                         /* the sum of all regions' */
    size_t bookkeeping;                      /* heap memory */
    size_t large_count;                      /* buffers with dedicated mappings, */
    size_t large_bytes; /* the sum of their lengths, and of the capacities of reserved ones, */
    size_t large_size;  /* and of their mappings */

    /* Links. Set together when the arena gets its first adapter, then constant. */
    const xb_arena_links *links; /* or NULL */
    void *links_data;
};

/* Locks an arena, and notices if this process was made by raw clone(2). The thread holds no lock: neither the
 * process's nor another arena's. */
static inline void xb_arena_lock(xb_arena *arena) {
    xb_prim_check_fork();
    xb_lock(&arena->lock);
}

/* As xb_arena_lock, and excludes guests: to be used by who changes what they read, or takes over what they
 * freed. This may need a system call. */
static inline void xb_arena_lock_alone(xb_arena *arena) {
    xb_prim_check_fork();
    xb_lock_slow(&arena->lock);
}

/* Unlocks an arena that this thread has locked. */
static inline void xb_arena_unlock(xb_arena *arena) {
    xb_unlock(&arena->lock);
}

XB_PRIVATE_END

#endif
