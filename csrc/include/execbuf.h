/*
 * execbuf: executable memory that is never writable and executable at once.
 *
 * This header is the manual. The laws that hold for every function:
 *
 * Arguments come in this order: the handle or the result first, then the inputs, each length right
 * after its pointer, and the error report last.
 *
 * A function that can fail returns an execbuf_status: EXECBUF_OK, which is 0, or a negative value. It
 * then has changed nothing: no memory stays mapped, a handle it would have filled is all zero, a handle
 * it was given is as it was, and code that ran before still runs. (The single exception is
 * EXECBUF_E_LOST, and it says so.)
 *
 * The error report may be NULL. If it is not, every call fills it, also on success. It says which
 * argument or which system call was at fault, with the system's own error code, and lists every way
 * of making memory executable that was tried.
 *
 * Sizes and offsets are in bytes. Nothing aborts, prints, allocates per call without freeing, or needs
 * to be initialised.
 *
 * Threads: any function may be called from any thread. Calls on different buffers need no
 * synchronisation. Two calls on one buffer may overlap only if both take it as a pointer to const;
 * execbuf_free checks its handle under a lock, so of two that race for one buffer exactly one wins.
 * A thread is not to be cancelled (pthread_cancel) while it is in a function of execbuf.
 * No function is async-signal-safe; calling published code is. (On macOS on arm64 not in a handler that
 * interrupts a function of execbuf: there that thread may not run code.)
 *
 * Published code can be called by every thread that learns of it through a lock or an atomic variable. Caches
 * are seen to. On AArch64 Linux that takes version 4.16 or later, for membarrier(2); before that, a thread
 * other than the publisher executes an isb first.
 *
 * fork: both processes may call and free everything created before the fork, and neither sees
 * what the other does. Both may rewrite it, too, but for buffers of a pool (see there). Handlers of
 * pthread_atfork may call execbuf, and may take locks that are held when execbuf is called, unless they were
 * registered before the library was loaded. A signal handler may not fork. A child made by raw clone(2)
 * without the C library's fork handlers may call published code and nothing else. vfork and posix_spawn are
 * not affected.
 */
#ifndef EXECBUF_H
#define EXECBUF_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version ----------------------------------------------------------------------------------- */

#define EXECBUF_VERSION "0.1.0"

/* The version of the library that is linked in, to be compared with EXECBUF_VERSION.
 *
 * Returns: a string that lives for ever. */
const char *execbuf_version(void);

/* ---- Status ------------------------------------------------------------------------------------ */

/* Every status: its name, its value and what it means, including what to do about it. */
#define EXECBUF_STATUS_MAP(X)                                                                                \
    X(EXECBUF_OK, 0, "success")                                                                              \
    X(EXECBUF_E_NULL, -1, "a pointer that is required is NULL")                                              \
    X(EXECBUF_E_EMPTY, -2, "the code is empty; give at least one byte")                                      \
    X(EXECBUF_E_TOO_LARGE, -3, "the length is larger than any buffer can be")                                \
    X(EXECBUF_E_OUT_OF_BOUNDS, -4, "the offset or the end lies outside the buffer")                          \
    X(EXECBUF_E_CAPACITY, -5, "the code is longer than the capacity that was reserved for it")               \
    X(EXECBUF_E_STALE, -6, "the handle names no live buffer; it was freed already, altered or never filled") \
    X(EXECBUF_E_NOT_PUBLISHED, -7, "the buffer is reserved but no code has been published in it yet")        \
    X(EXECBUF_E_PUBLISHED, -8, "the buffer is published already; change its code with execbuf_rewrite")      \
    X(EXECBUF_E_NO_MEMORY, -9,                                                                               \
      "no memory, address space, mappings or descriptors left (see RLIMIT_AS, RLIMIT_DATA, RLIMIT_NOFILE "   \
      "and vm.max_map_count)")                                                                               \
    X(EXECBUF_E_DENIED, -10,                                                                                 \
      "this system refuses what executable memory takes; the calls it refused tell which policy to relax")   \
    X(EXECBUF_E_READ_IMPLIES_EXEC, -11,                                                                      \
      "the READ_IMPLIES_EXEC personality makes all readable memory executable; start the program "           \
      "without it (no setarch -X, no executable stack)")                                                     \
    X(EXECBUF_E_UNSUPPORTED, -12, "execbuf does not know how to publish code on this platform")              \
    X(EXECBUF_E_LOST, -13,                                                                                   \
      "the rewrite failed and the system did not let the old code become executable again; "                 \
      "the buffer can only be freed")                                                                        \
    X(EXECBUF_E_FROZEN, -14,                                                                                 \
      "the process forked while this code was live, so both processes share its memory and neither may "     \
      "change it; publish a new buffer instead")                                                             \
    X(EXECBUF_E_TOO_FAR, -15,                                                                                \
      "no address space is left within 2 GiB of the address that the pool is to be near to")                 \
    X(EXECBUF_E_SYNTAX, -16, "the text of the signature is wrong; write it like \"d(pid)\"")                 \
    X(EXECBUF_E_TYPE, -17, "a type of the signature can't cross calling conventions")                        \
    X(EXECBUF_E_ARGUMENTS, -18,                                                                              \
      "the signature has more arguments than EXECBUF_MAX_ARGUMENTS, or more fixed ones than arguments")      \
    X(EXECBUF_E_ABI, -19, "the calling convention is none of x86-64's, which thunks are between")            \
    X(EXECBUF_E_THUNK, -20, "the buffer is a thunk, whose code is the library's; make a new one instead")

