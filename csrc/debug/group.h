/* All lists of a region as one registration, for unwinders that search what is registered one by one (libgcc
 * up to 12).
 *
 * Such an unwinder takes an array of lists, which it reads once. So whenever a list comes or goes, another
 * array is registered, and then the old one is removed: at every moment, one of them has all lists that stay.
 * Of two registrations, the unwinder searches only the one that begins closer below an address. So an array
 * has all lists of its region and of no other one. A region that has lists of adapters only has no array:
 * there, users may register tables of their own. */
#ifndef XB_DEBUG_GROUP_H
#define XB_DEBUG_GROUP_H

#include <stdbool.h>

#include "../base/compiler.h"
#include "../pool/region.h"
#include "../prim/unwinder.h"

XB_PRIVATE_BEGIN

/* Whose code a list describes. */
typedef enum xb_list_kind { XB_OF_ADAPTERS, XB_OF_USERS } xb_list_kind;

/* Allocates what one more list in a region needs. No lock is held. xb_group_add or xb_group_cancel follows.
 *
 * Returns: false if there is no memory, and nothing has to follow.
 * In: region: NULL for a dedicated mapping, as in the other functions. */
bool xb_group_prepare(const xb_region *region);

/* Takes a call of xb_group_prepare back, between xb_prim_begin_unwinder and xb_prim_end_unwinder, as the
 * functions below. */
void xb_group_cancel(const xb_region *region);

/* Registers a list.
 *
 * Returns: success, or XB_PRIM_LOST: it is not registered.
 * In: region: that the list's code is in.
 *     kind:   whose code it is.
 *     list:   stays where it is until xb_group_remove. */
xb_result xb_group_add(const xb_region *region, xb_list_kind kind, xb_prim_function *list);

/* Removes a list. */
void xb_group_remove(const xb_region *region, xb_prim_function *list);

XB_PRIVATE_END

#endif
