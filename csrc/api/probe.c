/* execbuf_probe_system: what this machine and this process allow. It runs every self-test anew and keeps
 * nothing. */

#include "../exec/ladder.h"
#include "../exec/selftest.h"
#include "../exec/view.h"
#include "process.h"

/* The self-test of one backend. */
typedef xb_result (*probe_function)(execbuf_backend backend);

/* Looks for a reason why no backend can be used. xb_prim_check_process is called here because xb_ladder_check
 * no longer does once a backend has worked.
 *
 * Out: result: the reason. */
static execbuf_status probe_process(xb_result *result) {
    execbuf_status status = xb_prim_check_process(result);
    if (status == EXECBUF_OK) {
        execbuf_error error;
        status = xb_ladder_check(&error);
        status = status == EXECBUF_OK ? xb_process_ready(&error) : status;
        *result = xb_failed(error.culprit, error.os_error);
    }
    return status;
}

/* Tests each backend, or reports the same reason for all of them if there is one. Returns count. */
static uint32_t probe_backends(execbuf_probe_result *results, const execbuf_backend *backends, size_t count,
                               probe_function test, const xb_result *reason) {
    for (size_t i = 0; i < count; i++) {
        xb_result result = reason != NULL ? *reason : test(backends[i]);
        results[i].backend = backends[i];
        results[i].call = result.call;
        results[i].os_error = result.code;
    }
    return (uint32_t)count;
}

void execbuf_probe_system(execbuf_probe *probe) {
    static const execbuf_probe empty = {
        EXECBUF_OK,   0, 0, 0, {{EXECBUF_BACKEND_NONE, 0, NULL}}, {{EXECBUF_BACKEND_NONE, 0, NULL}},
        {{NULL, {0}}}};
    if (probe == NULL) {
        return;
    }
    *probe = empty;
    xb_prim_info info = xb_prim_query();
    xb_result result = xb_ok();
    probe->status = probe_process(&result);
    const xb_result *reason = probe->status == EXECBUF_OK ? NULL : &result;
    probe->buffer_count =
        probe_backends(probe->buffer, info.backends, info.backend_count, xb_selftest_pages, reason);
    probe->pool_count =
        probe_backends(probe->pool, info.pool_backends, info.pool_backend_count, xb_selftest_views, reason);
    probe->fact_count = (uint32_t)xb_prim_facts(probe->facts);
}
