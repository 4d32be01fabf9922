/*
 * The list of all pools: finds a pool by the number that is in its handles' ids.
 *
 * A pool's memory is never given back, but used for another pool: so what a stale handle names can always be locked,
 * and looked at.
 */
#ifndef EXECBUF_REGISTRY_H
#define EXECBUF_REGISTRY_H

#include "span.h"

/* Numbers are less than this. */
#define EXECBUF_MOST_POOLS 65536U

struct execbuf_pool {
    execbuf_prim_mutex mutex; /* guards all below but number, near_to, name and the constants */
    uint32_t number;          /* not 0 */
    struct execbuf_pool *next_unused;
    const void *near_to;
    char name[EXECBUF_POOL_NAME_MAX + 1];
    bool fresh_needs_barrier; /* constants of the platform */
    size_t largest;           /* longer code has pages of its own */
    bool given_up;            /* by its user; what it published may still live */
    bool must_sweep;          /* there may be frozen regions without live slots */
    uint32_t serial;          /* counts spans */
    execbuf_span *classes[EXECBUF_CLASSES]; /* lists of spans with free slots */
    size_t class_bytes[EXECBUF_CLASSES];    /* in spans, of regions that are not frozen */
    execbuf_span *limbo;                    /* list of spans with slots in limbo */
    size_t limbo_size;                      /* bytes in limbo */
    execbuf_region **regions;               /* by number; NULL: none of that number */
    uint32_t region_places;
    execbuf_region *open; /* list of regions with free pages */
    uint32_t pause;       /* how long the next pause is to be */
    uint32_t paused;      /* how many buffers get pages of their own before a region is tried again */
    size_t live;          /* statistics from here on, as in execbuf.h */
    size_t bytes;
    size_t committed; /* of regions */
    size_t reserved;
    size_t bookkeeping;
    size_t region_count;
    size_t frozen_count;
    size_t own_count; /* buffers with pages of their own, and the size of their mappings */
    size_t own_size;
    execbuf_backend backend;
    execbuf_error why;
};

/* A pool with a number and a mutex, the rest zero but for serial; NULL if there is no memory, or no number left. */
execbuf_pool *execbuf_registry_add(void);

/* Keeps the memory of a pool that has nothing any more for another one. */
void execbuf_registry_remove(execbuf_pool *pool);

/* The pool of a number, or NULL. It may be one that was given up, or that is not in use. */
execbuf_pool *execbuf_registry_pool(uint32_t number);

/* How many numbers are in use: those from 1 on. With the process's lock. */
uint32_t execbuf_registry_count(void);

#endif
