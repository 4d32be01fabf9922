/* Where the packed convention has arguments and results. Pure: no state, no system calls.
 *
 * For f(int a, struct { int64_t x, y; } b, struct { char text[40]; } c, double d) the slots are
 *
 *     0    1    2    3        4
 *     a    b.x  b.y  &c       d */

#include "packed.h"

#include <string.h>

#include "type.h"

void xb_packed_layout(xb_layout *out, const xb_signature *signature) {
    uint32_t slot = 0;
    memset(out, 0, sizeof *out);
    out->result.size = xb_signature_shape(signature, signature->result).size;
    out->result.where[0] = out->result.size > 0 ? EXECBUF_ON_STACK : EXECBUF_NOWHERE;
    for (uint32_t i = 0; i < signature->count; i++) {
        xb_location *location = &out->arguments[i];
        location->size = xb_signature_shape(signature, signature->arguments[i]).size;
        location->where[0] = EXECBUF_ON_STACK;
        location->offset = XB_SLOT_SIZE * slot;
        location->is_reference = location->size > XB_MAX_IN_REGISTERS;
        slot += location->is_reference ? 1 : xb_packed_slots(location->size);
    }
    out->stack_size = XB_SLOT_SIZE * slot;
}
