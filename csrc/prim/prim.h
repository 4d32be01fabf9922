/*
 * The platform contract: what execbuf asks of an operating system, and nothing else. Portable code
 * includes this header and no system header; prim.c picks the one file that implements it.
 *
 * Said once for all functions:
 *
 * - Addresses called base and sizes are multiples of the page size, sizes are not 0, and a range lies
 *   within one mapping that xb_prim_stage returned, unless the function says otherwise.
 * - A function that fails has changed nothing, and says which system call failed and with what code.
 * - Pages have one of two states. Staged pages are private, hold zeros or what was written, and can be
 *   written but not executed. Committed pages can be read and executed but not written. There is no
 *   third state and no moment in between.
 * - Only the functions for locks take one, and none calls back but from a fork.
 */
#ifndef XB_PRIM_PRIM_H
#define XB_PRIM_PRIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/assumptions.h"
#include "../base/error.h"
#include "../include/execbuf.h"

/* A function that unwinders are to know. It stays where it is until they forget it. */
typedef struct xb_prim_function {
    const uint8_t *code;
    uint32_t length;
    const uint8_t *fde; /* DWARF: an FDE behind its CIE, then a length of 0 */
    uint32_t xdata;     /* Windows: where in the code its UNWIND_INFO is */
    uint64_t object[8]; /* the system's own, like all that follows */
    void *handle;
    void (*remove)(uintptr_t fde);
    void *(*deregister)(const void *list);
} xb_prim_function;

/* Facts about the platform. */
typedef struct xb_prim_info {
    /* In bytes, a power of two. Protection changes in units of it. */
    size_t page_size;
    /* True: xb_prim_replace works and xb_prim_reopen does not. False: the other way round. */
    bool can_replace;
    /* The backends that xb_prim_publish knows, in the order to try them. None: unsupported. */
    size_t backend_count;
    execbuf_backend backends[EXECBUF_MAX_ATTEMPTS];
    /* Those that xb_prim_map_region knows, in the order to try them. None: there are no regions. */
    size_t pool_backend_count;
    execbuf_backend pool_backends[EXECBUF_MAX_ATTEMPTS];
    /* How large a pool's region should be, in bytes, a power of two. */
    size_t region_size;
    /* Unwinders take an UNWIND_INFO, and not DWARF. */
    bool wants_xdata;
} xb_prim_info;

/* The two views of a region: the same memory at two addresses, or at one where the processor can give threads
 * different rights (macOS on arm64). */
typedef struct xb_prim_views {
    uint8_t *rx; /* can be read and executed */
    uint8_t *rw; /* can be written, between xb_prim_begin_write and xb_prim_end_write */
} xb_prim_views;

/* A lock that costs its owner, who takes it most, no atomic instruction; mutex.h says who that is. */
typedef struct xb_biased_lock {
    uintptr_t owner;     /* the thread that need not take the system's own lock */
    uintptr_t candidate; /* who took it last, while there was no owner yet */
    uint32_t busy;       /* the owner has the mutex, and not by the system's lock */
    uint32_t asked;  /* another thread has it or wants it, so the owner has to take the system's lock, too */
    uint32_t visits; /* how often others had it */
    uint32_t in_a_row; /* how often the candidate took it in a row */
    uint64_t space[8]; /* the system's lock */
} xb_biased_lock;

/* What the library does at a fork. Each hook runs in the thread that forks, while xb_prim_lock is held. */
typedef struct xb_prim_fork_hooks {
    void (*before)(void);
    void (*in_parent)(void);
    void (*in_child)(void);
    /* In a child that was made without fork handlers, when xb_prim_check_fork notices. */
    void (*in_clone)(void);
} xb_prim_fork_hooks;

/* The convention of C functions here, or EXECBUF_ABI_NATIVE if it is not of x86-64. */
extern const execbuf_abi xb_prim_abi;

/* The facts. Cheap enough to ask for each time; makes no system call on Unix. */
xb_prim_info xb_prim_query(void);

/* Looks for a property of the process that makes W^X impossible. It may cost a system call.
 *
 * Returns: EXECBUF_OK, or the status that names the property, with *result filled. */
execbuf_status xb_prim_check_process(xb_result *result);

/* Whether the system says of a backend, without its being tried, that it would refuse it. A refusal is
 * often also a line in an audit log, so ask first. It may cost a system call. */
xb_result xb_prim_check_backend(execbuf_backend backend);

/* Whether the code of a failed call means that something ran out, rather than that it was forbidden. */
bool xb_prim_is_exhaustion(int32_t code);

/* The system's name for an error code, such as "EACCES", or NULL if it is none of the usual ones. */
const char *xb_prim_error_name(int32_t code);

/* Maps size bytes of staged pages at an address of the system's choice, or, if near_to is not NULL, so that
 * every byte is within 2 GiB of it; if there is no room, the failed call is XB_PRIM_TOO_FAR. */
