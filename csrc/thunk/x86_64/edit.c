/* Adapters that insert or drop an argument: which arguments are moved alike, and where they are. Pure: no
 * state, no system calls.
 *
 * Both lists of arguments are laid out by the same convention, so an argument is moved as it is: as whole
 * registers, or whole slots of the stack, and a value of which Win64 passes the address is a word. If no
 * place on the stack changes, the adapter has no frame. It moves registers and jumps, and the target finds
 * the caller's stack arguments where it wants them. The context as the last of up to six arguments, of which
 * none is on the stack, takes System V's target one move and one jump. */

#include <string.h>

#include "../edit.h"
#include "../machine.h"
#include "code.h"

/* Of a value with members, or of one whose address is passed. */
uint8_t xb_machine_alike_edited(xb_shape *shape, bool is_result, execbuf_abi abi) {
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

/* Gives the arguments of both layouts the same indices.
 *
 * In: count: how many arguments the longer list has. */
static void align_layouts(xb_code *code, xb_edit edit, uint32_t position, uint32_t count) {
    xb_location *at = &code->from.arguments[position];
    size_t behind = (count - 1 - position) * sizeof *at;
    if (edit == XB_EDIT_INSERT) {
        memmove(at + 1, at, behind);
        memset(at, 0, sizeof *at);
        at->where[0] = XB_IN_CELL;
        at->size = 8;
    } else {
        memmove(at, at + 1, behind);
    }
}

/* Whether an argument has to be put on the stack, or to another place there. */
static bool changes_stack(const xb_code *code) {
    for (uint32_t i = 0; i < code->signature->count; i++) {
        const xb_location *from = &code->from.arguments[i];
        const xb_location *where = &code->where.arguments[i];
        if (where->where[0] == EXECBUF_ON_STACK &&
            (from->where[0] != EXECBUF_ON_STACK || from->offset != where->offset)) {
            return true;
        }
    }
    return false;
}

bool xb_edit_layouts(xb_code *code, xb_signature *short_, const xb_signature *signature, execbuf_abi edit) {
    execbuf_abi abi = xb_edit_convention(edit);
    uint32_t position = xb_edit_position(edit);
    bool inserts = xb_edit_of(edit) == XB_EDIT_INSERT;
    *short_ = *signature;
    short_->count--;
    memmove(&short_->arguments[position], &signature->arguments[position + 1], short_->count - position);
    code->signature = inserts ? signature : short_;
    code->callee_abi = abi;
    xb_layout_of(&code->from, inserts ? short_ : signature, abi);
    xb_layout_of(&code->where, code->signature, abi);
    align_layouts(code, xb_edit_of(edit), position, signature->count);
    bool has_frame = changes_stack(code);
    for (uint32_t i = 0; i < code->signature->count && !has_frame; i++) {
        xb_location *where = &code->where.arguments[i];
        if (where->where[0] == EXECBUF_ON_STACK) {
            where->where[0] = EXECBUF_NOWHERE;
        }
    }
    return has_frame;
}
