/* The platform contract: what execbuf asks of an operating system, and nothing else. Portable code includes
 * this header and unwinder.h (lock.h and icache.h have inline parts), and no system header. prim.c includes
 * the one file that implements it for the system that the library is built for.
 *
 * Unless a function says otherwise:
 *
 * - Sizes are in bytes, not 0, and multiples of the page size. Addresses named base are multiples of the page
 *   size. A range lies within one mapping that xb_prim_stage made.
 * - A function that fails has changed nothing. It returns the name of the system call that failed and the
 *   system's error code.
 * - Pages are in one of two states, and pass from one to the other in one step:
 *
 *       staged      private; zero or as written; can be written, not executed
 *       published   can be read and executed, not written
 *
 * - No function takes a lock except those for locks and xb_prim_begin_unwinder. None calls back except in a
 *   fork.
 * - All functions may be called from any thread, but calls on the same mapping must not overlap. */
#ifndef XB_PRIM_PRIM_H
#define XB_PRIM_PRIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/assumptions.h"
#include "../base/compiler.h"
#include "../base/error.h"
#include "../include/execbuf.h"

XB_PRIVATE_BEGIN

/* ---- Facts about the platform ---- */

/* The calling convention of C functions here; EXECBUF_ABI_NATIVE if it is neither of the two of x86-64. */
extern const execbuf_abi xb_prim_abi;

/* Which convention of AArch64 C functions have. */
typedef enum xb_prim_arm_abi {
    XB_PRIM_ARM_NONE = -1,
    XB_PRIM_ARM_AAPCS64 = 0,
    XB_PRIM_ARM_APPLE = 1,
    XB_PRIM_ARM_WINDOWS = 2
} xb_prim_arm_abi;
extern const xb_prim_arm_abi xb_prim_arm;

typedef struct xb_prim_info {
    /* Protection changes in units of it; a power of two. */
    size_t page_size;
    /* True: published pages change by xb_prim_replace; if it is refused, those of flip by xb_prim_reopen.
     * False: they change by xb_prim_reopen. */
    bool can_replace;
    /* True: a thread can write staged pages only between xb_prim_begin_write and xb_prim_end_write. */
    bool guards_staged;
    /* The backends of xb_prim_publish, in the order to try them. None: the platform is not supported. */
    size_t backend_count;
    execbuf_backend backends[EXECBUF_MAX_ATTEMPTS];
    /* The backends of xb_prim_map_region, in the order to try them. None: pools have no regions here. */
    size_t pool_backend_count;
    execbuf_backend pool_backends[EXECBUF_MAX_ATTEMPTS];
    /* The sizes that a pool's region may have: powers of two, from the smallest to the largest. */
    size_t smallest_region;
    size_t largest_region;
    /* True: xb_prim_keep_from_children works, or there are no children. */
    bool keeps_from_children;
    /* True: the system's unwinder reads UNWIND_INFO. False: it reads DWARF. */
    bool wants_xdata;
    /* True: xb_prim_append_to_map works (prim/tool_files.h). */
    bool has_perf_map;
    /* True: xb_prim_begin_dump works (prim/tool_files.h). */
    bool has_dump;
} xb_prim_info;

/* Returns the facts. Makes no system call on Unix, so callers need not keep them. */
xb_prim_info xb_prim_query(void);

/* Lists facts about the system and the process for execbuf_probe_system. May make dozens of system calls.
 *
 * Returns: their number, at most EXECBUF_MAX_FACTS.
 * Out: facts  an array of EXECBUF_MAX_FACTS */
size_t xb_prim_facts(execbuf_fact *facts);

/* Checks that no property of the process makes W^X impossible. May make a system call.
 *
 * Returns: EXECBUF_OK, or the status that names the property; *result is filled then. */
execbuf_status xb_prim_check_process(xb_result *result);

/* Asks the system whether it would refuse a backend, without using it: an attempt that is refused often
 * leaves a line in an audit log. A success promises nothing. May make a system call. */
xb_result xb_prim_check_backend(execbuf_backend backend);

/* True if the error code means that something is used up, false if it means that something is forbidden. */
bool xb_prim_is_exhaustion(int32_t code);

/* Returns the system's name for an error code, such as "EACCES", or NULL if it has no name here. */
const char *xb_prim_error_name(int32_t code);

/* Reads a variable of the environment, or nothing if the program has rights that its user lacks. Makes no
 * system call on Linux.
 *
 * Returns: whether the variable is set.
 * In:      name   its name
 * Out:     value  its value; "?" if that does not fit; unchanged if it is not set
 * In:      size   the size of the array at value, at least 2 */
