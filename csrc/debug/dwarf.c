/* Writes unwind tables in the format of DWARF (DWARF 5, 6.4 "Call Frame Information"; Linux Standard Base
 * Core 5.0, 10.6 "Exception Frames"). Pure: no state, no system calls.
 *
 * The section, on x86-64. All numbers are little-endian; "leb" is an unsigned LEB128:
 *
 *     offset  size  CIE: what all functions of a section have in common
 *          0     4  length of the rest of the CIE: 20
 *          4     4  0: this is a CIE
 *          8     1  version: 1
 *          9     3  augmentation "zR": a length follows, then the encoding of addresses
 *         12   leb  code alignment factor: 1
 *         13     1  data alignment factor: -8, as a signed LEB128
 *         14     1  return address register: 16
 *         15   leb  augmentation length: 1
 *         16     1  encoding of addresses: absolute, of 8 bytes (DW_EH_PE_absptr)
 *         17     3  DW_CFA_def_cfa rsp, 8: at a function's entry, the CFA is rsp + 8
 *         20     2  DW_CFA_offset 16, 1: the return address is at CFA - 8
 *         22     2  DW_CFA_nop, to the multiple of 8
 *
 *     offset  size  FDE: one function
 *         24     4  length of the rest of the FDE
 *         28     4  distance from here back to the CIE: 28
 *         32     8  address of the function
 *         40     8  length of the function
 *         48   leb  augmentation length: 0
 *         49     *  instructions (see below)
 *                *  DW_CFA_nop, to the multiple of 8
 *                4  0: terminator
 *
 * On AArch64, the registers are others, the CFA is sp at the entry, and the return address is in a register.
 *
 * The CFA, "canonical frame address", is the caller's rsp at the call: the return address lies below it. The
 * instructions say, from which address of the code on, how far above rsp or rbp it is, and where registers
 * are saved, in multiples of -8 bytes from it. */

#include "dwarf.h"

#include <string.h>

#include "registers.h"
#include "writer.h"

/* Call frame instructions (DWARF 5, 7.24). In the last two, the lower six bits are a register. */
#define DW_CFA_NOP 0x00U
#define DW_CFA_ADVANCE_LOC2 0x03U
#define DW_CFA_DEF_CFA 0x0cU
#define DW_CFA_OFFSET 0x80U
#define DW_CFA_RESTORE 0xc0U

#define DW_EH_PE_ABSPTR 0x00U

/* Registers have numbers of their own in DWARF (psABI, figure 3.36); registers.h has those of other machines.
 */
#define DWARF_RSI 4U
#define DWARF_RDI 5U
#define DWARF_XMM0 17U

/* From the stack pointer to the CFA at the entry, and when the frame pointer has been pushed. */
#if defined(__aarch64__) || defined(_M_ARM64)
#define AT_ENTRY 0U
#define WHEN_PUSHED 32U
#else
#define AT_ENTRY 8U
#define WHEN_PUSHED 16U
#endif

/* A table that is being written. */
typedef struct dwarf_table {
    xb_writer to;
    uint32_t at; /* the offset in the code that the instructions have reached */
} dwarf_table;

/* DW_CFA_offset: a register is saved so many bytes below the CFA. */
static void saved_at(dwarf_table *table, uint32_t reg, uint32_t distance) {
    xb_write_u8(&table->to, DW_CFA_OFFSET | reg);
    xb_write_leb128(&table->to, distance / XB_DATA_UNIT_SIZE);
}

/* DW_CFA_restore: a register has its value of the function's entry again. */
static void restored(dwarf_table *table, uint32_t reg) {
    xb_write_u8(&table->to, DW_CFA_RESTORE | reg);
}

/* DW_CFA_advance_loc2: what follows is true from this offset in the code on, which is the end of an
 * instruction. */
static void from_offset(dwarf_table *table, uint32_t offset) {
    xb_write_u8(&table->to, DW_CFA_ADVANCE_LOC2);
    xb_write_u16(&table->to, offset - table->at);
    table->at = offset;
}

/* DW_CFA_def_cfa: the CFA is so many bytes above a register. */
static void cfa_is(dwarf_table *table, uint32_t reg, uint32_t distance) {
    xb_write_u8(&table->to, DW_CFA_DEF_CFA);
    xb_write_leb128(&table->to, reg);
    xb_write_leb128(&table->to, distance);
}

/* Ends the CIE or FDE that begins at start: pads it, and fills in its length. */
static void end_record(xb_writer *to, size_t start) {
    while (to->length % 8 != 0) {
        xb_write_u8(to, DW_CFA_NOP);
    }
    xb_writer length = {to->out, start};
    xb_write_u32(&length, (uint32_t)(to->length - start - 4));
}

static void write_cie(dwarf_table *table) {
    xb_writer *to = &table->to;
    xb_write_u32(to, 0); /* end_record writes the length */
    xb_write_u32(to, 0);
    xb_write_u8(to, 1);
    xb_write_u8(to, 'z');
    xb_write_u8(to, 'R');
    xb_write_u8(to, '\0');
    xb_write_leb128(to, 1);
    xb_write_u8(to, XB_DATA_UNIT);
    xb_write_u8(to, XB_DWARF_RETURN);
    xb_write_leb128(to, 1);
    xb_write_u8(to, DW_EH_PE_ABSPTR);
    cfa_is(table, XB_DWARF_SP, AT_ENTRY);
    if (AT_ENTRY > 0) {
        saved_at(table, XB_DWARF_RETURN, AT_ENTRY);
    }
    end_record(to, 0);
}

/* Says where the general registers of an adapter that saves them are. */
static void write_saving(dwarf_table *table, const xb_frame *frame) {
    from_offset(table, frame->pushed_rsi); /* until then rdi has its value, too */
    saved_at(table, DWARF_RDI, 24);
    saved_at(table, DWARF_RSI, 32);
}