typedef enum execbuf_status {
#define EXECBUF_STATUS_ENUM(name, value, message) name = value,
    EXECBUF_STATUS_MAP(EXECBUF_STATUS_ENUM)
#undef EXECBUF_STATUS_ENUM
} execbuf_status;

/* The name of a status as it is written in C, such as "EXECBUF_E_EMPTY".
 *
 * Returns: a string that lives for ever; "EXECBUF_E_?" for a value that is no status. */
const char *execbuf_status_name(execbuf_status status);

/* What a status means, in English, without a full stop.
 *
 * Returns: a string that lives for ever; "unknown status" for a value that is no status. */
const char *execbuf_status_message(execbuf_status status);

/* ---- Backends ---------------------------------------------------------------------------------- */

/* The ways of making staged bytes executable. A platform has one or more, tried in a fixed order, and
 * each has to prove itself (write, call, rewrite, call) before it is used. No backend ever makes a page
 * that is writable and executable at once. */
typedef enum execbuf_backend {
    /* No backend. Negative, so that the enum's type is int for every compiler. */
    EXECBUF_BACKEND_NONE = -1,
    /* The pages' protection is changed from RW to RX: mprotect or VirtualProtect. */
    EXECBUF_BACKEND_FLIP = 1,
    /* Linux: the code lies in a memfd that is mapped RX. A buffer's is written, then sealed against
     * writing. A pool's has a second, writable mapping, made before it is sealed against any more of them. */
    EXECBUF_BACKEND_MEMFD = 2,
    /* Linux: RX pages are filled through a second mapping of theirs that mremap made; no file involved. */
    EXECBUF_BACKEND_ALIAS = 3,
    /* macOS on arm64: MAP_JIT pages with the per-thread write protection. */
    EXECBUF_BACKEND_MAP_JIT = 4,
    /* Windows, for pools: a section of the paging file with an executable and a writable view. */
    EXECBUF_BACKEND_SECTION = 5
} execbuf_backend;

/* A backend's short name: "none", "flip", "memfd", "alias", "map-jit" or "section".
 *
 * Returns: a string that lives for ever; "?" for a value that is no backend. */
const char *execbuf_backend_name(execbuf_backend backend);

/* ---- Error report ------------------------------------------------------------------------------ */

/* One failed attempt to make code executable. */
typedef struct execbuf_attempt {
    /* Which backend was tried. */
    execbuf_backend backend;
    /* The system's code for the failure, an errno value or that of GetLastError; 0 if there is none. */
    int32_t os_error;
    /* The call that failed, or the check that spoke against trying: a string that lives for ever. */
    const char *call;
} execbuf_attempt;

/* How many attempts an error report has room for; no platform has more backends. */
#define EXECBUF_MAX_ATTEMPTS 4

/* What went wrong. A plain value without anything to free. */
typedef struct execbuf_error {
    /* The same value that the function returned. */
    execbuf_status status;
    /* The system's code for the failure, or 0: an errno value, on Windows that of GetLastError. */
    int32_t os_error;
    /* The argument or the system call at fault, or what is wrong with a signature: a string that lives for
     * ever, or NULL. */
    const char *culprit;
    /* Of a signature: for EXECBUF_E_SYNTAX the offset in the text, for EXECBUF_E_TYPE the number of the
     * argument, from 1 on, or 0 for the result. Else 0. */
    uint32_t position;
    /* How many entries of attempts are filled. */
    uint32_t attempt_count;
    /* Every backend that was tried, in that order, with the reason why it could not be used. */
    execbuf_attempt attempts[EXECBUF_MAX_ATTEMPTS];
} execbuf_error;

/* Writes an error report as one line of text, with every attempt, such as "this system refuses … (flip:
 * mprotect: EACCES; memfd: memfd_create: EPERM)".
 *
 * Returns: the length of the whole text without its terminating zero, as snprintf does: if it is size
 * or more, the text was cut. 0 if error is NULL.
 * In:  error: the report.
 * Out: text:  filled with at most size - 1 bytes and a zero; may be NULL if size is 0.
 *      size:  the room at text. */
