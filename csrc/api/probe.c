/* What this machine and this process allow. */

#include "../exec/ladder.h"
#include "../exec/view.h"
#include "process.h"

/* The self-test of one backend, on memory of its own. */
typedef xb_result (*prove_function)(execbuf_backend backend);

/* A look that is new each time: xb_ladder_check asks no more once a backend has worked. */
static execbuf_status check_process(xb_result *result) {
    execbuf_status status = xb_prim_check_process(result);
    if (status == EXECBUF_OK) {
        execbuf_error error;
        status = xb_ladder_check(&error);
        status = status == EXECBUF_OK ? xb_process_ready(&error) : status;
        *result = xb_failed(error.culprit, error.os_error);
    }
    return status;
}

/* Lets each backend prove itself, or gives each the reason that speaks against trying any; returns how many
 * there are. */
static uint32_t try_all(execbuf_probe_result *results, const execbuf_backend *backends, size_t count,
                        prove_function prove, const xb_result *against) {
    for (size_t i = 0; i < count; i++) {
        xb_result result = against != NULL ? *against : prove(backends[i]);
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
    probe->status = check_process(&result);
    const xb_result *against = probe->status == EXECBUF_OK ? NULL : &result;
    probe->buffer_count =
        try_all(probe->buffer, info.backends, info.backend_count, xb_selftest_pages, against);
    probe->pool_count =
        try_all(probe->pool, info.pool_backends, info.pool_backend_count, xb_selftest_views, against);
    probe->fact_count = (uint32_t)xb_prim_facts(probe->facts);
}
