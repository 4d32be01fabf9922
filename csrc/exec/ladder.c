/* The ladder of backends, their self-test, and the one way to change committed pages. */

#include "ladder.h"

#include <stdlib.h>
#include <string.h>

#include "../base/isa.h"
#include "../base/error.h"
#include "../prim/report.h"
#include "../base/fault.h"
#include "../mapping/handles.h"

/* The backend that worked last, so that the ladder need not be climbed each time; NONE: climb it. Guarded
 * by the process's lock. */
static execbuf_backend preferred = EXECBUF_BACKEND_NONE;

static execbuf_backend get_preferred(void) {
    xb_prim_lock();
    execbuf_backend backend = preferred;
    xb_prim_unlock();
    return backend;
}

static void set_preferred(execbuf_backend backend) {
    xb_prim_lock();
    preferred = backend;
    xb_prim_unlock();
}

void xb_ladder_forget(void) {
    preferred = EXECBUF_BACKEND_NONE;
}

execbuf_status xb_ladder_check(execbuf_error *error) {
    if (get_preferred() != EXECBUF_BACKEND_NONE) {
        return xb_error_ok(error);
    }
    if (xb_prim_query().backend_count == 0) {
        return xb_error_set(error, EXECBUF_E_UNSUPPORTED, NULL, 0);
    }
    xb_result result = xb_ok();
    execbuf_status status = xb_prim_check_process(&result);
    if (status != EXECBUF_OK) {
        return xb_error_set(error, status, result.call, result.code);
    }
    return xb_error_ok(error);
}

typedef int (*constant_function)(void);

int xb_selftest_call(const uint8_t *entry) {
    constant_function function;
    memcpy(&function, &entry, sizeof function); /* ISO C has no cast for this */
    return function();
}

/* A page of the self-test, written and committed by the backend: a function that returns value. */
static xb_result publish_constant(execbuf_backend backend, uint8_t *page, size_t size, uint32_t value) {
    uint8_t code[XB_ISA_CONSTANT_SIZE];
    size_t length = xb_isa_constant(code, value);
    xb_prim_begin_write();
    memcpy(page + XB_ENTRY_OFFSET, code, length);
    xb_result result = xb_prim_publish(backend, page, size);
    xb_prim_end_write();
    return result;
}

/* Write, call, rewrite, call; on a page that is there already. */
static xb_result exercise_pages(execbuf_backend backend, uint8_t *page, size_t size) {
    xb_result result = publish_constant(backend, page, size, 1031);
    if (result.call != NULL) {
        return result;
    }
    if (xb_selftest_call(page + XB_ENTRY_OFFSET) != 1031) {
        return xb_failed(XB_SELFTEST_WRONG, 0);
    }
    uint8_t code[XB_ISA_CONSTANT_SIZE];
    size_t length = xb_isa_constant(code, 2017);
    execbuf_error error;
    if (xb_ladder_rewrite(backend, page, size, XB_ENTRY_OFFSET, code, length, &error) != EXECBUF_OK) {
        return xb_failed(error.culprit, error.os_error);
    }
    if (xb_selftest_call(page + XB_ENTRY_OFFSET) != 2017) {
        return xb_failed(XB_SELFTEST_STALE, 0);
    }
    return xb_ok();
}

xb_result xb_selftest_pages(execbuf_backend backend) {
    xb_result result = xb_prim_check_backend(backend);
    if (result.call != NULL) {
        return result;
    }
    size_t size = xb_prim_query().page_size;
    void *page;
    result = xb_prim_stage(size, NULL, &page);
    if (result.call != NULL) {
        return result;
    }
    result = exercise_pages(backend, (uint8_t *)page, size);
    xb_unmap_or_add(page, size);
    return result;
}

void xb_ladder_add_attempt(execbuf_error *error, execbuf_backend backend, xb_result result) {
    if (error->status != EXECBUF_E_NO_MEMORY) {
        error->status = xb_error_status(result);
        error->culprit = result.call;
        error->os_error = result.code;
    }
    execbuf_attempt *attempt = &error->attempts[error->attempt_count++];
    attempt->backend = backend;
    attempt->call = result.call;
    attempt->os_error = result.code;
}

