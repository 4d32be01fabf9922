/* What thunks need of an instruction set: the contract of x86_64/ and aarch64/, and of any folder for another
 * one.
 *
 * A thunk is a function that is called by one calling convention and calls its target by the other. The
 * functions here work on every machine: which conventions can be called on this one, api/ checks.
 *
 * A thunk is made in one of two ways:
 *
 *     whole:   xb_machine_thunk writes it as one piece of code.
 *     shared:  a stub for each thunk, which loads the address of its target into a scratch register and
 *              jumps; and an adapter, which moves the arguments and calls the target. All stubs whose
 *              adapters would be the same code share one.
 *
 * execbuf_call has adapters as well: they are called with a function and slots (see call/packed.h). So have
 * the closures of execbuf_closure_new, whose adapters call a handler with slots: see "Handlers" below.
 *
 * The inline part of the contract is in the folder's stub.h, since execbuf_thunk_new's fast path needs it:
 *
 *     XB_STUB_NEAR < XB_STUB_TARGET_FAR < XB_STUB_FAR
 *                         lengths of stubs, each of which reaches more than the one before; XB_STUB_NEAR is
 *                         two words, the others are more, and at most four
 *     XB_STUB_JUMP        the length of a stub that has no adapter and jumps to its target
 *     xb_stub             the code of a stub, as words
 *     xb_stub_reaches     whether a short stub beside one address can refer to another address
 *     xb_stub_fits        whether a stub of some length can be at some address
 *     xb_stub_make        writes a stub
 *     xb_stub_adapter     reads the address of its adapter from a stub
 *     xb_stub_operand     reads the address of its target, or of its cell
 *
 * Adapters that edit the list of arguments (see edit.h) have stubs of the same kinds. If they insert an
 * argument, the stub has the address of a cell in place of the target's.
 *
 * Handlers: the adapter of a closure that calls a handler is entered as a function of the signature and the
 * convention xb_handler_entry, with the address of a cell (see cell.h) where stubs leave it. It
 *
 *     - writes each argument to its slots, which are in its frame: at the offset that xb_packed_layout says.
 *       Integers of less than 64 bits and bool are extended to the slot. Of a value of more than 16 bytes,
 *       the slot has the address: of where the caller has put it, or of a copy in the frame.
 *     - zeroes the memory of the result. A result of at most 16 bytes has 16 bytes in the frame, aligned to
 *       16; a longer one is where the caller wants it, and no other byte there is touched.
 *     - calls the cell's function by xb_handler_callee, as an execbuf_handler: with the cell's context, the
 *       address of the slots, and that of the result's memory, which is never NULL.
 *     - returns the result. Of a value in a general register, only the bytes of its type are read, and small
 *       integers are extended; of a value that the caller wants in memory, no byte behind it is written.
 *
 * No move depends on whether the signature is variadic, except where xb_machine_has_small_slots. */
#ifndef XB_THUNK_MACHINE_H
#define XB_THUNK_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/compiler.h"
#include "../call/layout.h"
#include "../call/signature.h"
#include "../debug/frame.h"
#include "../include/execbuf.h"

#if defined(__aarch64__) || defined(_M_ARM64)
#include "aarch64/stub.h"
#else /* x86-64; on others nothing has stubs */
#include "x86_64/stub.h"
#endif

/* The longest adapter, and the longest thunk that is made whole, in bytes. */
#define XB_MAX_ADAPTER_SIZE 4032U
#define XB_MAX_THUNK_SIZE (XB_MAX_ADAPTER_SIZE + 16U)

XB_PRIVATE_BEGIN

/* By execbuf_type_kind, of types without members: the type that stands for all arguments that an adapter
 * moves alike. VOID for VOID.
 *
 * In: caller_abi: the convention by which the adapter is called: EXECBUF_ABI_SYSV64 or EXECBUF_ABI_WIN64; or
 *                 an edit (see edit.h), or one of xb_packed_abi or xb_handler_abi. Conventions of these that
 *                 are EXECBUF_ABI_NATIVE are that of AArch64. */
const uint8_t *xb_machine_kinds(execbuf_abi caller_abi);

/* The same for results; VOID if a result is not moved. */
const uint8_t *xb_machine_result_kinds(execbuf_abi caller_abi);

/* The same for shapes.
 *
 * Returns: the execbuf_type_kind that stands for the shape, VOID if a result is not moved; or XB_FIRST_SHAPE,
 *          and shape has become the shape that stands for it. */
uint8_t xb_machine_alike(xb_shape *shape, execbuf_abi caller_abi, bool is_result);

/* The same for adapters that edit, by convention. */
uint8_t xb_machine_alike_edited(xb_shape *shape, bool is_result, execbuf_abi abi);

/* Where an adapter of execbuf_call finds and leaves the arguments and the result of its target.
 *
 * In: caller_abi: one of xb_packed_abi. */
void xb_machine_layout(xb_layout *out, const xb_signature *signature, execbuf_abi caller_abi);

/* Whether arguments on the stack have the size of their types there, and not at least 8 bytes. */
bool xb_machine_has_small_slots(execbuf_abi caller_abi);

/* Whether an adapter can be made: it must not need more than XB_MAX_ADAPTER_SIZE bytes of code, nor a page of
 * stack. It always can if the signature has no shapes, and the adapter has nothing to do with slots.
 *
 * In: signature, caller_abi: as below. */
bool xb_machine_can(const xb_signature *signature, execbuf_abi caller_abi);

/* Writes an adapter. The code can be published at any address.
 *
 * Out: out:        the code, at most XB_MAX_ADAPTER_SIZE bytes.
 *      frame:      its length, and what its prologue and epilogue do.
 * In:  signature:  has passed xb_signature_check, and xb_machine_can.
 *      caller_abi: as above; the target's is the other one, or that of xb_packed_callee or
 *                  xb_handler_callee. If it is an edit, signature is the longer one, and the argument at the
 *                  position is a pointer if it is inserted. */
void xb_machine_adapter(uint8_t *out, xb_frame *frame, const xb_signature *signature, execbuf_abi caller_abi);

/* Writes a whole thunk. The code can be published at any address.
 *
 * Returns: its length.
 * Out: out:        the code, at most XB_MAX_THUNK_SIZE bytes.
 * In:  signature:  has passed xb_signature_check; and xb_machine_can, if the two conventions differ.
 *      caller_abi: the convention by which the thunk is called: EXECBUF_ABI_SYSV64 or EXECBUF_ABI_WIN64.
 *      callee_abi: the target's. If it is the same, the thunk only jumps.
 *      target:     the function that it calls. */
size_t xb_machine_thunk(uint8_t *out, const xb_signature *signature, execbuf_abi caller_abi,
                        execbuf_abi callee_abi, const void *target);

XB_PRIVATE_END

#endif
