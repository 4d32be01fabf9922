/* What the tests of closures share. */
#ifndef BIND_H
#define BIND_H

#include "check.h"

typedef int64_t (*one_function)(int64_t);

static inline execbuf bound(execbuf_pool *pool, const char *text, execbuf_abi abi, execbuf_function function,
                            void *context, uint32_t position) {
    execbuf_signature *signature = parsed(text);
    execbuf closure;
    CHECK(execbuf_bind(pool, &closure, signature, abi, function, context, position, NULL) == EXECBUF_OK);
    execbuf_signature_free(signature);
    return closure;
}

static inline execbuf_pool *new_pool(void) {
    execbuf_pool *pool;
    CHECK(execbuf_pool_new(&pool, NULL, NULL) == EXECBUF_OK);
    return pool;
}

static inline int64_t add_to(void *sum, int64_t number) {
    *(int64_t *)sum += number;
    return *(int64_t *)sum;
}

static inline int64_t call_one(const execbuf *closure, int64_t number) {
    one_function function = (one_function)execbuf_entry(closure, 0);
    CHECK(function != NULL);
    return function(number);
}

static inline execbuf adder(execbuf_pool *pool, int64_t *sum) {
    return bound(pool, "l(pl)", EXECBUF_ABI_NATIVE, (execbuf_function)add_to, sum, 0);
}

#endif
