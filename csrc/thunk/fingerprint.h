/* Fingerprints: what the code of an adapter depends on. Signatures with the same fingerprint share an
 * adapter. Pure. */
#ifndef XB_THUNK_FINGERPRINT_H
#define XB_THUNK_FINGERPRINT_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../call/signature.h"
#include "../include/execbuf.h"

/* A direction, and a signature in which each argument has the type that stands for all that are moved alike
 * (xb_machine_kinds, xb_machine_alike), and so has the result; it is VOID if nothing is moved, because both
 * conventions have it in the same register. Bytes of the signature behind its arguments are not initialised.
 */
typedef struct xb_fingerprint {
    uint64_t hash;
    execbuf_abi caller_abi; /* the target's convention is the other one; or as for xb_machine_kinds */
    xb_signature signature;
} xb_fingerprint;

XB_PRIVATE_BEGIN

/* Makes the fingerprint of a signature.
 *
 * Out: fingerprint: borrows shapes.
 *      shapes:      XB_MAX_SHAPES of them.
 * In:  signature:   has passed xb_signature_check.
 *      caller_abi:  as for xb_machine_kinds. */
void xb_fingerprint_of(xb_fingerprint *fingerprint, xb_shape *shapes, const xb_signature *signature,
                       execbuf_abi caller_abi);

/* Whether two fingerprints are the same. */
bool xb_fingerprint_same(const xb_fingerprint *one, const xb_fingerprint *other);

XB_PRIVATE_END

#endif
