/* Adapters that edit the list of arguments: how they are named where those of thunks have the caller's
 * convention.
 *
 * An adapter of a thunk is called by one convention, EXECBUF_ABI_SYSV64 or EXECBUF_ABI_WIN64, and calls its
 * target by the other. An adapter that edits is called by a convention and calls its target by the same one.
 * All that it does fits into one number, which is no value of execbuf_abi for users:
 *
 *     bits 0 to 3     bits 4 to 7     bits 8 to 15
 *     convention      xb_edit         position of the argument, from 0 on */
#ifndef XB_THUNK_EDIT_H
#define XB_THUNK_EDIT_H

#include <stdint.h>

#include "../include/execbuf.h"

/* What happens to the list of arguments. The position is that of the argument in the longer list. */
typedef enum xb_edit {
    XB_EDIT_NONE,
    XB_EDIT_INSERT, /* the target gets one more argument, a pointer: the context. Stubs have cells */
    XB_EDIT_DROP    /* the target gets one argument less */
} xb_edit;

/* The number of an edit. position is below EXECBUF_MAX_ARGUMENTS. */
static inline execbuf_abi xb_edit_abi(execbuf_abi abi, xb_edit edit, uint32_t position) {
    return (execbuf_abi)((uint32_t)abi | (uint32_t)edit << 4 | position << 8);
}

/* The parts of the number. The edit of a convention by itself is XB_EDIT_NONE. */
static inline execbuf_abi xb_edit_convention(execbuf_abi abi) {
    return (execbuf_abi)((uint32_t)abi & 0xf);
}

static inline xb_edit xb_edit_of(execbuf_abi abi) {
    return (xb_edit)((uint32_t)abi >> 4 & 0xf);
}

static inline uint32_t xb_edit_position(execbuf_abi abi) {
    return (uint32_t)abi >> 8;
}

#endif
