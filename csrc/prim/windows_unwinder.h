/* How Windows learns of functions that come at run time. */
#ifndef EXECBUF_WINDOWS_UNWINDER_H
#define EXECBUF_WINDOWS_UNWINDER_H

#if defined(__x86_64__) || defined(_M_X64)

#include <string.h>

/* Since Windows 8; debuggers and profilers see these from outside, too. */
typedef LONG(NTAPI *windows_add_growable)(void **table, RUNTIME_FUNCTION *functions, DWORD count, DWORD most,
                                          ULONG_PTR start, ULONG_PTR end);
typedef void(NTAPI *windows_delete_growable)(void *table);

/* A function of ntdll by its name, put to *function, which is a pointer to it or NULL. */
static void windows_find(const char *name, void *function) {
    FARPROC found = GetProcAddress(GetModuleHandleW(L"ntdll.dll"), name);
    memcpy(function, (void *)&found, sizeof found);
}

execbuf_prim_result execbuf_prim_tell_unwinder(execbuf_prim_function *function) {
    RUNTIME_FUNCTION *entry = (RUNTIME_FUNCTION *)(void *)function->object;
    ULONG_PTR start = (ULONG_PTR)function->code;
    windows_add_growable add;
    windows_find("RtlAddGrowableFunctionTable", (void *)&add);
    function->handle = NULL;
    entry->BeginAddress = 0; /* relative to the start */
    entry->EndAddress = function->length;
    entry->UnwindData = function->xdata;
    if (add != NULL && EXECBUF_FAULT("RtlAddGrowableFunctionTable") == 0 &&
        add(&function->handle, entry, 1, 1, start, start + function->length) == 0) {
        return execbuf_prim_ok();
    }
    function->handle = NULL;
    /* Finds its entry again by its address. It gives no code when it fails, which is for want of memory. */
    int32_t code = EXECBUF_FAULT("RtlAddFunctionTable");
    if (code == 0 && !RtlAddFunctionTable(entry, 1, start)) {
        code = ERROR_NOT_ENOUGH_MEMORY;
    }
    return code == 0 ? execbuf_prim_ok() : execbuf_prim_failed("RtlAddFunctionTable", code);
}

bool execbuf_prim_forget_function(execbuf_prim_function *function) {
    windows_delete_growable forget;
    windows_find("RtlDeleteGrowableFunctionTable", (void *)&forget);
    if (function->handle != NULL && forget != NULL) {
        forget(function->handle);
    } else {
        (void)RtlDeleteFunctionTable((RUNTIME_FUNCTION *)(void *)function->object);
    }
    return true;
}

void execbuf_prim_unwinder_after_fork(void) {}

#else
#include "nounwinder.h"
#endif

#endif
