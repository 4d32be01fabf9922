/* Calls without machine code of their own, for execbuf_call where no memory can be made executable: a
 * function in C puts the arguments into an image of the registers and of the stack, and a routine in assembly
 * loads the image and calls. It is slower than an adapter, and needs a compiler that takes GNU assembly. */
#ifndef XB_THUNK_IMAGE_H
#define XB_THUNK_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../call/layout.h"
#include "../call/signature.h"
#include "../include/execbuf.h"

/* What is known of a call before it is made. */
typedef struct xb_image_plan {
    execbuf_abi packed_abi; /* one of xb_packed_abi */
    uint8_t result;         /* the type of the result: an execbuf_type_kind, or a shape */
    uint8_t count;          /* how many arguments there are */
    uint8_t types[EXECBUF_MAX_ARGUMENTS];
    bool is_variadic;
    xb_layout from;  /* the slots */
    xb_layout where; /* where the target wants the arguments */
    uint32_t copies; /* where copies of values begin in the frame */
} xb_image_plan;

XB_PRIVATE_BEGIN

/* Whether this build has the routine in assembly. */
bool xb_image_exists(void);

/* Fills a plan.
 *
 * In: signature:  has passed xb_signature_check and xb_machine_can.
 *     packed_abi: one of xb_packed_abi, whose entry is this system's convention. */
void xb_image_plan_of(xb_image_plan *plan, const xb_signature *signature, execbuf_abi packed_abi);

/* Makes a call, as execbuf_call. xb_image_exists is true. */
void xb_image_call(const xb_image_plan *plan, execbuf_function function, const execbuf_slot *arguments,
                   execbuf_slot *result);

XB_PRIVATE_END

#endif