/* Tries all backends in order. A success is remembered, a failure is not: the reason may pass. */
static execbuf_status climb(void *base, size_t size, execbuf_error *error) {
    xb_prim_info info = xb_prim_query();
    execbuf_error report;
    (void)xb_error_set(&report, EXECBUF_OK, NULL, 0);
    for (size_t i = 0; i < info.backend_count; i++) {
        xb_result result = xb_selftest_pages(info.backends[i]);
        if (result.call == NULL) {
            /* The self-test may have ended the right to write, but all is written by now. */
            result = xb_prim_publish(info.backends[i], base, size);
        }
        if (result.call == NULL) {
            set_preferred(info.backends[i]);
            return xb_error_set(error, EXECBUF_OK, NULL, 0);
        }
        xb_ladder_add_attempt(&report, info.backends[i], result);
    }
    set_preferred(EXECBUF_BACKEND_NONE);
    if (error != NULL) {
        *error = report;
    }
    return report.status;
}

execbuf_status xb_ladder_publish(execbuf_backend backend, void *base, size_t size, execbuf_error *error) {
    execbuf_backend first = backend != EXECBUF_BACKEND_NONE ? backend : get_preferred();
    xb_result result = xb_failed("commit", 0);
    if (first != EXECBUF_BACKEND_NONE) {
        result = xb_prim_publish(first, base, size);
    }
    xb_prim_end_write();
    if (result.call == NULL) {
        return xb_error_set(error, EXECBUF_OK, NULL, 0);
    }
    return backend != EXECBUF_BACKEND_NONE ? xb_error_from_system(error, result) : climb(base, size, error);
}

/* New pages are finished elsewhere and take the old ones' place in one step. */
static execbuf_status rewrite_aside(execbuf_backend backend, void *base, size_t size, size_t offset,
                                    const void *code, size_t length, execbuf_error *error) {
    void *aside;
    xb_result result = xb_prim_stage(size, NULL, &aside);
    if (result.call != NULL) {
        return xb_error_from_system(error, result);
    }
    xb_prim_begin_write();
    memcpy(aside, base, size);
    memcpy((uint8_t *)aside + offset, code, length);
    execbuf_status status = xb_ladder_publish(backend, aside, size, error);
    if (status == EXECBUF_OK) {
        result = xb_prim_replace(base, aside, size);
        if (result.call != NULL) {
            status = xb_error_from_system(error, result);
        }
    }
    if (status != EXECBUF_OK) {
        xb_unmap_or_add(aside, size);
    }
    return status;
}

/* The pages are opened, written and committed again; if that fails, once more with the old bytes. */
static execbuf_status rewrite_in_place(execbuf_backend backend, void *base, size_t size, size_t offset,
                                       const void *code, size_t length, execbuf_error *error) {
    uint8_t *target = (uint8_t *)base + offset;
    uint8_t few[64]; /* enough for the self-test, which has no code for "no memory" */
    uint8_t *many = NULL;
    if (length > sizeof few) {
        many = XB_FAULT("malloc") != 0 ? NULL : (uint8_t *)malloc(length);
        if (many == NULL) {
            return xb_error_set(error, EXECBUF_E_NO_MEMORY, "malloc", 0);
        }
    }
    uint8_t *old = many != NULL ? many : few;
    memcpy(old, target, length);
    xb_result result = xb_prim_reopen(base, size);
    if (result.call != NULL) {
        free(many);
        return xb_error_from_system(error, result);
    }
    xb_prim_begin_write();
    memmove(target, code, length); /* code may be a part of this buffer */
    execbuf_status status = xb_ladder_publish(backend, base, size, error);
    if (status != EXECBUF_OK) {
        xb_prim_begin_write();
        memcpy(target, old, length);
        if (xb_ladder_publish(backend, base, size, NULL) != EXECBUF_OK) {
            status = EXECBUF_E_LOST;
            if (error != NULL) {
                error->status = status;
            }
        }
    }
    free(many);
    return status;
}

execbuf_status xb_ladder_rewrite(execbuf_backend backend, void *base, size_t size, size_t offset,
                                 const void *code, size_t length, execbuf_error *error) {
    return xb_prim_query().can_replace ? rewrite_aside(backend, base, size, offset, code, length, error)
                                       : rewrite_in_place(backend, base, size, offset, code, length, error);
}
