/* What AArch64 fulfils of the contract in ../machine.h: adapters of execbuf_call, of handlers, and those that
 * edit the list of arguments. Pure, but for which of its conventions this system has. */
#ifndef XB_THUNK_AARCH64_MACHINE_H
#define XB_THUNK_AARCH64_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "../../base/compiler.h"
#include "../../call/layout.h"
#include "../../call/signature.h"
#include "../../debug/frame.h"

XB_PRIVATE_BEGIN

/* As xb_machine_kinds and the others, for a caller_abi whose target's convention is EXECBUF_ABI_NATIVE. */
const uint8_t *xb_arm_kinds(execbuf_abi caller_abi);
const uint8_t *xb_arm_result_kinds(void);
const uint8_t *xb_arm_handler_result_kinds(void);
uint8_t xb_arm_alike(xb_shape *shape);
uint8_t xb_arm_alike_edited(xb_shape *shape, bool is_result);
uint8_t xb_arm_alike_handled(xb_shape *shape, bool is_result);
void xb_arm_layout(xb_layout *out, const xb_signature *signature);
bool xb_arm_has_small_slots(void);
bool xb_arm_can(const xb_signature *signature, execbuf_abi caller_abi);
void xb_arm_adapter(uint8_t *out, xb_frame *frame, const xb_signature *signature, execbuf_abi caller_abi);

XB_PRIVATE_END

#endif
