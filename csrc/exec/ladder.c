/* The ladder of backends, their self-test, and the one way to change committed pages. */

#include "ladder.h"

#include <stdlib.h>
#include <string.h>

#include "../base/isa.h"
#include "../base/error.h"
#include "../api/process.h"
#include "../base/fault.h"
#include "../mapping/handles.h"

/* The backend that worked last, so that the ladder need not be climbed each time; NONE: climb it. Guarded
 * by the process's lock. */
static execbuf_backend preferred = EXECBUF_BACKEND_NONE;

static execbuf_backend get_preferred(void) {
    execbuf_prim_lock();
    execbuf_backend backend = preferred;
    execbuf_prim_unlock();
    return backend;
}

static void set_preferred(execbuf_backend backend) {
    execbuf_prim_lock();
    preferred = backend;
    execbuf_prim_unlock();
}

void execbuf_backend_forget(void) {
    preferred = EXECBUF_BACKEND_NONE;
}

#if EXECBUF_TRAP_SIZE == 1
#define FOUR_BYTES EXECBUF_TRAP_BYTES, EXECBUF_TRAP_BYTES, EXECBUF_TRAP_BYTES, EXECBUF_TRAP_BYTES
#else
#define FOUR_BYTES EXECBUF_TRAP_BYTES
#endif
const uint8_t execbuf_traps[16] = {FOUR_BYTES, FOUR_BYTES, FOUR_BYTES, FOUR_BYTES};

void execbuf_fill_trap(uint8_t *memory, size_t size) {
#if EXECBUF_TRAP_SIZE == 1
    memset(memory, execbuf_traps[0], size);
#else
    for (size_t at = 0; at < size; at += sizeof execbuf_traps) {
        memcpy(memory + at, execbuf_traps, sizeof execbuf_traps);
    }
#endif
}

execbuf_status execbuf_backend_check(execbuf_error *error) {
    if (get_preferred() != EXECBUF_BACKEND_NONE) {
        return EXECBUF_OK;
    }
    if (execbuf_prim_query().backend_count == 0) {
        return execbuf_error_set(error, EXECBUF_E_UNSUPPORTED, NULL, 0);
    }
    execbuf_prim_result result = execbuf_prim_ok();
    execbuf_status status = execbuf_prim_check_process(&result);
    if (status != EXECBUF_OK) {
        return execbuf_error_set(error, status, result.call, result.code);
    }
    result = execbuf_fork_watch();
    return result.call == NULL ? EXECBUF_OK : execbuf_error_from_system(error, result);
}

typedef int (*constant_function)(void);

int execbuf_backend_call(const uint8_t *entry) {
    constant_function function;
    memcpy(&function, &entry, sizeof function); /* ISO C has no cast for this */
    return function();
}

/* A page of the self-test, written and committed by the backend: a function that returns value. */
static execbuf_prim_result publish_constant(execbuf_backend backend, uint8_t *page, size_t size,
                                            uint32_t value) {
    uint8_t code[EXECBUF_CONSTANT_SIZE];
    size_t length = execbuf_arch_constant(code, value);
    execbuf_prim_begin_write();
    memcpy(page + EXECBUF_HEADER, code, length);
    execbuf_prim_result result = execbuf_prim_commit(backend, page, size);
    execbuf_prim_end_write();
    return result;
}

/* Write, call, rewrite, call; on a page that is there already. */
static execbuf_prim_result exercise(execbuf_backend backend, uint8_t *page, size_t size) {
    execbuf_prim_result result = publish_constant(backend, page, size, 1031);
    if (result.call != NULL) {
        return result;
    }
    if (execbuf_backend_call(page + EXECBUF_HEADER) != 1031) {
        return execbuf_prim_failed(EXECBUF_SELF_TEST_WRONG, 0);
    }
    uint8_t code[EXECBUF_CONSTANT_SIZE];
    size_t length = execbuf_arch_constant(code, 2017);
    execbuf_error error;
    if (execbuf_backend_rewrite(backend, page, size, EXECBUF_HEADER, code, length, &error) != EXECBUF_OK) {
        return execbuf_prim_failed(error.culprit, error.os_error);
    }
    if (execbuf_backend_call(page + EXECBUF_HEADER) != 2017) {
        return execbuf_prim_failed(EXECBUF_SELF_TEST_STALE, 0);
    }
    return execbuf_prim_ok();
}

