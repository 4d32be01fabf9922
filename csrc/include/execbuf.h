/*
 * execbuf: executable memory for JIT compilers. No memory mapping that it creates is ever writable and
 * executable at the same time. (Of EXECBUF_BACKEND_MAP_JIT, on macOS on arm64, this holds for each thread.)
 *
 * This header is the manual. The following rules hold for every function.
 *
 * Argument order: the object that the function acts on or asks about; results; arguments that are read and
 * changed; inputs, each length directly after its pointer; the error report. A function without an object
 * begins with its result.
 *
 * Errors: functions that can fail return EXECBUF_OK (0) or a negative execbuf_status. On failure nothing has
 * changed: no new mapping remains, output handles are zeroed, input handles are untouched, and existing code
 * still runs. There are two exceptions: EXECBUF_E_LOST and execbuf_rewrite_batch; see there.
 *
 * Error reports: `error` may be NULL. If it is not, every call fills it, including one that returns
 * EXECBUF_OK, which may leave `attempts`, `path` and `reserved` as they are. A failure fills all of it. The
 * report names the argument or the system call at fault, with the system's own error code, and lists every
 * backend that was tried. Functions whose status says everything have no such argument.
 *
 * Sizes, lengths and offsets are in bytes.
 *
 * Structs with a size: a struct that may grow in later versions begins with a member `size`, which its _INIT
 * macro sets to the sizeof that the caller was compiled with. A size that is 0, above 65536 or no multiple of
 * sizeof(size_t) means that the macro was forgotten; the answer is EXECBUF_E_VERSION. Of an input, members
 * beyond the size have the values of the _INIT macro; bytes within the size that this version of the library
 * does not know must be 0, else the answer is EXECBUF_E_VERSION. Of an output, the library fills the members
 * within the size and zeroes bytes that it does not know; it does not change the size. Structs that are
 * elements of arrays never grow.
 *
 * The library never aborts, never prints, and needs no initialisation.
 *
 * Thread safety: every function may be called from any thread, and calls on different buffers may run
 * concurrently. Concurrent calls on the same buffer are allowed only if both take a pointer to const. If two
 * threads free copies of the same handle, the buffer is freed once. The later call gets EXECBUF_E_STALE. If
 * both run at the same time and one is that of the thread that published the buffer in a pool, both may
 * return EXECBUF_OK.
 *
 * Cancellation: no function is a cancellation point, so pthread_cancel does not end a thread inside of one.
 * But a thread must not have asynchronous cancellation (PTHREAD_CANCEL_ASYNCHRONOUS) when it calls execbuf.
 *
 * Signals: a signal handler may call execbuf_pool_lookup, execbuf_find, execbuf_name, execbuf_entry and
 * execbuf_call, whatever it has interrupted, also a function of execbuf: these take no lock, make no system
 * call and allocate nothing. A handler must not call other functions of execbuf. It may call published code,
 * except on macOS on arm64 in a handler that interrupted a function of execbuf. It may unwind, as profilers
 * do, whatever function they interrupted: while the library calls an unwinder, it blocks signals other than
 * those of faults.
 *
 * Published code may be called by every thread that learns of it through a lock or an atomic variable; the
 * library flushes instruction caches. On AArch64 this requires Linux 4.16, for membarrier(2): on older
 * kernels each thread other than the publisher must execute an isb before it calls the code.
 *
 * Branch target identification (BTI, AArch64): no page of execbuf is guarded (PROT_BTI), so code that does
 * not begin with a bti instruction can be called.
 *
 * Control-flow integrity: clang's -fsanitize=cfi and -fsanitize=kcfi stop a program that calls published
 * code, because the compiler has not seen that code. Put __attribute__((no_sanitize("cfi"))), or "kcfi",
 * before each function that makes such a call; the library's own functions have it. Windows' Control Flow
 * Guard (/guard:cf) permits the calls, because every address in new executable pages is a valid target
 * (Microsoft, "Memory Protection Constants").
 *
 * LeakSanitizer does not look for pointers in published code. It reports an object as leaked if the only
 * pointer to it is a constant in code. To prevent that, call __lsan_register_root_region with the entry and
 * the length of the buffer, and __lsan_unregister_root_region before the buffer is freed. LeakSanitizer then
 * finds pointers at multiples of their size, and with LSAN_OPTIONS=use_unaligned=1 at any address.
 *
 * Core dumps: on Linux they contain the code of a pool once, because the library excludes the writable
 * mapping of each region.
 *
 * fork: afterwards both processes may call and free all code that existed before, and neither sees a change
 * that the other makes. Both may rewrite all of it, and publish what was reserved or staged; on Linux that
 * also holds for code in regions of a pool (see "Pool"). Staged bytes are private: each process goes on with
 * those that were there at the fork, and neither sees what the other one writes. Fork handlers
 * (pthread_atfork) that are registered after the library was loaded may call execbuf, and may take locks that
 * other threads hold while they call it. A signal handler must not fork. vfork and posix_spawn have no
 * effect.
 *
 * Raw clone: a child that was made without the C library's fork handlers, by clone(2) or _Fork, shares the
 * memory of pools with a parent that does not know of it. It may call published code for as long as the
 * parent neither frees nor rewrites it. It may also use every function, if the system is Linux 4.14 or later
 * and the parent had no other thread at that moment: its first call detects the clone, and what it changes is
 * copied, as after a fork. In all other cases it must not call execbuf.
 *
 * Loading: the library may be linked into a program or loaded by dlopen, and a process may contain several
 * copies of it. Each copy has its own buffers and pools; only the copy that made a handle knows it. If the
 * loader lets the functions of one copy replace those of another, all callers use the former. The library
 * looks for the unwinder of the process when it is loaded, and then loads libgcc_s.so.1 if there is none;
 * after that it loads no library and looks up no symbol.
 *
 * Unloading (dlclose, FreeLibrary): free all buffers, callers and pools first. Code that is still live stays
 * mapped and can be called, but nothing can free it any more, not even another copy of the library. What it
 * needs stays with it: the region of a pool around it, whose writable mapping goes, the data of closures, and
 * the unwind tables of thunks. On Linux, all other memory is freed. On Windows, the records of handles and
 * pools and the pool for thunks without a pool stay. glibc removes the library's fork handlers together with
 * it, and musl never unloads a library; on other systems with fork, do not unload it.
 *
 * System calls (Linux), for sandboxes; docs/hardened.md says which of them may fail. An operation makes the
 * calls of the lines that apply, and no others. A process may use fewer backends (execbuf_set_backends).
 *
 *     the first buffer or pool    personality
 *     a pool                      mmap madvise munmap membarrier
 *     a dedicated mapping, flip   mmap mprotect munmap prctl
 *     a dedicated mapping, memfd  mmap mremap munmap memfd_create write fcntl close prlimit64
 *     a dedicated mapping, alias  mmap mprotect mremap munmap madvise
 *     a region, any               personality getrandom clock_gettime
 *     a region, memfd             mmap mprotect munmap memfd_create ftruncate fcntl madvise close prlimit64
 *     a region, alias             mmap mprotect mremap munmap madvise
 *     constants and data          personality mmap mprotect munmap
 *     code with a placement       openat read close brk
 *     a protection key            pkey_alloc pkey_mprotect pkey_free
 *     a fork with a region        shmget shmat shmctl shmdt membarrier
 *     changing a region after it  as a region; and shmctl pwrite64 mremap
 *     the option not_inherited    as without it, and madvise mmap
 *     unwind tables               rt_sigprocmask
 *     describing, tool perf       getpid openat fstat newfstatat geteuid prlimit64 write close
 *     describing, tool jitdump    as with perf; and gettid getcwd readlink getrandom mkdir mmap
 *     if no dump can be made      munmap unlink rmdir
 *     a rewrite, unpublishing     as a dedicated mapping; and mremap membarrier
 *     reusing memory in a pool    membarrier
 *     freeing                     munmap
 *     freeing most of a region    as a region; and pwrite64 mremap membarrier
 *     waiting for another thread  futex sched_yield clock_gettime clock_nanosleep membarrier
 *     the heap of the C library   brk mmap munmap mremap madvise mprotect
 *     execbuf_probe_system        all of these; and uname openat read close access
 *
 * A dedicated mapping is that of execbuf_new, of execbuf_reserve and execbuf_publish, of a staged buffer, and
 * that of large code of a pool. A pool makes a region when it has no memory left; otherwise publishing in it
 * makes no system call. Constants and data with a placement make the calls of code with one. Thunks and
 * callers use the pool and the heap. On AArch64 all publishing calls membarrier, on RISC-V
 * riscv_flush_icache. musl calls nanosleep where glibc calls clock_nanosleep; 32-bit systems have mmap2 and
 * other variants. Loading the library may load libgcc_s.so.1. What is not listed here makes no system call.
 *
 * The end of the process: all threads may use the library until it ends. There is one exception, with a
 * shared library of execbuf on Linux: if its first use is in a constructor of a library that the program is
 * linked with, then its memory is freed when the destructors run.
 */
#ifndef EXECBUF_H
#define EXECBUF_H

#include <stddef.h>
#include <stdint.h>

/* EXECBUF_API marks what a shared library exports. On Windows define EXECBUF_BUILD_SHARED to build a DLL and
 * EXECBUF_SHARED to use one; for a static library define neither. */
#ifndef EXECBUF_API
#if defined(_WIN32) || defined(__CYGWIN__)
#if defined(EXECBUF_BUILD_SHARED)
#define EXECBUF_API __declspec(dllexport)
#elif defined(EXECBUF_SHARED)
#define EXECBUF_API __declspec(dllimport)
#else
#define EXECBUF_API
#endif
#elif defined(__GNUC__)
#define EXECBUF_API __attribute__((visibility("default")))
#else
#define EXECBUF_API
#endif
#endif

/* EXECBUF_NODISCARD marks functions whose status must be looked at. Define it as nothing to get no
 * warnings. */
#ifndef EXECBUF_NODISCARD
#if defined(__GNUC__) || defined(__clang__)
#define EXECBUF_NODISCARD __attribute__((warn_unused_result))
#elif defined(_MSC_VER)
#include <sal.h>
#define EXECBUF_NODISCARD _Check_return_
#else
#define EXECBUF_NODISCARD
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version ------------------------------------------------------------------------------------------ */

/* The version of this header, as numbers, as one number that grows with each release, and as text. */
#define EXECBUF_VERSION_MAJOR 0
#define EXECBUF_VERSION_MINOR 1
#define EXECBUF_VERSION_PATCH 0
#define EXECBUF_VERSION_NUMBER                                                                               \
    (EXECBUF_VERSION_MAJOR * 1000000 + EXECBUF_VERSION_MINOR * 1000 + EXECBUF_VERSION_PATCH)
#define EXECBUF_VERSION "0.1.0"

/* Returns the version of the linked library, to be compared with EXECBUF_VERSION.
 *
 * Returns: a constant string. */
EXECBUF_API const char *execbuf_version(void);

/* Returns the version of the linked library, to be compared with EXECBUF_VERSION_NUMBER.
 *
 * Returns: the number. */
EXECBUF_API uint32_t execbuf_version_number(void);

/* ---- Status ------------------------------------------------------------------------------------------- */

/* Every status: its name, its value and the message that describes it. */
#define EXECBUF_STATUS_MAP(X)                                                                                \
    X(EXECBUF_OK, 0, "success")                                                                              \
    X(EXECBUF_E_NULL, -1, "a required pointer is NULL")                                                      \
    X(EXECBUF_E_EMPTY, -2, "the length is 0; at least one byte is required")                                 \
    X(EXECBUF_E_TOO_LARGE, -3, "the length exceeds the largest that is supported")                           \
    X(EXECBUF_E_OUT_OF_BOUNDS, -4, "the range is not within the buffer's code")                              \
    X(EXECBUF_E_CAPACITY, -5, "the code is longer than the capacity")                                        \
    X(EXECBUF_E_STALE, -6, "the handle names no live buffer; it was freed, altered or never filled")         \
    X(EXECBUF_E_NOT_PUBLISHED, -7, "no code has been published in the buffer yet; it is reserved or staged") \
    X(EXECBUF_E_PUBLISHED, -8, "the buffer is already published; change its code with execbuf_rewrite")      \
    X(EXECBUF_E_NO_MEMORY, -9,                                                                               \
      "no memory, address space, mappings or file descriptors are left (see RLIMIT_AS, RLIMIT_DATA, "        \
      "RLIMIT_NOFILE and vm.max_map_count)")                                                                 \
    X(EXECBUF_E_DENIED, -10,                                                                                 \
      "the system refused every way to make memory executable; the refused calls show which policy to "      \
      "relax")                                                                                               \
    X(EXECBUF_E_READ_IMPLIES_EXEC, -11,                                                                      \
      "the READ_IMPLIES_EXEC personality makes all readable memory executable; start the program "           \
      "without it (no setarch -X, no executable stack)")                                                     \
    X(EXECBUF_E_UNSUPPORTED, -12, "not supported on this system, or for this kind of buffer")                \
    X(EXECBUF_E_LOST, -13,                                                                                   \
      "the rewrite failed and the system refused to make the old code executable again; the buffer can "     \
      "only be freed")                                                                                       \
    X(EXECBUF_E_FROZEN, -14,                                                                                 \
      "the process forked while this code was live, so both processes share its memory, and the system "     \
      "does not let it be copied; publish a new buffer instead")                                             \
    X(EXECBUF_E_TOO_FAR, -15, "no free address range of this size is left where the code may lie")           \
    X(EXECBUF_E_SYNTAX, -16, "the text of the signature is malformed; write it like \"d(pid)\"")             \
    X(EXECBUF_E_TYPE, -17, "this type cannot be passed between calling conventions")                         \
    X(EXECBUF_E_ARGUMENTS, -18,                                                                              \
      "the signature has more arguments than EXECBUF_MAX_ARGUMENTS, more fixed arguments than arguments, "   \
      "or no argument at this position")                                                                     \
    X(EXECBUF_E_ABI, -19, "unknown calling convention, or one that this machine does not have")              \
    X(EXECBUF_E_THUNK, -20, "the buffer is a thunk, whose code cannot be changed; make a new thunk instead") \
    X(EXECBUF_E_VERSION, -21,                                                                                \
      "the struct was not initialised with its _INIT macro, or it asks for something that this version of "  \
      "the library does not know")                                                                           \
    X(EXECBUF_E_TOO_MANY_POOLS, -22,                                                                         \
      "pools and threads have 32767 arenas, the most that are possible; free a pool, with all of its "       \
      "buffers")                                                                                             \
    X(EXECBUF_E_NOT_FOUND, -23, "no published code contains this address")                                   \
    X(EXECBUF_E_BACKENDS, -24,                                                                               \
      "this choice of backends is not possible: one is unknown, none exists on this platform, or the "       \
      "library was used before")                                                                             \
    X(EXECBUF_E_NOT_INHERITED, -25,                                                                          \
      "the buffer's pool keeps its code from children of a fork, and this process is one; free the buffer "  \
      "and publish a new one")                                                                               \
    X(EXECBUF_E_UNWIND, -26, "the unwind information is malformed, or does not fit the code")                \
    X(EXECBUF_E_STAGED, -27,                                                                                 \
      "a staged buffer is published with execbuf_publish_staged, a reserved one with execbuf_publish")       \
    X(EXECBUF_E_ALIGNMENT, -28, "the alignment is not a power of two, or is more than a page")               \
    X(EXECBUF_E_TOOL, -29, "a debugger or profiler cannot be told of code")                                  \
    X(EXECBUF_E_LINES, -30, "the offsets of the lines descend, or one lies behind the code")

typedef enum execbuf_status {
#define EXECBUF_STATUS_ENUM(name, value, message) name = value,
    EXECBUF_STATUS_MAP(EXECBUF_STATUS_ENUM)
#undef EXECBUF_STATUS_ENUM
} execbuf_status;

