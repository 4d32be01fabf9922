/* Trap instructions, with which all executable memory is filled that holds no code. A jump to it stops the
 * program at once instead of running stale bytes. */
#ifndef XB_BASE_TRAP_H
#define XB_BASE_TRAP_H

#include <stddef.h>
#include <stdint.h>

#include "compiler.h"

XB_PRIVATE_BEGIN

/* 16 bytes of trap instructions: the size of the smallest slot. */
extern const uint8_t xb_traps[16];

/* Fills size bytes at memory with trap instructions. Both are multiples of 16. */
void xb_fill_traps(uint8_t *memory, size_t size);

XB_PRIVATE_END

#endif
