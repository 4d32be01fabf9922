/* Filling memory with traps. Relies only on isa.h, which knows the instruction. */

#include "trap.h"

#include <string.h>

#include "isa.h"

const uint8_t xb_traps[16] = {XB_TRAP_WORD, XB_TRAP_WORD, XB_TRAP_WORD, XB_TRAP_WORD};

void xb_fill_traps(uint8_t *memory, size_t size) {
#if XB_TRAP_SIZE == 1
    memset(memory, xb_traps[0], size); /* faster than the loop for whole pages */
#else
    for (size_t at = 0; at < size; at += sizeof xb_traps) {
        memcpy(memory + at, xb_traps, sizeof xb_traps);
    }
#endif
}
