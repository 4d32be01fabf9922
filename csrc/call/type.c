/* Facts about types, from EXECBUF_TYPE_MAP in execbuf.h. Pure: no state, no system calls. */

#include "type.h"

/* A row of EXECBUF_TYPE_MAP. */
typedef struct type_row {
    char letter;
    uint8_t size;
    bool is_signed;
} type_row;

/* By execbuf_type_kind: the rows of EXECBUF_TYPE_MAP are in the order of their values, without gaps. */
static const type_row type_rows[] = {
#define TYPE_ROW(name, value, letter, size, is_signed) {letter, size, (is_signed) != 0},
    EXECBUF_TYPE_MAP(TYPE_ROW)
#undef TYPE_ROW
};

XB_STATIC_ASSERT(sizeof type_rows / sizeof type_rows[0] == XB_TYPE_COUNT, "each type has a row");

xb_shape xb_type_shape(uint8_t type) {
    xb_shape shape = {type_rows[type].size, type_rows[type].size, {XB_CLASS_INTEGER, XB_CLASS_NONE}, 0};
    if (type == EXECBUF_TYPE_VOID) {
        shape.align = 1;
        shape.classes[0] = XB_CLASS_NONE;
    } else if (type == EXECBUF_TYPE_V128) {
        shape.classes[0] = XB_CLASS_SSE;
        shape.classes[1] = XB_CLASS_SSE_UP;
    } else if (xb_type_is_float(type)) {
        shape.classes[0] = XB_CLASS_SSE;
    } else if (shape.size > 8) {
        shape.classes[1] = XB_CLASS_INTEGER;
    }
    bool is_element = xb_type_is_float(type) || type == EXECBUF_TYPE_V128;
    shape.arm = (uint8_t)((is_element ? shape.size : 0) | (shape.size == 16 ? XB_ARM_ALIGNED : 0));
    return shape;
}

bool xb_type_is_float(uint8_t type) {
    return type == EXECBUF_TYPE_F32 || type == EXECBUF_TYPE_F64;
}

uint8_t xb_type_size(uint8_t type) {
    return type_rows[type].size;
}

bool xb_type_is_signed(uint8_t type) {
    return type_rows[type].is_signed;
}

uint8_t xb_type_of_letter(char letter) {
    uint8_t type = 0;
    while (type < XB_TYPE_COUNT && type_rows[type].letter != letter) {
        type++;
    }
    return type;
}
