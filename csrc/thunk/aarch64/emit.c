/* Writes the adapters of AArch64: packed.c, handler.c and edit.c draw them. Pure, but for which of its
 * conventions this system has. */

#include <string.h>

#include "../../call/abi.h"
#include "../../call/packed.h"
#include "../../call/type.h"
#include "../machine.h"
#include "code.h"
#include "machine.h"

/* ---- What is moved alike ---- */

#define NONE EXECBUF_TYPE_VOID
#define I8 EXECBUF_TYPE_I8
#define U8 EXECBUF_TYPE_U8
#define I16 EXECBUF_TYPE_I16
#define U16 EXECBUF_TYPE_U16
#define I32 EXECBUF_TYPE_I32
#define U32 EXECBUF_TYPE_U32
#define I64 EXECBUF_TYPE_I64
#define F32 EXECBUF_TYPE_F32
#define F64 EXECBUF_TYPE_F64
#define I128 EXECBUF_TYPE_I128
#define V128 EXECBUF_TYPE_V128
/* The lists below are of void, bool, i8, u8, i16, u16, i32, u32, i64, u64, pointer, f32, f64, i128, u128 and
 * the vector. */

/* An edit moves whole registers, and whole slots of the stack. On Apple, those have the sizes of the types.
 */
const uint8_t *xb_arm_kinds(execbuf_abi caller_abi) {
    static const uint8_t kinds[XB_TYPE_COUNT] = {NONE, U8,  I8,  U8,  I16, U16,  I32,  I32,
                                                 I64,  I64, I64, F32, F64, I128, I128, V128};
    static const uint8_t edited[XB_TYPE_COUNT] = {NONE, I64, I64, I64, I64, I64,  I64,  I64,
                                                  I64,  I64, I64, F64, F64, I128, I128, V128};
    if (xb_abi_is_handler(caller_abi)) { /* integers are extended to their slots, as results are */
        return xb_arm_result_kinds();
    }
    return xb_edit_of(caller_abi) != XB_EDIT_NONE && !xb_arm_has_small_slots() ? edited : kinds;
}

const uint8_t *xb_arm_result_kinds(void) {
    static const uint8_t kinds[XB_TYPE_COUNT] = {NONE, U8,  I8,  U8,  I16, U16,  I32,  U32,
                                                 I64,  I64, I64, F32, F64, I128, I128, V128};
    return kinds;
}

/* Of the result of a handler, nobody relies on the upper half of x0 if it has 32 bits. */
const uint8_t *xb_arm_handler_result_kinds(void) {
    static const uint8_t kinds[XB_TYPE_COUNT] = {NONE, U8,  I8,  U8,  I16, U16,  I64,  I64,
                                                 I64,  I64, I64, F32, F64, I128, I128, V128};
    return kinds;
}

#undef NONE
#undef I8
#undef U8
#undef I16
#undef U16
#undef I32
#undef U32
#undef I64
#undef F32
#undef F64
#undef I128
#undef V128

/* System V's classes do not matter. */
uint8_t xb_arm_alike(xb_shape *shape) {
    shape->classes[0] = XB_CLASS_NONE;
    shape->classes[1] = XB_CLASS_NONE;
    return XB_FIRST_SHAPE;
}

/* Of an edit, and of the arguments for a handler: what is passed by address, or is one word, is moved as an
 * integer. */
uint8_t xb_arm_alike_edited(xb_shape *shape, bool is_result) {
    bool is_long = shape->size > XB_MAX_IN_REGISTERS;
    bool has_elements = (shape->arm & XB_ARM_ELEMENT) != 0;
    if (is_result) { /* not moved, and the address of its memory is not either */
        return (uint8_t)EXECBUF_TYPE_VOID;
    }
    if (!has_elements && (is_long || shape->size <= 8)) {
        return (uint8_t)EXECBUF_TYPE_I64;
    }
    shape->size = has_elements ? shape->size : XB_MAX_IN_REGISTERS;
    shape->align = shape->align <= 8 ? 8 : 16;
    return xb_arm_alike(shape);
}

/* Whole registers are loaded; but of a result in memory, exactly the bytes are zeroed. */
uint8_t xb_arm_alike_handled(xb_shape *shape, bool is_result) {
    bool has_elements = (shape->arm & XB_ARM_ELEMENT) != 0;
    if (!is_result) {
        return xb_arm_alike_edited(shape, false);
    }
    shape->align = 8;
    if (!has_elements && shape->size <= 8) {
        return (uint8_t)EXECBUF_TYPE_I64;
    }
    if (!has_elements) {
        shape->arm = 0;
        shape->size = shape->size <= XB_MAX_IN_REGISTERS ? XB_MAX_IN_REGISTERS : shape->size;
    }
    return xb_arm_alike(shape);
}

/* ---- The convention of this system ---- */

void xb_arm_layout(xb_layout *out, const xb_signature *signature) {
    execbuf_abi abi = XB_ABI_AAPCS64;
    switch (xb_prim_arm) {
    case XB_PRIM_ARM_APPLE: abi = XB_ABI_APPLE64; break;
    case XB_PRIM_ARM_WINDOWS: abi = XB_ABI_WINDOWS64; break;
    default: break;
    }
    xb_layout_of_aarch64(out, signature, abi);
}

bool xb_arm_has_small_slots(void) {
    return xb_prim_arm == XB_PRIM_ARM_APPLE;
}

/* ---- Adapters ---- */

static void write_arm(xb_arm_code *code, const xb_signature *signature, execbuf_abi caller_abi) {
    xb_signature short_;
    xb_arm_bti_c(&code->to); /* of XB_ADAPTER_START bytes */
    if (xb_edit_of(caller_abi) != XB_EDIT_NONE) {
        xb_arm_edit_write(code, &short_, signature, caller_abi);
    } else if (xb_abi_is_handler(caller_abi)) {
        xb_arm_handler_write(code, signature);
    } else {
        xb_arm_packed_write(code, signature);
    }
    code->signature = NULL; /* short_ ends here */
    code->frame.length = code->to.length;
}

bool xb_arm_can(const xb_signature *signature, execbuf_abi caller_abi) {
    if (signature->shape_count == 0) {
        return true;
    }
    xb_arm_code code; /* which is measured and not written */
    memset(&code, 0, sizeof code);
    write_arm(&code, signature, caller_abi);
    return code.frame.size <= XB_ARM_MOST_BELOW && code.from.stack_size <= XB_ARM_MOST_BELOW &&
           code.to.length <= XB_MAX_ADAPTER_SIZE;
}

void xb_arm_adapter(uint8_t *out, xb_frame *frame, const xb_signature *signature, execbuf_abi caller_abi) {
    xb_arm_code code;
    memset(&code, 0, sizeof code);
    code.to.out = out;
    code.to.capacity = XB_MAX_ADAPTER_SIZE;
    write_arm(&code, signature, caller_abi);
    *frame = code.frame;
}
