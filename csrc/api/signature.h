/* The public form of signatures, as the compact form that the folders below use. */
#ifndef XB_API_SIGNATURE_H
#define XB_API_SIGNATURE_H

#include "../call/signature.h"

/* The compact form of a public signature, or NULL for NULL. Nothing is checked.
 *
 * Both forms are the same bytes today, so this costs nothing. The cast does not break aliasing rules: all
 * members are uint8_t, a character type, which may access any object (C11, 6.5p7). */
static inline const xb_signature *xb_signature_of(const execbuf_signature *signature) {
    return (const xb_signature *)(const void *)signature;
}

XB_STATIC_ASSERT(sizeof(xb_signature) == sizeof(execbuf_signature), "both forms are the same bytes");

#endif
