/* Windows 7 and later, every architecture. */

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#define _CRT_RAND_S /* NOLINT(bugprone-reserved-identifier): stdlib.h then has rand_s */
#include <stdlib.h>
#include <windows.h>

#include "fault.h"
#include "inline.h"
#include "inplace.h"
#include "windows_facts.h"
#include "windows_unwinder.h"

/* Missing in older headers; winerror.h. */
#ifndef ERROR_DYNAMIC_CODE_BLOCKED
#define ERROR_DYNAMIC_CODE_BLOCKED 1655L
#endif

/* Whether the call of this name is to fail for a test; sets the last error then. */
static bool windows_fault(const char *call) {
    int32_t code = EXECBUF_FAULT(call);
    (void)call;
    if (code != 0) {
        SetLastError((DWORD)code);
    }
    return code != 0;
}

static execbuf_prim_result windows_failed(const char *call) {
    return execbuf_prim_failed(call, (int32_t)GetLastError());
}

execbuf_prim_info execbuf_prim_query(void) {
    SYSTEM_INFO system;
    GetSystemInfo(&system);
    execbuf_prim_info info = {0};
    info.page_size = system.dwPageSize;
    info.backend_count = 1;
    info.backends[0] = EXECBUF_BACKEND_FLIP;
    info.pool_backend_count = 1;
    info.pool_backends[0] = EXECBUF_BACKEND_SECTION;
    info.region_size = (size_t)2 << 20; /* all of a section counts as committed */
    info.wants_xdata = true;
    return info;
}

bool execbuf_prim_is_exhaustion(int32_t code) {
    return code == ERROR_NOT_ENOUGH_MEMORY || code == ERROR_OUTOFMEMORY || code == ERROR_COMMITMENT_LIMIT ||
           code == ERROR_NO_SYSTEM_RESOURCES || code == ERROR_PAGEFILE_QUOTA ||
           code == ERROR_WORKING_SET_QUOTA;
}

const char *execbuf_prim_error_name(int32_t code) {
    switch (code) {
    case ERROR_ACCESS_DENIED: return "ERROR_ACCESS_DENIED";
    case ERROR_COMMITMENT_LIMIT: return "ERROR_COMMITMENT_LIMIT";
    /* The process forbids itself dynamic code: PROCESS_MITIGATION_DYNAMIC_CODE_POLICY. */
    case ERROR_DYNAMIC_CODE_BLOCKED: return "ERROR_DYNAMIC_CODE_BLOCKED";
    case ERROR_INVALID_ADDRESS: return "ERROR_INVALID_ADDRESS";
    case ERROR_INVALID_PARAMETER: return "ERROR_INVALID_PARAMETER";
    case ERROR_NOT_ENOUGH_MEMORY: return "ERROR_NOT_ENOUGH_MEMORY";
    case ERROR_NO_SYSTEM_RESOURCES: return "ERROR_NO_SYSTEM_RESOURCES";
    case ERROR_OUTOFMEMORY: return "ERROR_OUTOFMEMORY";
    default: return NULL;
    }
}

/* A way to map size bytes at an address, or anywhere if it is NULL; NULL on failure. */
typedef void *(*windows_map)(void *address, size_t size, void *what);

/* Maps so that every byte is within 2 GiB of near_to, or anywhere if that is NULL. */
static execbuf_prim_result map_near(windows_map map, size_t size, void *what, const void *near_to,
                                    const char *call, void **base) {
    *base = NULL;
    if (near_to == NULL) {
        *base = map(NULL, size, what);
        return *base != NULL ? execbuf_prim_ok() : windows_failed(call);
    }
    const uintptr_t reach = (uintptr_t)0x7fff0000;
    const uintptr_t step = size > ((uintptr_t)1 << 20) ? size : (uintptr_t)1 << 20;
    const uintptr_t origin = (uintptr_t)near_to & ~(uintptr_t)0xffff; /* the allocation granularity */
    SYSTEM_INFO system;
    GetSystemInfo(&system);
    const uintptr_t last = (uintptr_t)system.lpMaximumApplicationAddress;
    for (uintptr_t distance = step; distance <= reach && *base == NULL; distance += step) {
        uintptr_t below = origin > distance ? origin - distance : 0;
        uintptr_t above =
            distance + size <= reach && distance <= last && origin <= last - distance ? origin + distance : 0;
        if (below != 0 && below < last && last - below >= size) {
            *base = map((void *)below, size, what); /* NOLINT(performance-no-int-to-ptr) */
        }
        if (*base == NULL && above != 0 && last - above >= size) {
            *base = map((void *)above, size, what); /* NOLINT(performance-no-int-to-ptr) */
        }
    }
    return *base != NULL ? execbuf_prim_ok()
                         : execbuf_prim_failed(EXECBUF_PRIM_TOO_FAR, ERROR_NOT_ENOUGH_MEMORY);
}