size_t execbuf_error_describe(const execbuf_error *error, char *text, size_t size);

/* ---- Buffer ------------------------------------------------------------------------------------ */

/* One piece of machine code. A small value, not a heap object: copy it freely, but free it once. All
 * zero means no buffer.
 *
 * The code begins at entry, which is a multiple of 16, and ends length bytes behind it. The memory
 * around it, from 16 bytes before the entry to the end of the last page, holds trap instructions
 * (x86: int3; AArch64: brk; RISC-V: ebreak), so code that runs over its end stops there. Sanitizers
 * read the bytes before an entry (LLVM issue 65253), and find them readable.
 *
 * Reading the code through entry is fine. Writing through it faults. */
typedef struct execbuf {
    /* The address of the first byte of code; fixed as soon as the buffer is reserved. */
    const void *entry;
    /* How many bytes of code are published; 0 while the buffer is only reserved. */
    size_t length;
    /* Which buffer this is: a place in a table and its generation. For execbuf's own use. */
    uint64_t id;
} execbuf;

/* A function pointer of no particular type. Cast it to the type of the published function. */
typedef void (*execbuf_function)(void);

/* Copies machine code into memory of its own and makes it executable.
 *
 * Returns: EXECBUF_OK;
 *          EXECBUF_E_NULL         out or code is NULL;
 *          EXECBUF_E_EMPTY        length is 0;
 *          EXECBUF_E_TOO_LARGE    length is over PTRDIFF_MAX or so near to it that no room is left;
 *          EXECBUF_E_NO_MEMORY    the system has no memory, address space or mappings left;
 *          EXECBUF_E_DENIED, EXECBUF_E_READ_IMPLIES_EXEC, EXECBUF_E_UNSUPPORTED as they say.
 * Out: out:    the new buffer; all zero on failure. Free it with execbuf_free.
 * In:  code:   the machine code. It is copied, so the caller may reuse the memory.
 *      length: its length.
 * Out: error:  the report, or NULL. */
execbuf_status execbuf_new(execbuf *out, const void *code, size_t length, execbuf_error *error);

/* Reserves room for code whose final address has to be known before it can be written: jumps and calls
 * to other places, absolute pointers to itself. Write the code anywhere, as if it stood at out->entry,
 * then pass it to execbuf_publish. The memory at entry belongs to execbuf until then.
 *
 * Returns: EXECBUF_OK;
 *          EXECBUF_E_NULL         out is NULL;
 *          EXECBUF_E_EMPTY        capacity is 0;
 *          EXECBUF_E_TOO_LARGE, EXECBUF_E_NO_MEMORY, EXECBUF_E_READ_IMPLIES_EXEC,
 *          EXECBUF_E_DENIED, EXECBUF_E_UNSUPPORTED as for execbuf_new.
 * Out: out:      a buffer of length 0; all zero on failure. Free it with execbuf_free, published or not.
 * In:  capacity: the largest length that will be published.
 * Out: error:    the report, or NULL. */
execbuf_status execbuf_reserve(execbuf *out, size_t capacity, execbuf_error *error);

/* Publishes code in a reserved buffer: copies it to the entry and makes it executable. Whole pages that
 * the code did not need are given back. On failure the buffer is still reserved, at the same address.
 *
 * Returns: EXECBUF_OK;
 *          EXECBUF_E_NULL         buffer or code is NULL;
 *          EXECBUF_E_EMPTY        length is 0;
 *          EXECBUF_E_CAPACITY     length is over the capacity that was reserved;
 *          EXECBUF_E_STALE        buffer names no live buffer;
 *          EXECBUF_E_PUBLISHED    the buffer was published already;
 *          EXECBUF_E_FROZEN       the buffer is a pool's, and was reserved by the parent of this process;
 *          EXECBUF_E_NO_MEMORY, EXECBUF_E_DENIED as for execbuf_new.
 * In/out: buffer: the reserved buffer; its length is set.
 * In:     code:   the machine code, which is copied.
 *         length: its length.
 * Out:    error:  the report, or NULL. */
execbuf_status execbuf_publish(execbuf *buffer, const void *code, size_t length, execbuf_error *error);

