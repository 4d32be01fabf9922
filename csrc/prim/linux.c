/* Linux and Android, every architecture. */

#include "posix.h"

#include "aarch64.h"

#include <fcntl.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* Numbers that older headers lack; each is part of the kernel's ABI. */
#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66 /* Linux 6.3, include/uapi/linux/prctl.h */
#endif
#ifndef PR_MDWE_REFUSE_EXEC_GAIN
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 0x0001U
#endif
#ifndef MFD_ALLOW_SEALING
#define MFD_ALLOW_SEALING 0x0002U
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3, include/uapi/linux/memfd.h */
#endif
/* Linux 4.16, include/uapi/linux/membarrier.h: enum values there, so no #ifndef can ask for them. */
#define FENCE 8
#define REGISTER_FENCE 16
#define SYNC_CORE 32
#define REGISTER_SYNC_CORE 64
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_SEAL_SEAL 0x0001
#define F_SEAL_SHRINK 0x0002
#define F_SEAL_GROW 0x0004
#define F_SEAL_WRITE 0x0008
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1, include/uapi/linux/fcntl.h */
#endif
#ifndef GRND_NONBLOCK
#define GRND_NONBLOCK 0x0001 /* Linux 3.17, include/uapi/linux/random.h */
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18 /* Linux 4.14 */
#endif

/* Staged pages are mapped without PROT_READ, because the READ_IMPLIES_EXEC personality, which a program
 * may set at any time, adds PROT_EXEC to whatever has PROT_READ (do_mmap in mm/mmap.c). x86 and AArch64
 * can read such pages all the same. RISC-V has no write-only pages, and kernels before 6.1 refuse them; so
 * there execbuf_prim_stage looks at the personality each time. */
#if defined(__riscv)
#define STAGED (PROT_READ | PROT_WRITE)
#else
#define STAGED PROT_WRITE
#endif
#define COMMITTED (PROT_READ | PROT_EXEC)

execbuf_prim_info execbuf_prim_query(void) {
    execbuf_prim_info info = {
        .page_size = posix_page_size(),
        .can_replace = true,
        .backend_count = 3,
        .backends = {EXECBUF_BACKEND_FLIP, EXECBUF_BACKEND_MEMFD, EXECBUF_BACKEND_ALIAS},
        .pool_backend_count = 2,
        .pool_backends = {EXECBUF_BACKEND_MEMFD, EXECBUF_BACKEND_ALIAS},
        .region_size = sizeof(void *) >= 8 ? (size_t)8 << 20 : (size_t)2 << 20,
    };
    return info;
}

execbuf_status execbuf_prim_check_process(execbuf_prim_result *result) {
    int persona = personality(0xffffffff); /* asks, changes nothing */
    if (persona != -1 && ((unsigned)persona & READ_IMPLIES_EXEC) != 0) {
        *result = execbuf_prim_failed("personality", 0);
        return EXECBUF_E_READ_IMPLIES_EXEC;
    }
    return EXECBUF_OK;
}

execbuf_prim_result execbuf_prim_check_backend(execbuf_backend backend) {
    if (backend == EXECBUF_BACKEND_FLIP) {
        if (posix_fault("flip")) {
            return posix_failed("prctl(PR_GET_MDWE)");
        }
        int mdwe = prctl(PR_GET_MDWE, 0L, 0L, 0L, 0L);
        if (mdwe > 0 && (mdwe & PR_MDWE_REFUSE_EXEC_GAIN) != 0) {
            return execbuf_prim_failed("prctl(PR_GET_MDWE)", EACCES);
        }
    }
    return execbuf_prim_ok();
}

void execbuf_prim_begin_write(void) {}
void execbuf_prim_end_write(void) {}

/* Where staged pages are readable: whether the personality would make them executable as well. */
static execbuf_prim_result check_staged(void) {
    if ((STAGED & PROT_READ) != 0) {
        execbuf_prim_result result;
        if (execbuf_prim_check_process(&result) != EXECBUF_OK) {
            return execbuf_prim_failed(result.call, EPERM);
        }
    }
    return execbuf_prim_ok();
}

