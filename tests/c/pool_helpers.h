/* Helpers for the tests of pools. */
#ifndef POOL_HELPERS_H
#define POOL_HELPERS_H

#include "check.h"

/* The report of the call that is checked. */
static execbuf_error error;

/* Checks that a call failed with a status, and that its report has the same status and the culprit. */
static inline void expect(execbuf_status returned, execbuf_status wanted, const char *culprit) {
    CHECK(returned == wanted && error.status == wanted);
    CHECK(error.culprit != NULL && strcmp(error.culprit, culprit) == 0);
    CHECK(error.os_error == 0 && error.attempt_count == 0);
}

/* Makes a pool and checks the report of success. */
static inline execbuf_pool *new_pool(void) {
    execbuf_pool *pool;
    execbuf_error report;
    CHECK(execbuf_pool_new(&pool, NULL, &report) == EXECBUF_OK && pool != NULL);
    CHECK(report.status == EXECBUF_OK && report.culprit == NULL && report.attempt_count == 0);
    return pool;
}

/* Publishes a function that returns value % 2048. */
static inline execbuf publish(execbuf_pool *pool, uint32_t value) {
    code made = returning(value % 2048);
    execbuf buffer;
    execbuf_error report;
    CHECK(execbuf_pool_publish(pool, &buffer, made.bytes, made.length, &report) == EXECBUF_OK);
    CHECK(report.status == EXECBUF_OK && report.culprit == NULL && report.attempt_count == 0);
    CHECK(buffer.length == made.length && (uintptr_t)buffer.entry % 16 == 0 && buffer.id != 0);
    CHECK(memcmp(buffer.entry, made.bytes, made.length) == 0);
    return buffer;
}

/* Frees a buffer. */
static inline void release(execbuf *buffer) {
    CHECK(execbuf_free(buffer) == EXECBUF_OK && is_zero(buffer));
}

/* A handle that is not zero: an output, to show that a failure zeroes it. */
static inline execbuf filled(void) {
    execbuf buffer = {&buffer, 1, 1};
    return buffer;
}

#endif
