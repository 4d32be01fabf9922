/* Names and sets of backends. */
#ifndef XB_BASE_BACKEND_H
#define XB_BASE_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "../include/execbuf.h"

/* The set of every backend that this version knows. */
#define XB_KNOWN_BACKENDS                                                                                    \
    (EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_FLIP) | EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_MEMFD) |                \
     EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_ALIAS) | EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_MAP_JIT) |             \
     EXECBUF_BACKEND_BIT(EXECBUF_BACKEND_SECTION))

/* Whether a set contains a backend. */
static inline bool xb_has_backend(uint32_t backends, execbuf_backend backend) {
    return (backends & EXECBUF_BACKEND_BIT(backend)) != 0;
}

/* The name of a backend; "?" for an unknown value. */
static inline const char *xb_backend_name(execbuf_backend backend) {
    switch (backend) {
    case EXECBUF_BACKEND_NONE: return "none";
    case EXECBUF_BACKEND_FLIP: return "flip";
    case EXECBUF_BACKEND_MEMFD: return "memfd";
    case EXECBUF_BACKEND_ALIAS: return "alias";
    case EXECBUF_BACKEND_MAP_JIT: return "map-jit";
    case EXECBUF_BACKEND_SECTION: return "section";
    }
    return "?";
}

#endif
