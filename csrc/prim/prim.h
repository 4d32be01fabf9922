/*
 * The platform contract: what execbuf asks of an operating system, and nothing else. Portable code
 * includes this header and no system header; prim.c picks the one file that implements it.
 *
 * Said once for all functions:
 *
 * - Addresses called base and sizes are multiples of the page size, sizes are not 0, and a range lies
 *   within one mapping that execbuf_prim_stage returned, unless the function says otherwise.
 * - A function that fails has changed nothing, and says which system call failed and with what code.
 * - Pages have one of two states. Staged pages are private, hold zeros or what was written, and can be
 *   written but not executed. Committed pages can be read and executed but not written. There is no
 *   third state and no moment in between.
 * - No function takes a lock but execbuf_prim_lock, and none calls back.
 */
#ifndef EXECBUF_PRIM_H
#define EXECBUF_PRIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../include/execbuf.h"

/* What a system call said. call is NULL for success, else the name of the call that failed; code is the
 * system's error code, or 0 where it gave none. */
typedef struct execbuf_prim_result {
    const char *call;
    int32_t code;
} execbuf_prim_result;

/* Facts about the platform. */
typedef struct execbuf_prim_info {
    /* In bytes, a power of two. Protection changes in units of it. */
    size_t page_size;
    /* True: execbuf_prim_replace works and execbuf_prim_reopen does not. False: the other way round. */
    bool can_replace;
    /* The backends that execbuf_prim_commit knows, in the order to try them. None: unsupported. */
    size_t backend_count;
    execbuf_backend backends[EXECBUF_MAX_ATTEMPTS];
} execbuf_prim_info;

/* The facts. Cheap enough to ask for each time; makes no system call on Unix. */
execbuf_prim_info execbuf_prim_query(void);

/* Looks for a property of the process that makes W^X impossible. It may cost a system call.
 *
 * Returns: EXECBUF_OK, or the status that names the property, with *result filled. */
execbuf_status execbuf_prim_check_process(execbuf_prim_result *result);

/* Whether the system says of a backend, without its being tried, that it would refuse it. A refusal is
 * often also a line in an audit log, so ask first. It may cost a system call. */
execbuf_prim_result execbuf_prim_check_backend(execbuf_backend backend);

/* Whether the code of a failed call means that something ran out, rather than that it was forbidden. */
bool execbuf_prim_is_exhaustion(int32_t code);

/* The system's name for an error code, such as "EACCES", or NULL if it is none of the usual ones. */
const char *execbuf_prim_error_name(int32_t code);

/* Maps size bytes of staged pages at an address of the system's choice. */
execbuf_prim_result execbuf_prim_stage(size_t size, void **base);

/* Gets staged pages ready to be written by the calling thread, which then writes them and calls
 * execbuf_prim_commit; between the two it runs no code that was published with execbuf. Cannot fail. */
void execbuf_prim_begin_write(void);

/* Ends what execbuf_prim_begin_write began, when no commit follows. Cannot fail. */
void execbuf_prim_end_write(void);

/* Turns staged pages into committed pages of the same content, and does what the processor needs before
 * they can be called from any thread: cache maintenance, and a barrier where the architecture wants one.
 * The range begins where a staged mapping begins, or covers pages that execbuf_prim_reopen returned to
 * the staged state. On failure all pages are still staged. */
execbuf_prim_result execbuf_prim_commit(execbuf_backend backend, void *base, size_t size);

/* Moves the committed pages at source, a whole mapping, to target in one step, in place of the committed
 * pages there, and does what the processor needs, as execbuf_prim_commit. No mapping is left at source. Only
 * where can_replace is true. */
execbuf_prim_result execbuf_prim_replace(void *target, void *source, size_t size);

/* Returns committed pages to the staged state, content and all. Only where can_replace is false. */
execbuf_prim_result execbuf_prim_reopen(void *base, size_t size);

/* Unmaps the staged pages of a mapping behind its first keep bytes, which are committed.
 *
 * Returns: the size that execbuf_prim_release is to be called with from now on: keep, or still size
 *          where the system can't unmap a part. */
size_t execbuf_prim_trim(void *base, size_t size, size_t keep);

/* Unmaps a mapping, whatever the state of its pages; base and size are a whole mapping's. */
execbuf_prim_result execbuf_prim_release(void *base, size_t size);

/* One lock for the process. Not recursive; held briefly, never across a system call. */
void execbuf_prim_lock(void);
void execbuf_prim_unlock(void);

/* Sees to it that after fork the lock is free in both processes, and that in_child runs in the child
 * while the lock is held. The thread that forks may take the lock in other fork handlers all the same. Called
 * without the lock, with the same in_child each time; after a success, later calls do nothing. Does nothing
 * where there is no fork. */
execbuf_prim_result execbuf_prim_on_fork(void (*in_child)(void));

/* The success value. */
static inline execbuf_prim_result execbuf_prim_ok(void) {
    execbuf_prim_result result = {NULL, 0};
    return result;
}

/* A failure of the named call. */
static inline execbuf_prim_result execbuf_prim_failed(const char *call, int32_t code) {
    execbuf_prim_result result = {NULL, 0};
    result.call = call;
    result.code = code;
    return result;
}

#endif
