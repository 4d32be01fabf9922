/*
 * Buffers with pages of their own. The functions are those of execbuf.h, after their arguments were looked at
 * for NULL.
 */
#ifndef EXECBUF_PAGES_H
#define EXECBUF_PAGES_H

#include "handles.h"

/* Where pages go and whom they belong to. */
typedef struct execbuf_pages_options {
    /* The number of the pool, or 0. A pool's pages are sealed against change where the system can. */
    uint32_t owner;
    /* As for execbuf_prim_stage. */
    const void *near_to;
    /* The body of a thunk, whose leaf is published, or NULL. */
    const uint8_t *body;
} execbuf_pages_options;

execbuf_status execbuf_pages_new(execbuf *out, const void *code, size_t length,
                                 const execbuf_pages_options *options, execbuf_error *error);
execbuf_status execbuf_pages_reserve(execbuf *out, size_t capacity, const execbuf_pages_options *options,
                                     execbuf_error *error);
execbuf_status execbuf_pages_publish(execbuf *buffer, const void *code, size_t length, execbuf_record *record,
                                     execbuf_error *error);
execbuf_status execbuf_pages_rewrite(execbuf *buffer, size_t offset, const void *code, size_t length,
                                     execbuf_error *error);

/* Out: record: what was known of the buffer. That of execbuf_pages_publish is what is known now. */
execbuf_status execbuf_pages_free(execbuf *buffer, execbuf_record *record);

/* What is to be unmapped and could not be is tried anew by this. */
void execbuf_pages_retry(void);

#endif