/* Replaces a part of a published buffer's code. The caller sees to it that no thread runs the buffer's
 * code meanwhile, and that none returns into it later than it may.
 *
 * On Linux the new pages are finished elsewhere and moved into the old place in one step; pages in the
 * middle of a buffer, rewritten for themselves, cost up to two mappings more (vm.max_map_count). Where the
 * system has no such step (Windows, macOS, the BSDs) the pages are made writable, then executable again:
 * if the system refuses the latter, the old bytes are put back and it is asked once more.
 *
 * Returns: EXECBUF_OK;
 *          EXECBUF_E_NULL          buffer or code is NULL;
 *          EXECBUF_E_EMPTY         length is 0;
 *          EXECBUF_E_OUT_OF_BOUNDS offset + length is over the buffer's length;
 *          EXECBUF_E_STALE         buffer names no live buffer;
 *          EXECBUF_E_NOT_PUBLISHED the buffer was reserved, but not published;
 *          EXECBUF_E_FROZEN        the buffer is a pool's, and the process has forked since its memory was
 *                                  taken: the code is shared with the other process;
 *          EXECBUF_E_THUNK         the buffer is a thunk;
 *          EXECBUF_E_NO_MEMORY, EXECBUF_E_DENIED as for execbuf_new;
 *          EXECBUF_E_LOST          both requests of the second way were refused. The code is no longer
 *                                  executable, and the buffer can only be freed.
 * In:  buffer: the published buffer. The handle itself does not change.
 *      offset: where in its code the new bytes go.
 *      code:   the new bytes, which are copied; they may come from a buffer, this one too.
 *      length: how many.
 * Out: error:  the report, or NULL. */
execbuf_status execbuf_rewrite(execbuf *buffer, size_t offset, const void *code, size_t length,
                               execbuf_error *error);

/* The address of a function within a published buffer.
 *
 * Returns: a pointer to be cast to the function's type; NULL if buffer is NULL or not published, or if
 *          offset is not less than its length.
 * In:  buffer: the published buffer. The handle is believed: a freed one gives a dangling pointer.
 *      offset: where in its code the function begins. */
execbuf_function execbuf_entry(const execbuf *buffer, size_t offset);

/* The length of a buffer's published code.
 *
 * Returns: bytes; 0 if buffer is NULL or not published. */
size_t execbuf_length(const execbuf *buffer);

/* Frees a buffer, published or only reserved, and sets the handle to all zero. The caller sees to it that
 * nobody runs its code, now or later. Freeing NULL or an all-zero handle does nothing and is a success.
 *
 * Should the system refuse to unmap the memory (Linux does at the limit of vm.max_map_count), the buffer
 * is free all the same, and later calls of execbuf unmap it.
 *
 * Returns: EXECBUF_OK;
 *          EXECBUF_E_STALE  buffer names no live buffer, as when a copy of the handle was freed before;
 *                           nothing is done, and the handle stays as it was.
 * In/out: buffer: the buffer, or NULL. */
execbuf_status execbuf_free(execbuf *buffer);

/* ---- Pool -------------------------------------------------------------------------------------- */

/* Many pieces of code in a few mappings, published without a system call.
 *
 * What a pool publishes are ordinary buffers: all functions above work on them, and they outlive the pool:
 * its memory goes when the last of them is freed. The code begins at multiples of 16; what lies between
 * pieces of code, and in the place of one that was freed, are trap instructions.
 *
 * Regions: memory comes from the system in regions of some MiB, of which only the parts in use take memory.
 * A region has an executable mapping, and a writable one at a random address, which only execbuf knows. Where
 * the system can enforce it (EXECBUF_BACKEND_MEMFD, EXECBUF_BACKEND_SECTION) the executable one can never be
 * made writable. Where a second mapping can't be had, and for large code (256 KiB on 64-bit Linux, 64 KiB
 * elsewhere), each piece of code gets pages of its own, as by execbuf_new. A region goes back to the system
 * when its last piece of code is freed; an empty one that took no more than 1 MiB is kept for the next. Until
 * then the memory that it took is used again, but not given back, since the kernel refuses to take parts of a
 * sealed memfd. (Under vm.overcommit_memory=2 it counts the pages of a memfd only when they are written: if
 * there are none left then, that is a SIGBUS.)
 *
 * Freed code: its bytes are overwritten with traps at once, but in a frozen region (see below). The place is
 * used again only after all processors have forgotten the old instructions, for which one membarrier(2)
 * serves many frees.
 *
 * fork: the memory is shared by both processes, so a fork freezes all regions of all pools in both. Code in
 * a frozen region can be called and freed; its bytes stay what they are as long as it is published, and
 * the memory goes when the last of it is freed. New code goes to new regions. The writable mappings are not
 * inherited. A child made by raw clone(2) without the fork handlers is noticed at its first use of a pool
 * (Linux 4.14), but what its parent does meanwhile changes the shared memory.
 *
 * Threads: any function may be called from any thread on any pool. The first thread that
 * takes a pool's lock eight times in a row, mostly the one that publishes, takes it without an atomic
 * instruction from then on (Linux 4.14), unless others come often. */
