/* Writes unwind tables in the format of Windows (Microsoft, "x64 exception handling"). Pure: no state, no
 * system calls.
 *
 * An UNWIND_INFO structure; all numbers are little-endian:
 *
 *     offset  size  content
 *          0     1  version 1 in bits 0 to 2; flags 0 in the others
 *          1     1  length of the prologue
 *          2     1  how many nodes of unwind codes there are
 *          3     1  frame register: none
 *          4  2 * n nodes
 *                2  only if n is odd: padding
 *
 * An unwind code tells what one instruction of the prologue did. Codes are in reverse order of the
 * instructions. A code is one node, and for some operations a second one with an operand:
 *
 *     byte 0     offset in the prologue where the instruction ends
 *     byte 1     operation in bits 0 to 3, its info in bits 4 to 7
 *
 *     operation           info               second node
 *     UWOP_PUSH_NONVOL    register           -
 *     UWOP_ALLOC_SMALL    size / 8 - 1       -                        up to 128 bytes
 *     UWOP_ALLOC_LARGE    0                  size / 8                 up to 512 KiB - 8
 *     UWOP_SAVE_XMM128    register           offset from rsp / 16
 *
 * Code without a frame has no codes. The prologue also sets rbp, which is not described: unwinding counts
 * from rsp, so that no frame register is needed. Nor is the epilogue: Windows recognises its instructions. */

#include "xdata.h"

#include "../base/x86_64.h"
#include "writer.h"

#define INT3 0xccU

/* A node: an unwind code without its operand. */
static void unwind_code(xb_writer *to, uint32_t offset, uint32_t operation, uint32_t info) {
    xb_write_u8(to, offset);
    xb_write_u8(to, operation | info << 4);
}

/* All registers are said to be saved where the last one is: until then each still has its value, so that it
 * makes no difference, and the prologue's first offsets need not be kept. */
static void unwind_vectors(xb_writer *to, const xb_frame *frame) {
    for (uint32_t i = XB_SAVED_VECTORS; i-- > 0;) {
        unwind_code(to, frame->saved, XB_UWOP_SAVE_XMM128, XB_FIRST_SAVED_VECTOR + i);
        xb_write_u16(to, frame->vectors / 16 + i);
    }
}

static void unwind_allocation(xb_writer *to, const xb_frame *frame) {
    if (frame->size <= 128) {
        unwind_code(to, frame->allocated, XB_UWOP_ALLOC_SMALL, frame->size / 8 - 1);
    } else {
        unwind_code(to, frame->allocated, XB_UWOP_ALLOC_LARGE, 0);
        xb_write_u16(to, frame->size / 8);
    }
}

size_t xb_xdata_append(uint8_t *code, const xb_frame *frame) {
    xb_writer to = {code, frame->length};
    while (to.length < xb_xdata_offset(frame->length)) {
        xb_write_u8(&to, INT3);
    }
    size_t start = to.length;
    xb_write_u8(&to, 1);
    xb_write_u8(&to, frame->saves ? frame->saved : frame->allocated);
    xb_write_u8(&to, 0); /* filled in below */
    xb_write_u8(&to, 0);
    size_t nodes = to.length;
    if (frame->saves) {
        unwind_vectors(&to, frame);
    }
    if (frame->pushed_rbp != 0) {
        unwind_allocation(&to, frame);
    }
    if (frame->saves) {
        unwind_code(&to, frame->pushed_rsi, XB_UWOP_PUSH_NONVOL, XB_RSI);
        unwind_code(&to, frame->pushed_rdi, XB_UWOP_PUSH_NONVOL, XB_RDI);
    }
    if (frame->pushed_rbp != 0) {
        unwind_code(&to, frame->pushed_rbp, XB_UWOP_PUSH_NONVOL, XB_RBP);
    }
    code[start + 2] = (uint8_t)((to.length - nodes) / 2);
    if ((to.length - nodes) % 4 != 0) {
        xb_write_u16(&to, 0);
    }
    return to.length;
}