execbuf_prim_result execbuf_prim_stage(size_t size, const void *near_to, void **base) {
    execbuf_prim_result result = check_staged();
    if (result.call != NULL) {
        return result;
    }
    *base = posix_mmap_near(near_to, size, STAGED, MAP_PRIVATE, -1);
    return *base != NULL ? execbuf_prim_ok() : posix_mmap_failed();
}

/* mremap; NULL and errno on failure. */
static void *remap(void *from, size_t old_size, size_t size, int flags, void *to) {
    if (posix_fault("mremap")) {
        return NULL;
    }
    void *base = mremap(from, old_size, size, flags, to);
    return base == MAP_FAILED ? NULL : base;
}

/* mremap with a new place and the same size; what is there gives way. The kernel checks beforehand what it
 * can. */
static execbuf_prim_result move(void *target, void *source, size_t size) {
    bool done = remap(source, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, target) != NULL;
    return done ? execbuf_prim_ok() : posix_failed("mremap");
}

/* Takes the executable mapping at rx for the staged pages at base, or unmaps it. */
static execbuf_prim_result put_in_place(void *base, void *rx, size_t size) {
    execbuf_prim_result result = move(base, rx, size);
    if (result.call != NULL) {
        (void)munmap(rx, size);
    }
    return result;
}

/* memfd_create by number, since glibc before 2.27 and some other C libraries lack the function. */
static int memfd_create_with(const char *name, unsigned flags) {
    if (posix_fault("memfd_create")) {
        return -1;
    }
    return (int)syscall(SYS_memfd_create, name, flags);
}

/* A memfd for a file of the given size; -1 and *result on failure. */
static int open_memfd(const char *name, size_t size, execbuf_prim_result *result) {
    /* A file beyond RLIMIT_FSIZE raises SIGXFSZ, which kills; so look before. */
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < size) {
        *result = execbuf_prim_failed("getrlimit(RLIMIT_FSIZE)", EFBIG);
        return -1;
    }
    /* NOEXEC_SEAL forbids execve of the file, not mapping it executable, and is the only kind there is
     * under vm.memfd_noexec=2. Kernels before 6.3 do not know it. */
    int fd = memfd_create_with(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) {
        fd = memfd_create_with(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    }
    if (fd < 0) {
        *result = posix_failed("memfd_create");
    }
    return fd;
}

/* Writes all of it, or fails. If need be, by way of a copy: qemu-user lets no system call read from pages
 * that were mapped without PROT_READ. */
static execbuf_prim_result write_all(int fd, const char *bytes, size_t size) {
    char copy[4096];
    bool copies = false;
    for (size_t done = 0; done < size;) {
        const char *from = bytes + done;
        size_t length = size - done;
        if (copies) {
            length = length < sizeof copy ? length : sizeof copy;
            from = (const char *)memcpy(copy, from, length);
        }
        ssize_t written = posix_fault("write") ? -1 : write(fd, from, length);
        if (written > 0) {
            done += (size_t)written;
        } else if (written < 0 && errno == EFAULT && !copies) {
            copies = true;
        } else if (written == 0 || errno != EINTR) {
            return written == 0 ? execbuf_prim_failed("write", EIO) : posix_failed("write");
        }
    }
    return execbuf_prim_ok();
}

/* Seals the file against a change of its size, and against what is given. */
static execbuf_prim_result seal(int fd, int against) {
    int seals = against | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    bool done = !posix_fault("fcntl") && fcntl(fd, F_ADD_SEALS, seals) == 0;
    return done ? execbuf_prim_ok() : posix_failed("fcntl(F_ADD_SEALS)");
}

/* A memfd that is written, sealed for ever, then mapped RX and moved to the staged pages' place. No mapping
 * of it is ever writable, so W^X policies that look at one mapping after the other have nothing to refuse. */
