/* Chooses the instruction set of an adapter: by its target's convention. */

#include "machine.h"

#include "../call/packed.h"
#include "aarch64/machine.h"
#include "edit.h"
#include "x86_64/machine.h"

/* Whether the target has the convention of AArch64, which thunks do not know. */
static bool is_for_arm(execbuf_abi caller_abi) {
    if (xb_edit_of(caller_abi) != XB_EDIT_NONE) {
        return xb_edit_convention(caller_abi) == EXECBUF_ABI_NATIVE;
    }
    if (xb_abi_is_handler(caller_abi)) {
        return xb_handler_entry(caller_abi) == EXECBUF_ABI_NATIVE;
    }
    return xb_abi_is_packed(caller_abi) && xb_packed_callee(caller_abi) == EXECBUF_ABI_NATIVE;
}

const uint8_t *xb_machine_kinds(execbuf_abi caller_abi) {
    return is_for_arm(caller_abi) ? xb_arm_kinds(caller_abi) : xb_x86_kinds(caller_abi);
}

const uint8_t *xb_machine_result_kinds(execbuf_abi caller_abi) {
    if (is_for_arm(caller_abi) && xb_abi_is_handler(caller_abi)) {
        return xb_arm_handler_result_kinds();
    }
    return is_for_arm(caller_abi) ? xb_arm_result_kinds() : xb_x86_result_kinds(caller_abi);
}

uint8_t xb_machine_alike(xb_shape *shape, execbuf_abi caller_abi, bool is_result) {
    if (is_for_arm(caller_abi) && xb_abi_is_handler(caller_abi)) {
        return xb_arm_alike_handled(shape, is_result);
    }
    return is_for_arm(caller_abi) ? xb_arm_alike(shape) : xb_x86_alike(shape, caller_abi, is_result);
}

uint8_t xb_machine_alike_edited(xb_shape *shape, bool is_result, execbuf_abi abi) {
    return abi == EXECBUF_ABI_NATIVE ? xb_arm_alike_edited(shape, is_result)
                                     : xb_x86_alike_edited(shape, is_result, abi);
}

void xb_machine_layout(xb_layout *out, const xb_signature *signature, execbuf_abi caller_abi) {
    if (is_for_arm(caller_abi)) {
        xb_arm_layout(out, signature);
    } else {
        xb_layout_of(out, signature, xb_packed_callee(caller_abi));
    }
}

bool xb_machine_has_small_slots(execbuf_abi caller_abi) {
    return is_for_arm(caller_abi) && xb_arm_has_small_slots();
}

bool xb_machine_can(const xb_signature *signature, execbuf_abi caller_abi) {
    return is_for_arm(caller_abi) ? xb_arm_can(signature, caller_abi) : xb_x86_can(signature, caller_abi);
}

void xb_machine_adapter(uint8_t *out, xb_frame *frame, const xb_signature *signature,
                        execbuf_abi caller_abi) {
    if (is_for_arm(caller_abi)) {
        xb_arm_adapter(out, frame, signature, caller_abi);
    } else {
        xb_x86_adapter(out, frame, signature, caller_abi);
    }
}