typedef struct execbuf_pool execbuf_pool;

/* How a pool is to be made. All zero is the usual way. */
typedef struct execbuf_pool_options {
    /* All code of the pool is to lie within 2 GiB of this address, so that a relative call of 32 bits
     * reaches from any byte of the one to the other. NULL: anywhere. */
    const void *near_to;
    /* The pool's name, for lists of mappings such as /proc/self/maps, where the system can show it: at most
     * EXECBUF_POOL_NAME_MAX bytes, which are copied. NULL: "execbuf". */
    const char *name;
} execbuf_pool_options;

/* The most bytes that a pool's name can have. */
#define EXECBUF_POOL_NAME_MAX 63

/* Makes a pool. Memory for code is taken at the first use.
 *
 * Returns: EXECBUF_OK;
 *          EXECBUF_E_NULL       out is NULL;
 *          EXECBUF_E_TOO_LARGE  the name is longer than EXECBUF_POOL_NAME_MAX;
 *          EXECBUF_E_NO_MEMORY  there is no memory for the pool itself, or there are 8191 pools;
 *          EXECBUF_E_DENIED, EXECBUF_E_READ_IMPLIES_EXEC, EXECBUF_E_UNSUPPORTED as for execbuf_new.
 * Out: out:     the pool; NULL on failure. Free it with execbuf_pool_free.
 * In:  options: how, or NULL for the usual way.
 * Out: error:   the report, or NULL. */
execbuf_status execbuf_pool_new(execbuf_pool **out, const execbuf_pool_options *options,
                                execbuf_error *error);

/* Gives up a pool. Nothing may be published in it any more; buffers that it published live on until they are
 * freed. Freeing NULL does nothing.
 *
 * In: pool: the pool, which no other thread uses now or later. */
void execbuf_pool_free(execbuf_pool *pool);

/* Copies machine code into the pool and makes it executable.
 *
 * Returns: as execbuf_new, and
 *          EXECBUF_E_NULL     pool is NULL;
 *          EXECBUF_E_TOO_FAR  there is no address space near the address that the pool is to be near to.
 * In:  pool:   the pool.
 * Out: out:    the new buffer; all zero on failure. Free it with execbuf_free.
 * In:  code:   the machine code, which is copied.
 *      length: its length.
 * Out: error:  the report, or NULL. */
execbuf_status execbuf_pool_publish(execbuf_pool *pool, execbuf *out, const void *code, size_t length,
                                    execbuf_error *error);

/* One piece of machine code that is to be published with others. */
typedef struct execbuf_code {
    /* Its first byte. */
    const void *bytes;
    /* How many there are. */
    size_t length;
} execbuf_code;

/* Publishes several pieces of code: all of them or none. Where publishing takes a barrier (AArch64), one
 * serves all.
 *
 * Returns: as execbuf_pool_publish, for the first piece that failed.
 * In:  pool:  the pool.
 * Out: out:   count new buffers, in the order of codes; all zero on failure.
 * In:  codes: the pieces of code, which are copied.
 *      count: how many; 0 is a success.
 * Out: error: the report, or NULL. */
execbuf_status execbuf_pool_publish_batch(execbuf_pool *pool, execbuf *out, const execbuf_code *codes,
                                          size_t count, execbuf_error *error);

/* Reserves room in the pool, as execbuf_reserve, for code whose address has to be known before it is
 * written. The room stays as large as it was reserved, whatever is published in it.
 *
 * In a child of a fork, room that was reserved before it in a region can only be freed: execbuf_publish
 * returns EXECBUF_E_FROZEN.
 *
 * Returns, Out and In as for execbuf_reserve and execbuf_pool_publish. */
execbuf_status execbuf_pool_reserve(execbuf_pool *pool, execbuf *out, size_t capacity, execbuf_error *error);

/* Where a piece of code is. */
typedef struct execbuf_place {
    /* Its first byte. */
    const void *entry;
    /* How many bytes are published. */
    size_t length;
} execbuf_place;

/* Finds the piece of code that contains an address: for unwinders and profilers. Not for signal handlers.
 *
 * Returns: 1 if there is one, else 0.
 * In:  pool:    the pool to look in.
 *      address: any address.
 * Out: place:   the piece of code, published and not freed; all zero if there is none. */
int execbuf_pool_lookup(const execbuf_pool *pool, const void *address, execbuf_place *place);

/* The name of a pool.
 *
 * Returns: a string that lives as long as the pool; "" if pool is NULL. */
const char *execbuf_pool_name(const execbuf_pool *pool);

