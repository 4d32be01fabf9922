/* Reads the text of signatures, by recursive descent over this grammar:
 *
 *     signature = type "(" { type | "." } ")"      at most one "."
 *     type      = one letter of EXECBUF_TYPE_MAP
 *
 * Pure: no state, no system calls. */

#include <string.h>

#include "../base/error.h"
#include "signature.h"
#include "type.h"

/* Types that people may write and that signatures do not have, with the reason. An entry matches the start of
 * what is left of the text, so the longer of two alike comes first. */
typedef struct refused_type {
    const char *text;
    const char *reason;
} refused_type;

static const refused_type refused_types[] = {
    {"long double", "long double has no form that compilers agree on for Win64; use d"},
    {"long", "long has 4 bytes on Windows and 8 elsewhere; use i or l"},
    {"va_list", "va_list is another thing in each convention; pass the arguments, or an array"},
    {"wchar_t", "wchar_t has 2 bytes on Windows and 4 elsewhere; use H or i"},
    {"x", "i128 is not supported yet; pass a pointer"},
    {"X", "u128 is not supported yet; pass a pointer"},
    {"m", "vectors of 128 bits are not supported yet; pass a pointer"},
    {"{", "structs are not supported yet; pass a pointer"},
};

/* A text, and how far it has been read. */
typedef struct signature_parser {
    const char *text;
    size_t at;
    execbuf_error *error;
} signature_parser;

static char next_letter(const signature_parser *parser) {
    return parser->text[parser->at];
}

/* Fills the report. position is an offset in the text for EXECBUF_E_SYNTAX, and the number of an argument
 * (0: the result) for EXECBUF_E_TYPE. */
static execbuf_status refuse_text(const signature_parser *parser, execbuf_status status, size_t position,
                                  const char *reason) {
    return xb_error_set_at(parser->error, status, reason, position);
}

static execbuf_status refuse_syntax(const signature_parser *parser, const char *reason) {
    return refuse_text(parser, EXECBUF_E_SYNTAX, parser->at, reason);
}

/* Reads a type: that of the argument with this number, counted from 1, or that of the result, 0. */
static execbuf_status parse_type(signature_parser *parser, size_t number, uint8_t *type) {
    const char *rest = parser->text + parser->at;
    for (size_t i = 0; i < sizeof refused_types / sizeof refused_types[0]; i++) {
        if (strncmp(rest, refused_types[i].text, strlen(refused_types[i].text)) == 0) {
            return refuse_text(parser, EXECBUF_E_TYPE, number, refused_types[i].reason);
        }
    }
    if (*rest == '\0') {
        return refuse_syntax(parser, "the text ends here; a type is missing");
    }
    *type = xb_type_of_letter(*rest);
    if (*type == XB_TYPE_COUNT) {
        return refuse_syntax(parser, "no type has this letter");
    }
    parser->at++;
    return EXECBUF_OK;
}

/* Reads the arguments, up to the closing parenthesis, which it leaves. */
static execbuf_status parse_arguments(signature_parser *parser, xb_signature *out) {
    execbuf_status status = EXECBUF_OK;
    while (status == EXECBUF_OK && next_letter(parser) != ')') {
        if (next_letter(parser) == '\0') {
            return refuse_syntax(parser, "the text ends here; ')' is missing");
        }
        if (next_letter(parser) == '.') {
            if (out->variadic != 0) {
                return refuse_syntax(parser, "a second full stop");
            }
            out->variadic = 1;
            out->fixed = out->count;
            parser->at++;
        } else if (out->count == EXECBUF_MAX_ARGUMENTS) {
            return refuse_text(parser, EXECBUF_E_ARGUMENTS, 0, "text");
        } else {
            status = parse_type(parser, out->count + 1U, &out->arguments[out->count]);
            out->count++;
        }
    }
    return status;
}

/* Reads the whole text. On failure, out holds what was read. */
static execbuf_status parse_signature(signature_parser *parser, xb_signature *out) {
    execbuf_status status = parse_type(parser, 0, &out->result);
    if (status != EXECBUF_OK) {
        return status;
    }
    if (next_letter(parser) != '(') {
        return refuse_syntax(parser, "'(' is missing");
    }
    parser->at++;
    status = parse_arguments(parser, out);
    if (status != EXECBUF_OK) {
        return status;
    }
    parser->at++;
    if (next_letter(parser) != '\0') {
        return refuse_syntax(parser, "more text than one signature");
    }
    return xb_signature_check(out, parser->error);
}

execbuf_status xb_signature_parse(xb_signature *out, const char *text, execbuf_error *error) {
    memset(out, 0, sizeof *out);
    signature_parser parser = {text, 0, error};
    execbuf_status status = parse_signature(&parser, out);
    if (status != EXECBUF_OK) {
        memset(out, 0, sizeof *out);
    }
    return status;
}