static execbuf_prim_result commit_memfd(void *base, size_t size) {
    execbuf_prim_result result;
    int fd = open_memfd("execbuf", size, &result);
    if (fd < 0) {
        return result;
    }
    result = write_all(fd, (const char *)base, size);
    if (result.call == NULL) {
        result = seal(fd, F_SEAL_WRITE);
    }
    if (result.call == NULL) {
        /* A shared mapping of a sealed file can never be made writable, but kernels before 6.7 refuse it. Not
         * with MAP_FIXED: kernels before 6.12 unmap what is in the way before they refuse. */
        void *rx = posix_mmap(NULL, size, COMMITTED, MAP_SHARED, fd);
        if (rx == NULL) {
            rx = posix_mmap(NULL, size, COMMITTED, MAP_PRIVATE, fd);
        }
        result = rx != NULL ? put_in_place(base, rx, size) : posix_failed("mmap");
    }
    (void)close(fd); /* Linux frees the descriptor whatever close returns */
    return result;
}

/* Takes away from a mapping what a child of a fork must not inherit, then makes it writable; or unmaps it. */
static execbuf_prim_result make_writable(void *rw, size_t size) {
    execbuf_prim_result result = execbuf_prim_ok();
    if (posix_fault("madvise") || madvise(rw, size, MADV_DONTFORK) != 0) {
        result = posix_failed("madvise(MADV_DONTFORK)");
    }
    if (result.call == NULL) {
        result = posix_mprotect(rw, size, STAGED);
    }
    if (result.call != NULL) {
        (void)munmap(rw, size);
    }
    return result;
}

/* Maps what will be a region's writable view, at a place that nobody can guess: left to itself, the kernel
 * would put it right beside the executable one, where a stray pointer to code finds it. Processes on x86-64
 * have 47 bits of address space, on some other processors down to 39. */
static void *map_somewhere(size_t size, int flags, int fd) {
    uint64_t random = 0;
    bool is_random = sizeof(void *) >= 8 && !posix_fault("getrandom") &&
                     syscall(SYS_getrandom, &random, sizeof random, GRND_NONBLOCK) == sizeof random;
    for (unsigned bits = 46; is_random && bits >= 38; bits -= 8) {
        void *hint = (void *)(uintptr_t)(random >> (64 - bits) & ~(uint64_t)0xffff); /* NOLINT */
        void *base = posix_mmap_at(hint, size, PROT_NONE, flags, fd);
        if (base != NULL) {
            return base;
        }
    }
    return posix_mmap(NULL, size, PROT_NONE, flags, fd);
}

/* Makes a second, writable mapping of the shared mapping at rx. An old size of 0 asks for it (mremap(2));
 * valgrind and qemu-user refuse. It takes the place of a mapping, if one is given. */
static execbuf_prim_result map_alias(void *rx, size_t size, void *place, void **rw) {
    *rw = remap(rx, 0, size, place != NULL ? MREMAP_MAYMOVE | MREMAP_FIXED : MREMAP_MAYMOVE, place);
    return *rw != NULL ? make_writable(*rw, size) : posix_failed("mremap");
}

/* Fills the shared pages at rx from the staged pages at base. */
static execbuf_prim_result fill_through_alias(void *rx, const void *base, size_t size) {
    void *rw;
    execbuf_prim_result result = map_alias(rx, size, NULL, &rw);
    if (result.call != NULL) {
        return result;
    }
    memcpy(rw, base, size);
    result = posix_munmap(rw, size);
    if (result.call != NULL) {
        (void)munmap(rw, size); /* nothing better is left to do */
    }
    return result;
}

/* Shared anonymous pages that are RX from the start and never anything else at their own address. Takes no
 * file descriptor and no file size, so it works where the memfd way does not. */
static execbuf_prim_result commit_alias(void *base, size_t size) {
    void *rx = posix_mmap(NULL, size, COMMITTED, MAP_SHARED, -1);
    if (rx == NULL) {
        return posix_failed("mmap");
    }
    execbuf_prim_result result = fill_through_alias(rx, base, size);
    if (result.call != NULL) {
        (void)munmap(rx, size);
        return result;
    }
    return put_in_place(base, rx, size);
}