static void write_restoring(dwarf_table *table, const xb_frame *frame) {
    from_offset(table, frame->popped_rsi);
    restored(table, DWARF_RSI);
    from_offset(table, frame->popped_rdi);
    restored(table, DWARF_RDI);
}

/* Says where the vector registers are. */
static void write_vectors(dwarf_table *table, const xb_frame *frame) {
    uint32_t distance = frame->size + 32; /* from rsp after the subtraction to the CFA */
    from_offset(table, frame->saved);
    for (uint32_t i = 0; i < XB_SAVED_VECTORS; i++) {
        saved_at(table, DWARF_XMM0 + XB_FIRST_SAVED_VECTOR + i, distance - frame->vectors - 16 * i);
    }
    from_offset(table, frame->freed);
    for (uint32_t i = 0; i < XB_SAVED_VECTORS; i++) {
        restored(table, DWARF_XMM0 + XB_FIRST_SAVED_VECTOR + i);
    }
}

/* The instructions. The frame of an adapter:
 *
 *     CFA - 8                  return address
 *     CFA - 16                 rbp, whose new value is the address of this
 *     CFA - 24                 rdi, if it is saved
 *     CFA - 32                 rsi, if it is saved
 *     CFA - 32 - size          rsp after the subtraction; xmm6 is `vectors` bytes above it
 *
 * On AArch64, x29 is at CFA - 32 and x30 at CFA - 24 (thunk/aarch64/packed.c draws the frame).
 *
 * While rbp is the frame pointer, rsp does not matter. Code without a frame has no instructions. */
static void write_instructions(dwarf_table *table, const xb_frame *frame, xb_reader reader) {
    if (frame->pushed_rbp == 0) {
        return;
    }
    from_offset(table, frame->pushed_rbp);
    cfa_is(table, XB_DWARF_SP, WHEN_PUSHED);
    saved_at(table, XB_DWARF_FP, WHEN_PUSHED);
    if (AT_ENTRY == 0) {
        saved_at(table, XB_DWARF_RETURN, WHEN_PUSHED - 8);
    }
    from_offset(table, frame->moved_rbp);
    cfa_is(table, XB_DWARF_FP, WHEN_PUSHED);
    if (frame->saves) {
        write_saving(table, frame);
        if (reader == XB_FOR_DEBUGGERS) {
            write_vectors(table, frame);
        }
        write_restoring(table, frame);
    }
    from_offset(table, frame->popped_rbp);
    cfa_is(table, XB_DWARF_SP, AT_ENTRY);
    restored(table, XB_DWARF_FP);
    if (AT_ENTRY == 0) {
        restored(table, XB_DWARF_RETURN);
    }
}

static void write_fde(dwarf_table *table, const xb_frame *frame, const void *code, xb_reader reader) {
    xb_writer *to = &table->to;
    size_t start = to->length;
    xb_write_u32(to, 0); /* end_record writes the length */
    xb_write_u32(to, (uint32_t)start + 4);
    xb_write_u64(to, (uintptr_t)code);
    xb_write_u64(to, frame->length);
    xb_write_leb128(to, 0);
    write_instructions(table, frame, reader);
    end_record(to, start);
}

size_t xb_dwarf_write(uint8_t *out, const xb_frame *frame, const void *code, xb_reader reader) {
    dwarf_table table;
    memset(&table, 0, sizeof table);
    table.to.out = out;
    write_cie(&table); /* ends at XB_FDE_OFFSET */
    write_fde(&table, frame, code, reader);
    xb_write_u32(&table.to, 0);
    return table.to.length;
}

/* ---- Lists ---- */

/* The augmentation length and the instructions begin at this word of an FDE, as the drawing above shows. */
#define WORD_OF_INSTRUCTIONS 3U

uint64_t *xb_dwarf_fde(uint64_t *words, size_t index) {
    return words + XB_FDE_OFFSET / 8 + index * XB_FDE_WORDS;
}

void xb_dwarf_write_list(uint64_t *words, const uint8_t *start, size_t size, size_t count) {
    dwarf_table table;
    memset(&table, 0, sizeof table);
    memset(words, 0, XB_LIST_WORDS(count) * 8); /* DW_CFA_nop, and the terminator */
    table.to.out = (uint8_t *)words;
    write_cie(&table);
    for (size_t i = 0; i < count; i++) {
        xb_write_u32(&table.to, XB_FDE_WORDS * 8 - 4);
        xb_write_u32(&table.to, (uint32_t)table.to.length);
        xb_write_u64(&table.to, (uintptr_t)start + i * size);
        xb_write_u64(&table.to, size);
        table.to.length += (size_t)8 * (XB_FDE_WORDS - WORD_OF_INSTRUCTIONS);
    }
}

void xb_dwarf_fill(uint64_t *words, size_t index, const xb_frame *frame) {
    uint64_t scratch[XB_MAX_DWARF_SIZE / 8];
    dwarf_table table;
    memset(&table, 0, sizeof table);
    memset(scratch, 0, sizeof scratch);
    table.to.out = (uint8_t *)scratch;
    /* At most 61 bytes: 25 before the instructions, six times from_offset of 3 bytes, three times cfa_is of
     * 3, three times saved_at of 2, and three times restored of 1. So zeros follow, which are DW_CFA_nop. */
    write_fde(&table, frame, NULL, XB_FOR_UNWINDERS);
    memcpy(xb_dwarf_fde(words, index) + WORD_OF_INSTRUCTIONS, scratch + WORD_OF_INSTRUCTIONS,
           (size_t)8 * (XB_FDE_WORDS - WORD_OF_INSTRUCTIONS));
}
