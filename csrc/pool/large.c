/* Buffers of a pool that have dedicated mappings. */

#include "../exec/layout.h"
#include "../mapping/mapping.h"
#include "slot.h"
#include "alloc.h"

execbuf_status xb_large_new(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                            const uint8_t *link, execbuf_error *error) {
    xb_mapping_options options = {0, NULL, NULL};
    options.owner = pool->number;
    options.near_to = pool->near_to;
    options.link = link;
    xb_record record;
    execbuf_status status = code != NULL ? xb_mapping_new(out, code, length, &options, error)
                                         : xb_mapping_reserve(out, length, &options, error);
    if (status == EXECBUF_OK && xb_handles_find(out, &record)) {
        xb_pool_lock(pool);
        pool->large_bytes += length;
        pool->large_count++;
        pool->large_size += record.size;
        xb_pool_unlock(pool);
    }
    return status;
}

/* The size of the mapping of a buffer with a dedicated mapping for so many bytes. */
static size_t large_size(size_t capacity) {
    size_t page = xb_prim_query().page_size;
    return (XB_ENTRY_OFFSET + capacity + page - 1) & ~(page - 1);
}

void xb_large_published(const xb_record *record) {
    execbuf_pool *pool = xb_registry[record->owner];
    xb_pool_lock(pool);
    pool->large_bytes -= record->capacity - record->length;
    pool->large_size -= large_size(record->capacity) - record->size;
    xb_pool_unlock(pool);
}

void xb_large_freed(const xb_record *record) {
    execbuf_pool *pool = xb_registry[record->owner];
    if (record->link != NULL) {
        pool->links->release(pool, record->link); /* the pool lives: this buffer still counts */
    }
    xb_pool_lock(pool);
    pool->large_bytes -= record->length > 0 ? record->length : record->capacity;
    pool->large_count--;
    pool->large_size -= record->size;
    xb_reclaim_unlock(pool, NULL, NULL);
}
