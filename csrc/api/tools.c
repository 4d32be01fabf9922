/* Public functions on tools. */

#include "../base/error.h"
#include "../base/sized.h"
#include "../debug/jitdump.h"
#include "../debug/observers.h"
#include "../debug/tools.h"
#include "../prim/prim.h"
#include "process.h"

execbuf_status execbuf_observe(execbuf_observer **out, execbuf_observe_function callback,
                               execbuf_release_function release, void *context, execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    *out = NULL;
    if (callback == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "callback", 0);
    }
    execbuf_status status = xb_process_ready(error);
    if (status != EXECBUF_OK) {
        return status;
    }
    *out = xb_observers_add(callback, release, context);
    return *out != NULL ? xb_error_ok(error) : xb_error_set(error, EXECBUF_E_NO_MEMORY, "calloc", 0);
}

void execbuf_unobserve(execbuf_observer *observer) {
    if (observer != NULL) {
        xb_prim_check_fork();
        xb_observers_remove(observer);
    }
}

execbuf_status execbuf_tools_enable(const execbuf_tools *tools, execbuf_error *error) {
    execbuf_tools known = EXECBUF_TOOLS_INIT;
    if (tools == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "tools", 0);
    }
    if (!xb_sized_read(&known, tools, sizeof known) || known.reserved != 0) {
        return xb_error_set(error, EXECBUF_E_VERSION, "tools", 0);
    }
    if (known.which == 0 || (known.which & ~(XB_KNOWN_TOOLS & xb_tools_existing())) != 0) {
        return xb_error_set(error, EXECBUF_E_UNSUPPORTED, "which", 0);
    }
    execbuf_status status = xb_process_ready(error);
    if (status != EXECBUF_OK) {
        return status;
    }
    if ((known.which & EXECBUF_TOOL_JITDUMP) != 0 &&
        !xb_jitdump_set(known.jitdump_directory, known.jitdump_limit)) {
        return xb_error_set(error, EXECBUF_E_NO_MEMORY, "malloc", 0);
    }
    xb_tools_switch_on(known.which);
    return xb_error_ok(error);
}

void execbuf_tools_disable(uint32_t tools) {
    xb_prim_check_fork();
    xb_tools_begin();
    xb_tools_switch_off(tools & XB_KNOWN_TOOLS);
}

execbuf_status execbuf_tool_failure(uint32_t tool, execbuf_error *error) {
    xb_prim_check_fork();
    xb_tools_begin();
    return xb_tools_failure(tool, error);
}
