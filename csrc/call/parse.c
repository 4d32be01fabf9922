/* Reads the text of signatures, by recursive descent over this grammar:
 *
 *     signature = type "(" { type | "." } ")"      at most one "."
 *     type      = one letter of EXECBUF_TYPE_MAP
 *               | "{" { type } "}"                 struct
 *               | "<" { type } ">"                 union
 *               | "[" number type "]"              array
 *               | "!" [ number ] type              packed, to 1 if there is no number
 *               | "@" number type                  aligned
 *
 * The types become nodes of one array, which fills from both ends:
 *
 *     index 0                                                     capacity
 *     +-------------------------+--------+------------------------+
 *     | stack of complete types |  free  | members of those types |
 *     +-------------------------+--------+------------------------+
 *
 * A complete type is pushed. At a closing bracket, the members are on top of the stack; they move to the
 * other end, and the struct is pushed in their place. At the end, the result and the arguments are on the
 * stack. Each node stands for a character of its own, so the array is large enough.
 *
 * Pure: no state, no system calls. */

#include "parse.h"

#include <string.h>

#include "../base/error.h"
#include "tree.h"
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
    {"_BitInt", "_BitInt has no form that compilers agree on; use an integer of this size"},
    {"_Float16", "_Float16 has no form that compilers agree on; pass f"},
    {"_Complex", "write float _Complex as {ff}, double _Complex as {dd}"},
    {"__m", "m is a vector of 128 bits; compilers disagree on others, so pass a pointer"},
    {":", "write the integer that holds a bit-field; unnamed ones are passed differently by each compiler"},
};

/* A text, and how far it has been read. */
typedef struct signature_parser {
    const char *text;
    size_t at;
    execbuf_error *error;
    size_t number;  /* of the argument that is being read, counted from 1; 0: the result */
    uint32_t depth; /* how many brackets and attributes are open */
    uint32_t types; /* how many have begun: as many nodes as there may be */
    execbuf_type *nodes;
    size_t pushed;  /* how many types are on the stack */
    size_t members; /* where those of complete types begin */
} signature_parser;

static execbuf_status parse_type(signature_parser *parser);

static char next_letter(const signature_parser *parser) {
    return parser->text[parser->at];
}

static execbuf_status refuse_syntax(const signature_parser *parser, const char *reason) {
    return xb_error_set_at(parser->error, EXECBUF_E_SYNTAX, reason, parser->at);
}

static execbuf_status refuse_type(const signature_parser *parser, const char *reason) {
    return xb_error_set_at(parser->error, EXECBUF_E_TYPE, reason, parser->number);
}

static void push(signature_parser *parser, int32_t kind, uint32_t count, const execbuf_type *members) {
    execbuf_type *node = &parser->nodes[parser->pushed++];
    node->kind = kind;
    node->count = count;
    node->members = members;
}

/* Replaces the types on the stack from index `first` on by one that has them as members. */
static void fold(signature_parser *parser, int32_t kind, uint32_t count, size_t first) {
    size_t moved = parser->pushed - first;
    parser->members -= moved;
    execbuf_type *members = parser->nodes + parser->members;
    memmove(members, parser->nodes + first, moved * sizeof *members);
    parser->pushed = first;
    push(parser, kind, count, members);
}

/* Reads a number, of digits. It may be too large, and stays so however many digits follow.
 *
 * Returns: whether there is one. */
static bool parse_number(signature_parser *parser, uint32_t *number) {
    size_t start = parser->at;
    *number = 0;
    while (next_letter(parser) >= '0' && next_letter(parser) <= '9') {
        uint32_t digit = (uint32_t)(next_letter(parser) - '0');
        *number = *number > EXECBUF_MAX_TYPE_SIZE ? *number : 10 * *number + digit;
        parser->at++;
    }
    return parser->at > start;
}

/* Reads the members of a struct or union, and the closing bracket. */
static execbuf_status parse_members(signature_parser *parser, int32_t kind, char closing) {
    size_t first = parser->pushed;
    parser->at++;
    while (next_letter(parser) != closing) {
        if (next_letter(parser) == '\0') {
            return refuse_syntax(parser, closing == '}' ? "the text ends here; '}' is missing"
                                                        : "the text ends here; '>' is missing");
        }
        execbuf_status status = parse_type(parser);
        if (status != EXECBUF_OK) {
            return status;
        }
    }
    parser->at++;
    fold(parser, kind, (uint32_t)(parser->pushed - first), first);
    return EXECBUF_OK;
}

