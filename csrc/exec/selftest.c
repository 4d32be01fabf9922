/* The self-test, and its use for dedicated mappings; view.c uses it for the views of regions.
 *
 * It tests one named backend and does not call the ladder, which calls it. The process's lock is not held. */

#include "selftest.h"

#include <string.h>

#include "../base/compiler.h"
#include "../base/error.h"
#include "../base/isa.h"
#include "layout.h"
#include "park.h"
#include "rewrite.h"

typedef int (*constant_function)(void);

XB_UNCHECKED_CALLS static int call_constant(const uint8_t *entry) {
    constant_function function;
    memcpy(&function, &entry, sizeof function); /* ISO C has no cast from a data pointer to a function */
    return function();
}

xb_result xb_selftest(xb_selftest_write write, const void *target, const uint8_t *entry, bool rewrites) {
    /* Any two different values below 2048, the limit of xb_isa_constant. */
    static const uint32_t values[2] = {1031, 2017};
    static const char *const failures[2] = {XB_SELFTEST_WRONG, XB_SELFTEST_STALE};
    for (int i = 0; i < (rewrites ? 2 : 1); i++) {
        uint8_t code[XB_ISA_CONSTANT_SIZE];
        size_t length = xb_isa_constant(code, values[i]);
        xb_result result = write(target, code, length, i > 0);
        if (result.call != NULL) {
            return result;
        }
        if (call_constant(entry) != (int)values[i]) {
            return xb_failed(failures[i], 0);
        }
    }
    return xb_ok();
}

/* The page of a self-test. */
typedef struct selftest_page {
    execbuf_backend backend;
    uint8_t *base;
    size_t size;
} selftest_page;

/* An xb_selftest_write for dedicated mappings: publishes the page, then rewrites it. */
static xb_result write_selftest_page(const void *target, const uint8_t *code, size_t length, bool again) {
    const selftest_page *page = (const selftest_page *)target;
    if (again) {
        xb_rewrite change = {NULL, 0, XB_ENTRY_OFFSET, NULL, 0, 0, false, true};
        change.base = page->base;
        change.size = page->size;
        change.code = code;
        change.length = length;
        execbuf_error report;
        bool done = xb_rewrite_pages(page->backend, &change, &report) == EXECBUF_OK;
        return done ? xb_ok() : xb_failed(report.culprit, report.os_error);
    }
    xb_prim_begin_write(XB_PRIM_NO_KEY);
    memcpy(page->base + XB_ENTRY_OFFSET, code, length);
    xb_prim_end_write(XB_PRIM_NO_KEY);
    return xb_prim_publish(page->backend, page->base, page->size);
}

xb_result xb_selftest_pages(execbuf_backend backend, bool rewrites) {
    xb_result result = xb_prim_check_backend(backend);
    if (result.call == NULL) {
        result = xb_may_map_temporary();
    }
    void *base = NULL;
    size_t size = xb_prim_query().page_size;
    if (result.call == NULL) {
        result = xb_prim_stage(size, NULL, &base);
    }
    if (result.call != NULL) {
        return result;
    }
    selftest_page page = {EXECBUF_BACKEND_NONE, NULL, 0};
    page.backend = backend;
    page.base = (uint8_t *)base;
    page.size = size;
    result = xb_selftest(write_selftest_page, &page, page.base + XB_ENTRY_OFFSET, rewrites);
    xb_unmap_temporary(base, NULL, size);
    return result;
}
