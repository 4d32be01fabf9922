/* Buffers of a pool with dedicated mappings.
 *
 * mapping/ does the work, without the pool's lock. Then the pool's counters are updated, with the lock. A new
 * buffer is counted before its handle is returned, and a freed one until its memory and its link are
 * released; so the pool is not over in between. */

#include "large.h"

#include "../base/handle.h"
#include "../mapping/mapping.h"
#include "placement.h"
#include "reclaim.h"
#include "registry.h"

/* Counts a new buffer. False if it is too far from another piece of the pool, which a thread has added in the
 * meantime. */
static bool count_new(execbuf_pool *pool, const xb_record *record) {
    xb_pool_lock(pool);
    bool is_near = xb_placement_add(pool, record->base, record->size);
    if (is_near) {
        pool->large_bytes += record->length > 0 ? record->length : record->capacity;
        pool->large_count++;
        pool->large_size += record->size;
    }
    xb_pool_unlock(pool);
    return is_near;
}

/* Makes a buffer as options say, but for those of the pool. */
static execbuf_status new_large(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                                xb_mapping_options *options, execbuf_error *error) {
    xb_prim_window window;
    xb_record record;
    options->owner = pool->number;
    options->backends = pool->backends;
    if (length > 0 && !xb_placement_allows(pool, xb_mapping_size(length))) {
        return xb_error_set(error, EXECBUF_E_TOO_FAR, XB_PRIM_TOO_FAR, 0);
    }
    for (;;) {
        options->window = xb_placement_window(pool, &window);
        execbuf_status status = code != NULL ? xb_mapping_new(out, code, length, options, error)
                                             : xb_mapping_reserve(out, length, options, error);
        if (status != EXECBUF_OK || !xb_handles_find(out, &record) || count_new(pool, &record)) {
            return status;
        }
        (void)xb_mapping_free(out, &record);
        *out = xb_no_buffer;
    }
}

execbuf_status xb_large_new(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                            const uint8_t *link, execbuf_error *error) {
    xb_mapping_options options = {0, NULL, NULL, false, 0};
    options.link = link;
    return new_large(pool, out, code, length, &options, error);
}

execbuf_status xb_large_new_shared(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                                   execbuf_error *error) {
    xb_mapping_options options = {0, NULL, NULL, true, 0};
    return new_large(pool, out, code, length, &options, error);
}

void xb_large_count_published(const xb_record *record) {
    execbuf_pool *pool = xb_registry[record->owner];
    xb_pool_lock(pool);
    pool->large_bytes -= record->capacity - record->length;
    pool->large_size -= xb_mapping_size(record->capacity) - record->size;
    xb_pool_unlock(pool);
}

void xb_large_count_freed(const xb_record *record) {
    execbuf_pool *pool = xb_registry[record->owner];
    if (record->link != NULL) {
        pool->links->release(pool, record->link); /* the pool has not ended: this buffer still counts */
    }
    xb_pool_lock(pool);
    pool->large_bytes -= record->length > 0 ? record->length : record->capacity;
    pool->large_count--;
    pool->large_size -= record->size;
    xb_reclaim_unlock(pool, NULL, NULL);
}

void xb_large_free(execbuf *buffer) {
    xb_record record;
    if (xb_mapping_free(buffer, &record) == EXECBUF_OK) {
        xb_large_count_freed(&record);
    }
    *buffer = xb_no_buffer;
}
