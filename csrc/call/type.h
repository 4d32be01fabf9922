/* Facts about the types that arguments and results can have. Pure. */
#ifndef XB_CALL_TYPE_H
#define XB_CALL_TYPE_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"

/* What System V's convention calls the class of an eightbyte, which is eight bytes of a value (psABI, 3.2.3).
 */
typedef enum xb_class {
    XB_CLASS_NONE,    /* padding only, or behind the end of the value */
    XB_CLASS_INTEGER, /* for a general register */
    XB_CLASS_SSE,     /* for a vector register */
    XB_CLASS_SSE_UP,  /* for the upper half of the vector register before it */
    XB_CLASS_MEMORY   /* for the stack; then the whole value is */
} xb_class;

/* All that conventions have to know of a type. There is no padding, so that memcmp compares shapes. */
typedef struct xb_shape {
    uint32_t size;      /* in bytes, at most EXECBUF_MAX_TYPE_SIZE; 0: void */
    uint8_t align;      /* 1, 2, 4, 8 or 16 */
    uint8_t classes[2]; /* each an xb_class; both are MEMORY, or none is */
    uint8_t arm;        /* for AArch64: XB_ARM_ELEMENT and XB_ARM_ALIGNED */
} xb_shape;

/* The size of an element, in bytes, if the value is nothing but one to four floats, doubles or vectors, all
 * of one size, without padding: AAPCS64's homogeneous aggregate, or one of these by itself. Otherwise 0. */
#define XB_ARM_ELEMENT 0x1fU

/* The natural alignment is 16, which is that of the members: an attribute of the type as a whole does not
 * count (AAPCS64, 5.9). */
#define XB_ARM_ALIGNED 0x80U

/* The longest value that may be in registers, in bytes. */
#define XB_MAX_IN_REGISTERS 16U

/* How many kinds of types without members there are: such an execbuf_type_kind is less than this. */
#define XB_TYPE_COUNT ((uint8_t)EXECBUF_TYPE_V128 + 1U)

XB_PRIVATE_BEGIN

/* The shape of a type without members. type is valid. */
xb_shape xb_type_shape(uint8_t type);

/* Whether a type is F32 or F64, which both conventions pass in vector registers. Any byte. */
bool xb_type_is_float(uint8_t type);

/* The size of a type without members in bytes, 0 for VOID. type is valid. */
uint8_t xb_type_size(uint8_t type);

/* Whether an integer type is signed. type is valid. */
bool xb_type_is_signed(uint8_t type);

/* The type that a letter stands for in the text of a signature, or XB_TYPE_COUNT if there is none. */
uint8_t xb_type_of_letter(char letter);

XB_PRIVATE_END

#endif
