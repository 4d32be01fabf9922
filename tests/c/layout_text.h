/* Layouts as text, for tests of csrc/call: those of conventions that this machine does not have, too.
 *
 *     text = result ["@" pointer] "(" place " " … ")" size
 *
 * A place is a list of pieces: g and the number of a general register, v and that of a vector register, or s
 * and the offset on the stack; "-" is nowhere. Behind ":" is the number of bytes in each register, if it is
 * not 8. An
 * "&" says that the place has the address of the value. The pointer is where the address of the result's
 * memory is passed, the size that of the stack. */
#ifndef LAYOUT_TEXT_H
#define LAYOUT_TEXT_H

#include "check.h"

#include "../../csrc/api/signature.h"
#include "../../csrc/call/layout.h"

typedef struct layout_text {
    char text[4096];
    size_t length;
} layout_text;

static void append(layout_text *to, const char *text) {
    CHECK(to->length + strlen(text) < sizeof to->text);
    strcpy(to->text + to->length, text);
    to->length += strlen(text);
}

static void append_number(layout_text *to, const char *before, uint32_t number) {
    char text[32];
    (void)snprintf(text, sizeof text, "%s%u", before, number);
    append(to, text);
}

static void append_place(layout_text *to, const xb_location *location) {
    append(to, location->is_reference ? "&" : "");
    if (location->where[0] == EXECBUF_NOWHERE) {
        append(to, "-");
    }
    for (size_t i = 0; i < XB_MAX_PIECES; i++) {
        switch (location->where[i]) {
        case EXECBUF_IN_GENERAL: append_number(to, "g", location->number[i]); break;
        case EXECBUF_IN_VECTOR: append_number(to, "v", location->number[i]); break;
        case EXECBUF_ON_STACK: append_number(to, "s", location->offset); break;
        default: break;
        }
    }
    if (location->where[0] == EXECBUF_IN_VECTOR && location->piece != 8) {
        append_number(to, ":", location->piece);
    }
}

/* The layout of a call by a convention. */
static layout_text layout_as_text(const char *text, execbuf_abi abi) {
    layout_text out = {"", 0};
    xb_signature compact;
    xb_shape shapes[XB_MAX_SHAPES];
    xb_layout layout;
    execbuf_signature *signature = parsed(text);
    CHECK(xb_signature_read(&compact, shapes, signature, NULL) == EXECBUF_OK);
    if (abi == EXECBUF_ABI_SYSV64 || abi == EXECBUF_ABI_WIN64) {
        xb_layout_of(&layout, &compact, abi);
    } else {
        xb_layout_of_aarch64(&layout, &compact, abi);
    }
    append_place(&out, &layout.result);
    if (layout.result_pointer.where[0] != EXECBUF_NOWHERE) {
        append(&out, "@");
        append_place(&out, &layout.result_pointer);
    }
    append(&out, "(");
    for (size_t i = 0; i < compact.count; i++) {
        append(&out, i > 0 ? " " : "");
        append_place(&out, &layout.arguments[i]);
    }
    append_number(&out, ")", layout.stack_size);
    execbuf_signature_free(signature);
    return out;
}

/* Compares the layout of a call with one that is known. */
static void check_layout(const char *text, execbuf_abi abi, const char *known) {
    layout_text is = layout_as_text(text, abi);
    if (strcmp(is.text, known) != 0) {
        (void)fprintf(stderr, "%s: %s and not %s\n", text, is.text, known);
        exit(1);
    }
}

#endif
