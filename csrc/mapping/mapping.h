/*
 * Buffers with dedicated mappings. The functions are those of execbuf.h, after their arguments were looked at
 * for NULL.
 */
#ifndef XB_MAPPING_MAPPING_H
#define XB_MAPPING_MAPPING_H

#include "handles.h"

/* Where pages go and whom they belong to. */
typedef struct xb_mapping_options {
    /* The number of the pool, or 0. A pool's pages are sealed against change where the system can. */
    uint32_t owner;
    /* As for xb_prim_stage. */
    const void *near_to;
    /* Of a stub: the address it jumps to; else NULL. */
    const uint8_t *link;
} xb_mapping_options;

execbuf_status xb_mapping_new(execbuf *out, const void *code, size_t length,
                              const xb_mapping_options *options, execbuf_error *error);
execbuf_status xb_mapping_reserve(execbuf *out, size_t capacity, const xb_mapping_options *options,
                                  execbuf_error *error);
execbuf_status xb_mapping_publish(execbuf *buffer, const void *code, size_t length, xb_record *record,
                                  execbuf_error *error);
execbuf_status xb_mapping_rewrite(execbuf *buffer, size_t offset, const void *code, size_t length,
                                  execbuf_error *error);

/* Out: record: what was known of the buffer. That of xb_mapping_publish is what is known now. */
execbuf_status xb_mapping_free(execbuf *buffer, xb_record *record);

/* What is to be unmapped and could not be is tried anew by this. */
void xb_unmap_parked(void);

#endif
