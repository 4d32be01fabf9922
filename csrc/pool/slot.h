/*
 * Pools: what the public functions on buffers need of them, and what a fork does to them.
 */
#ifndef EXECBUF_POOL_H
#define EXECBUF_POOL_H

#include "region.h"
#include "../mapping/handles.h"

/* execbuf_publish, execbuf_rewrite and execbuf_free for a buffer in a region. Pointers are not NULL, and
 * length is not 0. execbuf_pool_release counts a stale handle by itself. */
execbuf_status execbuf_pool_fill(execbuf *buffer, const void *code, size_t length, execbuf_error *error);
execbuf_status execbuf_pool_rewrite(const execbuf *buffer, size_t offset, const void *code, size_t length,
                                    execbuf_error *error);
execbuf_status execbuf_pool_release(execbuf *buffer);

/* Makes a buffer with pages of its own: published, or reserved if code is NULL; of a thunk if there is a
 * body. */
execbuf_status execbuf_pool_make_own(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                                     const uint8_t *body, execbuf_error *error);

/* Tells the pool that a buffer of its with pages of its own was published, or freed. */
void execbuf_pool_own_published(const execbuf_record *record);
void execbuf_pool_own_freed(const execbuf_record *record);

/* Around a fork, with the lock held: takes the mutexes of all pools; freezes all regions, and gives the
 * mutexes back. */
void execbuf_pools_before_fork(void);
void execbuf_pools_after_fork(bool in_child);

/* In a child that was made without fork handlers, with the lock held: makes mutexes usable that other threads
 * may have had, and freezes all regions. */
void execbuf_pools_in_clone(void);

#endif
