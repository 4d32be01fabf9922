/* What x86-64 fulfils of the contract in ../machine.h, for a caller_abi whose target has one of its
 * conventions. Pure. */
#ifndef XB_THUNK_X86_64_MACHINE_H
#define XB_THUNK_X86_64_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "../../base/compiler.h"
#include "../../call/signature.h"
#include "../../debug/frame.h"
#include "../../include/execbuf.h"

XB_PRIVATE_BEGIN

/* As xb_machine_kinds and the others. */
const uint8_t *xb_x86_kinds(execbuf_abi caller_abi);
const uint8_t *xb_x86_result_kinds(execbuf_abi caller_abi);
uint8_t xb_x86_alike(xb_shape *shape, execbuf_abi caller_abi, bool is_result);
uint8_t xb_x86_alike_edited(xb_shape *shape, bool is_result, execbuf_abi abi);
bool xb_x86_can(const xb_signature *signature, execbuf_abi caller_abi);
void xb_x86_adapter(uint8_t *out, xb_frame *frame, const xb_signature *signature, execbuf_abi caller_abi);

XB_PRIVATE_END

#endif
