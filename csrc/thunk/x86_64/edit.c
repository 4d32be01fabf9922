/* Adapters that insert or drop an argument: which arguments are moved alike, and where they are. Pure: no
 * state, no system calls.
 *
 * Both lists of arguments are laid out by the same convention, so an argument is moved as it is: as whole
 * registers, or whole slots of the stack, and a value of which Win64 passes the address is a word. If no
 * place on the stack changes, the adapter has no frame. It moves registers and jumps, and the target finds
 * the caller's stack arguments where it wants them. The context as the last of up to six arguments, of which
 * none is on the stack, takes System V's target one move and one jump. */

#include "../edit.h"
#include "../machine.h"
#include "code.h"
#include "machine.h"

/* Of a value with members, or of one whose address is passed. */
uint8_t xb_x86_alike_edited(xb_shape *shape, bool is_result, execbuf_abi abi) {
    bool is_word = shape->size == 1 || shape->size == 2 || shape->size == 4 || shape->size == 8;
    bool is_win64 = abi == EXECBUF_ABI_WIN64;
    shape->arm = 0;
    if (is_result) { /* not moved, but an address may be passed before the arguments */
        if (is_win64 ? is_word : shape->classes[0] != XB_CLASS_MEMORY) {
            return (uint8_t)EXECBUF_TYPE_VOID;
        }
        shape->size = XB_MAX_IN_REGISTERS + 8;
        shape->align = 8;
        shape->classes[0] = XB_CLASS_MEMORY;
        shape->classes[1] = XB_CLASS_MEMORY;
        return XB_FIRST_SHAPE;
    }
    if (is_win64 || (shape->size <= 8 && shape->classes[0] == XB_CLASS_INTEGER)) {
        return (uint8_t)EXECBUF_TYPE_I64;
    }
    shape->align = shape->align <= 8 ? 8 : 16;
    shape->size = (shape->size + 7) & ~7U;
    return XB_FIRST_SHAPE;
}

bool xb_edit_x86(xb_code *code, xb_signature *short_, const xb_signature *signature, execbuf_abi edit) {
    code->signature = xb_edit_of(edit) == XB_EDIT_INSERT ? signature : short_;
    code->callee_abi = xb_edit_convention(edit);
    return xb_edit_layouts(&code->from, &code->where, short_, signature, edit, xb_layout_of);
}