/* Returns the name of a status as C spells it, such as "EXECBUF_E_EMPTY".
 *
 * Returns: a constant string; "EXECBUF_E_?" for an unknown value.
 * In:      status  the status */
EXECBUF_API const char *execbuf_status_name(execbuf_status status);

/* Returns what a status means, in English, without a full stop.
 *
 * Returns: a constant string; "unknown status" for an unknown value.
 * In:      status  the status */
EXECBUF_API const char *execbuf_status_message(execbuf_status status);

/* ---- Backends ----------------------------------------------------------------------------------------- */

/* A way to make memory executable. A platform has one or more of them, which are tried in a fixed order. Each
 * must pass a self-test before it is used: write and call; before it rewrites code, also rewrite and call. */
typedef enum execbuf_backend {
    /* No backend. */
    EXECBUF_BACKEND_NONE = -1,
    /* mprotect or VirtualProtect changes the protection of the pages from writable to executable. */
    EXECBUF_BACKEND_FLIP = 1,
    /* Linux: an executable mapping of a memfd. For a dedicated mapping the file is written and sealed against
     * writing before it is mapped. For a region of a pool, the file gets one writable mapping, is then sealed
     * against further ones, and is mapped executable last. FreeBSD on x86-64, pools only: a memfd with two
     * mappings, of which each is limited to its rights (PROT_MAX). */
    EXECBUF_BACKEND_MEMFD = 2,
    /* Linux: executable anonymous pages, which are filled through a second, writable mapping that mremap
     * made. No file is involved. NetBSD on x86-64, pools only: the same. */
    EXECBUF_BACKEND_ALIAS = 3,
    /* macOS on arm64: MAP_JIT pages. The system lists them as writable and executable; the processor lets
     * each thread do only one of the two. */
    EXECBUF_BACKEND_MAP_JIT = 4,
    /* Windows, regions of pools only: a section of the paging file with an executable and a writable view. */
    EXECBUF_BACKEND_SECTION = 5
} execbuf_backend;

/* Returns the short name of a backend: "none", "flip", "memfd", "alias", "map-jit" or "section".
 *
 * Returns: a constant string; "?" for an unknown value.
 * In:      backend  the backend */
EXECBUF_API const char *execbuf_backend_name(execbuf_backend backend);

/* A set of backends is a sum of these. */
#define EXECBUF_BACKEND_BIT(backend) ((uint32_t)1 << (unsigned)(backend))

/* ---- Error report ------------------------------------------------------------------------------------- */

/* A failed attempt to make memory executable. */
typedef struct execbuf_attempt {
    /* The backend that was tried. */
    execbuf_backend backend;
    /* The system's error code, an errno value or that of GetLastError; 0 if there is none. */
    int32_t os_error;
    /* The system call that failed, or the check that ruled the backend out: a constant string. */
    const char *call;
} execbuf_attempt;

/* The most attempts in a report. No platform has more backends. */
#define EXECBUF_MAX_ATTEMPTS 4

/* Why a function failed. A plain value: nothing in it must be freed, and it need not be initialised. */
typedef struct execbuf_error {
    /* The status that the function returned. */
    execbuf_status status;
    /* The system's error code, an errno value or that of GetLastError; 0 if there is none. */
    int32_t os_error;
    /* The argument or the system call at fault, or what is wrong with a signature or an unwind table: a
     * constant string or NULL. */
    const char *culprit;
    /* EXECBUF_E_SYNTAX: the offset in the text. EXECBUF_E_TYPE: the number of the argument, from 1 on, or 0
     * for the result. A failed batch: the index of the piece of code at fault. EXECBUF_E_UNWIND, but of a
     * batch: the offset in the table. A line of source, but of a batch: its index. EXECBUF_E_TOOL: see
     * execbuf_tool_failure. Otherwise 0. */
    uint32_t position;
    /* The number of entries in attempts. */
    uint32_t attempt_count;
    /* Every backend that was tried, in this order, and why it could not be used. */
    execbuf_attempt attempts[EXECBUF_MAX_ATTEMPTS];
    /* EXECBUF_E_TYPE: which member is at fault, if it is not the whole type: its number in the type, counted
     * from 1, then the number in the type of that member, and so on up to a 0. The element of an array is
     * number 1. Otherwise 0. */
    uint8_t path[8];
    /* For later versions; 0 after a failure. */
    uint64_t reserved[2];
} execbuf_error;

/* An empty report, which says EXECBUF_OK. */
/* clang-format off */
#define EXECBUF_ERROR_INIT {EXECBUF_OK, 0, NULL, 0, 0, {{EXECBUF_BACKEND_NONE, 0, NULL}}, {0}, {0}}
/* clang-format on */

/* Writes a report as one line of text that includes every attempt, such as "the system refused every way to
 * make memory executable; ... (flip: mprotect: EACCES; memfd: memfd_create: EPERM)".
 *
 * Returns: the length of the whole text without its terminating zero, as snprintf does: if it is size or
 *          more, the text was cut; 0 if error is NULL.
 * In:      error  the report; may be NULL
 * Out:     text   at most size - 1 bytes of text and a terminating zero; may be NULL if size is 0
 * In:      size   the size of the array at text */
EXECBUF_API size_t execbuf_error_describe(const execbuf_error *error, char *text, size_t size);

/* ---- Choice of backends -------------------------------------------------------------------------------- */

/* Chooses which backends the process may use; of the platform's backends, the others are never tried. This is
 * for sandboxes that kill the process for a system call by which a backend fails, instead of refusing it: a
 * process that may neither call memfd_create nor mprotect with PROT_EXEC chooses EXECBUF_BACKEND_ALIAS.
 *
 * The choice must be made before the first buffer or pool. Without this call, the environment variable
 * EXECBUF_BACKENDS is read then: names as of execbuf_backend_name, separated by commas, as in "memfd,alias".
 * Unset and empty mean all. Programs that run with rights that their user lacks (setuid) ignore it. If it has
 * an unknown name, or only names of backends that this platform lacks, functions that make buffers and pools
 * return EXECBUF_E_BACKENDS with the culprit "EXECBUF_BACKENDS".
 *
 * Thread safety: as every function; but no thread may change the environment during the first use.
 *
 * Returns: EXECBUF_OK             the choice is made; the environment variable does not count any more;
 *          EXECBUF_E_BACKENDS     the set has an unknown backend or none of this platform's: the culprit is
 *                                 "backends"; or a buffer or pool was made before: it is "first use";
 *          EXECBUF_E_UNSUPPORTED  the platform is not supported.
 * In:      backends  the set, such as EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_MEMFD); 0: all
 * Out:     error     the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_set_backends(uint32_t backends, execbuf_error *error);

/* ---- Buffer ------------------------------------------------------------------------------------------- */

/* The handle of a buffer, which holds one piece of machine code. It is a small value that may be copied, but
 * a buffer is freed once. An all-zero handle names no buffer.
 *
 * A buffer lies in a dedicated mapping or in a region of a pool. Its code begins at entry, a multiple of 16.
 * Memory that holds no code holds trap instructions (x86: int3; AArch64: brk; RISC-V: ebreak), so code that
 * runs past its end stops, unless it exactly fills its slot in a pool and other code follows. The 16 bytes
 * before an entry can be read, as sanitizers do (LLVM issue 65253).
 *
 * The code can be read through entry. Writing through entry raises a fault. A dedicated mapping has no
 * writable mapping while its code is published. For each region of a pool the library keeps a writable and
 * not executable mapping of the same memory, at a random address that no function reveals. */
typedef struct execbuf {
    /* The address of the first byte of code. It never changes. */
    const void *entry;
    /* The length of the published code; 0 while the buffer is only reserved or staged. */
    size_t length;
    /* Identifies the buffer, and this use of its memory. For the library only. */
    uint64_t id;
} execbuf;

/* A function pointer without a particular type. Cast it to the type of the published function. */
typedef void (*execbuf_function)(void);

/* The addresses that code may have. A plain value: threads may share it, and it will never have more members.
 * All zero: any address.
 *
 * Every free range that is large enough and satisfies the conditions can be found. Of several, one near
 * near_to is preferred, and without near_to one at a low address. Two free ranges are special on Linux: the
 * one into which the heap of the program grows (brk) is used only if there is no other one, from its upper
 * end; and the 128 MiB below the stack are not used.
 *
 * If there is no such range, the status is EXECBUF_E_TOO_FAR. The report's culprit says what was searched:
 *
 *   "placement"              all of the addresses (Linux, Windows), or 512 of them (other systems)
 *   "open(/proc/self/maps)"  512 of them: Linux could not list the mappings; os_error says why */
typedef struct execbuf_placement {
    /* Every byte of code is less than distance away from this address. NULL: no such condition. */
    const void *near_to;
    /* In bytes, with near_to only. 0: EXECBUF_DISTANCE. Relative branches reach 2 GiB on x86-64, 128 MiB on
     * AArch64 (Arm, DDI 0487, instruction B) and 1 MiB on RISC-V (jal). */
    size_t distance;
    /* Every byte of code lies at or above this address. */
    uintptr_t lowest;
    /* Every byte of code lies at or below this address. 0: no limit. */
    uintptr_t highest;
} execbuf_placement;
/* clang-format off */
#define EXECBUF_PLACEMENT_INIT {NULL, 0, 0, 0}
/* clang-format on */

/* 2 GiB. */
#define EXECBUF_DISTANCE ((size_t)1 << 31)

/* Copies machine code into a dedicated mapping and makes it executable.
 *
 * Returns: EXECBUF_OK                   the code is published;
 *          EXECBUF_E_NULL               out or code is NULL;
 *          EXECBUF_E_EMPTY              length is 0;
 *          EXECBUF_E_TOO_LARGE          length exceeds PTRDIFF_MAX less some pages;
 *          EXECBUF_E_BACKENDS           the choice of backends is wrong (see execbuf_set_backends);
 *          EXECBUF_E_NO_MEMORY          no memory, address space, mappings or descriptors are left;
 *          EXECBUF_E_DENIED             the system refused every way to make memory executable;
 *          EXECBUF_E_READ_IMPLIES_EXEC  the process has the READ_IMPLIES_EXEC personality;
 *          EXECBUF_E_UNSUPPORTED        the platform is not supported.
 * Out:     out     the new buffer, zeroed on failure; free it with execbuf_free
 * In:      code    the machine code; the caller may reuse the memory when the call returns
 *          length  its length
 * Out:     error   the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_new(execbuf *out, const void *code, size_t length,
                                                         execbuf_error *error);

/* As execbuf_new, at an address that satisfies conditions.
 *
 * Returns: the statuses of execbuf_new, and
 *          EXECBUF_E_NULL     placement has a distance, but near_to is NULL;
 *          EXECBUF_E_TOO_FAR  no free address range satisfies the conditions.
 * Out:     out        the new buffer, zeroed on failure; free it with execbuf_free
 * In:      code       the machine code; the caller may reuse the memory when the call returns
 *          length     its length
 *          placement  the conditions; NULL: none
 * Out:     error      the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_new_at(execbuf *out, const void *code, size_t length,
                                                            const execbuf_placement *placement,
                                                            execbuf_error *error);

/* Reserves a dedicated mapping for code that depends on its own address, as code with relative jumps to other
 * places does. Prepare the code in memory of your own, as if it stood at out->entry, then pass it to
 * execbuf_publish.
 *
 * Returns: EXECBUF_OK                   the buffer is reserved;
 *          EXECBUF_E_NULL               out is NULL;
 *          EXECBUF_E_EMPTY              capacity is 0;
 *          EXECBUF_E_TOO_LARGE          capacity exceeds PTRDIFF_MAX less some pages;
 *          EXECBUF_E_BACKENDS           the choice of backends is wrong (see execbuf_set_backends);
 *          EXECBUF_E_NO_MEMORY          no memory, address space, mappings or descriptors are left;
 *          EXECBUF_E_DENIED             the system refused to map memory;
 *          EXECBUF_E_READ_IMPLIES_EXEC  the process has the READ_IMPLIES_EXEC personality;
 *          EXECBUF_E_UNSUPPORTED        the platform is not supported.
 * Out:     out       a buffer of length 0, zeroed on failure; free it with execbuf_free, published or not
 * In:      capacity  the greatest length that execbuf_publish will accept
 * Out:     error     the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_reserve(execbuf *out, size_t capacity,
                                                             execbuf_error *error);

/* As execbuf_reserve, at an address that satisfies conditions.
 *
 * Returns: the statuses of execbuf_reserve, and
 *          EXECBUF_E_NULL     placement has a distance, but near_to is NULL;
 *          EXECBUF_E_TOO_FAR  no free address range satisfies the conditions.
 * Out:     out        a buffer of length 0, zeroed on failure; free it with execbuf_free, published or not
 * In:      capacity   the greatest length that execbuf_publish will accept
 *          placement  the conditions; NULL: none
 * Out:     error      the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_reserve_at(execbuf *out, size_t capacity,
                                                                const execbuf_placement *placement,
                                                                execbuf_error *error);

/* Copies machine code into a reserved buffer and makes it executable.
 *
 * A dedicated mapping then shrinks to the pages that the code needs. On failure the buffer is still reserved,
 * at the same address.
 *
 * Returns: EXECBUF_OK           the code is published;
 *          EXECBUF_E_NULL       buffer or code is NULL;
 *          EXECBUF_E_EMPTY      length is 0;
 *          EXECBUF_E_STALE      buffer names no live buffer;
 *          EXECBUF_E_THUNK      the buffer is a thunk;
 *          EXECBUF_E_NOT_INHERITED  this process is a child of a fork, and the pool has the option
 *                               not_inherited;
 *          EXECBUF_E_PUBLISHED  the buffer is already published;
 *          EXECBUF_E_STAGED     the buffer is staged, not reserved;
 *          EXECBUF_E_CAPACITY   length exceeds the reserved capacity;
 *          EXECBUF_E_FROZEN     the buffer lies in a region of a pool, a parent of this process reserved it,
 *                               and the region cannot be copied: the culprit is the refused call, if there is
 *                               one;
 *          EXECBUF_E_NO_MEMORY  no memory, address space, mappings or descriptors are left;
 *          EXECBUF_E_DENIED     the system refused every way to make memory executable.
 * In/out:  buffer  the reserved buffer; its length is set
 * In:      code    the machine code; the caller may reuse the memory when the call returns
 *          length  its length
 * Out:     error   the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_publish(execbuf *buffer, const void *code, size_t length,
                                                             execbuf_error *error);

/* A description of a piece of code (see "Descriptions"). */
typedef struct execbuf_info execbuf_info;

/* A piece of machine code. */
typedef struct execbuf_code {
    /* The machine code. */
    const void *bytes;
    /* Its length. */
    size_t length;
    /* What is known of it (see "Descriptions"); may be NULL. */
    const execbuf_info *info;
} execbuf_code;

