/* What the platforms share that have no way to map a pool's region, so that nothing below is ever called. */
#ifndef EXECBUF_NOREGION_H
#define EXECBUF_NOREGION_H

#include "prim.h"

execbuf_prim_result execbuf_prim_map_region(execbuf_backend backend, size_t size, const void *near_to,
                                            const char *name, execbuf_prim_views *views) {
    (void)backend;
    (void)size;
    (void)near_to;
    (void)name;
    (void)views;
    return execbuf_prim_failed("map_region", 0);
}

void execbuf_prim_sync(const uint8_t *rx, const uint8_t *rw, size_t size) {
    (void)rx;
    (void)rw;
    (void)size;
}

void execbuf_prim_barrier(void) {}

#endif
