/* Buffers with a dedicated mapping each: those of execbuf_new and execbuf_reserve, and large ones of pools.
 *
 * The functions are those of execbuf.h after the checks for NULL and for empty code: same results, same
 * rules for threads. The process's lock is not held. */
#ifndef XB_MAPPING_MAPPING_H
#define XB_MAPPING_MAPPING_H

#include "../base/compiler.h"
#include "../exec/layout.h"
#include "../exec/park.h"
#include "handles.h"

XB_PRIVATE_BEGIN

/* Where the mapping goes and whom it belongs to. */
typedef struct xb_mapping_options {
    /* The number of the pool, or 0. A pool's pages are sealed against change where the system can. */
    uint32_t owner;
    /* As for xb_prim_stage. */
    const void *near_to;
    /* Not NULL: the buffer is linked, as in xb_record. Its code cannot be changed by users. */
    const uint8_t *link;
} xb_mapping_options;

/* The size of the mapping that is reserved for this many bytes of code. */
size_t xb_mapping_size(size_t capacity);

/* Maps pages, copies code to them, publishes them and registers the handle. *out is unchanged on failure. */
execbuf_status xb_mapping_new(execbuf *out, const void *code, size_t length,
                              const xb_mapping_options *options, execbuf_error *error);

/* Maps pages and registers the handle. *out is unchanged on failure. */
execbuf_status xb_mapping_reserve(execbuf *out, size_t capacity, const xb_mapping_options *options,
                                  execbuf_error *error);

/* Publishes code in a reserved buffer.
 *
 * Out: record: what is known of the buffer after a success. */
execbuf_status xb_mapping_publish(execbuf *buffer, const void *code, size_t length, xb_record *record,
                                  execbuf_error *error);

/* Changes published code. */
execbuf_status xb_mapping_rewrite(const execbuf *buffer, size_t offset, const void *code, size_t length,
                                  execbuf_error *error);

/* Makes a handle stale and unmaps its buffer. The handle itself is unchanged.
 *
 * Returns: EXECBUF_OK or EXECBUF_E_STALE.
 * Out: record: what was known of the buffer, after a success. */
execbuf_status xb_mapping_free(const execbuf *buffer, xb_record *record);

XB_PRIVATE_END

#endif