/* Publishes code in several reserved buffers, of any pools and with dedicated mappings: in all of them or in
 * none. So functions that refer to each other can be linked in a loop, when all addresses are known. One
 * barrier, where publishing requires one (AArch64), serves all buffers in regions of pools; each dedicated
 * mapping costs what execbuf_publish costs. On failure all buffers are still reserved, at the same addresses.
 *
 * Returns: EXECBUF_OK           all buffers are published;
 *          EXECBUF_E_NULL       buffers, codes or the bytes of a piece are NULL;
 *          EXECBUF_E_EMPTY      the length of a piece is 0;
 *          EXECBUF_E_STALE      a handle names no live buffer;
 *          EXECBUF_E_THUNK      a buffer is a thunk;
 *          EXECBUF_E_PUBLISHED  a buffer is already published, or is in the array twice;
 *          EXECBUF_E_STAGED     a buffer is staged, not reserved;
 *          EXECBUF_E_CAPACITY   the length of a piece exceeds the capacity of its buffer;
 *          EXECBUF_E_FROZEN     as for execbuf_publish;
 *          EXECBUF_E_NO_MEMORY  no memory, address space, mappings or descriptors are left;
 *          EXECBUF_E_DENIED     the system refused every way to make memory executable.
 * In/out:  buffers  count reserved buffers; their lengths are set; may be NULL if count is 0
 * In:      codes    the pieces of code in the order of buffers; may be NULL if count is 0
 *          count    the number of buffers; may be 0
 * Out:     error    the report, whose position is the index of the buffer at fault; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_publish_all(execbuf *buffers, const execbuf_code *codes,
                                                                 size_t count, execbuf_error *error);

/* Replaces a part of a published buffer's code. While it runs, no thread may run code of the buffer; and no
 * return address into the replaced bytes may be on any stack. A description of the code ends.
 *
 * In a region of a pool, the new bytes are copied in place through the region's writable mapping. Otherwise,
 * on Linux, new pages are completed elsewhere and take the place of the old ones by one mremap, which may
 * cost up to two more mappings (vm.max_map_count) each time. On other systems, and on Linux if a policy
 * refuses mremap and the pages were published by EXECBUF_BACKEND_FLIP, the pages become writable and then
 * executable again, never both at once. If the system refuses to make them executable, the library restores
 * the old bytes and tries once more.
 *
 * Returns: EXECBUF_OK               the bytes are replaced;
 *          EXECBUF_E_NULL           buffer or code is NULL;
 *          EXECBUF_E_EMPTY          length is 0;
 *          EXECBUF_E_STALE          buffer names no live buffer;
 *          EXECBUF_E_NOT_PUBLISHED  the buffer is reserved or staged, and not yet published;
 *          EXECBUF_E_NOT_INHERITED  this process is a child of a fork, and the pool has the option
 *                                   not_inherited;
 *          EXECBUF_E_THUNK          the buffer is a thunk;
 *          EXECBUF_E_OUT_OF_BOUNDS  offset + length exceeds the buffer's length;
 *          EXECBUF_E_FROZEN         the buffer lies in a region of a pool that another process shares since
 *                                   a fork, and that cannot be copied: the culprit is the refused call, if
 *                                   there is one;
 *          EXECBUF_E_NO_MEMORY      no memory, address space, mappings or descriptors are left;
 *          EXECBUF_E_DENIED         the system refused every way to make memory executable;
 *          EXECBUF_E_LOST           this or an earlier rewrite failed, and the old bytes could not be made
 *                                   executable again; the buffer can only be freed. On Linux this takes a
 *                                   policy that refuses mremap, and that begins to refuse mprotect during
 *                                   the call.
 * In/out:  buffer  the published buffer; the handle itself does not change
 * In:      offset  where in its code the new bytes go
 *          code    the new bytes, which may lie in any buffer, including this one
 *          length  their length
 * Out:     error   the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_rewrite(execbuf *buffer, size_t offset, const void *code,
                                                             size_t length, execbuf_error *error);

/* Maps memory for code that its author writes and patches in place, as generators do that use one address for
 * both writing and running. The memory is at its final address, out->entry, from the start. It can be read
 * and written, not executed, and is zero; so cast the entry to uint8_t * and write at most capacity bytes
 * there. Then execbuf_publish_staged makes the code executable, and execbuf_unpublish goes back.
 *
 * The buffer has pages of its own, which are never writable and executable at once, nor writable through
 * another mapping while they are executable. On Linux, except on RISC-V, their mapping has no PROT_READ while
 * they are staged: the processor reads them all the same, but process_vm_readv fails. macOS on arm64 cannot
 * let a program write such pages.
 *
 * Returns: the statuses of execbuf_reserve_at, and
 *          EXECBUF_E_UNSUPPORTED  the backend is EXECBUF_BACKEND_MAP_JIT: the culprit is "map-jit".
 * Out:     out        a buffer of length 0, zeroed on failure; free it with execbuf_free, published or not
 * In:      capacity   how many bytes can be written, and the greatest length that can be published
 *          placement  conditions for the address; NULL: none
 * Out:     error      the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_stage(execbuf *out, size_t capacity,
                                                           const execbuf_placement *placement,
                                                           execbuf_error *error);

/* Makes the first bytes of a staged buffer executable and not writable. What is behind them in their last
 * page becomes traps, and the pages behind that are given back. During the call and until execbuf_unpublish,
 * no thread may write to the buffer: a write may be lost, and later raises a fault. execbuf_describe
 * describes the code.
 *
 * On failure the buffer is still staged, at the same address and with all of its bytes.
 *
 * Returns: EXECBUF_OK               the code is published;
 *          EXECBUF_E_NULL           buffer is NULL;
 *          EXECBUF_E_EMPTY          length is 0;
 *          EXECBUF_E_STALE          buffer names no live buffer;
 *          EXECBUF_E_THUNK          the buffer is a thunk;
 *          EXECBUF_E_NOT_INHERITED  this process is a child of a fork, and the pool has the option
 *                                   not_inherited;
 *          EXECBUF_E_PUBLISHED      the buffer is already published;
 *          EXECBUF_E_STAGED         the buffer is reserved, not staged;
 *          EXECBUF_E_CAPACITY       length exceeds the capacity;
 *          EXECBUF_E_NO_MEMORY      no memory, address space, mappings or descriptors are left;
 *          EXECBUF_E_DENIED         the system refused every way to make memory executable.
 * In/out:  buffer  the staged buffer; its length is set
 * In:      length  how many bytes
 * Out:     error   the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_publish_staged(execbuf *buffer, size_t length,
                                                                    execbuf_error *error);

/* Makes a published buffer a staged one, with the bytes of its code, at the same address: writable and not
 * executable. Its capacity is the length that the code had. The buffer may have been published by any
 * function, but must have a dedicated mapping. While the call runs and as long as the buffer is staged, no
 * thread may run its code, and no return address into it may be on any stack. When the call returns, every
 * thread has discarded the instructions that it fetched from there. A description of the code ends.
 *
 * On Linux, pages that EXECBUF_BACKEND_FLIP has published become writable in place; those of other backends,
 * which a forked process may share, are replaced by a copy, in one step. On failure the buffer is still
 * published. To change a few bytes, execbuf_rewrite suffices.
 *
 * Returns: EXECBUF_OK               the buffer is staged;
 *          EXECBUF_E_NULL           buffer is NULL;
 *          EXECBUF_E_STALE          buffer names no live buffer;
 *          EXECBUF_E_THUNK          the buffer is a thunk;
 *          EXECBUF_E_NOT_INHERITED  this process is a child of a fork, and the pool has the option
 *                                   not_inherited;
 *          EXECBUF_E_NOT_PUBLISHED  the buffer is reserved, or staged already;
 *          EXECBUF_E_LOST           a rewrite of the buffer has failed with this status;
 *          EXECBUF_E_UNSUPPORTED    the buffer lies in a region of a pool, where other code is in the same
 *                                   pages: the culprit is "region"; or as for execbuf_stage;
 *          EXECBUF_E_NO_MEMORY      no memory, address space or mappings are left;
 *          EXECBUF_E_DENIED         the system refused the call that the report names.
 * In/out:  buffer  the published buffer; its length becomes 0. Copies of the handle keep the old length, with
 *                  which execbuf_entry returns addresses that must not be called.
 * Out:     error   the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_unpublish(execbuf *buffer, execbuf_error *error);

/* A change of a published buffer. */
typedef struct execbuf_change {
    /* The published buffer; the handle itself does not change. */
    execbuf *buffer;
    /* Where in its code the new bytes go. */
    size_t offset;
    /* The new bytes, which may lie in any buffer. */
    const void *code;
    /* Their length. */
    size_t length;
} execbuf_change;

/* Makes several changes, one after the other, each as execbuf_rewrite does and under the same conditions. A
 * buffer may have several changes. One barrier serves all changes in regions of pools; each change of a
 * dedicated mapping costs what execbuf_rewrite costs.
 *
 * All changes are checked before the first is made, and shared regions are made the process's own. So
 * afterwards a change can only fail if it is one of a dedicated mapping, which needs system calls, or if
 * another thread forks meanwhile. Then the changes before the position of the report are made, and those from
 * there on are not. All other failures change nothing.
 *
 * Returns: EXECBUF_OK               all changes are made;
 *          EXECBUF_E_NULL           changes, or the buffer or the code of a change is NULL;
 *          the statuses of execbuf_rewrite for a change otherwise.
 * In:      changes  the changes; may be NULL if count is 0
 *          count    their number; may be 0
 * Out:     error    the report, whose position is the index of the change at fault; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_rewrite_batch(const execbuf_change *changes,
                                                                   size_t count, execbuf_error *error);

/* Returns the address of a function in a published buffer. The handle is not checked: that of a freed buffer
 * yields a dangling pointer.
 *
 * Returns: the address as a function pointer; NULL if buffer is NULL or not published, or if offset is not
 *          less than its length.
 * In:      buffer  the published buffer; may be NULL
 *          offset  where in its code the function begins */
EXECBUF_API execbuf_function execbuf_entry(const execbuf *buffer, size_t offset);

/* Returns the length of a buffer's published code. The handle is not checked.
 *
 * Returns: the length; 0 if buffer is NULL or not published.
 * In:      buffer  the buffer; may be NULL */
EXECBUF_API size_t execbuf_length(const execbuf *buffer);

/* Frees a buffer of any kind, published or only reserved, and zeroes the handle. No thread may run its code
 * during the call or later. A NULL or all-zero handle is freed without effect.
 *
 * If the system refuses to unmap a dedicated mapping, which Linux does at the limit of vm.max_map_count, the
 * buffer is freed all the same and later calls try again to unmap it.
 *
 * Returns: EXECBUF_OK       the buffer is freed;
 *          EXECBUF_E_STALE  buffer names no live buffer, as when a copy of the handle was freed before.
 *                           Nothing happens, and the handle is not changed.
 * In/out:  buffer  the buffer; may be NULL */
EXECBUF_API execbuf_status execbuf_free(execbuf *buffer);

/* Finds the published buffer that contains an address, whether it has a dedicated mapping, lies in a pool or
 * is a thunk.
 *
 * The handle equals the one that the buffer was made with. It may be stale as soon as the call returns,
 * unless the caller prevents other threads from freeing the buffer. The call finds every buffer that was
 * published before it began and is not freed before it ends. Of one that is published or freed meanwhile, it
 * may say either.
 *
 * The call takes time in proportion to the number of regions of the process, and if none of them has the
 * address, of dedicated mappings. It takes no lock, and no other thread waits for it. It is async-signal-safe
 * (see "Signals").
 *
 * Returns: EXECBUF_OK           out is the buffer;
 *          EXECBUF_E_NULL       out is NULL;
 *          EXECBUF_E_NOT_FOUND  no published buffer contains the address; addresses in code that thunks share
 *                               belong to no buffer either.
 * In:      address  any address; NULL is in no buffer
 * Out:     out      the handle of the buffer, zeroed on failure */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_find(const void *address, execbuf *out);

/* Returns how often this process has refused a handle with EXECBUF_E_STALE: that of a freed buffer, one with
 * an altered address, or one that was never filled. A number other than 0 indicates a bug in the program.
 *
 * Returns: the number. */
EXECBUF_API uint64_t execbuf_stale_count(void);

/* ---- Pool --------------------------------------------------------------------------------------------- */

/* A pool holds many pieces of code in few mappings, and usually publishes without a system call.
 *
 * It publishes ordinary buffers: all functions on buffers apply. They outlive execbuf_pool_free, and their
 * memory is returned when the last of them is freed.
 *
 * Regions: a pool requests address space in regions. The first one has 8 pages (64 KiB on Windows), and each
 * further one about four times the size of those before it, up to 8 MiB (2 MiB on Windows and on 32-bit
 * systems), or less if the system refuses that much. Only pages that were ever used take memory. A region has
 * an executable mapping and a writable one at a random address, which no function reveals. With
 * EXECBUF_BACKEND_MEMFD and EXECBUF_BACKEND_SECTION the system never lets the executable mapping become
 * writable. Code of more than 256 KiB (64 KiB on Windows and on 32-bit systems) gets a dedicated mapping as
 * from execbuf_new, and so does all code if no region can be made. An empty region is returned to the system,
 * but if its resident part never exceeded 1 MiB, it stays for later code. When most code of a larger region
 * was freed, the pages that no code needs are returned: on Linux the rest is copied to new memory, at the
 * same addresses and in one step, while other threads run the code. One piece of code keeps one page. The
 * other pages cannot be read or run: a call of code that was freed there raises SIGSEGV. On x86 this requires
 * Linux 6.15 (MADV_GUARD_INSTALL) and pages that are not locked; if a call is refused, the memory is only
 * reused. Of a buffer that was reserved with more than 32 KiB, the whole pages behind the published code are
 * reused. Huge pages are not used. Linux gives memory to the pages of a memfd when they are first written,
 * and raises SIGBUS if it has none (vm.overcommit_memory=2). The library asks for the memory before it
 * writes, and reports EXECBUF_E_NO_MEMORY; kernels before 5.14 cannot do this (MADV_POPULATE_WRITE).
 *
 * Freed code is overwritten with traps at once, except in a shared region (see below). Unless its memory is
 * returned, it goes into quarantine, and is reused after every processor has discarded the old instructions:
 * one membarrier(2) releases all of the quarantine. Where that call is refused, it is reused all the same on
 * x86 and RISC-V, whose processors do not need it for this, and not at all on AArch64.
 *
 * fork: afterwards both processes share the memory of regions, and neither writes to it. A process that
 * changes a shared region first makes it its own. On Linux it replaces the memory by a copy, at the same
 * addresses and in one step, while other threads run the code. Spans of memory without code are not copied,
 * and a call of code that was freed there raises a signal. If no other process with the memory lives, nothing
 * is copied: so a fork that fails changes nothing, and neither does one whose child has ended or called
 * execve. Rewriting code and publishing in a reserved buffer copy any region. Publishing new code copies one
 * with at most 64 KiB of spans with code, or else makes a new region. Freed code becomes traps when its
 * region is the process's own. Where the memory cannot be copied, new code goes to new regions, and a rewrite
 * fails with EXECBUF_E_FROZEN: on other systems than Linux, and if a call is refused. A child inherits no
 * writable mapping. Whether other processes live is known by a page of System V shared memory, which the
 * process attaches before it forks; where that is refused, they count as alive.
 *
 * Protection keys: with the option protection_key, the processor lets a thread access the writable mappings
 * only while the thread is in a function that writes to the pool. All other accesses raise SIGSEGV with the
 * si_code SEGV_PKUERR, also those of other threads at the same time, and system calls fail with EFAULT. This
 * requires x86-64 Linux 4.9 and a processor with protection keys (Intel: servers since 2017, others since
 * 2020; AMD: since Zen 3). All such pools of a process share one key, which stays allocated while the library
 * is loaded. Publishing and freeing a small function takes about 100 ns more, of which a batch saves most,
 * because it opens the mapping once. A dedicated mapping needs no key, because nothing can write to it.
 *
 * - Code that the program itself runs can change the register that holds the rights, so keys stop stray and
 *   misdirected writes, but no attacker who executes instructions of his choice. Neither do they stop writes
 *   through /proc/self/mem.
 * - Signal handlers start without access, and a handler that leaves by longjmp keeps its own rights. Linux
 *   6.12 may give a thread access to all keys when a handler returns, on AMD processors (corrected in 6.13 by
 *   commit ae6012d72fa6).
 * - A program that uses keys of its own must not free a key to which threads still have access: the next
 *   owner of the key, perhaps this library, could not revoke it.
 *
 * Thread safety: every function may be called from any thread on any pool. Each thread that publishes in a
 * pool has an arena there, a part of the pool with memory of its own. On Linux 4.14 or newer (which has
 * membarrier(2)) the thread takes no lock there, and publishing and freeing its code costs no atomic
 * instruction. A thread that frees code of another one takes no lock either; the memory is used again by the
 * thread that published, or given back when more than 1 MiB is free. Lookups take no lock at all. Statistics
 * and rewriting stop the owner of an arena for a moment, which needs a system call. On other systems all
 * threads share a lock. If a process has several threads when it first publishes in a pool, the kernel takes
 * some 10 ms to prepare that system call. This happens once, when one thread has to wait for another, at a
 * fork, or at the end of a thread; on x86, publishing does not wait for it.
 */
