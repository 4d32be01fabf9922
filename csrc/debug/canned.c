/* Unwind rules of frames that a user describes in words. Pure: no state, no system calls.
 *
 * The CFA is the caller's stack pointer at the call. x86-64 has the return address below it; on AArch64 and
 * RISC-V it is in a register. */

#include "canned.h"

#include <string.h>

#include "registers.h"
#include "writer.h"

#define DW_CFA_ADVANCE_LOC4 0x04U
#define DW_CFA_DEF_CFA 0x0cU
#define DW_CFA_DEF_CFA_REGISTER 0x0dU
#define DW_CFA_DEF_CFA_OFFSET 0x0eU
#define DW_CFA_OFFSET 0x80U
#define DW_CFA_RESTORE 0xc0U

/* From the stack pointer to the CFA at the entry, and the instructions of a CIE that say so. */
#if defined(__aarch64__) || defined(_M_ARM64) || defined(__riscv)
#define ENTRY_OFFSET 0U
static const uint8_t canned_initial[] = {DW_CFA_DEF_CFA, XB_DWARF_SP, 0};
#else
#define ENTRY_OFFSET 8U
static const uint8_t canned_initial[] = {DW_CFA_DEF_CFA, XB_DWARF_SP, 8, DW_CFA_OFFSET | XB_DWARF_RETURN, 1};
#endif

/* What follows holds from this offset in the code on.
 *
 * In/Out: location: the offset that the instructions have reached. */
static void canned_advance(xb_writer *to, size_t *location, size_t offset) {
    xb_write_u8(to, DW_CFA_ADVANCE_LOC4);
    xb_write_u32(to, (uint32_t)(offset - *location));
    *location = offset;
}

static void canned_offset(xb_writer *to, uint32_t offset) {
    xb_write_u8(to, DW_CFA_DEF_CFA_OFFSET);
    xb_write_leb128(to, offset);
}

static void canned_saved_at(xb_writer *to, uint32_t reg, uint32_t distance) {
    xb_write_u8(to, DW_CFA_OFFSET | reg);
    xb_write_leb128(to, distance / XB_DATA_UNIT_SIZE);
}

/* ---- A frame pointer ---- */

#if defined(__aarch64__) || defined(_M_ARM64)

static uint32_t word_at(const uint8_t *code, size_t length, size_t offset) {
    return offset + 4 <= length ? (uint32_t)code[offset] | (uint32_t)code[offset + 1] << 8 |
                                      (uint32_t)code[offset + 2] << 16 | (uint32_t)code[offset + 3] << 24
                                : 0;
}

xb_found_frame xb_canned_find(const uint8_t *code, size_t length) {
    xb_found_frame found = {0, 0, 0, 0};
    size_t at = word_at(code, length, 0) == 0xd503245fU ? 4 : 0; /* bti c */
    uint32_t save = word_at(code, length, at);
    uint32_t units = 0x80 - (save >> 15 & 0x7f);
    if ((save & 0xffc07fffU) != 0xa9807bfdU || units > 0x40 || /* stp x29, x30, [sp, #-8 * units]! */
        word_at(code, length, at + 4) != 0x910003fdU) {        /* mov x29, sp */
        return found;
    }
    found.pushed = at + 4;
    found.moved = at + 8;
    found.size = 8 * units;
    if (length >= found.moved + 8 && word_at(code, length, length - 4) == 0xd65f03c0U && /* ret */
        word_at(code, length, length - 8) ==
            (0xa8c07bfdU | units << 15)) { /* ldp x29, x30, [sp], #8 * units */
        found.restored = length - 4;
    }
    return found;
}

#elif defined(__x86_64__) || defined(_M_X64)

/* Whether the bytes at an offset are these. */
static bool has_bytes(const uint8_t *code, size_t length, size_t offset, const uint8_t *bytes, size_t size) {
    return offset <= length && size <= length - offset && memcmp(code + offset, bytes, size) == 0;
}

