/* Tries backends in order and remembers the one that worked last, the preferred one: one for publishing, and
 * one for rewriting, which needs more of the system.
 *
 * The preferred backend is used without a self-test. If there is none or it fails, all backends are tried in
 * order, each after a self-test. Failures are not remembered, because their reason (a limit, a policy) may
 * pass; but once all backends have failed, no success is remembered either.
 *
 * The process's lock guards only the variable preferred and is not held during system calls. If two threads
 * try all backends at the same time, the last one sets preferred; any result is correct. */

#include "ladder.h"

#include "../base/error.h"
#include "../prim/report.h"
#include "selftest.h"

/* The backend that worked last for publishing [false] and for rewriting [true], or EXECBUF_BACKEND_NONE. */
static execbuf_backend preferred[2] = {EXECBUF_BACKEND_NONE, EXECBUF_BACKEND_NONE};

static execbuf_backend get_preferred(bool rewrites) {
    xb_prim_lock();
    execbuf_backend backend = preferred[rewrites];
    xb_prim_unlock();
    return backend;
}

static void set_preferred(bool rewrites, execbuf_backend backend) {
    xb_prim_lock();
    preferred[rewrites] = backend;
    xb_prim_unlock();
}

void xb_ladder_forget(void) {
    preferred[false] = EXECBUF_BACKEND_NONE;
    preferred[true] = EXECBUF_BACKEND_NONE;
}

execbuf_status xb_ladder_check(execbuf_error *error) {
    if (get_preferred(false) != EXECBUF_BACKEND_NONE) {
        return xb_error_ok(error);
    }
    if (xb_prim_query().backend_count == 0) {
        return xb_error_set(error, EXECBUF_E_UNSUPPORTED, NULL, 0);
    }
    xb_result result = xb_ok();
    execbuf_status status = xb_prim_check_process(&result);
    return status == EXECBUF_OK ? xb_error_ok(error) : xb_error_set(error, status, result.call, result.code);
}

void xb_ladder_add_attempt(execbuf_error *error, execbuf_backend backend, execbuf_status status,
                           xb_result result) {
    if (error->status != EXECBUF_E_NO_MEMORY) {
        error->status = status;
        error->culprit = result.call;
        error->os_error = result.code;
    }
    execbuf_attempt *attempt = &error->attempts[error->attempt_count++];
    attempt->backend = backend;
    attempt->call = result.call;
    attempt->os_error = result.code;
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

/* Tests and tries all backends in order. Fills *used on success. */
static execbuf_status try_backends(const xb_rewrite *job, execbuf_backend *used, execbuf_error *report) {
    bool rewrites = is_rewrite(job);
    xb_prim_info info = xb_prim_query();
    execbuf_error attempt;
    (void)xb_error_set(report, EXECBUF_OK, NULL, 0);
    for (size_t i = 0; i < info.backend_count; i++) {
        execbuf_status status = test_and_run(info.backends[i], job, &attempt);
        if (is_final(status)) {
            set_preferred(rewrites, status == EXECBUF_OK ? info.backends[i] : EXECBUF_BACKEND_NONE);
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

/* Does a job with the preferred backend, otherwise with the first one that works. */
static execbuf_status run_job(const xb_rewrite *job, execbuf_backend *used, execbuf_error *error) {
    execbuf_error report;
    execbuf_status status = EXECBUF_E_UNSUPPORTED;
    execbuf_backend backend = get_preferred(is_rewrite(job));
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

execbuf_status xb_ladder_publish(void *base, size_t size, execbuf_backend *backend, execbuf_error *error) {
    xb_rewrite job = {NULL, 0, 0, NULL, 0, false};
    job.base = base;
    job.size = size;
    return run_job(&job, backend, error);
}

execbuf_status xb_ladder_rewrite(const xb_rewrite *change, execbuf_backend *backend, execbuf_error *error) {
    return run_job(change, backend, error);
}