typedef struct execbuf_pool execbuf_pool;

/* The greatest length of a pool's name. */
#define EXECBUF_POOL_NAME_MAX 63

/* Options of a pool, to be initialised with EXECBUF_POOL_OPTIONS_INIT. */
typedef struct execbuf_pool_options {
    /* The size of the struct. */
    size_t size;
    /* Where the pool's code lies: every byte of it satisfies the conditions. */
    execbuf_placement placement;
    /* All code of the pool lies within this many bytes: the greatest distance between two bytes of it is
     * less. So one piece of code reaches every other one by a branch. 0: no limit. Give at least the size of
     * all code; the pool keeps its range until all of its code is freed. */
    size_t reach;
    /* The name that lists of mappings such as /proc/self/maps show where the system supports it: a string of
     * at most EXECBUF_POOL_NAME_MAX bytes, which is copied. NULL: "execbuf". */
    const char *name;
    /* The set of backends that the pool may use for regions and for dedicated mappings, of those that the
     * process may use (see execbuf_set_backends); 0: all. Use it if tools must see the code:
     *
     * - Debuggers such as gdb set breakpoints only in private memory (the kernel does not let them write to
     *   shared memory). That is EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_FLIP). Then the pool has no regions on
     *   Linux: each buffer has a dedicated mapping, as from execbuf_new.
     * - perf applies /tmp/perf-PID.map to anonymous memory only. That is EXECBUF_BACKEND_FLIP and
     *   EXECBUF_BACKEND_ALIAS, and not EXECBUF_BACKEND_MEMFD. */
    uint32_t backends;
    /* 1: a protection key guards the writable mappings of the pool (see "Protection keys" above). 0: none
     * does. */
    uint32_t protection_key;
    /* 1: the children of a fork do not get the code of the pool. None of its mappings exists in them: a child
     * can neither read nor call what was published before the fork. Its handles of that code can only be
     * freed, which touches no code; publishing in a reserved one and rewriting return
     * EXECBUF_E_NOT_INHERITED. What the child publishes in the pool is its own. The parent goes on as if
     * there had been no fork. The child of a raw clone (see above) does not get the code either.
     *
     * The addresses stay taken in the child until the old buffers are freed, so no other code comes to be
     * there by chance. The old buffers count in its statistics until then. Thunks that are freed in the child
     * leave some memory behind. Regions of such a pool do not give memory back until they are empty.
     *
     * Large code of such a pool needs EXECBUF_BACKEND_FLIP (on macOS on arm64 EXECBUF_BACKEND_MAP_JIT): if it
     * is excluded, the status is EXECBUF_E_DENIED with the culprit "not_inherited". This uses
     * madvise(MADV_DONTFORK) or minherit(2); where neither exists, no such pool can be made. On Windows,
     * which has no fork, the option has no effect.
     *
     * 0: children get the code. */
    uint32_t not_inherited;
    /* For later versions; 0. */
    uint32_t reserved;
} execbuf_pool_options;
/* clang-format off */
#define EXECBUF_POOL_OPTIONS_INIT {sizeof(execbuf_pool_options), EXECBUF_PLACEMENT_INIT, 0, NULL, 0, 0, 0, 0}
/* clang-format on */

/* Makes a pool. It requests memory for code at its first use.
 *
 * The pool has an arena, a part of its own, for each thread that has published in it; the arena of a thread
 * that has ended goes to the next one. A process can have 32767 arenas. If there are no more, a thread uses
 * the arena of another one. An arena counts until its pool and all buffers in it are freed.
 *
 * Returns: EXECBUF_OK                   the pool is made;
 *          EXECBUF_E_NULL               out is NULL, or the placement has a distance without near_to;
 *          EXECBUF_E_VERSION            options has a wrong size or unknown members, or protection_key or
 *                                       not_inherited is not 0 or 1, or reserved is not 0;
 *          EXECBUF_E_TOO_FAR            no address satisfies all conditions of the placement;
 *          EXECBUF_E_BACKENDS           the set of backends has an unknown one or none that may be used here;
 *                                       or the choice for the process is wrong (see execbuf_set_backends);
 *          EXECBUF_E_TOO_LARGE          the name is longer than EXECBUF_POOL_NAME_MAX;
 *          EXECBUF_E_NO_MEMORY          no memory is left;
 *          EXECBUF_E_DENIED             the system refused to register fork handlers;
 *          EXECBUF_E_READ_IMPLIES_EXEC  the process has the READ_IMPLIES_EXEC personality;
 *          EXECBUF_E_UNSUPPORTED        the platform is not supported; or not_inherited is 1, and the system
 *                                       cannot do that; or protection_key is 1, and there is
 *                                       no key. The culprit is then pkey_alloc or protection_key. pkey_alloc
 *                                       fails with ENOSPC if the processor has no keys or all are in use.
 * Out:     out      the pool, NULL on failure; free it with execbuf_pool_free
 * In:      options  the options; NULL for EXECBUF_POOL_OPTIONS_INIT
 * Out:     error    the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_pool_new(execbuf_pool **out,
                                                              const execbuf_pool_options *options,
                                                              execbuf_error *error);

/* Gives up a pool. Its buffers stay valid until they are freed. A NULL pool is freed without effect.
 *
 * In:      pool  the pool, which no thread may use during the call or later; may be NULL */
EXECBUF_API void execbuf_pool_free(execbuf_pool *pool);

/* Copies machine code into the pool and makes it executable. It makes no system call unless the pool needs
 * more memory or the processor a barrier (AArch64).
 *
 * Returns: EXECBUF_OK                   the code is published;
 *          EXECBUF_E_NULL               pool, out or code is NULL;
 *          EXECBUF_E_EMPTY              length is 0;
 *          EXECBUF_E_TOO_LARGE          length exceeds PTRDIFF_MAX less some pages;
 *          EXECBUF_E_NO_MEMORY          no memory, address space, mappings or descriptors are left;
 *          EXECBUF_E_TOO_FAR            no free address range is left where the pool's code may lie;
 *          EXECBUF_E_DENIED             the system refused every way to make memory executable;
 *          EXECBUF_E_READ_IMPLIES_EXEC  the process has the READ_IMPLIES_EXEC personality;
 *          EXECBUF_E_UNSUPPORTED        the platform is not supported.
 * In:      pool    the pool
 * Out:     out     the new buffer, zeroed on failure; free it with execbuf_free
 * In:      code    the machine code; the caller may reuse the memory when the call returns
 *          length  its length
 * Out:     error   the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_pool_publish(execbuf_pool *pool, execbuf *out,
                                                                  const void *code, size_t length,
                                                                  execbuf_error *error);

/* Publishes several pieces of code: all of them or none. Where publishing requires a barrier (AArch64), one
 * barrier serves all. Pieces with an info are described as by execbuf_describe, whose statuses may be
 * returned, too.
 *
 * Returns: EXECBUF_OK                   all pieces are published;
 *          EXECBUF_E_NULL               pool, out, codes or the bytes of a piece are NULL;
 *          EXECBUF_E_EMPTY              the length of a piece is 0;
 *          EXECBUF_E_TOO_LARGE          the length of a piece exceeds PTRDIFF_MAX less some pages;
 *          EXECBUF_E_NO_MEMORY          no memory, address space, mappings or descriptors are left;
 *          EXECBUF_E_TOO_FAR            no free address range is left where the pool's code may lie;
 *          EXECBUF_E_DENIED             the system refused every way to make memory executable;
 *          EXECBUF_E_READ_IMPLIES_EXEC  the process has the READ_IMPLIES_EXEC personality;
 *          EXECBUF_E_UNSUPPORTED        the platform is not supported.
 * In:      pool   the pool
 * Out:     out    count new buffers in the order of codes, zeroed on failure; may be NULL if count is 0
 * In:      codes  the pieces of code, whose bytes are copied; may be NULL if count is 0
 *          count  the number of pieces; may be 0
 * Out:     error  the report, whose position is the index of the piece at fault; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_pool_publish_batch(execbuf_pool *pool, execbuf *out,
                                                                        const execbuf_code *codes,
                                                                        size_t count, execbuf_error *error);

/* Reserves memory in the pool for code that depends on its own address, as execbuf_reserve does. The buffer
 * keeps the size of its memory, whatever length is published.
 *
 * After a fork, both processes may publish in a buffer that was reserved before. In the child,
 * execbuf_publish returns EXECBUF_E_FROZEN if the buffer lies in a region that cannot be copied.
 *
 * Returns: EXECBUF_OK                   the buffer is reserved;
 *          EXECBUF_E_NULL               pool or out is NULL;
 *          EXECBUF_E_EMPTY              capacity is 0;
 *          EXECBUF_E_TOO_LARGE          capacity exceeds PTRDIFF_MAX less some pages;
 *          EXECBUF_E_NO_MEMORY          no memory, address space, mappings or descriptors are left;
 *          EXECBUF_E_TOO_FAR            no free address range is left where the pool's code may lie;
 *          EXECBUF_E_DENIED             the system refused to map memory;
 *          EXECBUF_E_READ_IMPLIES_EXEC  the process has the READ_IMPLIES_EXEC personality;
 *          EXECBUF_E_UNSUPPORTED        the platform is not supported.
 * In:      pool      the pool
 * Out:     out       a buffer of length 0, zeroed on failure; free it with execbuf_free, published or not
 * In:      capacity  the greatest length that execbuf_publish will accept
 * Out:     error     the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_pool_reserve(execbuf_pool *pool, execbuf *out,
                                                                  size_t capacity, execbuf_error *error);

/* Maps memory that is written in place, as execbuf_stage does, within the reach of the pool. It has pages of
 * its own, whatever the capacity, and counts in the pool as large code does. The key of a pool with a
 * protection key does not guard it: every thread can write it while it is staged. In a child of a fork, that
 * of a pool with the option not_inherited is not there.
 *
 * Returns: the statuses of execbuf_pool_reserve, and
 *          EXECBUF_E_UNSUPPORTED  as for execbuf_stage.
 * In:      pool      the pool
 * Out:     out       a buffer of length 0, zeroed on failure; free it with execbuf_free, published or not
 * In:      capacity  how many bytes can be written, and the greatest length that can be published
 * Out:     error     the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_pool_stage(execbuf_pool *pool, execbuf *out,
                                                                size_t capacity, execbuf_error *error);

/* What to reserve. */
typedef struct execbuf_room {
    /* The greatest length that execbuf_publish will accept. */
    size_t capacity;
    /* For later versions; must be 0. */
    size_t reserved[2];
} execbuf_room;

/* Makes several reservations in a pool, each as execbuf_pool_reserve does: all of them or none.
 *
 * Returns: EXECBUF_OK                   all buffers are reserved;
 *          EXECBUF_E_NULL               pool, out or rooms is NULL;
 *          EXECBUF_E_EMPTY              a capacity is 0;
 *          EXECBUF_E_VERSION            a member for later versions is not 0;
 *          EXECBUF_E_TOO_LARGE          a capacity exceeds PTRDIFF_MAX less some pages;
 *          EXECBUF_E_NO_MEMORY          no memory, address space, mappings or descriptors are left;
 *          EXECBUF_E_TOO_FAR            no free address range is left where the pool's code may lie;
 *          EXECBUF_E_DENIED             the system refused to map memory;
 *          EXECBUF_E_READ_IMPLIES_EXEC  the process has the READ_IMPLIES_EXEC personality;
 *          EXECBUF_E_UNSUPPORTED        the platform is not supported.
 * In:      pool   the pool
 * Out:     out    count buffers of length 0 in the order of rooms, zeroed on failure; publish them with
 *                 execbuf_publish_all; may be NULL if count is 0
 * In:      rooms  what to reserve; may be NULL if count is 0
 *          count  the number of reservations; may be 0
 * Out:     error  the report, whose position is the index of the room at fault; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_pool_reserve_batch(execbuf_pool *pool, execbuf *out,
                                                                        const execbuf_room *rooms,
                                                                        size_t count, execbuf_error *error);

/* Where a piece of code lies, to be initialised with EXECBUF_PLACE_INIT. */
typedef struct execbuf_place {
    /* The size of the struct. */
    size_t size;
    /* The address of the first byte of code. */
    const void *entry;
    /* The length of the published code. */
    size_t length;
} execbuf_place;
/* clang-format off */
#define EXECBUF_PLACE_INIT {sizeof(execbuf_place), NULL, 0}
/* clang-format on */

/* Finds the published code of a pool that contains an address, including code that thunks share. For
 * unwinders and profilers.
 *
 * As execbuf_find, the call finds all code that is published before it begins and not freed before it ends;
 * it takes as much time, takes no lock, and is async-signal-safe.
 *
 * Returns: EXECBUF_OK           place is filled;
 *          EXECBUF_E_NULL       pool is NULL;
 *          EXECBUF_E_VERSION    place has a wrong size;
 *          EXECBUF_E_NOT_FOUND  no published code of the pool contains the address.
 * In:      pool     the pool
 * Out:     place    where the code lies, zeroed on failure except for its size; may be NULL
 * In:      address  any address */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_pool_lookup(const execbuf_pool *pool,
                                                                 execbuf_place *place, const void *address);

/* Returns the name of a pool.
 *
 * Returns: a string that lives as long as the pool; "" if pool is NULL.
 * In:      pool  the pool; may be NULL */
EXECBUF_API const char *execbuf_pool_name(const execbuf_pool *pool);

/* Statistics of a pool, to be initialised with EXECBUF_POOL_STATS_INIT. */
typedef struct execbuf_pool_stats {
    /* The size of the struct. */
    size_t size;
    /* The number of buffers that are published or reserved, including code that thunks share. */
    size_t live;
    /* Address space: the regions, each counted once though it is mapped twice, and the dedicated mappings. */
    size_t mapped;
    /* The part of mapped that was ever used and takes memory, whether it holds live code or not. */
    size_t resident;
    /* Memory on the heap that describes the pool. */
    size_t bookkeeping;
    /* The number of regions. */
    size_t regions;
    /* The number of regions that another process shares since a fork, as far as the system tells. */
    size_t frozen;
    /* The number of buffers with a dedicated mapping. */
    size_t dedicated;
    /* How the newest region was made; EXECBUF_BACKEND_NONE if there was none. */
    execbuf_backend backend;
    /* For later versions; 0. */
    uint32_t reserved;
    /* Why that backend and none before it, or why no region could be made: the attempts that failed when a
     * region was last requested. */
    execbuf_error why;
} execbuf_pool_stats;
/* clang-format off */
#define EXECBUF_POOL_STATS_INIT                                                                              \
    {sizeof(execbuf_pool_stats), 0, 0, 0, 0, 0, 0, 0, EXECBUF_BACKEND_NONE, 0, EXECBUF_ERROR_INIT}
/* clang-format on */

/* Returns statistics of a pool. The library keeps these numbers as they change, so the call takes time in
 * proportion to the number of the pool's arenas, however many buffers it has. Each arena is locked for a
 * moment; then the call also puts into quarantine what other threads than its owner have freed.
 *
 * Returns: EXECBUF_OK         stats is filled;
 *          EXECBUF_E_NULL     pool or stats is NULL;
 *          EXECBUF_E_VERSION  stats has a wrong size.
 * In:      pool   the pool
 * Out:     stats  the numbers; if pool is NULL all 0, with EXECBUF_BACKEND_NONE, except for its size */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_pool_get_stats(const execbuf_pool *pool,
                                                                    execbuf_pool_stats *stats);

