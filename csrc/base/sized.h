/* Structs with a size, the rule for which is at the top of execbuf.h: the caller of a public function says
 * how much of a struct it knows, which may be less or more than what the library knows. Their first member is
 * size_t size.
 *
 * Here, known_size is the sizeof that the library was compiled with. */
#ifndef XB_BASE_SIZED_H
#define XB_BASE_SIZED_H

#include <stdbool.h>
#include <stddef.h>

#include "compiler.h"

/* No struct is larger. A greater size is that of a struct which was never initialised. */
#define XB_MAX_SIZED 65536U

XB_PRIVATE_BEGIN

/* Whether the size of a struct can be that of an _INIT macro. */
bool xb_sized_is_valid(const void *sized);

/* Copies what a caller has filled in.
 *
 * Returns: false if the size is not valid, or if the caller has set a member that the library does not know.
 *          The answer is then EXECBUF_E_VERSION.
 * In/out: out: the values that members behind the caller's size have; on success, with the others copied. The
 *              size is not.
 * In: in:         the caller's struct.
 *     known_size: of the struct at out. */
bool xb_sized_read(void *out, const void *in, size_t known_size);

/* Fills a caller's struct, but for its size, and sets to zero what the library does not know.
 *
 * In/out: out: the caller's struct, whose size is valid.
 * In: in:         the values.
 *     known_size: of the struct at in. */
void xb_sized_write(void *out, const void *in, size_t known_size);

XB_PRIVATE_END

#endif