/* What a pool has at the moment. Sizes are in bytes. */
typedef struct execbuf_pool_stats {
    /* Buffers that are published or reserved and not freed, with the code that thunks share. */
    size_t live;
    /* What was asked for by them: the sum of their lengths, and of the capacity of reserved ones. */
    size_t bytes;
    /* Address space of the regions, counted once, and of pages that buffers have for themselves. */
    size_t reserved;
    /* Memory that has been set aside for code, free or not: the part of reserved that was ever touched. */
    size_t committed;
    /* Memory for the pool's own book-keeping. */
    size_t bookkeeping;
    /* Regions, and how many of them are frozen. */
    size_t regions;
    size_t frozen;
    /* Buffers that have pages of their own. */
    size_t own_pages;
    /* How the newest region was made; NONE before that. */
    execbuf_backend backend;
    /* Why not in a better way, or why there is none: the attempts that failed when the last one was made. */
    execbuf_error why;
} execbuf_pool_stats;

/* Asks for the numbers of a pool. Takes time in proportion to how much it has, and keeps others waiting.
 *
 * In:  pool:  the pool.
 * Out: stats: the numbers; all zero, with no backend, if pool is NULL. */
void execbuf_pool_get_stats(const execbuf_pool *pool, execbuf_pool_stats *stats);

/* How many handles this process has refused with EXECBUF_E_STALE: handles of freed buffers, with an altered
 * address, or of nothing. A number other than 0 is a bug in the program.
 *
 * Returns: the number. */
uint64_t execbuf_stale_count(void);

/* ---- Probe ------------------------------------------------------------------------------------- */

/* What is known of one backend. */
typedef struct execbuf_probe_result {
    /* Which one. */
    execbuf_backend backend;
    /* Why it does not work: the system's code, or 0. */
    int32_t os_error;
    /* Why it does not work: the call that failed, or the check that spoke against trying, a string that
     * lives for ever. NULL: it works. */
    const char *call;
} execbuf_probe_result;

/* One fact about the system or the process, for people to read: names and values may change with the
 * version. */
typedef struct execbuf_fact {
    /* What it is about, such as "page size": a string that lives for ever. */
    const char *name;
    /* What is the case, as text. */
    char value[48];
} execbuf_fact;

/* How many facts a probe has room for. */
#define EXECBUF_MAX_FACTS 16

/* What a machine and a process allow. A plain value without anything to free. */
typedef struct execbuf_probe {
    /* EXECBUF_OK, whether anything works or not; or why nothing was tried: EXECBUF_E_UNSUPPORTED,
     * EXECBUF_E_READ_IMPLIES_EXEC, EXECBUF_E_NO_MEMORY or EXECBUF_E_DENIED. */
    execbuf_status status;
    /* How many entries of buffer, pool and facts are filled. */
    uint32_t buffer_count;
    uint32_t pool_count;
    uint32_t fact_count;
    /* The backends of execbuf_new, in the order in which they are tried. The first that works is used. */
    execbuf_probe_result buffer[EXECBUF_MAX_ATTEMPTS];
    /* Those that make a pool's regions. If none works, buffers of a pool get pages of their own. */
    execbuf_probe_result pool[EXECBUF_MAX_ATTEMPTS];
    /* What policies, limits and sizes there are, as far as the process may know. */
    execbuf_fact facts[EXECBUF_MAX_FACTS];
} execbuf_probe;

/* Tries each backend on a small piece of memory, and asks the system for what has to do with it. Nothing is
 * kept, and nothing is tried that is writable and executable at once, so there is nothing for an audit log
 * but what publishing would cause. It makes some dozens of system calls, on Linux also uname and those that
 * read files of /proc and /sys: not for a sandbox that kills whoever makes an unusual call.
 *
 * Out: probe: the report. NULL does nothing. */
void execbuf_probe_system(execbuf_probe *probe);

/* ---- Signatures --------------------------------------------------------------------------------- */

/* The types that cross a call alike in every calling convention, each with its letter in a signature's text,
 * its size in bytes and whether it is signed. Those whose size depends on the system are not among them:
 * long, long double, wchar_t, va_list. */
#define EXECBUF_TYPE_MAP(X)                                                                                  \
    X(EXECBUF_TYPE_VOID, 0, 'v', 0, 0)                                                                       \
    X(EXECBUF_TYPE_BOOL, 1, '?', 1, 0)                                                                       \
    X(EXECBUF_TYPE_I8, 2, 'b', 1, 1)                                                                         \
    X(EXECBUF_TYPE_U8, 3, 'B', 1, 0)                                                                         \
    X(EXECBUF_TYPE_I16, 4, 'h', 2, 1)                                                                        \
    X(EXECBUF_TYPE_U16, 5, 'H', 2, 0)                                                                        \
    X(EXECBUF_TYPE_I32, 6, 'i', 4, 1)                                                                        \
    X(EXECBUF_TYPE_U32, 7, 'I', 4, 0)                                                                        \
    X(EXECBUF_TYPE_I64, 8, 'l', 8, 1)                                                                        \
    X(EXECBUF_TYPE_U64, 9, 'L', 8, 0)                                                                        \
    X(EXECBUF_TYPE_POINTER, 10, 'p', 8, 0)                                                                   \
    X(EXECBUF_TYPE_F32, 11, 'f', 4, 1)                                                                       \
    X(EXECBUF_TYPE_F64, 12, 'd', 8, 1)

