/* Code that loads, stores and copies values of any size. It reads and writes exactly the bytes of the value:
 * the next one may be in a page that is not there. Pure. */
#ifndef XB_THUNK_X86_64_VALUES_H
#define XB_THUNK_X86_64_VALUES_H

#include "../../base/compiler.h"
#include "asm.h"

XB_PRIVATE_BEGIN

/* Loads 1 to 8 bytes at [base + offset] into a general register; the others become 0. Changes r10, unless the
 * size is a power of two. base may be reg, but not r10. */
void xb_value_load(xb_asm *to, uint32_t reg, uint32_t base, uint32_t offset, uint32_t size);

/* Loads 4, 8 or 16 bytes at [base + offset] into a vector register. */
void xb_value_load_vector(xb_asm *to, uint32_t xmm, uint32_t base, uint32_t offset, uint32_t size);

/* Stores the lower 1 to 8 bytes of a general register at [base + offset]. Changes the register, unless the
 * size is a power of two. */
void xb_value_store(xb_asm *to, uint32_t base, uint32_t offset, uint32_t reg, uint32_t size);

/* Stores the lower 4, 8 or 16 bytes of a vector register at [base + offset]. */
void xb_value_store_vector(xb_asm *to, uint32_t base, uint32_t offset, uint32_t xmm, uint32_t size);

/* Loads a word, extended to 64 bits if its type is an integer of less, or bool. type is an execbuf_type_kind
 * or a shape; from is a register or memory. */
void xb_value_extend(xb_asm *to, uint32_t reg, xb_operand from, uint8_t type);

/* Zeroes a value of at least 16 bytes at [base]. Changes r10 and to->scratch. base is not r10. */
void xb_value_zero(xb_asm *to, uint32_t base, uint32_t size);

/* Copies a value from [base + from] to [rsp + where]. Changes rax, r10 and to->scratch. base is neither
 * rax nor r10. */
void xb_value_copy(xb_asm *to, uint32_t where, uint32_t base, uint32_t from, uint32_t size);

XB_PRIVATE_END

#endif