/* Returns the sum of the lengths of published buffers and of the capacities of reserved ones. What a pool has
 * in the member resident of its statistics beyond this is not code: rounding, traps and free memory.
 *
 * Unlike the statistics, this sum is not kept. The call looks at every buffer, and at the regions of all
 * pools. No other thread waits for that; what is published or freed meanwhile may count or not.
 *
 * Returns: the sum; 0 if pool is NULL.
 * In:      pool  the pool; may be NULL */
EXECBUF_API size_t execbuf_pool_code_bytes(const execbuf_pool *pool);

/* ---- Constants and data ------------------------------------------------------------------------------- */

/* The handle of constants or data of a pool: memory that code refers to, and that is never executable. It is
 * a small value that may be copied, but the memory is freed once. An all-zero handle names nothing.
 *
 * The memory lies where the placement of the pool's options says, and within its reach, so code of the pool
 * can address it relative to itself. It outlives execbuf_pool_free. The statistics of the pool do not count
 * it.
 *
 * Memory comes in chunks of 64 KiB to 1 MiB, in which pieces have multiples of 16 bytes. A piece of more than
 * 32 KiB has a mapping of its own. Freed memory is used again; a chunk without pieces is returned to the
 * system, but one of each kind stays for the next piece.
 *
 * fork: both processes keep all constants and data, and neither sees what the other one writes: the memory
 * is private, and the system copies a page when it is written. A child does not get those of a pool with the
 * option not_inherited; it can only free their handles. */
typedef struct execbuf_data {
    /* The first byte, which never changes: a multiple of the alignment. */
    void *address;
    /* The length of constants, or the size of data. */
    size_t length;
    /* Identifies the memory, and this use of it. For the library only. */
    uint64_t id;
} execbuf_data;

/* Copies constants into the pool, which nobody can write afterwards. Writing to them raises a fault.
 *
 * The pages that receive the constants are writable during the call; other constants there can be read
 * meanwhile. If they are not in a new chunk, this makes two system calls (mprotect). So it is better to make
 * one piece of all constants of a function or a module. If the system refuses to make the pages read-only
 * again, the call fails, and they stay writable until more constants are copied there.
 *
 * Returns: EXECBUF_OK                   the constants are there;
 *          EXECBUF_E_NULL               pool, out or bytes is NULL;
 *          EXECBUF_E_EMPTY              length is 0;
 *          EXECBUF_E_ALIGNMENT          align is not a power of two, or exceeds the size of a page;
 *          EXECBUF_E_TOO_LARGE          length exceeds PTRDIFF_MAX less a page;
 *          EXECBUF_E_NO_MEMORY          no memory, address space or mappings are left;
 *          EXECBUF_E_TOO_FAR            no free address range is left where the pool's code may lie;
 *          EXECBUF_E_DENIED             the system refused a call;
 *          EXECBUF_E_READ_IMPLIES_EXEC  the process has the READ_IMPLIES_EXEC personality.
 * In:      pool    the pool
 * Out:     out     the handle, zeroed on failure; free it with execbuf_data_free
 * In:      bytes   the constants; the caller may reuse the memory when the call returns
 *          length  their length
 *          align   of the address, which is a multiple of it; 1 if any address will do
 * Out:     error   the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_pool_constants(execbuf_pool *pool, execbuf_data *out,
                                                                    const void *bytes, size_t length,
                                                                    size_t align, execbuf_error *error);

/* Makes memory for constants that are written in place, because they contain addresses of code or of each
 * other, such as a table of pointers to functions. It is zero and writable, and has a mapping of its own.
 * Write it, then call execbuf_publish_constants.
 *
 * Returns: the statuses of execbuf_pool_data.
 * In:      pool   the pool
 * Out:     out    the handle, zeroed on failure; free it with execbuf_data_free, published or not
 * In:      size   how many bytes
 *          align  of the address, which is a multiple of it; 1 if any address will do
 * Out:     error  the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_pool_stage_constants(execbuf_pool *pool,
                                                                          execbuf_data *out, size_t size,
                                                                          size_t align, execbuf_error *error);

/* Makes staged constants read-only, for ever. No thread may write them during the call, and calls for the
 * same constants must not overlap. On failure they are still writable.
 *
 * fork: both processes may publish what was staged before.
 *
 * Returns: EXECBUF_OK               they are read-only;
 *          EXECBUF_E_NULL           data is NULL;
 *          EXECBUF_E_STALE          data names nothing that is alive;
 *          EXECBUF_E_PUBLISHED      they are published already, or were never staged;
 *          EXECBUF_E_NOT_INHERITED  this process is a child of a fork, and the pool has the option
 *                                   not_inherited;
 *          EXECBUF_E_NO_MEMORY      the system has no memory left for that;
 *          EXECBUF_E_DENIED         the system refused the call.
 * In:      data   the staged constants
 * Out:     error  the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_publish_constants(const execbuf_data *data,
                                                                       execbuf_error *error);

/* Makes writable data in the pool, which are zero. It makes no system call unless the pool needs memory.
 *
 * A pointer to a function that code jumps through can be such data: changing it is one atomic store, from any
 * thread and also in a signal handler, while the code runs.
 *
 * Returns: EXECBUF_OK                   the data are there;
 *          EXECBUF_E_NULL               pool or out is NULL;
 *          EXECBUF_E_EMPTY              size is 0;
 *          EXECBUF_E_ALIGNMENT          align is not a power of two, or exceeds the size of a page;
 *          EXECBUF_E_TOO_LARGE          size exceeds PTRDIFF_MAX less a page;
 *          EXECBUF_E_NO_MEMORY          no memory, address space or mappings are left;
 *          EXECBUF_E_TOO_FAR            no free address range is left where the pool's code may lie;
 *          EXECBUF_E_DENIED             the system refused a call;
 *          EXECBUF_E_READ_IMPLIES_EXEC  the process has the READ_IMPLIES_EXEC personality.
 * In:      pool   the pool
 * Out:     out    the handle, zeroed on failure; free it with execbuf_data_free
 * In:      size   how many bytes
 *          align  of the address, which is a multiple of it; 1 if any address will do
 * Out:     error  the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_pool_data(execbuf_pool *pool, execbuf_data *out,
                                                               size_t size, size_t align,
                                                               execbuf_error *error);

/* Frees constants or data, and zeroes the handle. No thread may use the memory during the call or later. A
 * NULL or all-zero handle is freed without effect.
 *
 * Returns: EXECBUF_OK       the memory is freed;
 *          EXECBUF_E_STALE  data names nothing that is alive, as when a copy of the handle was freed before.
 *                           Nothing happens, and the handle is not changed.
 * In/out:  data  the constants or data; may be NULL */
EXECBUF_API execbuf_status execbuf_data_free(execbuf_data *data);

/* ---- Descriptions ------------------------------------------------------------------------------------- */

/* How unwinders get from a piece of code to its caller.
 *
 * Without a description they stop at the code: a C++ exception or a panic that would pass through it ends the
 * program, and a backtrace ends there. */
typedef enum execbuf_unwind {
    /* Not a kind. */
    EXECBUF_UNWIND_INVALID = -1,
    /* Nothing is known. */
    EXECBUF_UNWIND_UNKNOWN = 0,
    /* A frame pointer that is kept in all of the code, on x86-64 and AArch64. The code begins with push rbp;
     * mov rbp, rsp (perhaps after an endbr64), or with a stp of x29 and x30 that lowers sp; mov x29, sp
     * (perhaps after a bti c). This is checked. The code changes no other register that calls preserve. If it
     * ends with pop rbp; ret or leave; ret, or with the opposite of that stp and ret, then the place before
     * that ret is described, too. At other returns, only unwinders that interrupt the code there (profilers)
     * are misled. */
    EXECBUF_UNWIND_FRAME_POINTER = 1,
    /* No frame: the code never moves the stack pointer, and changes no register that calls preserve, nor on
     * AArch64 and RISC-V the register of the return address. So on these it makes no calls. */
    EXECBUF_UNWIND_NO_FRAME = 2,
    /* A frame of a fixed size: the code subtracts frame_size from the stack pointer once, at its beginning,
     * and adds it once, at its end. It changes no register that calls preserve. On AArch64 and RISC-V the
     * return address stays in its register. */
    EXECBUF_UNWIND_FIXED = 3,
    /* Tables in the format of .eh_frame, at table. */
    EXECBUF_UNWIND_EH_FRAME = 4,
    /* An UNWIND_INFO structure, at table, on Windows on x86-64: see table. */
    EXECBUF_UNWIND_UNWIND_INFO = 5
} execbuf_unwind;

/* The greatest length of a name in a description, and of the name of a file. */
#define EXECBUF_NAME_MAX 65535

/* Where code comes from: that from offset on, up to the next entry or the end of the code. */
typedef struct execbuf_line {
    /* The offset in the code. */
    size_t offset;
    /* The path of the source file: any bytes. May be NULL if file_length is 0. */
    const char *file;
    /* At most EXECBUF_NAME_MAX. */
    size_t file_length;
    /* The number of the line, from 1 on; 0: the code comes from no line. */
    uint32_t line;
    /* For later versions; 0. */
    uint32_t reserved;
} execbuf_line;

/* A description of a piece of code, to be initialised with EXECBUF_INFO_INIT. Everything is copied. */
struct execbuf_info {
    /* The size of the struct. */
    size_t size;
    /* The name of the function, for tools: any bytes. May be NULL if name_length is 0. */
    const char *name;
    /* At most EXECBUF_NAME_MAX. */
    size_t name_length;
    /* How to unwind. False information is undefined behaviour when something unwinds through the code. */
    execbuf_unwind unwind;
    /* EXECBUF_UNWIND_FIXED: the size of the frame, without the return address; a multiple of 8, at most 1
     * GiB. */
    uint32_t frame_size;
    /* EXECBUF_UNWIND_FIXED: the length of the code up to the end of the instruction that subtracts; on
     * Windows at most 255. */
    uint32_t prologue;
    /* EXECBUF_UNWIND_FIXED: the length of the code behind the instruction that adds. */
    uint32_t epilogue;
    /* EXECBUF_UNWIND_EH_FRAME: the bytes of the table; may be NULL if table_length is 0, which describes
     * nothing. It may be at any address. All of it is checked, so that no unwinder reads anything malformed:
     *
     * - It consists of CIEs (version 1 or 3) and FDEs (Linux Standard Base 5.0, 10.6), perhaps with a
     *   terminator. The functions lie in the code, and do not overlap. Each CIE defines the CFA.
     * - Augmentations are those with the letters z, R, P and L. Addresses are numbers of 2, 4 or 8 bytes,
     *   absolute, or relative to their own place in the caller's memory; those of personality routines and
     *   LSDAs may be indirect.
     * - Alignment factors take one byte, and the instructions of a CIE at most 27.
     * - Code in a region of a pool that is not longer than 32 KiB: the table describes one function, whose
     *   instructions take at most 32 bytes and a quarter of the size of the code; with an LSDA, it begins
     *   where the code begins. A dedicated mapping (execbuf_reserve) may have any number of functions.
     *
     * EXECBUF_UNWIND_UNWIND_INFO: the structure of all of the code, of version 1 (Microsoft, "x64 exception
     * handling"). Its unwind codes are checked. If a handler follows, its address is relative to the
     * beginning of the code, and not checked; the handler's own data are the rest of the table, and stay as
     * they are. What the handler gets as ImageBase may be before the code; the code begins at ImageBase +
     * FunctionEntry->BeginAddress. Chained structures are refused. */
    const void *table;
    /* In bytes, at most UINT32_MAX. */
    size_t table_length;
    /* The lines of source, for debuggers and profilers, by ascending offset; of several with the same offset,
     * the last one counts. May be NULL if line_count is 0. They are copied only if a tool or an observer is
     * told of the code. */
    const execbuf_line *lines;
    /* The number of entries. */
    size_t line_count;
};
/* clang-format off */
#define EXECBUF_INFO_INIT                                                                                    \
    {sizeof(execbuf_info), NULL, 0, EXECBUF_UNWIND_UNKNOWN, 0, 0, 0, NULL, 0, NULL, 0}
/* clang-format on */

/* Describes a published buffer. A description that it has already is replaced. The description ends when the
 * code is rewritten or freed, by whichever thread: before its memory can be used again.
 *
 * Unwinding: exceptions, panics, forced unwinding (pthread_cancel) and backtraces pass through the code. This
 * requires an unwinder that accepts code at run time (see execbuf_thunk_new, whose rules for unwinders hold
 * here, too), on a 64-bit system. On Windows it has to be x86-64, and takes no tables in the format of
 * .eh_frame. If the program has none, as a static C program with musl, the description is checked, and nobody
 * reads it.
 *
 * Cost: a span of memory of a pool (1 to 16 pages) gets a table with space for the descriptions of all of its
 * code. libgcc's unwinder before version 13 searches what is registered one by one, at each throw. So it gets
 * one registration for a region, and one for each described dedicated mapping. In a span with described code,
 * freeing takes a search in a hash table. Do not register tables of your own, by __register_frame, for code
 * of a pool that has described code: libgcc searches only one of two tables whose ranges overlap.
 *
 * Thread safety: no thread may run the code during the call, or have a return address into it on its stack;
 * the call counts as one that changes the buffer.
 *
 * fork: descriptions stay valid in both processes. If another thread was in the unwinder at that moment, the
 * child cannot unwind through what it describes.
 *
 * Returns: EXECBUF_OK               the code is described;
 *          EXECBUF_E_NULL           buffer or info is NULL, or name, table, lines or the file of a line is
 *                                   NULL and its length is not 0;
 *          EXECBUF_E_VERSION        info has a wrong size or an unknown value in unwind, or reserved of a
 *                                   line is not 0;
 *          EXECBUF_E_TOO_LARGE      the name, the table or the name of a file is too long;
 *          EXECBUF_E_LINES          the offsets of the lines descend, or one lies behind the code;
 *          EXECBUF_E_STALE          buffer names no live buffer;
 *          EXECBUF_E_NOT_PUBLISHED  the buffer is reserved or staged, and not yet published;
 *          EXECBUF_E_THUNK          the buffer is a thunk;
 *          EXECBUF_E_LOST           a rewrite failed, and the buffer can only be freed;
 *          EXECBUF_E_UNWIND         the unwind information is malformed or does not fit the code. The culprit
 *                                   says why, and position where in the table;
 *          EXECBUF_E_UNSUPPORTED    this system does not unwind by this kind of information;
 *          EXECBUF_E_NO_MEMORY      no memory is left; or on Windows, no address space in the 4 GiB above the
 *                                   code;
 *          EXECBUF_E_DENIED         the unwinder does not find the code after it was registered (a fault of
 *                                   libgcc 13.0 to 14.2). The code then has no description, not even the one
 *                                   that it had.
 * In/out:  buffer  the buffer; the handle itself does not change
 * In:      info    the description
 * Out:     error   the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_describe(execbuf *buffer, const execbuf_info *info,
                                                              execbuf_error *error);

/* Copies the name with which a buffer was described. After execbuf_find, a profiler or the handler of a fault
 * thus learns whose code an address is in. The call takes no lock and is async-signal-safe (see "Signals").
 *
 * Returns: EXECBUF_OK           the name is copied;
 *          EXECBUF_E_NULL       buffer is NULL, or name is NULL and capacity is not 0;
 *          EXECBUF_E_NOT_FOUND  the handle names no described buffer, or its description has no name.
 * In:      buffer    the buffer
 *          capacity  the size of the array name; may be 0
 * Out:     name      the name, of which at most capacity - 1 bytes are copied, and a zero; an empty string on
 *                    failure
 *          length    the length of the whole name, 0 on failure; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_name(const execbuf *buffer, char *name, size_t capacity,
                                                          size_t *length);

/* As execbuf_publish, with a description. If either fails, the buffer is still reserved, and not described.
 *
 * Returns: the statuses of execbuf_publish and execbuf_describe.
 * In/out:  buffer  the reserved buffer; its length is set
 * In:      code    the machine code; the caller may reuse the memory when the call returns
 *          length  its length
 *          info    the description; may be NULL
 * Out:     error   the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_publish_with(execbuf *buffer, const void *code,
                                                                  size_t length, const execbuf_info *info,
                                                                  execbuf_error *error);

/* As execbuf_pool_publish, with a description. If either fails, nothing is published.
 *
 * Returns: the statuses of execbuf_pool_publish and execbuf_describe.
 * In:      pool    the pool
 * Out:     out     the new buffer, zeroed on failure; free it with execbuf_free
 * In:      code    the machine code; the caller may reuse the memory when the call returns
 *          length  its length
 *          info    the description; may be NULL
 * Out:     error   the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_pool_publish_with(execbuf_pool *pool, execbuf *out,
                                                                       const void *code, size_t length,
                                                                       const execbuf_info *info,
                                                                       execbuf_error *error);

/* ---- Tools --------------------------------------------------------------------------------------------- */

