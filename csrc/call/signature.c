/* Signatures: reading their text, and checking them. */

#include "signature.h"

#include <string.h>

#include "../base/error.h"

static const char variadic_reason[] = "in \"...\", C passes int, or double; write i, I or d";

/* What has no letter of its own, by what people may write for it, with the reason. */
typedef struct refused {
    const char *text;
    const char *reason;
} refused;

static const refused refused_types[] = {
    {"long double", "long double has no form that compilers agree on for Win64; use d"},
    {"long", "long has 4 bytes on Windows and 8 elsewhere; use i or l"},
    {"va_list", "va_list is another thing in each convention; pass the arguments, or an array"},
    {"wchar_t", "wchar_t has 2 bytes on Windows and 4 elsewhere; use H or i"},
    {"x", "i128 is not supported yet; pass a pointer"},
    {"X", "u128 is not supported yet; pass a pointer"},
    {"m", "vectors of 128 bits are not supported yet; pass a pointer"},
    {"{", "structs are not supported yet; pass a pointer"},
};

/* Facts about a type by its number. */
typedef struct type_facts {
    char letter;
    uint8_t size;
    uint8_t is_signed;
} type_facts;

static const type_facts types[] = {
#define TYPE_FACTS(name, value, letter, size, is_signed) {letter, size, is_signed},
    EXECBUF_TYPE_MAP(TYPE_FACTS)
#undef TYPE_FACTS
};
#define TYPE_COUNT (sizeof types / sizeof types[0])

bool xb_type_is_float(uint8_t type) {
    return type == EXECBUF_TYPE_F32 || type == EXECBUF_TYPE_F64;
}

uint8_t xb_type_size(uint8_t type) {
    return types[type].size;
}

bool xb_type_is_signed(uint8_t type) {
    return types[type].is_signed != 0;
}

static execbuf_status fail(execbuf_error *error, execbuf_status status, size_t position,
                           const char *culprit) {
    (void)xb_error_set(error, status, culprit, 0);
    if (error != NULL) {
        error->position = (uint32_t)position;
    }
    return status;
}

execbuf_status xb_signature_check(const execbuf_signature *signature, execbuf_error *error) {
    if (signature == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "signature", 0);
    }
    if (signature->count > EXECBUF_MAX_ARGUMENTS ||
        (signature->variadic != 0 && signature->fixed > signature->count)) {
        const char *culprit = signature->count > EXECBUF_MAX_ARGUMENTS ? "count" : "fixed";
        return xb_error_set(error, EXECBUF_E_ARGUMENTS, culprit, 0);
    }
    if (signature->result >= TYPE_COUNT) {
        return fail(error, EXECBUF_E_TYPE, 0, "not an execbuf_type");
    }
    for (size_t i = 0; i < signature->count; i++) {
        uint8_t type = signature->arguments[i];
        if (type >= TYPE_COUNT) {
            return fail(error, EXECBUF_E_TYPE, i + 1, "not an execbuf_type");
        }
        if (type == EXECBUF_TYPE_VOID) {
            return fail(error, EXECBUF_E_TYPE, i + 1, "void is no argument; \"v()\" has none");
        }
        bool promoted = xb_type_size(type) < 4 || type == EXECBUF_TYPE_F32;
        if (signature->variadic != 0 && i >= signature->fixed && promoted) {
            return fail(error, EXECBUF_E_TYPE, i + 1, variadic_reason);
        }
    }
    return EXECBUF_OK;
}

/* A text that is being read. */
typedef struct parser {
    const char *text;
    size_t at;
    execbuf_error *error;
} parser;

static execbuf_status syntax(const parser *from, const char *reason) {
    return fail(from->error, EXECBUF_E_SYNTAX, from->at, reason);
}

/* Reads the type of the argument of this number, or of the result, 0. */
static execbuf_status read_type(parser *from, size_t number, uint8_t *type) {
    const char *text = from->text + from->at;
    for (size_t i = 0; i < sizeof refused_types / sizeof refused_types[0]; i++) {
        if (strncmp(text, refused_types[i].text, strlen(refused_types[i].text)) == 0) {
            return fail(from->error, EXECBUF_E_TYPE, number, refused_types[i].reason);
        }
    }
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (types[i].letter == *text) {
            *type = (uint8_t)i;
            from->at++;
            return EXECBUF_OK;
        }
    }
    return syntax(from, *text == '\0' ? "the text ends here; a type is missing" : "no type has this letter");
}

/* Reads what is in the parentheses. */
static execbuf_status read_arguments(parser *from, execbuf_signature *out) {
    execbuf_status status = EXECBUF_OK;
    while (status == EXECBUF_OK && from->text[from->at] != ')') {
        if (from->text[from->at] == '.') {
            if (out->variadic != 0) {
                return syntax(from, "a second full stop");
            }
            out->variadic = 1;
            out->fixed = out->count;
            from->at++;
        } else if (from->text[from->at] == '\0') {
            return syntax(from, "the text ends here; ')' is missing");
        } else if (out->count == EXECBUF_MAX_ARGUMENTS) {
            return fail(from->error, EXECBUF_E_ARGUMENTS, 0, "text");
        } else {
            status = read_type(from, out->count + 1U, &out->arguments[out->count]);
            out->count++;
        }
    }
    return status;
}

/* Reads all of it. */
static execbuf_status read_signature(parser *from, execbuf_signature *out) {
    execbuf_status status = read_type(from, 0, &out->result);
    if (status == EXECBUF_OK && from->text[from->at] != '(') {
        status = syntax(from, "'(' is missing");
    }
    if (status == EXECBUF_OK) {
        from->at++;
        status = read_arguments(from, out);
    }
    if (status == EXECBUF_OK) {
        from->at++;
        status = from->text[from->at] != '\0' ? syntax(from, "more text than one signature")
                                              : xb_signature_check(out, from->error);
    }
    return status;
}

execbuf_status execbuf_signature_parse(execbuf_signature *out, const char *text, execbuf_error *error) {
    if (out == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "out", 0);
    }
    memset(out, 0, sizeof *out);
    if (text == NULL) {
        return xb_error_set(error, EXECBUF_E_NULL, "text", 0);
    }
    parser from = {text, 0, error};
    execbuf_status status = read_signature(&from, out);
    if (status != EXECBUF_OK) {
        memset(out, 0, sizeof *out);
        return status;
    }
    return xb_error_ok(error);
}