typedef enum execbuf_type {
    /* No type. Negative, so that the enum's type is int for every compiler. */
    EXECBUF_TYPE_NONE = -1,
#define EXECBUF_TYPE_ENUM(name, value, letter, size, is_signed) name = value,
    EXECBUF_TYPE_MAP(EXECBUF_TYPE_ENUM)
#undef EXECBUF_TYPE_ENUM
} execbuf_type;

/* The most arguments that a signature has, as many as C asks compilers for (C11, 5.2.4.1). */
#define EXECBUF_MAX_ARGUMENTS 127

/* The result and the arguments of a function. A plain value; fill it with execbuf_signature_parse or by hand.
 * Whatever takes a signature checks it. */
typedef struct execbuf_signature {
    /* An execbuf_type. */
    uint8_t result;
    /* How many arguments there are. */
    uint8_t count;
    /* Whether the function is variadic: of this signature's arguments, those behind the first fixed ones
     * stand for "...". */
    uint8_t variadic;
    uint8_t fixed;
    /* Each an execbuf_type, but not EXECBUF_TYPE_VOID. */
    uint8_t arguments[EXECBUF_MAX_ARGUMENTS];
} execbuf_signature;

/* Reads a signature: the letter of the result, then in parentheses those of the arguments, without spaces. A
 * full stop stands where "..." begins. "i(pp)" is memcmp without its length, "i(p.id)" is printf with an int
 * and a double.
 *
 * Errors: EXECBUF_E_NULL; EXECBUF_E_SYNTAX, with the offset; EXECBUF_E_TYPE, with the argument's number and
 *         the reason: "long" and its like, types that are not supported yet ('x' and 'X' for integers of 128
 *         bits, 'm' for vectors, '{' for structs), void as an argument, and behind the full stop types that
 *         C promotes; EXECBUF_E_ARGUMENTS.
 * Out: out:   the signature; all zero, which is "v()", on failure.
 * In:  text:  the text.
 * Out: error: the report, or NULL. */
execbuf_status execbuf_signature_parse(execbuf_signature *out, const char *text, execbuf_error *error);

/* ---- Calling conventions ------------------------------------------------------------------------ */

/* The two conventions of x86-64. */
typedef enum execbuf_abi {
    /* That of C functions where the library runs: one of the two on x86-64, and none elsewhere. */
    EXECBUF_ABI_NATIVE = -1,
    /* System V: Linux, macOS, the BSDs (System V psABI, AMD64 supplement 1.0, 3.2). */
    EXECBUF_ABI_SYSV64 = 1,
    /* Microsoft: Windows, UEFI (Microsoft, "x64 calling convention"). */
    EXECBUF_ABI_WIN64 = 2
} execbuf_abi;

/* Where an argument or the result is. */
typedef enum execbuf_where {
    EXECBUF_NOWHERE = -1, /* void is */
    EXECBUF_IN_GENERAL = 0,
    EXECBUF_IN_VECTOR = 1,
    EXECBUF_ON_STACK = 2
} execbuf_where;

typedef struct execbuf_location {
    /* An execbuf_where. */
    int8_t where;
    /* The register's number as instructions encode it: 0 is rax, 1 rcx, 2 rdx, 6 rsi, 7 rdi, 8 to 15 r8 to
     * r15; or of xmm0 to xmm7. */
    uint8_t number;
    /* On the stack: how far above the stack pointer, in bytes, before the call pushes its return address. */
    uint16_t offset;
} execbuf_location;

typedef struct execbuf_layout {
    execbuf_location result;
    execbuf_location arguments[EXECBUF_MAX_ARGUMENTS];
    /* What the caller sets aside for the call: stack arguments, for Win64 also the 32 bytes of shadow space.
     * In bytes, a multiple of 8. */
    uint32_t stack_size;
    /* How many vector registers hold arguments. */
    uint32_t vector_count;
} execbuf_layout;

/* Tells where a convention has the arguments and the result. Works on every machine.
 *
 * Errors: EXECBUF_E_NULL; EXECBUF_E_ABI; for a signature that was filled by hand, those of
 *         execbuf_signature_parse.
 * Out: out:       the locations; all zero on failure.
 * In:  signature: the signature.
 *      abi:       the convention.
 * Out: error:     the report, or NULL. */