execbuf_prim_result execbuf_backend_prove(execbuf_backend backend) {
    execbuf_prim_result result = execbuf_prim_check_backend(backend);
    if (result.call != NULL) {
        return result;
    }
    size_t size = execbuf_prim_query().page_size;
    void *page;
    result = execbuf_prim_stage(size, NULL, &page);
    if (result.call != NULL) {
        return result;
    }
    result = exercise(backend, (uint8_t *)page, size);
    execbuf_table_unmap(page, size);
    return result;
}

void execbuf_backend_add_attempt(execbuf_error *error, execbuf_backend backend, execbuf_prim_result result) {
    if (error->status != EXECBUF_E_NO_MEMORY) {
        error->status = execbuf_error_status(result);
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
    execbuf_prim_info info = execbuf_prim_query();
    execbuf_error report;
    (void)execbuf_error_set(&report, EXECBUF_OK, NULL, 0);
    for (size_t i = 0; i < info.backend_count; i++) {
        execbuf_prim_result result = execbuf_backend_prove(info.backends[i]);
        if (result.call == NULL) {
            /* The self-test may have ended the right to write, but all is written by now. */
            result = execbuf_prim_commit(info.backends[i], base, size);
        }
        if (result.call == NULL) {
            set_preferred(info.backends[i]);
            return execbuf_error_set(error, EXECBUF_OK, NULL, 0);
        }
        execbuf_backend_add_attempt(&report, info.backends[i], result);
    }
    set_preferred(EXECBUF_BACKEND_NONE);
    if (error != NULL) {
        *error = report;
    }
    return report.status;
}

execbuf_status execbuf_backend_commit(execbuf_backend backend, void *base, size_t size,
                                      execbuf_error *error) {
    execbuf_backend first = backend != EXECBUF_BACKEND_NONE ? backend : get_preferred();
    execbuf_prim_result result = execbuf_prim_failed("commit", 0);
    if (first != EXECBUF_BACKEND_NONE) {
        result = execbuf_prim_commit(first, base, size);
    }
    execbuf_prim_end_write();
    if (result.call == NULL) {
        return execbuf_error_set(error, EXECBUF_OK, NULL, 0);
    }
    return backend != EXECBUF_BACKEND_NONE ? execbuf_error_from_system(error, result)
                                           : climb(base, size, error);
}

/* New pages are finished elsewhere and take the old ones' place in one step. */
static execbuf_status rewrite_aside(execbuf_backend backend, void *base, size_t size, size_t offset,
                                    const void *code, size_t length, execbuf_error *error) {
    void *aside;
    execbuf_prim_result result = execbuf_prim_stage(size, NULL, &aside);
    if (result.call != NULL) {
        return execbuf_error_from_system(error, result);
    }
    execbuf_prim_begin_write();
    memcpy(aside, base, size);
    memcpy((uint8_t *)aside + offset, code, length);
    execbuf_status status = execbuf_backend_commit(backend, aside, size, error);
    if (status == EXECBUF_OK) {
        result = execbuf_prim_replace(base, aside, size);
        if (result.call != NULL) {
            status = execbuf_error_from_system(error, result);
        }
    }
    if (status != EXECBUF_OK) {
        execbuf_table_unmap(aside, size);
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
        many = EXECBUF_FAULT("malloc") != 0 ? NULL : (uint8_t *)malloc(length);
        if (many == NULL) {
            return execbuf_error_set(error, EXECBUF_E_NO_MEMORY, "malloc", 0);
        }
    }
    uint8_t *old = many != NULL ? many : few;
    memcpy(old, target, length);
    execbuf_prim_result result = execbuf_prim_reopen(base, size);
    if (result.call != NULL) {
        free(many);
        return execbuf_error_from_system(error, result);
    }
    execbuf_prim_begin_write();
    memmove(target, code, length); /* code may be a part of this buffer */
    execbuf_status status = execbuf_backend_commit(backend, base, size, error);
    if (status != EXECBUF_OK) {
        execbuf_prim_begin_write();
        memcpy(target, old, length);
        if (execbuf_backend_commit(backend, base, size, NULL) != EXECBUF_OK) {
            status = EXECBUF_E_LOST;
            if (error != NULL) {
                error->status = status;
            }
        }
    }
    free(many);
    return status;
}

execbuf_status execbuf_backend_rewrite(execbuf_backend backend, void *base, size_t size, size_t offset,
                                       const void *code, size_t length, execbuf_error *error) {
    return execbuf_prim_query().can_replace
               ? rewrite_aside(backend, base, size, offset, code, length, error)
               : rewrite_in_place(backend, base, size, offset, code, length, error);
}
