/* Buffers with dedicated mappings: those of execbuf_new and execbuf_reserve, and large ones of pools.
 *
 * The functions return what the functions of execbuf.h with the same names return, and have the same rules
 * for threads. Pointers are not NULL, except error, and the process's lock is not held. */
#ifndef XB_MAPPING_MAPPING_H
#define XB_MAPPING_MAPPING_H

#include "../base/compiler.h"
#include "../exec/layout.h"
#include "../exec/park.h"
#include "handles.h"

XB_PRIVATE_BEGIN

/* Options of a new mapping. */
typedef struct xb_mapping_options {
    /* The number of the arena that the buffer belongs to, or 0; and the pool, or NULL. */
    uint32_t owner;
    const void *pool;
    /* As for xb_prim_stage. */
    const xb_prim_window *window;
    /* NULL, or as in xb_record: the code of a linked buffer cannot be published or rewritten by users. */
    const xb_link *link;
    /* As in xb_record. */
    bool is_shared;
    /* The set of backends that may be used; 0: all. */
    uint32_t backends;
    /* Whether children of a fork do not get the mapping. Then the backends are those that change the
     * protection of its pages, since others would map new ones. */
    bool not_inherited;
    /* Whether the buffer is to be staged: see staged.h. Only for xb_mapping_reserve. */
    bool is_staged;
} xb_mapping_options;

/* The size of a mapping for capacity bytes of code. */
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

/* The parts of xb_mapping_publish, so that several buffers can be published or none. All that can fail is in
 * the first two.
 *
 * check   whether xb_mapping_fill would accept this length.
 * fill    makes the code executable. The buffer still counts as reserved; it may be filled again, or freed.
 * finish  makes a filled buffer a published one. Preconditions: it was filled with this length just now.
 * False, and nothing has changed, if another thread has freed it meanwhile. */
execbuf_status xb_mapping_check(const execbuf *buffer, size_t length, execbuf_error *error);
execbuf_status xb_mapping_fill(const execbuf *buffer, const void *code, size_t length, execbuf_error *error);
bool xb_mapping_finish(execbuf *buffer, size_t length, xb_record *record);

/* What publishing and staging share (staged.c).
 *
 * make_executable    fills the staged pages around the code with traps, as layout.h shows, and publishes the
 *                    pages that the code needs. On failure all pages are still staged.
 * count_published    makes the record of such pages that of a published buffer. The staged pages behind them
 *                    are given back.
 * stage_again        stages the first size bytes of a record's mapping, which are published. Pages that a
 *                    forked process may map, too, are replaced, not written. On failure nothing has changed.
 *                    keeps: whether the content matters. */
execbuf_status xb_mapping_make_executable(xb_record *record, size_t length, execbuf_error *error);
void xb_mapping_count_published(xb_record *record, size_t length);
xb_result xb_mapping_stage_again(const xb_record *record, size_t size, bool keeps);

/* Whether xb_mapping_rewrite would accept this range. */
execbuf_status xb_mapping_check_rewrite(const execbuf *buffer, size_t offset, size_t length,
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
