/* What readers can find, and what they may still read. */

#include "readers.h"

#include <stdlib.h>

#include "../prim/prim.h"

xb_region *xb_readable_regions;
uint32_t xb_reader_count;

/* The first word of retired memory. */
typedef struct retired_memory {
    struct retired_memory *next;
} retired_memory;

/* The list of what is not freed yet. The process's lock guards it. */
static retired_memory *retired_list;

void xb_readers_add(xb_region *region) {
    xb_prim_lock();
    region->previous_readable = NULL;
    region->next_readable = xb_readable_regions;
    if (xb_readable_regions != NULL) {
        xb_readable_regions->previous_readable = region;
    }
    XB_STORE_RELEASE(xb_readable_regions, region);
    xb_prim_unlock();
}

void xb_readers_remove(xb_region *region) {
    xb_prim_lock();
    xb_region *next = region->next_readable;
    if (region->previous_readable != NULL) {
        XB_STORE_RELEASE(region->previous_readable->next_readable, next);
    } else {
        XB_STORE_RELEASE(xb_readable_regions, next);
    }
    if (next != NULL) {
        next->previous_readable = region->previous_readable;
    }
    xb_prim_unlock();
}

void xb_retire(void *memory) {
    retired_memory *garbage = NULL;
    retired_memory *last = (retired_memory *)memory;
    xb_prim_lock();
    last->next = retired_list;
    retired_list = last;
    if (XB_FETCH_ADD(xb_reader_count, 0U) == 0) {
        garbage = retired_list;
        retired_list = NULL;
    }
    xb_prim_unlock();
    while (garbage != NULL) {
        retired_memory *next = garbage->next;
        free(garbage);
        garbage = next;
    }
}

void xb_readers_in_child(void) {
    xb_reader_count = 0;
}
