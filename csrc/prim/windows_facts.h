/* Facts for a report: what of Windows concerns executable memory. A part of windows.c. */
#ifndef EXECBUF_WINDOWS_FACTS_H
#define EXECBUF_WINDOWS_FACTS_H

#include <string.h>

#include "facts.h"

/* From enum PROCESS_MITIGATION_POLICY, and the bits of their structs; missing in older headers. */
#define DYNAMIC_CODE_POLICY 2
#define PROHIBIT_DYNAMIC_CODE 0x1UL
#define AUDIT_PROHIBIT_DYNAMIC_CODE 0x8UL
#define CONTROL_FLOW_GUARD_POLICY 7
#define ENABLE_CONTROL_FLOW_GUARD 0x1UL

typedef BOOL(WINAPI *get_policy_function)(HANDLE process, int policy, void *buffer, SIZE_T length);

/* The bits of one of this process's policies; false before Windows 8, where there are none. */
static bool get_policy(int policy, DWORD *bits) {
    HMODULE kernel = GetModuleHandleW(L"kernel32.dll");
    FARPROC found = kernel != NULL ? GetProcAddress(kernel, "GetProcessMitigationPolicy") : NULL;
    get_policy_function function;
    memcpy(&function, &found, sizeof function); /* ISO C has no cast for this */
    *bits = 0;
    return function != NULL && function(GetCurrentProcess(), policy, bits, sizeof *bits);
}

static const char *dynamic_code(void) {
    DWORD bits;
    if (!get_policy(DYNAMIC_CODE_POLICY, &bits)) {
        return "unknown";
    }
    if ((bits & PROHIBIT_DYNAMIC_CODE) != 0) {
        return "prohibited";
    }
    return (bits & AUDIT_PROHIBIT_DYNAMIC_CODE) != 0 ? "audited" : "allowed";
}

static const char *control_flow_guard(void) {
    DWORD bits;
    if (!get_policy(CONTROL_FLOW_GUARD_POLICY, &bits)) {
        return "unknown";
    }
    return (bits & ENABLE_CONTROL_FLOW_GUARD) != 0 ? "on" : "off";
}

size_t execbuf_prim_facts(execbuf_fact *facts) {
    fact_list list = {facts, 0};
    SYSTEM_INFO system;
    GetSystemInfo(&system);
    add_number(&list, "page size", system.dwPageSize);
    add_number(&list, "allocation granularity", system.dwAllocationGranularity);
    add_fact(&list, "dynamic code", dynamic_code());
    add_fact(&list, "control flow guard", control_flow_guard());
    return list.count;
}

#endif