bool xb_prim_environment(const char *name, char *value, size_t size);

/* ---- Pages ---- */

/* The addresses that a mapping may have. */
typedef struct xb_prim_window {
    uintptr_t lowest;  /* every byte of the mapping is at or above this address, */
    uintptr_t highest; /* and at or below this one */
    uintptr_t near_to; /* of several free ranges, the nearest is preferred where that costs nothing */
} xb_prim_window;

/* The calls of results that say: no free range in the window is large enough. After the first one, all of the
 * window was searched. After the second one, the list of mappings could not be read, so only some addresses
 * were tried; the code says why. */
#define XB_PRIM_TOO_FAR "placement"
#define XB_PRIM_NOT_SEARCHED "open(/proc/self/maps)"

/* Maps staged pages.
 *
 * In:  size    how many bytes
 *      window  where; if no range is free there, the call fails with XB_PRIM_TOO_FAR or
 *              XB_PRIM_NOT_SEARCHED. NULL: anywhere
 * Out: base    the first byte; NULL on failure */
xb_result xb_prim_stage(size_t size, const xb_prim_window *window, void **base);

/* Allows the calling thread to write staged pages and writable views. The thread then writes, and calls
 * xb_prim_publish or xb_prim_end_write. In between it must not run code that execbuf published: on macOS on
 * arm64 it cannot. Nor does it make a thread, which would have the same rights. Cannot fail.
 *
 * In: key  that of the view, or XB_PRIM_NO_KEY; the same in both calls */
void xb_prim_begin_write(uint32_t key);

/* Ends what xb_prim_begin_write began; after xb_prim_publish it does nothing. Cannot fail. */
void xb_prim_end_write(uint32_t key);

/* Publishes staged pages. Their content stays the same. When the function returns, any thread can run it:
 * instruction caches are flushed, and where the architecture needs a barrier there was one.
 *
 * The range begins at the start of a mapping that was never published, or consists of pages that
 * xb_prim_reopen staged again. On failure all pages are still staged. */
xb_result xb_prim_publish(execbuf_backend backend, void *base, size_t size);

/* Moves pages over published ones in one step, with the same effect on caches as xb_prim_publish. Only if
 * can_replace is true.
 *
 * In:  target  the pages to replace: any part of a mapping
 *      source  the new pages, published or staged: a whole mapping, which no longer exists afterwards
 *      size    of both */
xb_result xb_prim_replace(void *target, void *source, size_t size);

/* Makes published pages staged again, with their content. If can_replace is true, only pages that flip has
 * published. */
xb_result xb_prim_reopen(void *base, size_t size);

/* Gives back the staged pages behind the first keep bytes of a mapping.
 *
 * Returns: the size of the mapping from now on, which is what xb_prim_release needs: keep, or still size
 *          if the system cannot unmap a part. */
size_t xb_prim_trim(void *base, size_t size, size_t keep);

/* Unmaps a whole mapping: staged or published pages, or one view of a region. */
xb_result xb_prim_release(void *base, size_t size);

/* Keeps a mapping from the children of a fork, which then have nothing at its addresses. Does nothing on
 * systems without fork. */
xb_result xb_prim_keep_from_children(void *base, size_t size);

/* Takes addresses that are free, by a mapping without rights; xb_prim_release returns them. */
xb_result xb_prim_take_addresses(void *base, size_t size);

/* ---- Data ---- */

/* Maps pages for data: zero, readable and writable, and never executable. They are private: after a fork, no
 * process sees what another one writes.
 *
 * Preconditions: xb_prim_check_process says EXECBUF_OK.
 * In:  size, window: as for xb_prim_stage.
 * Out: base: the first byte; NULL on failure. xb_prim_release unmaps it. */
xb_result xb_prim_map_data(size_t size, const xb_prim_window *window, void **base);

/* Changes whether pages for data can be written. Other threads may read them meanwhile.
 *
 * In: base, size: pages of one mapping of xb_prim_map_data. */
xb_result xb_prim_protect_data(void *base, size_t size, bool is_writable);

/* ---- Regions ---- */

/* Two views of the same memory. On macOS on arm64 both are at the same address (XB_ONE_VIEW in icache.h). */
typedef struct xb_prim_views {
    uint8_t *rx; /* can be read and executed */
    uint8_t *rw; /* can be written, between xb_prim_begin_write and xb_prim_end_write */
    /* The protection key of rw, which then cannot be read at other times, either; or XB_PRIM_NO_KEY. */
    uint32_t key;
    /* Whether a child of a fork does not get rx, either (exec/view.c). */
    bool not_inherited;
} xb_prim_views;