/* Tools are told of described code (see "Descriptions"): only its author knows a name for code. Other code
 * costs nothing here. To have code announced of which nothing is known, describe it with an empty
 * EXECBUF_INFO_INIT.
 *
 * They are switched on for the process, by execbuf_tools_enable or by the environment variable EXECBUF_TOOLS,
 * so that a finished program can be profiled: names separated by commas, as in "gdb,perf". It is read once,
 * when the first buffer or pool is made, or when the first function of this section is called. Programs that
 * run with rights that their user lacks (setuid) ignore it. Tools are told of code that is described after
 * that.
 *
 * A tool that fails never makes another function fail. It is switched off, and execbuf_tool_failure says why.
 */

/* "gdb": gdb and lldb, by gdb's interface for compilers at run time: they show names, and
 * unwind through frames that are described. What execbuf_thunk_new says of debuggers holds here, too.
 * Breakpoints in published code, also those of "finish", require private memory (see
 * execbuf_pool_options.backends). A debugger that runs the program stops it for a moment at each publish, and
 * once for a batch of 64. Not on Windows and macOS, and not on 32-bit systems. */
#define EXECBUF_TOOL_GDB 1U

/* "perf": profilers, by the file /tmp/perf-PID.map, which perf report and others read (Linux,
 * tools/perf/Documentation/jit-interface.txt). It has a line for each piece of code: address, length, name.
 * Control bytes in names are written as in "\x0a". Nothing is ever removed, so if memory is used again, the
 * profiler may see the name of code that was there before. The file is opened for each line: a child of a
 * fork has its own. It stays when the process ends.
 *
 * perf uses the file for anonymous memory only. So unless the program or EXECBUF_BACKENDS chooses backends,
 * EXECBUF_BACKEND_MEMFD is not used. That has no effect if the tool is switched on after the first buffer or
 * pool: then make pools with the option backends. Not on Windows. */
#define EXECBUF_TOOL_PERF 2U

/* "jitdump": perf, by a dump of the code itself, so that perf annotate shows instructions (Linux,
 * tools/perf/Documentation/jitdump-specification.txt). Record with "perf record -k 1", then run "perf inject
 * --jit -i perf.data -o perf.jit.data", and "perf report -i perf.jit.data". Any memory will do.
 *
 * With "perf record --call-graph dwarf", perf unwinds through code whose frame is described, by a table in
 * the dump. perf takes the bytes behind the code for that table, so no other code may be there. While the
 * tool is on, execbuf_pool_publish_with and execbuf_pool_publish_batch put such code into a slot that is
 * longer by 131 bytes or less, or by 99 and the length of a finished table. Code that is described in other
 * ways has a table in the dump if there is as much room behind it: to the end of a reservation in a region of
 * a pool, or to the end of the page in other memory.
 *
 * The dump of a process is the file jit-PID.dump in a new directory execbuf-XXXXXX, which is made in the
 * directory of execbuf_tools, or in that of the environment variable JITDUMPDIR, or in the current one. perf
 * inject writes a file there for each piece of code. A child of a fork has a dump of its own. All of this
 * stays when the process ends. The process maps the beginning of the file executable, by which perf finds it.
 * Linux only. */
#define EXECBUF_TOOL_JITDUMP 4U

/* Tools to be switched on, to be initialised with EXECBUF_TOOLS_INIT. */
typedef struct execbuf_tools {
    /* The size of the struct. */
    size_t size;
    /* The tools: EXECBUF_TOOL_... | ... */
    uint32_t which;
    /* For later versions; 0. */
    uint32_t reserved;
    /* EXECBUF_TOOL_JITDUMP: where the dump is made; it is copied. NULL: see there. If the process has a dump
     * already, this has no effect. */
    const char *jitdump_directory;
    /* EXECBUF_TOOL_JITDUMP: the greatest size of the dump, in bytes; 0: any. The tool fails at the first
     * record that does not fit. */
    uint64_t jitdump_limit;
} execbuf_tools;
/* clang-format off */
#define EXECBUF_TOOLS_INIT {sizeof(execbuf_tools), 0, 0, NULL, 0}
/* clang-format on */

/* Switches tools on, in addition to those that are on. Their earlier failures are forgotten.
 *
 * Returns: EXECBUF_OK             the tools are on;
 *          EXECBUF_E_NULL         tools is NULL;
 *          EXECBUF_E_VERSION      tools has a wrong size, or reserved is not 0;
 *          EXECBUF_E_UNSUPPORTED  which has an unknown tool, one that this platform does not have, or none;
 *          EXECBUF_E_NO_MEMORY    no memory is left;
 *          EXECBUF_E_DENIED       the fork handlers of the library cannot be registered.
 * In:      tools  the tools
 * Out:     error  the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_tools_enable(const execbuf_tools *tools,
                                                                  execbuf_error *error);

/* Switches tools off. They are not told of code any more.
 *
 * In:      tools  the tools; unknown ones have no effect */
EXECBUF_API void execbuf_tools_disable(uint32_t tools);

/* Returns the first failure of a tool since it was switched on.
 *
 * Returns: EXECBUF_OK             it has not failed;
 *          EXECBUF_E_TOOL         it has failed, and is off. The culprit is the call that failed, or
 *                                 "EXECBUF_TOOLS" if the variable is wrong: for a tool, this platform does
 *                                 not have it; for 0, there is an unknown name, at the offset position;
 *          EXECBUF_E_UNSUPPORTED  tool is unknown.
 * In:      tool   one tool; 0: the environment variable
 * Out:     error  the report; may be NULL */
EXECBUF_API execbuf_status execbuf_tool_failure(uint32_t tool, execbuf_error *error);

/* What has happened to described code. */
typedef enum execbuf_event_kind {
    /* Not a kind. */
    EXECBUF_EVENT_INVALID = -1,
    /* Code with a description was published. The call that published it has not returned yet. */
    EXECBUF_EVENT_PUBLISHED = 1,
    /* Code that was published before got a description (execbuf_describe). */
    EXECBUF_EVENT_DESCRIBED = 2,
    /* The description ends, because the code is about to be freed, was rewritten, or gets another
     * description. Memory that is freed is not used again before the callback returns. */
    EXECBUF_EVENT_ENDED = 3
} execbuf_event_kind;

/* What an observer is told. It is valid during the call. The library fills it. */
typedef struct execbuf_event {
    /* The size of the struct: that of the library. Later versions may append members. */
    size_t size;
    /* What has happened. */
    execbuf_event_kind kind;
    /* For later versions; 0. */
    uint32_t reserved;
    /* The buffer, with the length of the code. The code can be read through entry, but not always at the end
     * of the description: a child of a fork does not have the memory of a pool with the option not_inherited.
     */
    execbuf buffer;
    /* The name in the description: any bytes, without a terminating zero. */
    const char *name;
    /* The length of the name; may be 0. */
    size_t name_length;
    /* The lines of source in the description. */
    const execbuf_line *lines;
    /* Their number; may be 0, as it is at the end of code that was described before tools were on. */
    size_t line_count;
} execbuf_event;

/* A function that is told of described code. */
typedef void (*execbuf_observe_function)(void *context, const execbuf_event *event);

/* A function that is called when a context is not used any more. */
typedef void (*execbuf_release_function)(void *context);

/* An observer. */
typedef struct execbuf_observer execbuf_observer;

/* Has a function called for all code that is described from now on, by whichever thread, for profilers that
 * want to be told of code at run time (VTune, Tracy). There may be several observers.
 *
 * The callback runs in the thread that publishes, describes, rewrites or frees the code, during its call.
 * Other threads may call it at the same time. For one address, the end of one description comes before the
 * announcement of the next one. An observer may be told of the end of code that was described before it began
 * to observe. A buffer that is published and then freed by different threads is announced before the handle
 * is known.
 *
 * The callback may call every function of execbuf, but those that free, rewrite or describe the buffer of the
 * event. If it describes code, it is called again, inside. It must return: no exception, longjmp, or
 * cancellation may leave it. It must not fork.
 *
 * fork: observers stay in both processes.
 *
 * Returns: EXECBUF_OK           the observer is told from now on;
 *          EXECBUF_E_NULL       out or callback is NULL;
 *          EXECBUF_E_NO_MEMORY  no memory is left;
 *          EXECBUF_E_DENIED     the fork handlers of the library cannot be registered.
 * Out:     out       the observer, NULL on failure; end it with execbuf_unobserve
 * In:      callback  the function
 *          release   called once with the context after execbuf_unobserve, when the callback does not run any
 *                    more; may be NULL
 *          context   passed on to both
 * Out:     error     the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_observe(execbuf_observer **out,
                                                             execbuf_observe_function callback,
                                                             execbuf_release_function release, void *context,
                                                             execbuf_error *error);

/* Ends an observer. Calls of the callback by other threads that have begun, or are about to begin, may still
 * run when this function returns. The last of these threads calls release, or this function does. It may be
 * called by the callback itself.
 *
 * In:      observer  the observer; NULL has no effect */
EXECBUF_API void execbuf_unobserve(execbuf_observer *observer);

/* ---- Probe -------------------------------------------------------------------------------------------- */

/* Whether a backend works. */
typedef struct execbuf_probe_result {
    /* The backend. */
    execbuf_backend backend;
    /* The system's error code, an errno value or that of GetLastError; 0 if there is none. */
    int32_t os_error;
    /* The system call that failed, or the check that ruled the backend out: a constant string. NULL: it
     * works. */
    const char *call;
} execbuf_probe_result;

/* A fact about the system or the process, for people to read. Names and values may change with the
 * version. */
typedef struct execbuf_fact {
    /* What it is about, such as "page size": a constant string. */
    const char *name;
    /* The value as text. */
    char value[48];
} execbuf_fact;

/* The most facts in a report. */
#define EXECBUF_MAX_FACTS 24

/* What a system and a process allow, to be initialised with EXECBUF_PROBE_INIT. Nothing in it must be
 * freed. */
typedef struct execbuf_probe {
    /* The size of the struct. */
    size_t size;
    /* EXECBUF_OK if the backends were tried, whether one works or not. Otherwise why they were not:
     * EXECBUF_E_UNSUPPORTED, EXECBUF_E_READ_IMPLIES_EXEC, EXECBUF_E_BACKENDS, EXECBUF_E_NO_MEMORY or
     * EXECBUF_E_DENIED. */
    execbuf_status status;
    /* The number of entries in buffer. */
    uint32_t buffer_count;
    /* The number of entries in pool. */
    uint32_t pool_count;
    /* The number of entries in facts. */
    uint32_t fact_count;
    /* The backends for dedicated mappings, in the order in which they are tried. The first that works is
     * used. To work means here to publish and to rewrite; a backend that can only publish is used for that.
     */
    execbuf_probe_result buffer[EXECBUF_MAX_ATTEMPTS];
    /* The backends for regions of pools. If none works, pools use dedicated mappings. */
    execbuf_probe_result pool[EXECBUF_MAX_ATTEMPTS];
    /* Policies, limits and sizes, as far as the process may know them. */
    execbuf_fact facts[EXECBUF_MAX_FACTS];
} execbuf_probe;
/* clang-format off */
#define EXECBUF_PROBE_INIT                                                                                   \
    {sizeof(execbuf_probe), EXECBUF_OK, 0, 0, 0, {{EXECBUF_BACKEND_NONE, 0, NULL}},                          \
     {{EXECBUF_BACKEND_NONE, 0, NULL}}, {{NULL, {0}}}}
/* clang-format on */

/* Tries each backend on a small piece of memory, and asks the system about its policies.
 *
 * Backends that the process may not use are not tried, and reported as "excluded: not among the chosen
 * backends". The probe is no first use: execbuf_set_backends may follow it.
 *
 * Nothing that it maps remains, and it never tries a mapping that is writable and executable, so audit logs
 * show no more than publishing would cause. It makes some dozens of system calls, on Linux also uname and
 * those that read files of /proc and /sys; a sandbox that kills on unusual calls may kill it.
 *
 * Returns: EXECBUF_OK         out is filled;
 *          EXECBUF_E_NULL     out is NULL;
 *          EXECBUF_E_VERSION  out has a wrong size.
 * Out:     out  the report */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_probe_system(execbuf_probe *out);

/* ---- Signatures --------------------------------------------------------------------------------------- */

/* The kinds of types without members: name, value, letter in a signature's text, size and whether it is
 * signed. V128 is a vector of 128 bits, such as __m128. Types whose size depends on the system are missing:
 * long, long double, wchar_t and va_list. */
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
    X(EXECBUF_TYPE_F64, 12, 'd', 8, 1)                                                                       \
    X(EXECBUF_TYPE_I128, 13, 'x', 16, 1)                                                                     \
    X(EXECBUF_TYPE_U128, 14, 'X', 16, 0)                                                                     \
    X(EXECBUF_TYPE_V128, 15, 'm', 16, 0)

typedef enum execbuf_type_kind {
    /* No type. */
    EXECBUF_TYPE_NONE = -1,
#define EXECBUF_TYPE_ENUM(name, value, letter, size, is_signed) name = value,
    EXECBUF_TYPE_MAP(EXECBUF_TYPE_ENUM)
#undef EXECBUF_TYPE_ENUM
    /* A struct with these members, each where C puts it. */
    EXECBUF_TYPE_STRUCT = 16,
    /* A union of these members. */
    EXECBUF_TYPE_UNION = 17,
    /* An array of count elements; members has the type of one. Only as a member: C passes arrays by address.
     */
    EXECBUF_TYPE_ARRAY = 18,
    /* A packed struct or union: that in members, which is one, but none of its members is aligned to more
     * than count bytes: 1, 2, 4 or 8. It is __attribute__((packed)) if count is 1, and #pragma pack. */
    EXECBUF_TYPE_PACKED = 19,
    /* The type in members, which is one, aligned to count bytes: 2, 4, 8 or 16, and not less than it is by
     * itself. Of a struct or union the size becomes a multiple of that, too, as with an attribute of its
     * definition. Another type must be a member, as with _Alignas. */
    EXECBUF_TYPE_ALIGNED = 20
} execbuf_type_kind;

/* A type, as plain data: it may be a constant of the program, and nothing in it must be freed. A type with
 * members is a tree; trees may share parts. */
typedef struct execbuf_type {
    /* An execbuf_type_kind. */
    int32_t kind;
    /* The number of members, of elements or of bytes, as the kind says; 0 for a type without members. */
    uint32_t count;
    /* The types of the members; NULL for a type without members. */
    const struct execbuf_type *members;
} execbuf_type;

/* Initialises a type without members, such as EXECBUF_SCALAR(EXECBUF_TYPE_I32). */
/* clang-format off */
#define EXECBUF_SCALAR(kind) {kind, 0, NULL}
/* clang-format on */

/* The most members of a struct or union. */
#define EXECBUF_MAX_MEMBERS 255

/* How deep structs, unions and arrays may be nested. */
#define EXECBUF_MAX_DEPTH 8

