/* Signatures in their compact form. All folders below api/ use this form; api/ converts the public one. */
#ifndef XB_CALL_SIGNATURE_H
#define XB_CALL_SIGNATURE_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"

/* The result and the arguments of a function. All members are bytes, so there is no padding, and two
 * signatures are equal if their first xb_signature_size bytes are:
 *
 *     byte 0         1       2          3       4 ...
 *     +--------+--------+----------+--------+---------------------------+
 *     | result | count  | variadic | fixed  | arguments[0 ... count-1]  |  unused
 *     +--------+--------+----------+--------+---------------------------+  */
typedef struct xb_signature {
    uint8_t result;   /* an execbuf_type_kind */
    uint8_t count;    /* how many arguments there are */
    uint8_t variadic; /* not 0: the arguments behind the first `fixed` ones stand for "..." */
    uint8_t fixed;    /* unused if variadic is 0 */
    uint8_t arguments[EXECBUF_MAX_ARGUMENTS]; /* each an execbuf_type_kind, but not VOID */
} xb_signature;

XB_PRIVATE_BEGIN

/* Checks a signature, which may hold any bytes. This is done once, before the functions that say so take it.
 *
 * Returns: EXECBUF_OK; EXECBUF_E_ARGUMENTS or EXECBUF_E_TYPE, with the report of execbuf_signature_parse.
 * error is untouched on success. In:  signature: not NULL. Out: error:     the report; may be NULL. */
execbuf_status xb_signature_check(const xb_signature *signature, execbuf_error *error);

/* Reads the text of a signature and checks the result. execbuf.h describes the syntax.
 *
 * Returns: EXECBUF_OK; EXECBUF_E_SYNTAX, EXECBUF_E_TYPE or EXECBUF_E_ARGUMENTS, with the position. error is
 *          untouched on success.
 * Out: out:   the signature; all zero on failure.
 * In:  text:  not NULL.
 * Out: error: the report; may be NULL. */
execbuf_status xb_signature_parse(xb_signature *out, const char *text, execbuf_error *error);

XB_PRIVATE_END

#endif
