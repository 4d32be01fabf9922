/* Code ends a page short of the distance, so that a branch reaches it from any byte of a longer instruction,
 * and although a branch reaches less far forwards than backwards. */

#include "placement.h"

#include "../base/error.h"

#define SHORT_OF_DISTANCE 4096U

execbuf_status xb_api_window(const execbuf_placement *placement, xb_prim_window *window,
                             execbuf_error *error) {
    xb_prim_window found = XB_ANYWHERE;
    found.lowest = placement->lowest;
    found.highest = placement->highest != 0 ? placement->highest : UINTPTR_MAX;
    if (placement->near_to != NULL) {
        size_t distance = placement->distance != 0 ? placement->distance : EXECBUF_DISTANCE;
        size_t room = distance > SHORT_OF_DISTANCE ? distance - SHORT_OF_DISTANCE : 0;
        uintptr_t address = (uintptr_t)placement->near_to;
        uintptr_t lowest = address > room ? address - room : 0;
        uintptr_t highest = address < UINTPTR_MAX - room ? address + room : UINTPTR_MAX;
        found.lowest = found.lowest > lowest ? found.lowest : lowest;
        found.highest = found.highest < highest ? found.highest : highest;
        found.near_to = address;
    } else if (placement->distance != 0) {
        return xb_error_set(error, EXECBUF_E_NULL, "near_to", 0);
    }
    if (found.lowest > found.highest) {
        return xb_error_set(error, EXECBUF_E_TOO_FAR, "placement", 0);
    }
    *window = found;
    return xb_error_ok(error);
}
