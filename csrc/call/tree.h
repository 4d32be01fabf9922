/* Reads types as users write them, trees of execbuf_type, and finds their shapes. Pure. */
#ifndef XB_CALL_TREE_H
#define XB_CALL_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"
#include "type.h"

/* Where a reader of a signature's types is. Zero at the beginning. */
typedef struct xb_tree_reader {
    uint32_t nodes; /* how many types it has seen */
    uint32_t depth; /* of the type that it looks at */
    uint8_t path[EXECBUF_MAX_DEPTH];
    const execbuf_type *open[EXECBUF_MAX_DEPTH]; /* the members of the types that enclose it */
} xb_tree_reader;

XB_PRIVATE_BEGIN

/* Finds the shape of a type.
 *
 * Returns: NULL; or what is wrong with the type, and the reader has the path of the member at fault.
 * In/Out: reader.
 * Out:    shape: undefined on failure.
 * In:     type:  any bytes, but members may be read if the kind has any. VOID is a shape, but no member. */
const char *xb_tree_shape(xb_tree_reader *reader, xb_shape *shape, const execbuf_type *type);

XB_PRIVATE_END

#endif
