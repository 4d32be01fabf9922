/* Windows 7 and later, every architecture. */

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>

#include "fault.h"
#include "inplace.h"

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
    execbuf_prim_info info = {0, false, 1, {EXECBUF_BACKEND_FLIP}};
    info.page_size = system.dwPageSize;
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

execbuf_prim_result execbuf_prim_stage(size_t size, void **base) {
    *base = NULL;
    SYSTEM_INFO system;
    GetSystemInfo(&system);
    if (size > (uintptr_t)system.lpMaximumApplicationAddress) {
        /* VirtualAlloc would call it an invalid parameter. */
        return execbuf_prim_failed("VirtualAlloc", ERROR_NOT_ENOUGH_MEMORY);
    }
    if (!windows_fault("VirtualAlloc")) {
        *base = VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    }
    return *base != NULL ? execbuf_prim_ok() : windows_failed("VirtualAlloc");
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
#if defined(_M_ARM64) || defined(__aarch64__)
        /* Other processors may have fetched old instructions: interrupt them all. */
        FlushProcessWriteBuffers();
#endif
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
    (void)size; /* MEM_RELEASE wants 0, and frees what VirtualAlloc returned as a whole */
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

execbuf_prim_result execbuf_prim_on_fork(void (*in_child)(void)) {
    (void)in_child;
    return execbuf_prim_ok();
}
