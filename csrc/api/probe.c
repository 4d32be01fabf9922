/* execbuf_probe_system: what this machine and this process allow. It runs every self-test anew and keeps
 * nothing. */

#include "../base/sized.h"
#include "../exec/choice.h"
#include "../exec/selftest.h"
#include "../exec/view.h"
#include "process.h"

/* The self-test of one backend. */
typedef xb_result (*probe_function)(execbuf_backend backend);

/* Looks for a reason why no backend can be used. This is not left to xb_ladder_check, which makes the choice
 * of backends final, and checks nothing once a backend has worked.
 *
 * Out: result:  the reason.
 *      allowed: the backends that may be used, if there is none. */
static execbuf_status probe_process(xb_result *result, uint32_t *allowed) {
    if (xb_prim_query().backend_count == 0) {
        return EXECBUF_E_UNSUPPORTED;
    }
    execbuf_status status = xb_prim_check_process(result);
    if (status == EXECBUF_OK) {
        execbuf_error error = EXECBUF_ERROR_INIT;
        status = xb_process_ready(&error);
        *result = xb_failed(error.culprit, error.os_error);
    }
    if (status == EXECBUF_OK) {
        status = xb_choice_read(allowed);
        *result = xb_failed(XB_CHOICE_VARIABLE, 0);
    }
    return status;
}

/* The self-test of pages, with a rewrite. */
static xb_result test_pages(execbuf_backend backend) {
    return xb_selftest_pages(backend, true);
}

/* Tests each backend that is allowed, or reports the same reason for all of them if there is one. Returns
 * count.
 */
static uint32_t probe_backends(execbuf_probe_result *results, const execbuf_backend *backends, size_t count,
                               probe_function test, uint32_t allowed, const xb_result *reason) {
    for (size_t i = 0; i < count; i++) {
        xb_result result = xb_failed(XB_CHOICE_EXCLUDED, 0);
        if (reason != NULL) {
            result = *reason;
        } else if (xb_has_backend(allowed, backends[i])) {
            result = test(backends[i]);
        }
        results[i].backend = backends[i];
        results[i].call = result.call;
        results[i].os_error = result.code;
    }
    return (uint32_t)count;
}

/* Fills a report that is empty. */
static void probe_system(execbuf_probe *probe) {
    xb_prim_info info = xb_prim_query();
    xb_result result = xb_ok();
    uint32_t allowed = 0;
    probe->status = probe_process(&result, &allowed);
    const xb_result *reason = probe->status == EXECBUF_OK ? NULL : &result;
    probe->buffer_count =
        probe_backends(probe->buffer, info.backends, info.backend_count, test_pages, allowed, reason);
    probe->pool_count = probe_backends(probe->pool, info.pool_backends, info.pool_backend_count,
                                       xb_selftest_views, allowed, reason);
    probe->fact_count = (uint32_t)xb_prim_facts(probe->facts);
}

execbuf_status execbuf_probe_system(execbuf_probe *out) {
    if (out == NULL) {
        return EXECBUF_E_NULL;
    }
    if (!xb_sized_is_valid(out)) {
        return EXECBUF_E_VERSION;
    }
    execbuf_probe probe = EXECBUF_PROBE_INIT;
    probe_system(&probe);
    xb_sized_write(out, &probe, sizeof probe);
    return EXECBUF_OK;
}