/* A barrier of membarrier(2), which has to be registered once in a process. */
static bool membarrier_or_register(int barrier, int registration) {
    bool done = syscall(SYS_membarrier, barrier, 0, 0) == 0;
    if (!done && errno == EPERM && syscall(SYS_membarrier, registration, 0, 0) == 0) {
        done = syscall(SYS_membarrier, barrier, 0, 0) == 0;
    }
    return done;
}

/* Other processors may still have instructions that they have fetched already (Arm ARM, B2.2.5; Intel
 * SDM, 8.1.3). Kernels before 4.16 have no such barrier; execbuf.h says what follows. */
void execbuf_prim_barrier(void) {
    (void)membarrier_or_register(SYNC_CORE, REGISTER_SYNC_CORE);
}

static bool posix_may_fence(void) {
    return syscall(SYS_membarrier, REGISTER_FENCE, 0, 0) == 0;
}

static bool posix_fence_all(void) {
    return membarrier_or_register(FENCE, REGISTER_FENCE);
}

void execbuf_prim_sync(const uint8_t *rx, const uint8_t *rw, size_t size) {
#if defined(__x86_64__) || defined(__i386__)
    (void)rx;
    (void)rw;
    (void)size;
#elif defined(__aarch64__)
    aarch64_sync(rx, rw, size);
#elif defined(__riscv)
    (void)rw;
    /* fence.i alone would reach this hart only; flags 0 asks for all threads (riscv/cmodx.rst). */
    (void)syscall(SYS_riscv_flush_icache, rx, rx + size, 0UL);
#else
    __builtin___clear_cache((char *)(uintptr_t)rw, (char *)(uintptr_t)rw + size);
    __builtin___clear_cache((char *)(uintptr_t)rx, (char *)(uintptr_t)rx + size);
#endif
}

/* What the processors need before they run new code; reused: at addresses that held other code. */
static void synchronize(void *base, size_t size, bool reused) {
    execbuf_prim_sync((const uint8_t *)base, (const uint8_t *)base, size);
    if (reused) {
        execbuf_prim_barrier();
    } else {
        execbuf_fresh_barrier();
    }
}

execbuf_prim_result execbuf_prim_commit(execbuf_backend backend, void *base, size_t size) {
    execbuf_prim_result result = execbuf_prim_failed("commit", EINVAL);
    switch (backend) {
    /* Refused under PR_SET_MDWE and by the seccomp filter of systemd's MemoryDenyWriteExecute=. */
    case EXECBUF_BACKEND_FLIP: result = posix_mprotect(base, size, COMMITTED); break;
    case EXECBUF_BACKEND_MEMFD: result = commit_memfd(base, size); break;
    case EXECBUF_BACKEND_ALIAS: result = commit_alias(base, size); break;
    case EXECBUF_BACKEND_NONE:
    case EXECBUF_BACKEND_MAP_JIT:
    case EXECBUF_BACKEND_SECTION: break;
    }
    if (result.call == NULL) {
        synchronize(base, size, false);
    }
    return result;
}

execbuf_prim_result execbuf_prim_replace(void *target, void *source, size_t size) {
    if (EXECBUF_FAULT("stale") != 0) { /* what an emulator does that keeps old code */
        (void)munmap(source, size);
        return execbuf_prim_ok();
    }
    execbuf_prim_result result = move(target, source, size);
    if (result.call == NULL) {
        synchronize(target, size, true);
    }
    return result;
}

execbuf_prim_result execbuf_prim_reopen(void *base, size_t size) {
    (void)base;
    (void)size;
    return execbuf_prim_failed("reopen", ENOSYS);
}

/* A memfd of zeros. Its writable mapping is made before the seal that allows no other one; the executable one
 * comes after it, so that the kernel never lets it become writable. */