/* Maps the two views of a new region, which is all zero. A child of a fork does not inherit rw, unless
 * both views are at the same address.
 *
 * In:  backend  one of pool_backends
 *      size     a power of two from smallest_region to largest_region
 *      window   where rx is, as for xb_prim_stage
 *      name     for the system's list of mappings, where it shows one
 * In/out: views its key is given; the rest is filled on success; xb_prim_release unmaps each, if it is at an
 *               address of its own */
xb_result xb_prim_map_region(execbuf_backend backend, size_t size, const xb_prim_window *window,
                             const char *name, xb_prim_views *views);

/* Gives memory to pages of a writable view that were never written. Without this, the first write to a page
 * raises a signal if no memory is left for it. Systems that provide the memory with the mapping do nothing,
 * and so do kernels that cannot do this (Linux before 5.14).
 *
 * In:  rw    the first page, between xb_prim_begin_write and xb_prim_end_write
 *      size  how many bytes */
xb_result xb_prim_populate(uint8_t *rw, size_t size);

/* Makes instruction caches fetch from rx what was written at rw. The range is any part of a region. Other
 * threads may still run instructions that they fetched before; see xb_prim_barrier. Cannot fail. */
void xb_prim_sync(const uint8_t *rx, const uint8_t *rw, size_t size);

/* Makes every thread of the process discard instructions that it fetched. A system call. Kernels without it
 * do nothing (execbuf.h says which and what follows).
 *
 * Returns: whether code may now be written to memory that held other code before. On x86 always: a write
 * makes each processor discard what it fetched from there, by the physical address (Intel SDM volume 3,
 *          11.6); the barrier adds the serialising instruction that the SDM asks for in 8.1.3. On RISC-V
 *          always, because xb_prim_sync reaches all threads. */
bool xb_prim_barrier(void);

/* ---- Regions with new memory ---- */

/* A set of pages of a region, by their number. No region has more. */
#define XB_PRIM_MOST_PAGES 2048U
typedef struct xb_prim_pages {
    uint64_t bits[XB_PRIM_MOST_PAGES / 64];
} xb_prim_pages;

static inline bool xb_prim_has_page(const xb_prim_pages *pages, size_t page) {
    return (pages->bits[page / 64] >> page % 64 & 1) != 0;
}

static inline void xb_prim_add_page(xb_prim_pages *pages, size_t page) {
    pages->bits[page / 64] |= (uint64_t)1 << page % 64;
}

/* What new memory of a region has. No page is in two sets; those in none have no memory, and are zero. */
typedef struct xb_prim_content {
    xb_prim_pages copies; /* pages of the old memory, which can be read */
    xb_prim_pages traps;  /* pages full of traps */
    xb_prim_pages hidden; /* pages that cannot be read, so that a stale call gets a signal, as from a trap. On
                           * AArch64 and RISC-V they can be read, and are zero, which is a trap there */
} xb_prim_content;

/* Replaces the memory of a region. The executable view is replaced in one step, at the same address, while
 * other threads may run code in it. Nobody writes to the region meanwhile. Instruction caches are flushed,
 * and there was a barrier.
 *
 * Fails with the call "copy_region" where the system cannot do this.
 *
 * In: backend, size, name: as the region was mapped with.
 *     content: of the new memory.
 * In/out: views: on success rw is a new view, with the same key. It may be NULL before, since a child of a
 *                fork has none.
 * Out: old_rw: the writable view of the old memory, which the caller unmaps, or NULL; unchanged on
 *              failure. */
xb_result xb_prim_copy_region(execbuf_backend backend, size_t size, const char *name,
                              const xb_prim_content *content, xb_prim_views *views, void **old_rw);

/* Whether xb_prim_copy_region can hide pages, as far as is known: false after the system has refused it for a
 * reason that stays. */
bool xb_prim_hides_pages(void);

/* Shows pages of an executable view that xb_prim_copy_region may have hidden. */
xb_result xb_prim_show(uint8_t *rx, size_t size);

/* ---- Processes that share memory since a fork ---- */

/* Tells whether any process lives that was forked since a moment: the family of that moment is this process
 * and all processes forked since, by whichever of them. Its members are those of the implementation. */
