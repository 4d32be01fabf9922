/* Buffers of a pool that have pages of their own. */

#include "../exec/ladder.h"
#include "../mapping/mapping.h"
#include "slot.h"
#include "alloc.h"

execbuf_status execbuf_pool_make_own(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                                     const uint8_t *body, execbuf_error *error) {
    execbuf_pages_options options = {0, NULL, NULL};
    options.owner = pool->number;
    options.near_to = pool->near_to;
    options.body = body;
    execbuf_record record;
    execbuf_status status = code != NULL ? execbuf_pages_new(out, code, length, &options, error)
                                         : execbuf_pages_reserve(out, length, &options, error);
    if (status == EXECBUF_OK && execbuf_table_find(out, &record)) {
        execbuf_pool_lock(pool);
        pool->own_bytes += length;
        pool->own_count++;
        pool->own_size += record.size;
        execbuf_pool_unlock(pool);
    }
    return status;
}

/* The size of the mapping of a buffer with pages of its own for so many bytes. */
static size_t own_size(size_t capacity) {
    size_t page = execbuf_prim_query().page_size;
    return (EXECBUF_HEADER + capacity + page - 1) & ~(page - 1);
}

void execbuf_pool_own_published(const execbuf_record *record) {
    execbuf_pool *pool = execbuf_registry[record->owner];
    execbuf_pool_lock(pool);
    pool->own_bytes -= record->capacity - record->length;
    pool->own_size -= own_size(record->capacity) - record->size;
    execbuf_pool_unlock(pool);
}

void execbuf_pool_own_freed(const execbuf_record *record) {
    execbuf_pool *pool = execbuf_registry[record->owner];
    if (record->body != NULL) {
        execbuf_body_leave(pool, record->body); /* the pool lives: this buffer still counts */
    }
    execbuf_pool_lock(pool);
    pool->own_bytes -= record->length > 0 ? record->length : record->capacity;
    pool->own_count--;
    pool->own_size -= record->size;
    execbuf_room_unlock(pool, NULL, NULL);
}