/* The largest size of a type, in bytes. */
#define EXECBUF_MAX_TYPE_SIZE 65536

/* The most arguments of a signature, as many as C requires of compilers (C11, 5.2.4.1). */
#define EXECBUF_MAX_ARGUMENTS 127

/* The most types of a signature: of its arguments and result, of their members, of the members of these, and
 * so on. */
#define EXECBUF_MAX_TYPES 4096

/* The number of fixed arguments in the signature of a function that is not variadic. */
#define EXECBUF_NOT_VARIADIC SIZE_MAX

/* The types of a function's result and arguments.
 *
 * Initialise it with EXECBUF_SIGNATURE_INIT or EXECBUF_VARIADIC_SIGNATURE_INIT, also as a constant of the
 * program, or have execbuf_signature_parse make one. It borrows the array of arguments. Functions that take a
 * signature check it, and keep no pointer to it. Threads may share it as long as none changes it. */
typedef struct execbuf_signature {
    /* The size of the struct. */
    size_t size;
    /* The type of the result. */
    execbuf_type result;
    /* The types of the arguments, none of which is EXECBUF_TYPE_VOID; may be NULL if count is 0. */
    const execbuf_type *arguments;
    /* The number of arguments, at most EXECBUF_MAX_ARGUMENTS. */
    size_t count;
    /* EXECBUF_NOT_VARIADIC, or the number of arguments before the "..." of a variadic function. The other
     * arguments are those that one call passes for it; their types must be ones that C's promotions yield. */
    size_t fixed;
} execbuf_signature;
/* EXECBUF_SCALAR contains commas, so a macro of your own cannot pass it on to these two as a parameter; write
 * the struct's initialiser in it instead. */
/* clang-format off */
#define EXECBUF_SIGNATURE_INIT(result, arguments, count)                                                     \
    {sizeof(execbuf_signature), result, arguments, count, EXECBUF_NOT_VARIADIC}
#define EXECBUF_VARIADIC_SIGNATURE_INIT(result, arguments, count, fixed)                                     \
    {sizeof(execbuf_signature), result, arguments, count, fixed}
/* clang-format on */

/* Makes a signature from text: the type of the result, then those of the arguments in parentheses, without
 * spaces. A full stop stands where the "..." of a variadic function begins. "i(ppL)" is memcmp on 64-bit
 * systems, "i(p.id)" is printf with an int and a double.
 *
 * The letters are v for void, ? for bool, b, h, i, l and x for signed integers of 8, 16, 32, 64 and 128 bits,
 * B, H, I, L and X for unsigned ones, p for pointers, f for float, d for double and m for a vector of 128
 * bits.
 *
 * Types with members are written with brackets, and stand for values, not for pointers to them:
 *
 * - `{l{hh}}` is a struct of a 64-bit integer and a struct;
 * - `<ld>` is a union;
 * - `{i[4f]}` is a struct of an integer and an array of four floats;
 * - `!{bi}` is a packed struct, `!2{bi}` one whose members are aligned to at most 2 bytes;
 * - `@16{ll}` is a struct that is aligned to 16 bytes; `{b@16l}` has an aligned member.
 *
 * Write a bit-field as the integer that holds it, float _Complex as {ff}, double _Complex as {dd}, and a C++
 * class as p if it has a destructor, a copy constructor or a virtual function.
 *
 * Returns: EXECBUF_OK           the signature is made;
 *          EXECBUF_E_NULL       out or text is NULL;
 *          EXECBUF_E_SYNTAX     the text is malformed; the report's position is the offset;
 *          EXECBUF_E_TYPE       a type is not supported, or not allowed where it stands; the report's
 *                               position is the number of the argument, and its culprit is the reason; its
 *                               path says which member it is, unless the library has no such type at all;
 *          EXECBUF_E_ARGUMENTS  there are more than EXECBUF_MAX_ARGUMENTS arguments;
 *          EXECBUF_E_NO_MEMORY  no memory is left.
 * Out:     out    the signature, NULL on failure; free it with execbuf_signature_free
 * In:      text   the text, terminated by a zero
 * Out:     error  the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_signature_parse(execbuf_signature **out,
                                                                     const char *text, execbuf_error *error);

/* Frees a signature that execbuf_signature_parse made. A NULL signature is freed without effect.
 *
 * In:      signature  the signature; may be NULL */
EXECBUF_API void execbuf_signature_free(execbuf_signature *signature);

/* ---- Calling conventions ------------------------------------------------------------------------------ */

/* A calling convention of x86-64. */
typedef enum execbuf_abi {
    /* The convention of C functions on this system: one of the two on x86-64, none elsewhere. */
    EXECBUF_ABI_NATIVE = -1,
    /* System V: Linux, macOS, the BSDs (System V ABI, AMD64 supplement 1.0, 3.2). */
    EXECBUF_ABI_SYSV64 = 1,
    /* Microsoft: Windows, UEFI (Microsoft, "x64 calling convention"). */
    EXECBUF_ABI_WIN64 = 2
} execbuf_abi;

/* The kind of place that holds an argument or a result. */
typedef enum execbuf_where {
    /* Not a place. */
    EXECBUF_WHERE_INVALID = -1,
    /* Nowhere, as a result of type void. */
    EXECBUF_NOWHERE = 0,
    /* In a general register. */
    EXECBUF_IN_GENERAL = 1,
    /* In a vector register. */
    EXECBUF_IN_VECTOR = 2,
    /* On the stack. */
    EXECBUF_ON_STACK = 3
} execbuf_where;

/* The place of an argument or a result, or of the first part of one. */
typedef struct execbuf_location {
    /* An execbuf_where. */
    int32_t where;
    /* The number of the register as instructions encode it: 0 rax, 1 rcx, 2 rdx, 6 rsi, 7 rdi, 8 to 15 r8 to
     * r15; or that of xmm0 to xmm7. 0 if it is not in a register. */
    uint32_t number;
    /* On the stack: the offset from the stack pointer before the call instruction pushes the return address.
     * Otherwise 0. */
    uint32_t offset;
    /* 1: the place has the address of the value and not the value itself. An argument is then a copy that the
     * callee may change, at a multiple of 16. The result is where result_pointer says, and its place after
     * the call has that address again. 0 otherwise. */
    uint32_t is_reference;
    /* The size of the value in bytes, 0 if it is nowhere. A register or a stack slot may have more bytes;
     * what they are does not matter. */
    uint32_t size;
    /* EXECBUF_IN_GENERAL or EXECBUF_IN_VECTOR: all but the first 8 bytes of the value are in a second
     * register of this kind. EXECBUF_NOWHERE otherwise: then all bytes are in the first place, except
     * padding. */
    int32_t second_where;
    /* The number of that register, or 0. */
    uint32_t second_number;
    /* For later versions; 0. */
    uint32_t reserved;
} execbuf_location;

/* No place. */
/* clang-format off */
#define EXECBUF_LOCATION_INIT {EXECBUF_NOWHERE, 0, 0, 0, 0, EXECBUF_NOWHERE, 0, 0}
/* clang-format on */

/* Where a calling convention has the arguments and the result of a function, to be initialised with
 * EXECBUF_LAYOUT_INIT. */
typedef struct execbuf_layout {
    /* The size of the struct. */
    size_t size;
    /* The stack space that the caller provides, a multiple of 8: the arguments on the stack, and for Win64
     * the 32 bytes of shadow space. */
    uint32_t stack_size;
    /* The number of vector registers that hold arguments. */
    uint32_t vector_count;
    /* Where the result is. */
    execbuf_location result;
    /* Where the caller passes the address of memory for the result, if its place is_reference; else nowhere.
     */
    execbuf_location result_pointer;
    /* Where each argument is; those that the signature does not have are nowhere. */
    execbuf_location arguments[EXECBUF_MAX_ARGUMENTS];
} execbuf_layout;
/* clang-format off */
#define EXECBUF_LAYOUT_INIT                                                                                  \
    {sizeof(execbuf_layout), 0, 0, EXECBUF_LOCATION_INIT, EXECBUF_LOCATION_INIT, {EXECBUF_LOCATION_INIT}}
/* clang-format on */

/* Computes where a calling convention has the arguments and the result. It works on every machine.
 *
 * Returns: EXECBUF_OK           out is filled;
 *          EXECBUF_E_NULL       signature, its arguments or out is NULL;
 *          EXECBUF_E_VERSION    signature or out has a wrong size;
 *          EXECBUF_E_TYPE       a type is not supported, or not allowed where it stands; the report's
 *                               position is the number of the argument, and its culprit the reason;
 *          EXECBUF_E_ARGUMENTS  there are more than EXECBUF_MAX_ARGUMENTS arguments, or more fixed ones than
 *                               arguments;
 *          EXECBUF_E_ABI        abi is not one of the two conventions, or is EXECBUF_ABI_NATIVE on a machine
 *                               that is not x86-64.
 * In:      signature  the signature
 * Out:     out        the locations, zeroed on failure except for its size
 * In:      abi        the convention
 * Out:     error      the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_layout_of(const execbuf_signature *signature,
                                                               execbuf_layout *out, execbuf_abi abi,
                                                               execbuf_error *error);

/* ---- Thunks as bytes ---------------------------------------------------------------------------------- */

/* Writes a thunk as bytes: x86-64 code that is called by one convention, calls a function by the other with
 * the same arguments, and returns its result. If both conventions are the same, the thunk is a jump. The code
 * can be published at any address. Writing it works on every machine.
 *
 * The thunk uses less than a page of stack, and copies there what one convention passes by value and the
 * other by address. It reads and writes no byte beyond a value. A signature whose values do not fit is
 * refused (EXECBUF_E_TYPE, with the number of the largest argument). It extends integers of 8 and 16 bits to
 * 32 for a System V function, because compilers rely on that. Called by Win64, it preserves rdi, rsi and xmm6
 * to xmm15. It calls a variadic function with exactly the arguments of the signature; unless it is a jump,
 * its caller may call it as variadic or not.
 *
 * Unless it is a jump, it keeps a frame pointer in rbp: a walk along the chain of rbp finds its caller, and
 * the callers of that. This takes three instructions of each call.
 *
 * It has no unwind tables, so nothing may unwind through it. execbuf_thunk_new makes thunks that have them.
 *
 * Returns: EXECBUF_OK           the code is written;
 *          EXECBUF_E_NULL       signature, its arguments, length or target is NULL, or out is NULL and
 *                               capacity is not 0;
 *          EXECBUF_E_VERSION    signature has a wrong size;
 *          EXECBUF_E_TYPE       a type is not supported, or not allowed where it stands; the report's
 *                               position is the number of the argument, and its culprit the reason;
 *          EXECBUF_E_ARGUMENTS  there are more than EXECBUF_MAX_ARGUMENTS arguments, or more fixed ones than
 *                               arguments;
 *          EXECBUF_E_ABI        caller_abi or callee_abi is not one of the two conventions, or is
 *                               EXECBUF_ABI_NATIVE on a machine that is not x86-64;
 *          EXECBUF_E_CAPACITY   the code is longer than capacity. Nothing is written, and length is the
 *                               capacity that it needs.
 * In:      signature   the signature of the thunk and of the target
 * Out:     out         the code; may be NULL if capacity is 0
 * In:      capacity    the size of the array at out
 * Out:     length      the length of the code; 0 on failure other than EXECBUF_E_CAPACITY
 * In:      caller_abi  the convention by which the thunk is called
 *          callee_abi  the convention by which it calls the target
 *          target      the function that it calls
 * Out:     error       the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_thunk_emit(const execbuf_signature *signature, void *out,
                                                                size_t capacity, size_t *length,
                                                                execbuf_abi caller_abi,
                                                                execbuf_abi callee_abi, const void *target,
                                                                execbuf_error *error);

/* ---- Thunks ------------------------------------------------------------------------------------------- */

/* Makes a thunk: a function that is called by one convention and calls another function by the other, as the
 * code of execbuf_thunk_emit does, with shared code and unwind tables. It requires x86-64.
 *
 * Memory: a thunk is a buffer of the pool that holds a stub of 16 bytes if the target is within 2 GiB of it,
 * and of 32 bytes otherwise; if the pool has no regions, it has a dedicated mapping. The stub jumps to an
 * adapter. All thunks that a thread makes in a pool, and whose arguments are moved alike in the same
 * direction, share one adapter. It counts as a buffer of the pool, and is freed with the last of them. If
 * both conventions are the same, the thunk is an ordinary buffer that holds a jump.
 *
 * The address of the thunk is execbuf_entry(out, 0). Free it with execbuf_free when nobody calls it any more.
 * The target must live as long. A thunk cannot be rewritten. The target must not use the red zone (the 128
 * bytes below its stack pointer) on Windows, which has none.
 *
 * Unwinding: exceptions, longjmp and backtraces pass through a thunk. Debuggers show it as
 * execbuf_thunk_sysv64_to_win64 or execbuf_thunk_win64_to_sysv64. Except on Windows this requires an unwinder
 * that accepts code at run time: libgcc's or LLVM's, as a shared library or in the program. The library tells
 * one unwinder of its thunks, the one that the program uses when the library is loaded. A plugin that brings
 * its own, because it is linked statically with libgcc_eh or LLVM's libunwind, cannot throw exceptions
 * through a thunk: std::terminate ends the program, as it does if there is no unwinder. glibc's backtrace
 * uses the shared libgcc, which does not know of thunks if the program has an unwinder of its own.
 *
 * Profilers: as the code of execbuf_thunk_emit, a thunk keeps a frame pointer, so that perf record
 * --call-graph fp finds its callers.
 *
 * Debuggers: gdb finds thunks by two local symbols of the file that contains the library,
 * __jit_debug_descriptor and __jit_debug_register_code. It does not find them if strip removed these symbols
 * (the option -K keeps one), or if LLVM, which defines symbols of the same names, is linked into the same
 * file. gdb 15 finds global symbols only; gdb 13 and 16 find these.
 *
 * Win64 code that calls System V code outside of Windows: no unwinder restores rdi, rsi and xmm6 to xmm15,
 * which Win64 callers expect to be preserved. A frame that called a thunk by Win64's convention and catches
 * an exception continues with wrong values in them. Catch exceptions in an outer frame that made its call by
 * System V's convention.
 *
 * fork: thunks stay valid in both processes. The unwinder has locks of its own, which libgcc before version
 * 13 does not handle at a fork: if another thread throws an exception, or registers code with the unwinder by
 * other means than execbuf, at that moment, the child can neither throw exceptions nor make or free thunks.
 *
 * Returns: EXECBUF_OK                   the thunk is made;
 *          EXECBUF_E_NULL               out, signature, its arguments or target is NULL;
 *          EXECBUF_E_VERSION            signature has a wrong size;
 *          EXECBUF_E_TYPE               a type is not supported, or not allowed where it stands; the report's
 *                                       position is the number of the argument, and its culprit the reason;
 *          EXECBUF_E_ARGUMENTS          there are more than EXECBUF_MAX_ARGUMENTS arguments, or more fixed
 *                                       ones than arguments;
 *          EXECBUF_E_ABI                caller_abi or callee_abi is not one of the two conventions, or the
 *                                       machine is not x86-64;
 *          EXECBUF_E_NO_MEMORY          no memory, address space, mappings or descriptors are left;
 *          EXECBUF_E_TOO_FAR            no free address range is left where the pool's code may lie;
 *          EXECBUF_E_BACKENDS           pool is NULL, and the choice of backends is wrong (see
 *                                       execbuf_set_backends);
 *          EXECBUF_E_TOO_MANY_POOLS     the pool has no arena yet, and all arenas are in use;
 *          EXECBUF_E_DENIED             the system refused every way to make memory executable; or the
 *                                       culprit is "_Unwind_Find_FDE", and the unwinder does not find the
 *                                       thunk's code, wherever it is (a fault of libgcc 13.0 to 14.2);
 *          EXECBUF_E_READ_IMPLIES_EXEC  the process has the READ_IMPLIES_EXEC personality;
 *          EXECBUF_E_UNSUPPORTED        the platform is not supported.
 * In:      pool        the pool; NULL for one that the library keeps for this
 * Out:     out         the thunk, a buffer, zeroed on failure; free it with execbuf_free
 * In:      signature   the signature of the thunk and of the target
 *          caller_abi  the convention by which the thunk is called
 *          callee_abi  the convention by which it calls the target
 *          target      the function that it calls
 * Out:     error       the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_thunk_new(execbuf_pool *pool, execbuf *out,
                                                               const execbuf_signature *signature,
                                                               execbuf_abi caller_abi, execbuf_abi callee_abi,
                                                               const void *target, execbuf_error *error);

/* ---- Closures ----------------------------------------------------------------------------------------- */

