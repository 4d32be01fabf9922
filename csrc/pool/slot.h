/*
 * Pools: what the public functions on buffers need of them, and what a fork does to them.
 */
#ifndef XB_POOL_SLOT_H
#define XB_POOL_SLOT_H

#include "region.h"
#include "../mapping/handles.h"

/* execbuf_publish, execbuf_rewrite and execbuf_free for a buffer in a region. Pointers are not NULL, and
 * length is not 0. xb_slot_free counts a stale handle by itself. */
execbuf_status xb_slot_publish(execbuf *buffer, const void *code, size_t length, execbuf_error *error);
execbuf_status xb_slot_rewrite(const execbuf *buffer, size_t offset, const void *code, size_t length,
                               execbuf_error *error);
execbuf_status xb_slot_free(execbuf *buffer);

/* Publishes code in a pool, and frees a buffer of a pool. No argument is NULL, and length is not 0. */
execbuf_status xb_pool_put(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                           execbuf_error *error);
execbuf_status xb_pool_drop(execbuf *buffer);

/* Makes a buffer with a dedicated mapping: published, or reserved if code is NULL; linked if link
 * is not NULL. */
execbuf_status xb_large_new(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                            const uint8_t *link, execbuf_error *error);

/* Tells the pool that a buffer of its with a dedicated mapping was published, or freed. */
void xb_large_published(const xb_record *record);
void xb_large_freed(const xb_record *record);

/* Around a fork, with the lock held: takes the mutexes of all pools; freezes all regions, and gives the
 * mutexes back. */
void xb_pools_before_fork(void);
void xb_pools_after_fork(bool in_child);

/* In a child that was made without fork handlers, with the lock held: makes mutexes usable that other threads
 * may have had, and freezes all regions. */
void xb_pools_in_clone(void);

#endif
