/* Signatures in their compact form. All folders below api/ use this form; api/ converts the public one. */
#ifndef XB_CALL_SIGNATURE_H
#define XB_CALL_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"
#include "type.h"

/* The result and the arguments of a function. The types are bytes, and two signatures without shapes are
 * equal if their first xb_signature_size bytes are:
 *
 *     byte 0         1       2          3       4 ...
 *     +--------+--------+----------+--------+---------------------------+
 *     | result | count  | variadic | fixed  | arguments[0 ... count-1]  |  unused
 *     +--------+--------+----------+--------+---------------------------+
 *
 * A type without members is its execbuf_type_kind. Any other is XB_FIRST_SHAPE plus an index of shapes, where
 * types of one shape have one entry. The entries are in the order in which the types need them, the result
 * first. So two signatures are equal if their bytes and their shapes are. */
typedef struct xb_signature {
    uint8_t result;
    uint8_t count;    /* how many arguments there are */
    uint8_t variadic; /* not 0: the arguments behind the first `fixed` ones stand for "..." */
    uint8_t fixed;    /* unused if variadic is 0 */
    uint8_t arguments[EXECBUF_MAX_ARGUMENTS]; /* not VOID */
    uint8_t shape_count;
    xb_shape *shapes; /* borrowed: XB_MAX_SHAPES entries while it is made. Unused if shape_count is 0 */
} xb_signature;

/* Types from this one on are shapes. There may be one for the result and each argument. */
#define XB_FIRST_SHAPE 128U
#define XB_MAX_SHAPES (EXECBUF_MAX_ARGUMENTS + 1U)

XB_PRIVATE_BEGIN

/* Whether all types are without members, or none at all. Any bytes, but count is at most
 * EXECBUF_MAX_ARGUMENTS; shape_count and shapes do not matter. */
bool xb_signature_is_scalar(const xb_signature *signature);

/* Checks a signature that may hold any bytes, but whose shapes are those that it has. This is done once,
 * before the functions that say so take it.
 *
 * Returns: EXECBUF_OK, and error is untouched; EXECBUF_E_ARGUMENTS or EXECBUF_E_TYPE, with the report of
 *          execbuf_signature_parse.
 * In:  signature: not NULL.
 * Out: error:     the report; may be NULL. */
execbuf_status xb_signature_check(const xb_signature *signature, execbuf_error *error);

/* The byte that stands for a shape, which becomes an entry of the signature's shapes if it is none yet. */
uint8_t xb_signature_add_shape(xb_signature *signature, const xb_shape *shape);

/* The number of the argument whose value is the largest, counted from 1; 0 if there are none. */
size_t xb_signature_largest(const xb_signature *signature);

/* The shape of a type of a signature. */
xb_shape xb_signature_shape(const xb_signature *signature, uint8_t type);

XB_PRIVATE_END

#endif