/* Reads an array, or a type with an attribute. */
static execbuf_status parse_numbered(signature_parser *parser, int32_t kind) {
    size_t first = parser->pushed;
    uint32_t number;
    parser->at++;
    if (!parse_number(parser, &number)) {
        if (kind != EXECBUF_TYPE_PACKED) {
            return refuse_syntax(parser, "a number is missing");
        }
        number = 1;
    }
    execbuf_status status = parse_type(parser);
    if (status != EXECBUF_OK) {
        return status;
    }
    if (kind == EXECBUF_TYPE_ARRAY) {
        if (next_letter(parser) != ']') {
            return refuse_syntax(parser, "']' is missing");
        }
        parser->at++;
    }
    fold(parser, kind, number, first);
    return EXECBUF_OK;
}

/* Reads a type that is no letter: brackets and attributes. */
static execbuf_status parse_compound(signature_parser *parser) {
    /* Attributes do not count for EXECBUF_MAX_DEPTH, but each level has two at most. */
    if (parser->depth == 3 * EXECBUF_MAX_DEPTH) {
        return refuse_type(parser, "nested deeper than EXECBUF_MAX_DEPTH");
    }
    parser->depth++;
    execbuf_status status;
    switch (next_letter(parser)) {
    case '{': status = parse_members(parser, EXECBUF_TYPE_STRUCT, '}'); break;
    case '<': status = parse_members(parser, EXECBUF_TYPE_UNION, '>'); break;
    case '[': status = parse_numbered(parser, EXECBUF_TYPE_ARRAY); break;
    case '!': status = parse_numbered(parser, EXECBUF_TYPE_PACKED); break;
    default: status = parse_numbered(parser, EXECBUF_TYPE_ALIGNED); break;
    }
    parser->depth--;
    return status;
}

static execbuf_status parse_type(signature_parser *parser) {
    const char *rest = parser->text + parser->at;
    for (size_t i = 0; i < sizeof refused_types / sizeof refused_types[0]; i++) {
        if (strncmp(rest, refused_types[i].text, strlen(refused_types[i].text)) == 0) {
            return refuse_type(parser, refused_types[i].reason);
        }
    }
    if (*rest == '\0') {
        return refuse_syntax(parser, "the text ends here; a type is missing");
    }
    if (parser->types++ == EXECBUF_MAX_TYPES) {
        return refuse_type(parser, "the signature has too many types");
    }
    if (strchr("{<[!@", *rest) != NULL) {
        return parse_compound(parser);
    }
    uint8_t type = xb_type_of_letter(*rest);
    if (type == XB_TYPE_COUNT) {
        return refuse_syntax(parser, "no type has this letter");
    }
    parser->at++;
    push(parser, type, 0, NULL);
    return EXECBUF_OK;
}

/* Reads the arguments, up to the closing parenthesis, which it leaves. */
static execbuf_status parse_arguments(signature_parser *parser, execbuf_signature *out) {
    execbuf_status status = EXECBUF_OK;
    while (status == EXECBUF_OK && next_letter(parser) != ')') {
        if (next_letter(parser) == '\0') {
            return refuse_syntax(parser, "the text ends here; ')' is missing");
        }
        if (next_letter(parser) == '.') {
            if (out->fixed != EXECBUF_NOT_VARIADIC) {
                return refuse_syntax(parser, "a second full stop");
            }
            out->fixed = out->count;
            parser->at++;
        } else if (out->count == EXECBUF_MAX_ARGUMENTS) {
            return xb_error_set(parser->error, EXECBUF_E_ARGUMENTS, "text", 0);
        } else {
            parser->number = ++out->count;
            status = parse_type(parser);
        }
    }
    return status;
}

size_t xb_parse_nodes(const char *text) {
    size_t length = 0;
    while (length < EXECBUF_MAX_TYPES && text[length] != '\0') {
        length++;
    }
    return length + 1;
}

execbuf_status xb_parse(execbuf_signature *out, execbuf_type *nodes, const char *text, execbuf_error *error) {
    signature_parser parser = {text, 0, error, 0, 0, 0, nodes, 0, xb_parse_nodes(text)};
    memset(out, 0, sizeof *out);
    out->size = sizeof *out;
    out->fixed = EXECBUF_NOT_VARIADIC;
    execbuf_status status = parse_type(&parser);
    if (status != EXECBUF_OK) {
        return status;
    }
    if (next_letter(&parser) != '(') {
        return refuse_syntax(&parser, "'(' is missing");
    }
    parser.at++;
    status = parse_arguments(&parser, out);
    if (status != EXECBUF_OK) {
        return status;
    }
    parser.at++;
    if (next_letter(&parser) != '\0') {
        return refuse_syntax(&parser, "more text than one signature");
    }
    out->result = nodes[0];
    out->arguments = out->count > 0 ? nodes + 1 : NULL;
    return EXECBUF_OK;
}
