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
 * No function is async-signal-safe; calling published code is. (On macOS on arm64 not in a handler that
 * interrupts a function of execbuf: there that thread may not run code.)
 *
 * Published code can be called by every thread that learns of it through a lock or an atomic variable. Caches
 * are seen to. On AArch64 Linux that takes version 4.16 or later, for membarrier(2); before that, a thread
 * other than the publisher executes an isb first.
 *
 * fork: both processes may call, rewrite and free everything created before the fork, and neither sees
 * what the other does. Handlers of pthread_atfork may call execbuf, and may take locks that are held when
 * execbuf is called, unless they were registered before the library was loaded. A signal handler may not
 * fork. A child made by raw clone(2) without the C library's fork handlers may call published code and
 * nothing else. vfork and posix_spawn are not affected.
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
      "the buffer can only be freed")

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
    /* Linux: the bytes are written to a memfd, which is sealed against writing and mapped RX. */
    EXECBUF_BACKEND_MEMFD = 2,
    /* Linux: RX pages are filled through a second mapping of theirs that mremap made; no file involved. */
    EXECBUF_BACKEND_ALIAS = 3,
    /* macOS on arm64: MAP_JIT pages with the per-thread write protection. */
    EXECBUF_BACKEND_MAP_JIT = 4
} execbuf_backend;

/* A backend's short name: "none", "flip", "memfd", "alias" or "map-jit".
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
    /* The argument or the system call at fault: a string that lives for ever, or NULL. */
    const char *culprit;
    /* How many entries of attempts are filled. */
    size_t attempt_count;
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

#ifdef __cplusplus
}
#endif

#endif
