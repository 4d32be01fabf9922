/* Lays out both lists of arguments of an adapter that edits: see edit.h. Pure: no state, no system calls. */

#include "edit.h"

#include <string.h>

/* Gives the arguments of both layouts the same indices.
 *
 * In: count: how many arguments the longer list has. */
static void align_layouts(xb_layout *from, xb_edit edit, uint32_t position, uint32_t count) {
    xb_location *at = &from->arguments[position];
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
static bool changes_stack(const xb_layout *from, const xb_layout *where, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const xb_location *old = &from->arguments[i];
        const xb_location *new_ = &where->arguments[i];
        if (new_->where[0] == EXECBUF_ON_STACK &&
            (old->where[0] != EXECBUF_ON_STACK || old->offset != new_->offset)) {
            return true;
        }
    }
    return false;
}

bool xb_edit_layouts(xb_layout *from, xb_layout *where, xb_signature *short_, const xb_signature *signature,
                     execbuf_abi edit, void (*layout_of)(xb_layout *, const xb_signature *, execbuf_abi)) {
    execbuf_abi abi = xb_edit_convention(edit);
    uint32_t position = xb_edit_position(edit);
    bool inserts = xb_edit_of(edit) == XB_EDIT_INSERT;
    *short_ = *signature;
    short_->count--;
    short_->fixed = (uint8_t)(position < short_->fixed ? short_->fixed - 1 : short_->fixed);
    memmove(&short_->arguments[position], &signature->arguments[position + 1], short_->count - position);
    layout_of(from, inserts ? short_ : signature, abi);
    layout_of(where, inserts ? signature : short_, abi);
    align_layouts(from, xb_edit_of(edit), position, signature->count);
    uint32_t count = inserts ? signature->count : short_->count;
    bool has_frame = changes_stack(from, where, count);
    for (uint32_t i = 0; i < count && !has_frame; i++) {
        if (where->arguments[i].where[0] == EXECBUF_ON_STACK) {
            where->arguments[i].where[0] = EXECBUF_NOWHERE;
        }
    }
    return has_frame;
}