execbuf_status execbuf_layout_of(execbuf_layout *out, const execbuf_signature *signature, execbuf_abi abi,
                                 execbuf_error *error);

/* ---- Thunks as bytes ---------------------------------------------------------------------------- */

/* Writes a thunk: x86-64 code that is called by one convention and calls the target by the other, with the
 * same arguments, and returns its result. By the same convention it is a jump. It can be published at any
 * address.
 *
 * It takes less than a page of stack. Integers of 8 and 16 bits reach a System V target extended to 32, as
 * compilers expect. Called by Win64 it preserves rdi, rsi and xmm6 to xmm15. Of a variadic target it is a
 * caller with these very arguments; the thunk itself may be called as variadic or not, unless it is a jump.
 *
 * There are no unwind tables for it: nothing may unwind through it. execbuf_thunk_new makes them.
 *
 * Errors: as for execbuf_layout_of; EXECBUF_E_NULL if there is no target; EXECBUF_E_CAPACITY, and *length
 *         tells how much room it takes. Nothing is written then.
 * Out: out:       the code; NULL is allowed if capacity is 0.
 * In:  capacity:  the room there, in bytes.
 * Out: length:    the length of the code, in bytes; 0 on failure, but for EXECBUF_E_CAPACITY.
 * In:  signature: the signature of both.
 *      entered:   the convention by which the thunk is called.
 *      abi:       that of the target.
 *      target:    the function that it calls.
 * Out: error:     the report, or NULL. */
execbuf_status execbuf_thunk_emit(void *out, size_t capacity, size_t *length,
                                  const execbuf_signature *signature, execbuf_abi entered, execbuf_abi abi,
                                  const void *target, execbuf_error *error);

/* ---- Thunks ------------------------------------------------------------------------------------- */

/* Makes a thunk that can be called: a function pointer for whoever calls by one convention, of a function
 * that is called by the other. As execbuf_thunk_emit, but better in all that concerns memory and unwinding:
 *
 * It is a buffer of the pool, of 16 bytes if the target is within 2 GiB of it, else of 32; where the pool has
 * no regions, it has a page. What it does is in code that all thunks of the pool share whose arguments are
 * alike and cross in the same direction; that goes with the last of them, and counts as a buffer meanwhile.
 *
 * Exceptions, longjmp and backtraces pass through it, and debuggers know it as
 * execbuf_thunk_sysv64_to_win64 or execbuf_thunk_win64_to_sysv64. Where there is no Windows, this takes an
 * unwinder that learns of code at run time: libgcc's or LLVM's, as a library or in the program. Without one,
 * what passes through is what an exception without a handler is: the end. (glibc's backtrace asks libgcc's
 * library, which does not know of thunks if the program has an unwinder of its own.)
 *
 * But where Win64 code calls System V code outside of Windows, no unwinder restores rdi, rsi and xmm6 to
 * xmm15, which the caller expects to be preserved: what is caught in a frame that itself made a call by
 * Win64's convention goes on with wrong values. Catch further out, where the convention is System V.
 *
 * fork: thunks live on in both processes. But unwinders have locks of their own, which libgcc's, before its
 * version 13, does not mind at a fork: if another thread throws an exception, or tells it of code, just at
 * that moment, the child can neither throw, nor make or free thunks. (What execbuf itself tells it is
 * minded.)
 *
 * The function's code must not use the red zone, the 128 bytes below its stack pointer, if it runs on
 * Windows, where there is none.
 *
 * Its address is execbuf_entry(out, 0). It is freed with execbuf_free, when nobody calls it any more; the
 * target has to live as long. It can't be rewritten.
 *
 * Errors: EXECBUF_E_NULL; those of execbuf_signature_parse for a signature that was filled by hand;
 * EXECBUF_E_ABI, also on machines other than x86-64; those of execbuf_pool_publish and of execbuf_pool_new.
 * Out: out:       the thunk, a buffer; all zero on failure.
 * In:  pool:      where it is to be; NULL for a pool that the library has for this.
 *      signature: the signature of both.
 *      entered:   the convention by which the thunk is called.
 *      abi:       that of the target. If it is the same, the thunk is an ordinary buffer with a jump.
 *      target:    the function that it calls.
 * Out: error:     the report, or NULL. */
execbuf_status execbuf_thunk_new(execbuf *out, execbuf_pool *pool, const execbuf_signature *signature,
                                 execbuf_abi entered, execbuf_abi abi, const void *target,
                                 execbuf_error *error);

#ifdef __cplusplus
}
#endif

#endif