typedef struct xb_prim_family {
    void *page; /* NULL: no family */
    int32_t id;
    uint32_t size;
    int64_t maker;
    int64_t time;
} xb_prim_family;

/* Begins a family. A system call or several, which must not be made in a signal handler.
 *
 * Out: family: its page is NULL on failure.
 * In:  serial: another number than for other families that this process began. */
xb_result xb_prim_begin_family(xb_prim_family *family, uint32_t serial);

/* Whether this process is all of a family that it is in. A process that has called execve or ended is in it
 * no longer. Where the system does not tell, false. A system call. */
bool xb_prim_is_alone(const xb_prim_family *family);

/* Takes this process from a family. */
void xb_prim_leave_family(xb_prim_family *family);

/* ---- Protection keys ---- */

/* The key of memory that every thread may access. */
#define XB_PRIM_NO_KEY 0U

/* Gives the protection key of the process, which the first call requests from the system. A thread can access
 * memory with this key only between xb_prim_begin_write and xb_prim_end_write. The process's lock must not be
 * held.
 *
 * Out: key  not XB_PRIM_NO_KEY on success; unchanged on failure */
xb_result xb_prim_get_key(uint32_t *key);

/* Returns the key to the system, if there is one. For the hook unload, after all views are unmapped. */
void xb_prim_free_key(void);

/* ---- The process's lock, and forks ---- */

/* Takes and releases the one lock of the process. It is not recursive. It is held for a few instructions
 * only, but for loops over all pools, all records of handles, or chunks of data and their bits, and across no
 * system call except fork, those of xb_prim_arm_fork_mark, and those that map a region which children do not
 * get. Biased locks (lock.h) are taken after it, if both are needed. */
void xb_prim_lock(void);
void xb_prim_unlock(void);

/* What the library does in a fork. Each hook but unload runs in the thread that forks, while it holds the
 * process's lock. Between before and the hook after the fork, that thread has all locks: it may call
 * functions that lock. */
typedef struct xb_prim_fork_hooks {
    void (*before)(void);
    void (*in_parent)(void);
    void (*in_child)(void);
    /* In a child that was made without fork handlers, when xb_prim_check_fork notices. Any lock may look as
     * if a thread held it that exists in the parent only. */
    void (*in_clone)(void);
    /* When the library is unloaded, but not when the process ends: no thread will call it any more. No lock
     * is held. Called only where libraries are ELF files. */
    void (*unload)(void);
    /* When a thread ends that has called xb_prim_watch_thread. No lock is held. Destructors of other
     * thread-specific data may call the library later, in the same thread. */
    void (*thread_ends)(void);
} xb_prim_fork_hooks;

/* Registers the hooks. The process's lock must not be held. hooks lives for ever and is the same in each
 * call; calls after a success do nothing. Does nothing where there is no fork. */
xb_result xb_prim_on_fork(const xb_prim_fork_hooks *hooks);

/* Arranges that the hook thread_ends is called when this thread ends. No lock is held.
 *
 * Returns: false if that cannot be done. */
bool xb_prim_watch_thread(void);

/* The fork mark: a byte that the system sets to 0 in a child of this process that was made without fork
 * handlers (by raw clone). It is not 0 in any other process, nor where the system cannot do this. */
extern const uint8_t *xb_prim_fork_mark;

/* Whether the fork mark is 0. Pointer and byte are each read with acquire: the pointer, so that the byte is
 * not read before it was set; the byte, so that what the hook in_clone set up is seen if another thread ran
 * it. On x86 both are plain loads. */
static inline bool xb_prim_is_clone(void) {
    return XB_LOAD_ACQUIRE(*XB_LOAD_ACQUIRE(xb_prim_fork_mark)) == 0;
}

/* Sets the fork mark up for this process. The first call makes system calls, and later ones if they failed
 * for a reason that may pass. The process's lock is held. */
void xb_prim_arm_fork_mark(void);

/* Unmaps what xb_prim_arm_fork_mark mapped. For the hook unload, at its end. */
void xb_prim_remove_fork_mark(void);

/* The slow part of xb_prim_check_fork: the fork mark was 0. */
void xb_prim_clone_noticed(void);

/* Reads the fork mark. If it is 0, runs the hook in_clone and sets the mark up again. If several threads
 * notice at once, one does so while the others wait. To be called, without any lock, before anything is used
 * that a fork shares. */
static inline void xb_prim_check_fork(void) {
    if (xb_prim_is_clone()) {
        xb_prim_clone_noticed();
    }
}

XB_PRIVATE_END

#endif
