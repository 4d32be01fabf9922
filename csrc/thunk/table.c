/* The hash table of an arena's adapters. The arena's lock is held in every function but xb_table_size; so
 * nothing here allocates or frees. Buckets are chained lists. */

#include "table.h"

#include <string.h>

/* Code begins at multiples of this many bytes, an arena's slots being what they are: lower bits of addresses
 * say nothing. */
#define ENTRY_ALIGNMENT 16U

void xb_table_init(xb_table *table) {
    table->buckets = table->first;
    table->bucket_count = XB_FIRST_BUCKETS;
}

static xb_adapter **bucket_by_fingerprint(const xb_table *table, const xb_fingerprint *fingerprint) {
    return table->buckets + (fingerprint->hash & (table->bucket_count - 1));
}

static xb_adapter **bucket_by_entry(const xb_table *table, const void *entry) {
    size_t count = table->bucket_count;
    return table->buckets + count + ((uintptr_t)entry / ENTRY_ALIGNMENT & (count - 1));
}

/* The buckets on the heap, which the caller frees once the table does not use them any more, or NULL. */
static void *heap_buckets(const xb_table *table) {
    return table->buckets != table->first ? (void *)table->buckets : NULL;
}

xb_adapter *xb_table_find(const xb_table *table, const xb_fingerprint *fingerprint) {
    xb_adapter *adapter = *bucket_by_fingerprint(table, fingerprint);
    while (adapter != NULL && !xb_fingerprint_same(&adapter->fingerprint, fingerprint)) {
        adapter = adapter->next_of_fingerprint;
    }
    return adapter;
}

xb_adapter *xb_table_find_at(const xb_table *table, const void *entry) {
    xb_adapter *adapter = *bucket_by_entry(table, entry);
    while (adapter != NULL && adapter->code.entry != entry) {
        adapter = adapter->next_at_entry;
    }
    return adapter;
}

void xb_table_add(xb_table *table, xb_adapter *adapter) {
    xb_adapter **by_fingerprint = bucket_by_fingerprint(table, &adapter->fingerprint);
    xb_adapter **by_entry = bucket_by_entry(table, adapter->code.entry);
    adapter->next_of_fingerprint = *by_fingerprint;
    adapter->next_at_entry = *by_entry;
    *by_fingerprint = adapter;
    *by_entry = adapter;
    table->count++;
    table->adapter_bytes += xb_table_adapter_size(&adapter->fingerprint);
}

void *xb_table_remove(xb_table *table, const xb_adapter *adapter) {
    xb_adapter **link = bucket_by_fingerprint(table, &adapter->fingerprint);
    while (*link != adapter) {
        link = &(*link)->next_of_fingerprint;
    }
    *link = adapter->next_of_fingerprint;
    link = bucket_by_entry(table, adapter->code.entry);
    while (*link != adapter) {
        link = &(*link)->next_at_entry;
    }
    *link = adapter->next_at_entry;
    table->count--;
    table->adapter_bytes -= xb_table_adapter_size(&adapter->fingerprint);
    void *garbage = NULL;
    if (table->count == 0) {
        garbage = heap_buckets(table);
        xb_table_init(table);
    }
    return garbage;
}

xb_adapter *xb_table_collect(const xb_table *table) {
    xb_adapter *unused = NULL;
    for (size_t i = 0; i < table->bucket_count; i++) {
        for (xb_adapter *it = table->buckets[i]; it != NULL; it = it->next_of_fingerprint) {
            if (it->users == 0) {
                it->users = 1;
                it->next_unused = unused;
                unused = it;
            }
        }
    }
    return unused;
}

size_t xb_table_wants(const xb_table *table) {
    return table->count >= table->bucket_count ? 2 * table->bucket_count : 0;
}

size_t xb_table_size(size_t bucket_count) {
    return 2 * bucket_count * sizeof(xb_adapter *);
}

/* Takes all adapters out of their buckets.
 *
 * Returns: a list of them, linked by next_of_fingerprint. */
static xb_adapter *take_all(xb_table *table) {
    xb_adapter *all = NULL;
    for (size_t i = 0; i < table->bucket_count; i++) {
        while (table->buckets[i] != NULL) {
            xb_adapter *adapter = table->buckets[i];
            table->buckets[i] = adapter->next_of_fingerprint;
            adapter->next_of_fingerprint = all;
            all = adapter;
        }
    }
    memset((void *)table->first, 0, sizeof table->first);
    return all;
}

void *xb_table_grow(xb_table *table, void *buckets, size_t bucket_count) {
    xb_adapter *all = take_all(table);
    void *garbage = heap_buckets(table);
    table->buckets = (xb_adapter **)buckets;
    table->bucket_count = bucket_count;
    table->count = 0;
    table->adapter_bytes = 0;
    while (all != NULL) {
        xb_adapter *next = all->next_of_fingerprint;
        xb_table_add(table, all);
        all = next;
    }
    return garbage;
}

size_t xb_table_adapter_size(const xb_fingerprint *fingerprint) {
    size_t shapes = fingerprint->signature.shape_count;
    return sizeof(xb_adapter) + (shapes > 1 ? shapes - 1 : 0) * sizeof(xb_shape);
}

size_t xb_table_memory(const xb_table *table) {
    size_t buckets = heap_buckets(table) != NULL ? xb_table_size(table->bucket_count) : 0;
    return table->adapter_bytes + buckets;
}
