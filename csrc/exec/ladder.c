/* Tries backends in order and remembers those that worked, the trusted ones: for publishing, and for
 * rewriting, which needs more of the system.
 *
 * The first trusted backend is used without a self-test. If there is none or it fails, all backends are tried
 * in order, each after a self-test. A backend that fails is no longer trusted, and once all have failed, none
 * is. Failures are not remembered, because their reason (a limit, a policy) may pass.
 *
 * The process's lock guards only the variable trusted and is not held during system calls. */

#include "ladder.h"

#include "../base/error.h"
#include "../prim/report.h"
#include "choice.h"
#include "selftest.h"

/* The backends that worked, and did not fail since, for publishing [false] and for rewriting [true]. */
static uint32_t trusted[2];

static uint32_t get_trusted(bool rewrites) {
    xb_prim_lock();
    uint32_t backends = trusted[rewrites];
    xb_prim_unlock();
    return backends;
}

static void set_trusted(bool rewrites, execbuf_backend backend, bool works) {
    xb_prim_lock();
    trusted[rewrites] &= ~EXECBUF_BACKEND_BIT(backend);
    trusted[rewrites] |= works ? EXECBUF_BACKEND_BIT(backend) : 0;
    xb_prim_unlock();
}

void xb_ladder_forget(void) {
    trusted[false] = 0;
    trusted[true] = 0;
}

execbuf_status xb_ladder_check(execbuf_error *error) {
    if (get_trusted(false) != 0) {
        return xb_error_ok(error);
    }
    if (xb_prim_query().backend_count == 0) {
        return xb_error_set(error, EXECBUF_E_UNSUPPORTED, NULL, 0);
    }
    execbuf_status status = xb_choice_begin(error);
    if (status != EXECBUF_OK) {
        return status;
    }
    xb_result result = xb_ok();
    status = xb_prim_check_process(&result);
    return status == EXECBUF_OK ? xb_error_ok(error) : xb_error_set(error, status, result.call, result.code);
}

static void append_attempt(execbuf_error *error, execbuf_backend backend, xb_result result) {
    execbuf_attempt *attempt = &error->attempts[error->attempt_count++];
    attempt->backend = backend;
    attempt->call = result.call;
    attempt->os_error = result.code;
}

void xb_ladder_add_attempt(execbuf_error *error, execbuf_backend backend, execbuf_status status,
                           xb_result result) {
    if (error->status != EXECBUF_E_NO_MEMORY) {
        error->status = status;
        error->culprit = result.call;
        error->os_error = result.code;
    }
    append_attempt(error, backend, result);
}

void xb_ladder_add_excluded(execbuf_error *error, execbuf_backend backend) {
    xb_result excluded = xb_failed(XB_CHOICE_EXCLUDED, 0);
    if (error->status == EXECBUF_OK) { /* the next attempt overwrites it */
        error->status = EXECBUF_E_DENIED;
        error->culprit = excluded.call;
    }
    append_attempt(error, backend, excluded);
}

/* Whether a job changes published pages, to which it has code. Otherwise it publishes staged pages as they
 * are.
 */
static bool is_rewrite(const xb_rewrite *job) {
    return job->code != NULL;
}

/* Does a job with one backend. */
static execbuf_status run_backend(execbuf_backend backend, const xb_rewrite *job, execbuf_error *report) {
    if (is_rewrite(job)) {
        return xb_rewrite_pages(backend, job, report);
    }
    xb_result result = xb_prim_publish(backend, job->base, job->size);
    return result.call == NULL ? xb_error_ok(report) : xb_error_from_system(report, result);
}

/* As run_backend, but the backend has to pass the self-test first. */
static execbuf_status test_and_run(execbuf_backend backend, const xb_rewrite *job, execbuf_error *report) {
    xb_result result = xb_selftest_pages(backend, is_rewrite(job));
    return result.call == NULL ? run_backend(backend, job, report) : xb_error_from_system(report, result);
}

/* Whether no other backend is tried after this status: the job is done, or the pages cannot be changed any
 * more. */
static bool is_final(execbuf_status status) {
    return status == EXECBUF_OK || status == EXECBUF_E_LOST;
}

/* Tests and tries all backends in order, but for those that are excluded. Fills *used on success. */
static execbuf_status try_backends(const xb_rewrite *job, execbuf_backend *used, execbuf_error *report) {
    xb_prim_info info = xb_prim_query();
    uint32_t allowed = xb_choice_of(job->backends);
    execbuf_error attempt;
    (void)xb_error_set(report, EXECBUF_OK, NULL, 0);
    for (size_t i = 0; i < info.backend_count; i++) {
        if (!xb_has_backend(allowed, info.backends[i])) {
            xb_ladder_add_excluded(report, info.backends[i]);
            continue;
        }
        execbuf_status status = test_and_run(info.backends[i], job, &attempt);
        set_trusted(is_rewrite(job), info.backends[i], status == EXECBUF_OK);
        if (is_final(status)) {
            *used = info.backends[i];
            *report = attempt;
            return status;
        }
        xb_ladder_add_attempt(report, info.backends[i], status, xb_failed(attempt.culprit, attempt.os_error));
    }
    xb_prim_lock();
    xb_ladder_forget();
    xb_prim_unlock();
    return report->status;
}

/* The first trusted backend that a job may use, or EXECBUF_BACKEND_NONE. */
static execbuf_backend first_trusted(const xb_rewrite *job) {
    xb_prim_info info = xb_prim_query();
    uint32_t backends = xb_choice_of(job->backends) & get_trusted(is_rewrite(job));
    for (size_t i = 0; i < info.backend_count; i++) {
        if (xb_has_backend(backends, info.backends[i])) {
            return info.backends[i];
        }
    }
    return EXECBUF_BACKEND_NONE;
}

/* Does a job with the first trusted backend, otherwise with the first one that works. */
static execbuf_status run_job(const xb_rewrite *job, execbuf_backend *used, execbuf_error *error) {
    execbuf_error report;
    execbuf_status status = EXECBUF_E_UNSUPPORTED;
    execbuf_backend backend = first_trusted(job);
    if (backend != EXECBUF_BACKEND_NONE) {
        status = run_backend(backend, job, &report);
    }
    if (!is_final(status)) {
        status = try_backends(job, &backend, &report);
    }
    if (status == EXECBUF_OK) {
        *used = backend;
        return xb_error_ok(error);
    }
    if (error != NULL) {
        *error = report;
    }
    return status;
}

execbuf_status xb_ladder_publish(void *base, size_t size, uint32_t backends, execbuf_backend *backend,
                                 execbuf_error *error) {
    xb_rewrite job = {NULL, 0, 0, NULL, 0, backends, false, false};
    job.base = base;
    job.size = size;
    return run_job(&job, backend, error);
}

execbuf_status xb_ladder_rewrite(const xb_rewrite *change, execbuf_backend *backend, execbuf_error *error) {
    return run_job(change, backend, error);
}
