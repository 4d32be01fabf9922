/* The adapters of an arena, as a hash table with two keys: the fingerprint, to find the adapter for a new
 * stub, and the address of the code, to find the adapter of a stub that goes. No locks: the arena's guards
 * it. */
#ifndef XB_THUNK_TABLE_H
#define XB_THUNK_TABLE_H

#include <stddef.h>

#include "../base/compiler.h"
#include "../debug/announce.h"
#include "../include/execbuf.h"
#include "fingerprint.h"

/* An adapter. It lives as long as it has users, or longer: see xb_adapter_release. */
typedef struct xb_adapter {
    struct xb_adapter *next_of_fingerprint; /* in a bucket */
    struct xb_adapter *next_at_entry;       /* in a bucket */
    struct xb_adapter *next_unused;         /* in a list of those without users: see xb_table_collect */
    xb_fingerprint fingerprint;
    execbuf code; /* a buffer of the arena */
    size_t users; /* stubs, callers of execbuf_call, and threads that are about to make a stub */
    xb_announcement announcement;
    xb_shape shapes[1]; /* of the fingerprint: as many as it has, but at least one */
} xb_adapter;

#define XB_FIRST_BUCKETS 16U

/* Both keys have the same number of buckets; those of the second key lie behind those of the first:
 *
 *     index    0 ... n-1                n ... 2n-1
 *              by fingerprint           by address
 *
 * The first buckets are in the table itself, so that a table stays where it is. */
typedef struct xb_table {
    xb_adapter **buckets; /* first, or memory on the heap */
    size_t bucket_count;  /* of each key, a power of two */
    size_t count;         /* of adapters */
    size_t adapter_bytes; /* that they take on the heap */
    xb_adapter *first[2 * XB_FIRST_BUCKETS];
} xb_table;

XB_PRIVATE_BEGIN

/* Makes an empty table of zeroed memory. */
void xb_table_init(xb_table *table);

/* The adapter with this fingerprint, or NULL. */
xb_adapter *xb_table_find(const xb_table *table, const xb_fingerprint *fingerprint);

/* The adapter whose code begins at entry, or NULL. */
xb_adapter *xb_table_find_at(const xb_table *table, const void *entry);

/* Adds an adapter, which is not in the table. */
void xb_table_add(xb_table *table, xb_adapter *adapter);

/* Takes an adapter out, which is in the table.
 *
 * Returns: memory that the caller frees when the arena is unlocked, or NULL. */
void *xb_table_remove(xb_table *table, const xb_adapter *adapter);

/* Gives each adapter without users one. They stay in the table.
 *
 * Returns: a list of them, by next_unused. */
xb_adapter *xb_table_collect(const xb_table *table);

/* How many buckets each key should have, if it should have more than now; else 0. */
size_t xb_table_wants(const xb_table *table);

/* The size of both keys' buckets, in bytes. */
size_t xb_table_size(size_t bucket_count);

/* Moves all adapters into new buckets.
 *
 * Returns: memory that the caller frees when the arena is unlocked, or NULL.
 * In: buckets:      zeroed memory of xb_table_size(bucket_count) bytes, which is the table's from now on.
 *     bucket_count: from xb_table_wants. */
void *xb_table_grow(xb_table *table, void *buckets, size_t bucket_count);

/* How many bytes on the heap an adapter with this fingerprint takes. */
size_t xb_table_adapter_size(const xb_fingerprint *fingerprint);

/* How many bytes on the heap the table and its adapters take. */
size_t xb_table_memory(const xb_table *table);

XB_PRIVATE_END

#endif
