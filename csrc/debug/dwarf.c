/* The unwind tables of a adapter. */

#include "dwarf.h"

#include <string.h>

/* Bytes that are being written. */
typedef struct writer {
    uint8_t *out;
    size_t length;
} writer;

static void put_byte(writer *to, uint32_t byte) {
    to->out[to->length++] = (uint8_t)byte;
}

static void put_u32(writer *to, uint32_t value) {
    memcpy(to->out + to->length, &value, sizeof value);
    to->length += sizeof value;
}

static void put_u64(writer *to, uint64_t value) {
    memcpy(to->out + to->length, &value, sizeof value);
    to->length += sizeof value;
}

/* An unsigned number in LEB128. */
static void put_leb(writer *to, uint32_t value) {
    for (; value >= 0x80; value >>= 7) {
        put_byte(to, (value & 0x7f) | 0x80);
    }
    put_byte(to, value);
}

/* ---- DWARF ---- */

#define DW_CFA_NOP 0x00U
#define DW_CFA_ADVANCE_LOC2 0x03U
#define DW_CFA_DEF_CFA 0x0cU
#define DW_CFA_DEF_CFA_OFFSET 0x0eU
#define DW_CFA_OFFSET 0x80U  /* and a register */
#define DW_CFA_RESTORE 0xc0U /* and a register */

/* Registers by their numbers in DWARF (psABI, figure 3.36). */
#define DWARF_RSI 4U
#define DWARF_RDI 5U
#define DWARF_RSP 7U
#define DWARF_RETURN_ADDRESS 16U
#define DWARF_XMM0 17U

/* Offsets of registers are in units of -8 bytes. */
#define UNIT 8U

/* Behind the instruction that ends at an offset of the code, the CFA is so far above rsp. */
static void put_cfa(writer *to, uint32_t *at, uint32_t offset, uint32_t distance) {
    uint32_t advance = offset - *at;
    put_byte(to, DW_CFA_ADVANCE_LOC2);
    put_byte(to, advance & 0xff);
    put_byte(to, advance >> 8);
    put_byte(to, DW_CFA_DEF_CFA_OFFSET);
    put_leb(to, distance);
    *at = offset;
}

/* The length of a record, when all of it is written; it ends at a multiple of 8. */
static void end_record(writer *to, size_t start) {
    while (to->length % 8 != 0) {
        put_byte(to, DW_CFA_NOP);
    }
    uint32_t length = (uint32_t)(to->length - start - sizeof length);
    memcpy(to->out + start, &length, sizeof length);
}

static void put_cie(writer *to) {
    put_u32(to, 0);  /* the length */
    put_u32(to, 0);  /* this is a CIE */
    put_byte(to, 1); /* version */
    put_byte(to, 'z');
    put_byte(to, 'R');
    put_byte(to, 0);
    put_leb(to, 1);     /* code is counted in bytes */
    put_byte(to, 0x78); /* offsets are in units of -8 */
    put_byte(to, DWARF_RETURN_ADDRESS);
    put_leb(to, 1);     /* the length of what 'R' says: */
    put_byte(to, 0x00); /* DW_EH_PE_absptr */
    put_byte(to, DW_CFA_DEF_CFA);
    put_leb(to, DWARF_RSP);
    put_leb(to, 8);
    put_byte(to, DW_CFA_OFFSET | DWARF_RETURN_ADDRESS);
    put_leb(to, 1);
    end_record(to, 0);
}

/* What the prologue that saves registers does, from the end of its first push on. */
static void put_saves(writer *to, uint32_t *at, const xb_frame *frame, xb_reader reader) {
    put_cfa(to, at, frame->pushed_rdi, 16);
    put_byte(to, DW_CFA_OFFSET | DWARF_RDI);
    put_leb(to, 16 / UNIT);
    put_cfa(to, at, frame->pushed_rsi, 24);
    put_byte(to, DW_CFA_OFFSET | DWARF_RSI);
    put_leb(to, 24 / UNIT);
    put_cfa(to, at, frame->allocated, frame->size + 24);
    if (reader == XB_FOR_DEBUGGERS) {
        put_cfa(to, at, frame->saved, frame->size + 24);
        for (uint32_t i = 0; i < XB_SAVED_VECTORS; i++) {
            put_byte(to, DW_CFA_OFFSET | (DWARF_XMM0 + XB_FIRST_SAVED_VECTOR + i));
            put_leb(to, (frame->size + 24 - frame->vectors - 16 * i) / UNIT);
        }
    }
}