static void *map_pages(void *address, size_t size, void *what) {
    (void)what;
    return windows_fault("VirtualAlloc")
               ? NULL
               : VirtualAlloc(address, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

execbuf_prim_result execbuf_prim_stage(size_t size, const void *near_to, void **base) {
    *base = NULL;
    SYSTEM_INFO system;
    GetSystemInfo(&system);
    if (size > (uintptr_t)system.lpMaximumApplicationAddress) {
        /* VirtualAlloc would call it an invalid parameter. */
        return execbuf_prim_failed("VirtualAlloc", ERROR_NOT_ENOUGH_MEMORY);
    }
    return map_near(map_pages, size, NULL, near_to, "VirtualAlloc", base);
}

static void *map_executable_view(void *address, size_t size, void *section) {
    return windows_fault("MapViewOfFileEx")
               ? NULL
               : MapViewOfFileEx(section, FILE_MAP_READ | FILE_MAP_EXECUTE, 0, 0, size, address);
}

/* At a place that nobody can guess: left to itself, Windows may put it right beside the executable view,
 * where a stray pointer to code finds it. */
static void *map_writable_view(size_t size, void *section) {
    SYSTEM_INFO system;
    unsigned high = 0;
    unsigned low = 0;
    GetSystemInfo(&system);
    const uint64_t last = (uint64_t)(uintptr_t)system.lpMaximumApplicationAddress - size;
    for (int tries = 0; tries < 8 && sizeof(void *) >= 8 && rand_s(&high) == 0 && rand_s(&low) == 0;
         tries++) {
        uint64_t place = ((uint64_t)high << 32 | low) % last & ~(uint64_t)0xffff;
        void *view =
            windows_fault("MapViewOfFileEx")
                ? NULL
                : MapViewOfFileEx(section, FILE_MAP_WRITE, 0, 0, size, (void *)(uintptr_t)place); /* NOLINT */
        if (view != NULL) {
            return view;
        }
    }
    return windows_fault("MapViewOfFileEx") ? NULL : MapViewOfFile(section, FILE_MAP_WRITE, 0, 0, size);
}

/* A section of the paging file with two views. Windows never gives a view a right that it was not mapped
 * with. */
execbuf_prim_result execbuf_prim_map_region(execbuf_backend backend, size_t size, const void *near_to,
                                            const char *name, execbuf_prim_views *views) {
    (void)backend;
    (void)name; /* a section with a name could be opened by other processes */
    DWORD high = (DWORD)((uint64_t)size >> 32);
    HANDLE section =
        windows_fault("CreateFileMapping")
            ? NULL
            : CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_EXECUTE_READWRITE, high, (DWORD)size, NULL);
    if (section == NULL) {
        return windows_failed("CreateFileMapping");
    }
    void *rx = NULL;
    execbuf_prim_result result =
        map_near(map_executable_view, size, section, near_to, "MapViewOfFileEx", &rx);
    void *rw = NULL;
    if (result.call == NULL) {
        rw = map_writable_view(size, section);
        if (rw == NULL) {
            result = windows_failed("MapViewOfFileEx");
            (void)UnmapViewOfFile(rx);
        }
    }
    (void)CloseHandle(section); /* the views keep it */
    views->rx = (uint8_t *)rx;
    views->rw = (uint8_t *)rw;
    return result;
}

void execbuf_prim_sync(const uint8_t *rx, const uint8_t *rw, size_t size) {
    (void)rw;
    /* Documented as required, and where an emulator runs this program, it needs to know. */
    (void)FlushInstructionCache(GetCurrentProcess(), rx, size);
}

void execbuf_prim_barrier(void) {
    FlushProcessWriteBuffers(); /* interrupts all processors that run this process */
}

void execbuf_prim_begin_write(void) {}
void execbuf_prim_end_write(void) {}

static execbuf_prim_result protect(void *base, size_t size, DWORD protection) {
    DWORD before;
    bool done = !windows_fault("VirtualProtect") && VirtualProtect(base, size, protection, &before);
    return done ? execbuf_prim_ok() : windows_failed("VirtualProtect");
}

execbuf_prim_result execbuf_prim_commit(execbuf_backend backend, void *base, size_t size) {
    (void)backend;
    execbuf_prim_result result = protect(base, size, PAGE_EXECUTE_READ);
    if (result.call == NULL) {
        /* The documentation of VirtualProtect asks for it; it cannot fail for memory of our own. */
        (void)FlushInstructionCache(GetCurrentProcess(), base, size);
        execbuf_fresh_barrier(); /* other processors may have fetched old instructions */
    }
    return result;
}

execbuf_prim_result execbuf_prim_reopen(void *base, size_t size) {
    return protect(base, size, PAGE_READWRITE);
}

size_t execbuf_prim_trim(void *base, size_t size, size_t keep) {
    /* Gives the memory back; the address space is freed with the whole, and only with it. */
    (void)VirtualFree((char *)base + keep, size - keep, MEM_DECOMMIT);
    return size;
}

execbuf_prim_result execbuf_prim_release(void *base, size_t size) {
    (void)size; /* both calls free what was mapped as a whole */
    MEMORY_BASIC_INFORMATION info;
    if (VirtualQuery(base, &info, sizeof info) == sizeof info && info.Type == MEM_MAPPED) {
        bool unmapped = !windows_fault("UnmapViewOfFile") && UnmapViewOfFile(base);
        return unmapped ? execbuf_prim_ok() : windows_failed("UnmapViewOfFile");
    }
    bool done = !windows_fault("VirtualFree") && VirtualFree(base, 0, MEM_RELEASE);
    return done ? execbuf_prim_ok() : windows_failed("VirtualFree");
}

static SRWLOCK windows_lock = SRWLOCK_INIT;

void execbuf_prim_lock(void) {
    AcquireSRWLockExclusive(&windows_lock);
}

void execbuf_prim_unlock(void) {
    ReleaseSRWLockExclusive(&windows_lock);
}

void execbuf_prim_mutex_init(execbuf_prim_mutex *mutex) {
    InitializeSRWLock((SRWLOCK *)(void *)mutex->space);
}

void execbuf_prim_mutex_lock(execbuf_prim_mutex *mutex) {
    AcquireSRWLockExclusive((SRWLOCK *)(void *)mutex->space);
}

void execbuf_prim_mutex_unlock(execbuf_prim_mutex *mutex) {
    ReleaseSRWLockExclusive((SRWLOCK *)(void *)mutex->space);
}

execbuf_prim_result execbuf_prim_on_fork(const execbuf_prim_fork_hooks *hooks) {
    (void)hooks;
    return execbuf_prim_ok();
}