static execbuf_prim_result map_memfd_region(size_t size, const void *near_to, const char *name,
                                            execbuf_prim_views *views) {
    execbuf_prim_result result = execbuf_prim_ok();
    int fd = open_memfd(name, size, &result);
    if (fd < 0) {
        return result;
    }
    void *rw = NULL;
    void *rx = NULL;
    if (posix_fault("ftruncate") || ftruncate(fd, (off_t)size) != 0) {
        result = posix_failed("ftruncate");
    }
    if (result.call == NULL) {
        /* No child of a fork is to inherit it writable, so it becomes that only after MADV_DONTFORK. */
        rw = map_somewhere(size, MAP_SHARED, fd);
        result = rw != NULL ? make_writable(rw, size) : posix_failed("mmap");
        rw = result.call == NULL ? rw : NULL;
    }
    if (result.call == NULL) {
        result = seal(fd, F_SEAL_FUTURE_WRITE);
    }
    if (result.call == NULL) {
        rx = posix_mmap_near(near_to, size, COMMITTED, MAP_SHARED, fd);
        result = rx != NULL ? execbuf_prim_ok() : posix_mmap_failed();
    }
    if (result.call != NULL && rw != NULL) {
        (void)munmap(rw, size);
    }
    (void)close(fd);
    views->rx = (uint8_t *)rx;
    views->rw = (uint8_t *)rw;
    return result;
}

/* Shared anonymous pages, executable from the start, and a second mapping of them that becomes writable. */
static execbuf_prim_result map_alias_region(size_t size, const void *near_to, execbuf_prim_views *views) {
    void *rw = NULL;
    void *rx = posix_mmap_near(near_to, size, COMMITTED, MAP_SHARED | MAP_NORESERVE, -1);
    if (rx == NULL) {
        return posix_mmap_failed();
    }
    void *place = map_somewhere(size, MAP_PRIVATE | MAP_NORESERVE, -1);
    execbuf_prim_result result = place != NULL ? map_alias(rx, size, place, &rw) : posix_failed("mmap");
    if (result.call != NULL) {
        (void)munmap(rx, size);
        if (rw == NULL && place != NULL) {
            (void)munmap(place, size);
        }
    }
    views->rx = (uint8_t *)rx;
    views->rw = (uint8_t *)rw;
    return result;
}

execbuf_prim_result execbuf_prim_map_region(execbuf_backend backend, size_t size, const void *near_to,
                                            const char *name, execbuf_prim_views *views) {
    execbuf_prim_result result = check_staged();
    if (result.call != NULL) {
        return result;
    }
    return backend == EXECBUF_BACKEND_MEMFD ? map_memfd_region(size, near_to, name, views)
                                            : map_alias_region(size, near_to, views);
}

/* A page that the kernel fills with zeros in every child of a fork. */
static uint8_t *canary_page;
static bool canary_tried;

void execbuf_prim_arm_canary(void) {
    if (!canary_tried) {
        canary_tried = true;
        size_t size = posix_page_size();
        uint8_t *page = (uint8_t *)posix_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, -1);
        if (page != NULL && madvise(page, size, MADV_WIPEONFORK) != 0) { /* before Linux 4.14 */
            (void)munmap(page, size);
            page = NULL;
        }
        canary_page = page;
    }
    if (canary_page != NULL && *canary_page == 0) {
        __atomic_store_n(canary_page, 1, __ATOMIC_RELEASE);
        execbuf_prim_canary = canary_page;
    }
}

bool execbuf_prim_lock_in_clone(void) {
    /* The byte behind it, which is wiped, too. */
    if (__atomic_exchange_n(canary_page + 1, 1, __ATOMIC_ACQ_REL) != 0) {
        while (__atomic_load_n(canary_page, __ATOMIC_ACQUIRE) == 0) {
            (void)sched_yield();
        }
        return false;
    }
    if (posix_forking == 0) {
        const pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;
        memcpy(&posix_mutex, &unlocked, sizeof unlocked);
    }
    execbuf_prim_lock();
    return true;
}

#include "linux_facts.h" /* execbuf_prim_facts */
