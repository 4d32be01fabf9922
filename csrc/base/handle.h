/* What is known of a handle without looking it up. */
#ifndef XB_BASE_HANDLE_H
#define XB_BASE_HANDLE_H

#include <stddef.h>
#include <stdint.h>

#include "../include/execbuf.h"

/* The bit of an id that is set if the buffer is a slot of a pool, which then finds it by the other bits. All
 * other ids are those of mapping/handles.c. */
#define XB_ID_POOL_BIT ((uint64_t)1 << 63)

/* The handle of no buffer. */
static const execbuf xb_no_buffer = {NULL, 0, 0};

#endif