xb_result xb_prim_stage(size_t size, const void *near_to, void **base);
#define XB_PRIM_TOO_FAR "near_to"

/* Maps the two views of a region of zeros, and sees to it that no child of a fork inherits the writable one.
 * Placed by near_to as xb_prim_stage does. The name is for lists of mappings. Either view is unmapped by
 * xb_prim_release. */
xb_result xb_prim_map_region(execbuf_backend backend, size_t size, const void *near_to, const char *name,
                             xb_prim_views *views);

/* Makes the processors' caches fetch as instructions, at rx, what was written at rw. Any range of a region.
 * Cannot fail. */
void xb_prim_sync(const uint8_t *rx, const uint8_t *rw, size_t size);

/* Makes all threads forget instructions that they have fetched. A system call; cannot fail, but old kernels
 * can't do it (see execbuf.h). */
void xb_prim_barrier(void);

/* Gets staged pages ready to be written by the calling thread, which then writes them and calls
 * xb_prim_publish; between the two it runs no code that was published with execbuf. Cannot fail. */
void xb_prim_begin_write(void);

/* Ends what xb_prim_begin_write began, when no commit follows. Cannot fail. */
void xb_prim_end_write(void);

/* Turns staged pages into committed pages of the same content, and does what the processor needs before
 * they can be called from any thread: cache maintenance, and a barrier where the architecture wants one.
 * The range begins where a staged mapping begins, or covers pages that xb_prim_reopen returned to
 * the staged state. On failure all pages are still staged. */
xb_result xb_prim_publish(execbuf_backend backend, void *base, size_t size);

/* Moves the committed pages at source, a whole mapping, to target in one step, in place of the committed
 * pages there, and does what the processor needs, as xb_prim_publish. No mapping is left at source. Only
 * where can_replace is true. */
xb_result xb_prim_replace(void *target, void *source, size_t size);

/* Returns committed pages to the staged state, content and all. Only where can_replace is false. */
xb_result xb_prim_reopen(void *base, size_t size);

/* Unmaps the staged pages of a mapping behind its first keep bytes, which are committed.
 *
 * Returns: the size that xb_prim_release is to be called with from now on: keep, or still size
 *          where the system can't unmap a part. */
size_t xb_prim_trim(void *base, size_t size, size_t keep);

/* Unmaps a mapping, whatever the state of its pages; base and size are a whole mapping's. */
xb_result xb_prim_release(void *base, size_t size);

/* Tells the unwinder of the process of a function. It is no failure if there is none that listens: then
 * nothing can be unwound. No lock may be held: unwinders take locks, and may allocate. */
xb_result xb_prim_register_unwind(xb_prim_function *function);

/* Makes the unwinder forget a function of which it was told. False: it can't be asked any more, and the
 * function has to stay where it is for ever, but not its code. */
bool xb_prim_deregister_unwind(xb_prim_function *function);

/* One lock for the process. Not recursive; held briefly, never across a system call but fork and the first of
 * xb_prim_arm_fork_mark. */
void xb_prim_lock(void);
void xb_prim_unlock(void);

/* Sees to it that after fork the lock is free in both processes, and that the hooks run while it is held. The
 * thread that forks may take it and every mutex in other fork handlers all the same. Called without the lock,
 * with the same hooks each time; after a success, later calls do nothing. Does nothing where there is no
 * fork. */
xb_result xb_prim_on_fork(const xb_prim_fork_hooks *hooks);

/* The fork mark: a byte that the system sets to 0 in a child of this process that was made without fork
 * handlers (by raw clone). Not 0 in all other processes, and where the system cannot do this. */
extern const volatile uint8_t *xb_prim_fork_mark;

/* Sets the fork mark up for this process. The first call makes system calls; later ones do nothing. The lock
 * is held. */
void xb_prim_arm_fork_mark(void);

/* The slow part of xb_prim_check_fork. */
void xb_prim_clone_noticed(void);

/* Reads the fork mark. If it is 0, runs the hook in_clone and sets the mark up again; if several threads of
 * the child come here, one runs the hook and the others wait for it. Called, without any lock, before
 * anything that a fork freezes is used. */
static inline void xb_prim_check_fork(void) {
    if (*xb_prim_fork_mark == 0) {
        xb_prim_clone_noticed();
    }
}

/* Locks of which there may be many, for longer than a few instructions, also across a system call. Not
 * recursive. A mutex is taken after xb_prim_lock, if both are. */
void xb_biased_lock_init(xb_biased_lock *mutex);
/* To be called by xb_lock and xb_unlock of inline.h; in a hook before a fork, by the hook. */
void xb_lock_slow(xb_biased_lock *mutex);
void xb_unlock_slow(xb_biased_lock *mutex);

/* Facts for a report.
 *
 * Returns: how many there are, at most EXECBUF_MAX_FACTS.
 * Out: facts: room for EXECBUF_MAX_FACTS. */
size_t xb_prim_facts(execbuf_fact *facts);

#endif