/* As a position of an argument: that of the last one. */
#define EXECBUF_LAST 0xffffffffU

/* Makes a closure: a function that calls another one with a context as one more argument. Callbacks that
 * have no argument for user data get one so. It requires x86-64, or AArch64 on any system but Windows.
 *
 * For example, int by_name(const void *one, const void *other, void *names) with the signature "i(ppp)" and
 * the position EXECBUF_LAST becomes a comparison for qsort, which passes two arguments.
 *
 * Memory: a closure is a stub of 16 bytes, which is a buffer of the pool, and a cell of 16 bytes with the
 * function and the context, in data of the pool: it is never executable, and private to each process after a
 * fork. (The stub has 32 bytes if the cell is farther away than 2 GiB, or 4 GiB on AArch64, or the adapter
 * farther than 128 MiB there; if the pool has no regions, it has a dedicated mapping.) The stub jumps to an
 * adapter. All closures that a thread makes in a pool with the same convention and position, and whose
 * arguments are moved alike, share one adapter. It counts as a buffer of the pool, and is kept until the pool
 * is freed, and all of these closures are.
 *
 * Cost: if only registers change, the adapter moves them and jumps to the function. It is two instructions
 * long with System V's convention, the context last, and at most six arguments in general registers. If an
 * argument has to go to the stack, which is so from the fifth argument on with Win64's convention and from
 * the seventh one in general registers on with System V's, or the ninth one on AArch64, then the adapter
 * calls the function, and copies all arguments that are on the stack. On AArch64, the shortest adapter has
 * three instructions, and a bti c. It uses less than a page of stack. A signature whose values do not fit is
 * refused (EXECBUF_E_TYPE, with the number of the largest argument).
 *
 * The address of the closure is execbuf_entry(out, 0). Free it with execbuf_free. The function may be running
 * then, and may free its own closure, as long as the pool is not freed: what the function returns through is
 * kept. But no call may begin at that time or later. How long the function and what the context points to
 * live is up to the user. A closure cannot be rewritten.
 *
 * Unwinding, profilers, debuggers and forks: as for thunks. Debuggers show an adapter as execbuf_closure.
 *
 * Returns: EXECBUF_OK                   the closure is made;
 *          EXECBUF_E_NULL               out, signature, its arguments or function is NULL;
 *          EXECBUF_E_VERSION            signature has a wrong size;
 *          EXECBUF_E_TYPE               a type is not supported, or not allowed where it stands, or the
 *                                       argument at the position is not a pointer; the report's position is
 *                                       the number of the argument, and its culprit the reason;
 *          EXECBUF_E_ARGUMENTS          the signature has no argument at the position, more than
 *                                       EXECBUF_MAX_ARGUMENTS arguments, or more fixed ones than arguments;
 *          EXECBUF_E_ABI                this machine cannot call functions of the convention: x86-64 can call
 *                                       those of both, AArch64 those of EXECBUF_ABI_NATIVE;
 *          EXECBUF_E_NO_MEMORY          no memory, address space, mappings or descriptors are left;
 *          EXECBUF_E_TOO_FAR            no free address range is left where the pool's code may lie;
 *          EXECBUF_E_BACKENDS           pool is NULL, and the choice of backends is wrong (see
 *                                       execbuf_set_backends);
 *          EXECBUF_E_TOO_MANY_POOLS     the pool has no arena yet, and all arenas are in use;
 *          EXECBUF_E_DENIED             the system refused every way to make memory executable; or the
 *                                       culprit is "_Unwind_Find_FDE", as for execbuf_thunk_new;
 *          EXECBUF_E_READ_IMPLIES_EXEC  the process has the READ_IMPLIES_EXEC personality;
 *          EXECBUF_E_UNSUPPORTED        the platform is not supported.
 * In:      pool       the pool; NULL for one that the library keeps for this
 * Out:     out        the closure, a buffer, zeroed on failure; free it with execbuf_free
 * In:      signature  the signature of the function, with the context
 *          abi        the convention of the closure and of the function
 *          function   the function
 *          context    the argument that it gets, which is any value
 *          position   where: 0 for the first argument, or EXECBUF_LAST
 * Out:     error      the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_bind(execbuf_pool *pool, execbuf *out,
                                                          const execbuf_signature *signature, execbuf_abi abi,
                                                          execbuf_function function, void *context,
                                                          uint32_t position, execbuf_error *error);

/* Gives a closure another context, by one store. A call that begins meanwhile gets the old one or the new
 * one. After a fork, this changes the closure in this process only.
 *
 * Returns: EXECBUF_OK               the closure has the context;
 *          EXECBUF_E_NULL           closure is NULL;
 *          EXECBUF_E_STALE          the handle names no live buffer;
 *          EXECBUF_E_NOT_INHERITED  the pool keeps its memory from children, and this process is one;
 *          EXECBUF_E_UNSUPPORTED    the buffer is not a closure.
 * In:      closure  a closure
 *          context  the new context */
EXECBUF_API execbuf_status execbuf_rebind(const execbuf *closure, void *context);

/* Makes a function that calls another one without one of its arguments: such as the first one, if that is a
 * receiver or a context which the target does not know. It requires what execbuf_bind requires.
 *
 * It is a stub with a shared adapter, as a thunk is (see execbuf_thunk_new), and what is said there of the
 * target, of unwinding and of tools applies. The adapter has the code of one of closures (see execbuf_bind),
 * so it moves registers and jumps if no argument is on the stack; but it is freed with its last function.
 * Debuggers show it as execbuf_drop_argument.
 *
 * Returns: what execbuf_bind returns, except that the argument may have any type.
 * In:      pool       the pool; NULL for one that the library keeps for this
 * Out:     out        the function, a buffer, zeroed on failure; free it with execbuf_free
 * In:      signature  its signature, with the argument that is dropped; the result is the target's, too
 *          abi        its convention, and that of the target
 *          function   the target, which has the other arguments
 *          position   of the argument: 0 for the first one, or EXECBUF_LAST
 * Out:     error      the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_drop_argument(execbuf_pool *pool, execbuf *out,
                                                                   const execbuf_signature *signature,
                                                                   execbuf_abi abi, execbuf_function function,
                                                                   uint32_t position, execbuf_error *error);

/* ---- Dynamic calls ------------------------------------------------------------------------------------ */

/* A slot: 8 bytes of an argument or of a result. The members are other types of the same bytes; a pointer or
 * a float is in the first ones.
 *
 * The arguments of a call are an array of slots, in the order of the signature. Each begins in the slot
 * behind those of the one before it, whatever its alignment:
 *
 * - A value of at most 8 bytes has one slot, and one of 9 to 16 bytes two. Its bytes are those that it has in
 *   memory, from the first byte of the first slot on. The bytes behind it do not matter: an integer of 32
 *   bits may be written to the member i or u, or to the first four bytes, and of a 128-bit integer the first
 *   slot has the lower half.
 * - A value of more than 16 bytes has one slot, with its address. The call reads exactly its bytes, at any
 *   alignment, and does not change them.
 *
 * So the arguments of f(int32_t a, struct { int64_t x, y; } b, a struct of 40 bytes c, double d) are a
 * in slot 0, b.x and b.y in the slots 1 and 2, the address of c in slot 3, and d in slot 4.
 *
 * The result is written to another array:
 *
 * - An integer of less than 64 bits, or a bool, is extended to its slot, as its type is signed or not: read i
 *   or u.
 * - Another value has as many slots as its size requires, whatever its size is. Its bytes are those that it
 *   has in memory. If it has at most 16 bytes, bytes of its slots behind it may be written, too.
 * - If the type of the result is aligned to 16, the array must be, too.
 * - void has no slots. */
typedef union execbuf_slot {
    /* An integer, signed. */
    int64_t i;
    /* An integer, unsigned. */
    uint64_t u;
    /* EXECBUF_TYPE_F64. */
    double d;
    /* EXECBUF_TYPE_F32. */
    float f;
    /* A pointer. */
    void *p;
    /* A pointer to what is not written. */
    const void *cp;
    /* A pointer to a function, after a cast. */
    execbuf_function function;
    /* The bytes, in the order of memory. */
    uint8_t bytes[8];
} execbuf_slot;

/* Calls functions of one signature and convention. Threads may share it; it never changes. */
typedef struct execbuf_caller execbuf_caller;

/* Makes a caller, for functions whose signature is known only at run time. It requires x86-64, or AArch64 on
 * another system than Windows.
 *
 * Memory: all callers that a thread makes, and whose arguments are moved alike, share machine code in a pool
 * of the library, of some 50 to 4000 bytes; so making one is mostly a look-up. No code is made for a function
 * that is called.
 *
 * If the system refuses to make memory executable, the caller is made nevertheless, and its calls take
 * longer: code of the library puts the arguments into registers. Then EXECBUF_OK is returned, and
 * the report says what was refused. This requires a library that gcc or clang compiled, and is not so on
 * Windows.
 *
 * Unwinding: exceptions, longjmp and backtraces pass through a call, and debuggers show it as
 * execbuf_call_sysv64, execbuf_call_win64 or execbuf_call_native. What execbuf_thunk_new says of unwinders,
 * profilers, debuggers, forks, and of System V code that Win64 code calls holds here, too.
 *
 * Returns: EXECBUF_OK             the caller is made;
 *          EXECBUF_E_NULL         out, signature or its arguments is NULL;
 *          EXECBUF_E_VERSION      signature has a wrong size;
 *          EXECBUF_E_TYPE         a type is not supported, or not allowed where it stands, or the values need
 *                                 more than a page of stack; the report's position is the number of the
 *                                 argument, and its culprit the reason;
 *          EXECBUF_E_ARGUMENTS    there are more than EXECBUF_MAX_ARGUMENTS arguments, or more fixed ones
 *                                 than arguments;
 *          EXECBUF_E_ABI          this machine cannot call functions of the convention: x86-64 can call those
 *                                 of both, AArch64 those of EXECBUF_ABI_NATIVE;
 *          other statuses         those of execbuf_thunk_new for a NULL pool.
 * Out:     out        the caller, NULL on failure; free it with execbuf_caller_free
 * In:      signature  the signature of the functions
 *          abi        the convention of the functions
 * Out:     error      the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_caller_new(execbuf_caller **out,
                                                                const execbuf_signature *signature,
                                                                execbuf_abi abi, execbuf_error *error);

/* Frees a caller, when no thread is in a call of it. NULL is freed without effect.
 *
 * In:      caller  the caller; may be NULL */
EXECBUF_API void execbuf_caller_free(execbuf_caller *caller);

/* Tells how many slots a call reads and writes.
 *
 * In:      caller     the caller
 * Out:     arguments  the number of slots of the arguments
 *          result     the number of slots of the result */
EXECBUF_API void execbuf_caller_slots(const execbuf_caller *caller, size_t *arguments, size_t *result);

/* Tells where an argument is. If its size is more than 16, the slot has its address.
 *
 * Returns: the index of its first slot; if there is no such argument, the number of slots.
 * In:      caller  the caller
 *          index   the argument, counted from 0
 * Out:     size    the size of the value in bytes; 0 if there is no such argument */
EXECBUF_API size_t execbuf_caller_argument(const execbuf_caller *caller, size_t index, size_t *size);

/* Calls a function. Nothing is checked: the function must have the caller's signature and convention.
 *
 * In:      caller     the caller
 *          function   the function, cast to this type
 *          arguments  the arguments, which are not changed; may be NULL if there are none
 * Out:     result     the result; may be NULL if it has no slots */
EXECBUF_API void execbuf_call(const execbuf_caller *caller, execbuf_function function,
                              const execbuf_slot *arguments, execbuf_slot *result);

/* ---- Closures for run-time signatures ------------------------------------------------------------------ */

/* Answers the calls of closures. It has the convention of C functions on this system, whatever that of the
 * closure is. Exceptions and longjmp may leave it, if they may leave functions of the closure's signature.
 *
 * The slots of the arguments are as those that execbuf_call reads, except that integers of less than 64 bits
 * and bool are extended to their slots, as their types are signed or not: read i or u. The array is aligned
 * to 16. Bytes behind the other values, in the same slots, are not defined.
 *
 * A value of more than 16 bytes has one slot, with its address. It is a copy that was made for the call, and
 * it is aligned as its type. The handler may change it, and must not free it. The slots and all
 * values end with the call.
 *
 * The result's memory is all zero when the handler is called, and so is the result that the closure returns
 * if the handler writes none:
 *
 * - Of an integer, a bool, a float or a pointer, the first bytes count, as many as its type has. Write the
 *   member i or u of the slot, for example, or a value of the type to the address of the slot.
 * - Another value has the bytes that it has in memory. If it has at most 16 bytes, there are two slots,
 *   aligned to 16, and the bytes behind it do not matter. If it is longer, the memory may be the caller's:
 *   write exactly its bytes, at an address that is aligned as its type, and no more than that.
 * - void has no slots. The address is not NULL all the same. */
typedef void (*execbuf_handler)(void *context, const execbuf_slot *arguments, execbuf_slot *result);

/* Makes a closure whose signature is known only at run time: a function of that signature which calls a
 * handler with a context, and with its arguments in slots (see "Dynamic calls"). It requires what
 * execbuf_bind requires.
 *
 * It is made as execbuf_bind makes closures: of a stub, a cell and an adapter, which all closures share that
 * a thread makes in a pool with the same convention, and whose arguments are moved alike. What is said there
 * of their memory holds here, too. So does this: execbuf_rebind gives it another context, and the handler may
 * free its own closure.
 *
 * Variadic functions: the closure gets the arguments that are in the signature. It cannot find out how many
 * the caller passes.
 *
 * Cost: the adapter writes each argument to its slot, calls the handler, and loads the result. It uses less
 * than a page of stack. A signature whose values do not fit is refused (EXECBUF_E_TYPE, with the number of
 * the largest argument).
 *
 * Unwinding, profilers, debuggers and forks: as for thunks. Debuggers show an adapter as
 * execbuf_closure_sysv64, execbuf_closure_win64 or execbuf_closure_native, by the convention of the closure.
 * What execbuf_thunk_new says of System V code that Win64 code calls holds for closures of Win64's convention
 * outside of Windows.
 *
 * Returns: EXECBUF_E_NULL  out, signature, its arguments or handler is NULL;
 *          EXECBUF_E_TYPE  a type is not supported, or not allowed where it stands, or the values need more
 *                          than a page of stack or of code; the report's position is the number of the
 *                          argument, and its culprit the reason;
 *          other statuses  those of execbuf_bind.
 * In:      pool       the pool; NULL for one that the library keeps for this
 * Out:     out        the closure, a buffer, zeroed on failure; free it with execbuf_free
 * In:      signature  the signature of the closure
 *          abi        the convention of the closure
 *          handler    the handler
 *          context    what the handler gets; any value
 * Out:     error      the report; may be NULL */
EXECBUF_NODISCARD EXECBUF_API execbuf_status execbuf_closure_new(execbuf_pool *pool, execbuf *out,
                                                                 const execbuf_signature *signature,
                                                                 execbuf_abi abi, execbuf_handler handler,
                                                                 void *context, execbuf_error *error);

#ifdef __cplusplus
}
#endif

#endif