static void put_restores(writer *to, uint32_t *at, const xb_frame *frame, xb_reader reader) {
    put_cfa(to, at, frame->freed, 24);
    for (uint32_t i = 0; reader == XB_FOR_DEBUGGERS && i < XB_SAVED_VECTORS; i++) {
        put_byte(to, DW_CFA_RESTORE | (DWARF_XMM0 + XB_FIRST_SAVED_VECTOR + i));
    }
    put_cfa(to, at, frame->popped_rsi, 16);
    put_byte(to, DW_CFA_RESTORE | DWARF_RSI);
    put_cfa(to, at, frame->popped_rdi, 8);
    put_byte(to, DW_CFA_RESTORE | DWARF_RDI);
}

size_t xb_dwarf_write(uint8_t *out, const xb_frame *frame, const void *code, xb_reader reader) {
    writer to = {out, 0};
    uint32_t at = 0;
    put_cie(&to);
    size_t start = to.length;
    put_u32(&to, 0);                   /* the length */
    put_u32(&to, (uint32_t)start + 4); /* from here back to the CIE */
    put_u64(&to, (uintptr_t)code);
    put_u64(&to, frame->length);
    put_leb(&to, 0); /* nothing more for 'z' */
    if (frame->saves) {
        put_saves(&to, &at, frame, reader);
        put_restores(&to, &at, frame, reader);
    } else {
        put_cfa(&to, &at, frame->allocated, frame->size + 8);
        put_cfa(&to, &at, frame->freed, 8);
    }
    end_record(&to, start);
    put_u32(&to, 0); /* the end of the section */
    return to.length;
}

/* ---- Windows ---- */

#define UWOP_PUSH_NONVOL 0U
#define UWOP_ALLOC_LARGE 1U
#define UWOP_ALLOC_SMALL 2U
#define UWOP_SAVE_XMM128 8U

/* Registers by the numbers of instructions. */
#define RSI 6U
#define RDI 7U

/* An unwind code: what an instruction, that ends at an offset of the code, did. */
static void put_code(writer *to, uint32_t offset, uint32_t operation, uint32_t info) {
    put_byte(to, offset);
    put_byte(to, operation | info << 4);
}

static void put_u16(writer *to, uint32_t value) {
    put_byte(to, value & 0xff);
    put_byte(to, value >> 8);
}

/* Codes are in the order of the instructions, the last first. */
size_t xb_xdata_write(uint8_t *out, const xb_frame *frame) {
    writer to = {out, 0};
    put_byte(&to, 1);                                              /* version 1, no flags */
    put_byte(&to, frame->saves ? frame->saved : frame->allocated); /* the prologue's size */
    put_byte(&to, 0);                                              /* the number of codes */
    put_byte(&to, 0);                                              /* no frame register */
    /* Until the last is saved, all still have their values. */
    for (uint32_t i = XB_SAVED_VECTORS; frame->saves && i-- > 0;) {
        put_code(&to, frame->saved, UWOP_SAVE_XMM128, XB_FIRST_SAVED_VECTOR + i);
        put_u16(&to, frame->vectors / 16 + i);
    }
    if (frame->size <= 128) {
        put_code(&to, frame->allocated, UWOP_ALLOC_SMALL, frame->size / 8 - 1);
    } else {
        put_code(&to, frame->allocated, UWOP_ALLOC_LARGE, 0);
        put_u16(&to, frame->size / 8);
    }
    if (frame->saves) {
        put_code(&to, frame->pushed_rsi, UWOP_PUSH_NONVOL, RSI);
        put_code(&to, frame->pushed_rdi, UWOP_PUSH_NONVOL, RDI);
    }
    to.out[2] = (uint8_t)((to.length - 4) / 2);
    if (to.length % 4 != 0) {
        put_u16(&to, 0); /* the number of codes that are there is even */
    }
    return to.length;
}
