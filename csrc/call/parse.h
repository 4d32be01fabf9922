/* Reads the text of signatures. */
#ifndef XB_CALL_PARSE_H
#define XB_CALL_PARSE_H

#include <stddef.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"

XB_PRIVATE_BEGIN

/* How many nodes the signature in a text takes at most. */
size_t xb_parse_nodes(const char *text);

/* Reads the text of a signature. execbuf.h describes the syntax. It does not check the types; see
 * xb_signature_read.
 *
 * Returns: EXECBUF_OK; EXECBUF_E_SYNTAX, EXECBUF_E_TYPE or EXECBUF_E_ARGUMENTS, with the position. error is
 *          untouched on success.
 * Out: out:   the signature, whose types lie in nodes.
 *      nodes: xb_parse_nodes(text) of them.
 * In:  text:  not NULL.
 * Out: error: the report; may be NULL. */
execbuf_status xb_parse(execbuf_signature *out, execbuf_type *nodes, const char *text, execbuf_error *error);

XB_PRIVATE_END

#endif
