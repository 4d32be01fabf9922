/* Copies structs with a size between callers and the library, byte by byte: the two sides may have compiled
 * different versions of a struct, which agree in the members that both have. */

#include "sized.h"

#include <stdint.h>
#include <string.h>

/* The size is read by memcpy, since the struct may be shorter than the one that the library knows. */
static size_t size_of(const void *sized) {
    size_t size;
    memcpy(&size, sized, sizeof size);
    return size;
}

bool xb_sized_is_valid(const void *sized) {
    size_t size = size_of(sized);
    return size >= sizeof size && size <= XB_MAX_SIZED && size % sizeof size == 0;
}

/* Copies the members behind the size that are within the given size. */
static void copy_members(void *out, const void *in, size_t size) {
    memcpy((uint8_t *)out + sizeof size, (const uint8_t *)in + sizeof size, size - sizeof size);
}

bool xb_sized_read(void *out, const void *in, size_t known_size) {
    if (!xb_sized_is_valid(in)) {
        return false;
    }
    size_t size = size_of(in);
    for (size_t at = known_size; at < size; at++) {
        if (((const uint8_t *)in)[at] != 0) {
            return false;
        }
    }
    copy_members(out, in, size < known_size ? size : known_size);
    return true;
}

void xb_sized_write(void *out, const void *in, size_t known_size) {
    size_t size = size_of(out);
    copy_members(out, in, size < known_size ? size : known_size);
    if (size > known_size) {
        memset((uint8_t *)out + known_size, 0, size - known_size);
    }
}
