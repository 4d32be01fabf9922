/* For systems without membarrier(2): no mutex has an owner. */
#ifndef EXECBUF_NOOWNER_H
#define EXECBUF_NOOWNER_H

#include "posix.h"

static bool posix_may_fence(void) {
    return false;
}

static bool posix_fence_all(void) {
    return false;
}

#endif
