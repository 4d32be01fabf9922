/* Facts about the types that arguments and results can have. Pure. */
#ifndef XB_CALL_TYPE_H
#define XB_CALL_TYPE_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../include/execbuf.h"

XB_PRIVATE_BEGIN

/* How many types there are: an execbuf_type_kind is valid if it is less than this. */
#define XB_TYPE_COUNT ((uint8_t)EXECBUF_TYPE_F64 + 1U)

/* Whether a type is F32 or F64, which travel in vector registers. Any byte. */
bool xb_type_is_float(uint8_t type);

/* The size of a type in bytes, 0 for VOID. type is valid. */
uint8_t xb_type_size(uint8_t type);

/* Whether an integer type is signed. type is valid. */
bool xb_type_is_signed(uint8_t type);

/* The type that a letter stands for in the text of a signature, or XB_TYPE_COUNT if there is none. */
uint8_t xb_type_of_letter(char letter);

XB_PRIVATE_END

#endif
