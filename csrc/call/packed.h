/* The packed convention: arguments and results in arrays of slots of 8 bytes. execbuf.h, "Dynamic calls",
 * describes it to the byte. Pure. */
#ifndef XB_CALL_PACKED_H
#define XB_CALL_PACKED_H

#include "../base/compiler.h"
#include "../include/execbuf.h"
#include "layout.h"
#include "signature.h"

#define XB_SLOT_SIZE 8U

/* How many slots a value of this size has, if it is in slots itself. */
static inline uint32_t xb_packed_slots(uint32_t size) {
    return (size + XB_SLOT_SIZE - 1) / XB_SLOT_SIZE;
}

XB_PRIVATE_BEGIN

/* Fills the layout of a packed call: a place on the "stack" is one in the array of arguments, or of the
 * result, and stack_size is the size of the array of arguments.
 *
 * Out: out:       where the arguments and the result are.
 * In:  signature: has passed xb_signature_check. */
void xb_packed_layout(xb_layout *out, const xb_signature *signature);

XB_PRIVATE_END

/* ---- Names of pairs of conventions ---- */

/* Where an adapter has the convention by which it is called, that of execbuf_call has one of these: they say
 * by which convention it is called itself, and by which it calls its target. They are above all values of
 * execbuf_abi. Both conventions are resolved (see abi.h). */
#define XB_PACKED_FIRST 0x10000
#define XB_HANDLER_FIRST 0x20000

static inline execbuf_abi xb_packed_abi(execbuf_abi entry_abi, execbuf_abi callee_abi) {
    return (execbuf_abi)(XB_PACKED_FIRST + 4 * ((int)entry_abi + 1) + (int)callee_abi + 1);
}

/* Whether a convention is one of these. */
static inline bool xb_abi_is_packed(execbuf_abi abi) {
    return (int)abi >= XB_PACKED_FIRST && (int)abi < XB_HANDLER_FIRST;
}

/* The two conventions of one of these. */
static inline execbuf_abi xb_packed_entry(execbuf_abi packed_abi) {
    return (execbuf_abi)(((int)packed_abi - XB_PACKED_FIRST) / 4 - 1);
}

static inline execbuf_abi xb_packed_callee(execbuf_abi packed_abi) {
    return (execbuf_abi)(((int)packed_abi - XB_PACKED_FIRST) % 4 - 1);
}

/* The adapter of a closure that calls a handler (execbuf_closure_new) has one of these: they say by which
 * convention the closure is called, and by which the handler. Both are resolved, too. */
static inline execbuf_abi xb_handler_abi(execbuf_abi entry_abi, execbuf_abi callee_abi) {
    return (execbuf_abi)(XB_HANDLER_FIRST + 4 * ((int)entry_abi + 1) + (int)callee_abi + 1);
}

static inline bool xb_abi_is_handler(execbuf_abi abi) {
    return (int)abi >= XB_HANDLER_FIRST;
}

static inline execbuf_abi xb_handler_entry(execbuf_abi handler_abi) {
    return (execbuf_abi)(((int)handler_abi - XB_HANDLER_FIRST) / 4 - 1);
}

static inline execbuf_abi xb_handler_callee(execbuf_abi handler_abi) {
    return (execbuf_abi)(((int)handler_abi - XB_HANDLER_FIRST) % 4 - 1);
}

#endif
