/* What this machine and this process allow. */

#include "../exec/ladder.h"
#include "../pool/region.h"

/* The self-test of one backend, on memory of its own. */
typedef execbuf_prim_result (*prove_function)(execbuf_backend backend);

/* A look that is new each time: execbuf_backend_check asks no more once a backend has worked. */
static execbuf_status check(execbuf_prim_result *result) {
    execbuf_status status = execbuf_prim_check_process(result);
    if (status == EXECBUF_OK) {
        execbuf_error error;
        status = execbuf_backend_check(&error);
        *result = execbuf_prim_failed(error.culprit, error.os_error);
    }
    return status;
}

/* Lets each backend prove itself, or gives each the reason that speaks against trying any; returns how many
 * there are. */
static uint32_t try_all(execbuf_probe_result *results, const execbuf_backend *backends, size_t count,
                        prove_function prove, const execbuf_prim_result *against) {
    for (size_t i = 0; i < count; i++) {
        execbuf_prim_result result = against != NULL ? *against : prove(backends[i]);
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
    execbuf_prim_info info = execbuf_prim_query();
    execbuf_prim_result result = execbuf_prim_ok();
    probe->status = check(&result);
    const execbuf_prim_result *against = probe->status == EXECBUF_OK ? NULL : &result;
    probe->buffer_count =
        try_all(probe->buffer, info.backends, info.backend_count, execbuf_backend_prove, against);
    probe->pool_count =
        try_all(probe->pool, info.pool_backends, info.pool_backend_count, execbuf_region_prove, against);
    probe->fact_count = (uint32_t)execbuf_prim_facts(probe->facts);
}
