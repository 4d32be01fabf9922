/* The file of names that perf and other profilers read: a line for each piece of described code. */
#ifndef XB_DEBUG_PERF_MAP_H
#define XB_DEBUG_PERF_MAP_H

#include "../base/compiler.h"
#include "../base/error.h"
#include "described.h"

XB_PRIVATE_BEGIN

/* Adds a line for code. No lock is held.
 *
 * Returns: success, or the call that failed. */
xb_result xb_perf_map_add(const xb_description *description);

XB_PRIVATE_END

#endif