xb_found_frame xb_canned_find(const uint8_t *code, size_t length) {
    static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
    static const uint8_t push[] = {0x55};                 /* push rbp */
    static const uint8_t mov[2][3] = {{0x48, 0x89, 0xe5}, /* mov rbp, rsp, in its two encodings */
                                      {0x48, 0x8b, 0xec}};
    static const uint8_t pop[2][2] = {{0x5d, 0xc3},  /* pop rbp; ret */
                                      {0xc9, 0xc3}}; /* leave; ret */
    xb_found_frame found = {0, 0, 0, 2 * ENTRY_OFFSET};
    size_t at = has_bytes(code, length, 0, endbr64, sizeof endbr64) ? sizeof endbr64 : 0;
    if (has_bytes(code, length, at, push, sizeof push) &&
        (has_bytes(code, length, at + 1, mov[0], 3) || has_bytes(code, length, at + 1, mov[1], 3))) {
        found.pushed = at + 1;
        found.moved = at + 4;
    }
    if (length >= found.moved + 2 &&
        (has_bytes(code, length, length - 2, pop[0], 2) || has_bytes(code, length, length - 2, pop[1], 2))) {
        found.restored = length - 1;
    }
    return found;
}

#else

xb_found_frame xb_canned_find(const uint8_t *code, size_t length) {
    xb_found_frame found = {0, 0, 0, 0};
    (void)code;
    (void)length;
    return found;
}

#endif

static void write_frame_pointer(xb_writer *to, const uint8_t *code, size_t length) {
    xb_found_frame frame = xb_canned_find(code, length);
    size_t location = 0;
    canned_advance(to, &location, frame.pushed);
    canned_offset(to, frame.size);
    canned_saved_at(to, XB_DWARF_FP, frame.size);
    if (ENTRY_OFFSET == 0) {
        canned_saved_at(to, XB_DWARF_RETURN, frame.size - 8);
    }
    canned_advance(to, &location, frame.moved);
    xb_write_u8(to, DW_CFA_DEF_CFA_REGISTER);
    xb_write_u8(to, XB_DWARF_FP);
    if (frame.restored != 0) {
        canned_advance(to, &location, frame.restored);
        xb_write_u8(to, DW_CFA_DEF_CFA);
        xb_write_u8(to, XB_DWARF_SP);
        xb_write_u8(to, ENTRY_OFFSET);
        xb_write_u8(to, DW_CFA_RESTORE | XB_DWARF_FP);
        if (ENTRY_OFFSET == 0) {
            xb_write_u8(to, DW_CFA_RESTORE | XB_DWARF_RETURN);
        }
    }
}

/* ---- A fixed size ---- */

#define MOST_FRAME_SIZE ((uint32_t)1 << 30)

static void write_fixed(xb_writer *to, const execbuf_info *info, size_t length) {
    size_t location = 0;
    canned_advance(to, &location, info->prologue);
    canned_offset(to, ENTRY_OFFSET + info->frame_size);
    canned_advance(to, &location, length - info->epilogue);
    canned_offset(to, ENTRY_OFFSET);
}

/* ---- Both ---- */

const char *xb_canned_check(const execbuf_info *info, const uint8_t *code, size_t length) {
    const char *wrong = NULL;
    if (length > UINT32_MAX) {
        wrong = "length";
    } else if (info->unwind == EXECBUF_UNWIND_FRAME_POINTER) {
        bool is_found = xb_canned_find(code, length).moved != 0;
        wrong = is_found ? NULL : "the code does not begin with a frame pointer";
    } else if (info->unwind == EXECBUF_UNWIND_FIXED) {
        if (info->frame_size % 8 != 0 || info->frame_size > MOST_FRAME_SIZE) {
            wrong = "frame_size";
        } else if (info->prologue > length) {
            wrong = "prologue";
        } else if (info->epilogue > length - info->prologue) {
            wrong = "epilogue";
        }
    }
    return wrong;
}

const char *xb_canned_rules(xb_rules *out, uint8_t *program, const execbuf_info *info, const uint8_t *code,
                            size_t length, const void *entry) {
    xb_writer to = {program, 0};
    const char *wrong = xb_canned_check(info, code, length);
    if (wrong == NULL && info->unwind == EXECBUF_UNWIND_FRAME_POINTER) {
        write_frame_pointer(&to, code, length);
    } else if (wrong == NULL && info->unwind == EXECBUF_UNWIND_FIXED) {
        write_fixed(&to, info, length);
    }
    memset(out, 0, sizeof *out);
    out->start = (uintptr_t)entry;
    out->size = length;
    out->code_unit = 1;
    out->data_unit = XB_DATA_UNIT;
    out->return_register = XB_DWARF_RETURN;
    out->initial = canned_initial;
    out->initial_size = sizeof canned_initial;
    out->program = program;
    out->program_size = to.length;
    return wrong;
}
