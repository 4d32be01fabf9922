/* Reads numbers, addresses and instructions of unwind tables. Pure: no state, no system calls. */

#include "cursor.h"

#include <string.h>

#define PE_RELATIVE 0x70U
#define PE_PCREL 0x10U

/* How often a program may remember a state without restoring it: unwinders need stack for each. */
#define MOST_REMEMBERED 64U

static void stop_cursor(xb_cursor *cursor, const char *fault, size_t at) {
    if (cursor->fault == NULL) {
        cursor->fault = fault;
        cursor->fault_at = at;
    }
    cursor->at = cursor->end;
}

static void skip_bytes(xb_cursor *cursor, uint64_t size) {
    if (size > cursor->end - cursor->at) {
        stop_cursor(cursor, "truncated", cursor->at);
    } else {
        cursor->at += (size_t)size;
    }
}

uint64_t xb_read_number(xb_cursor *cursor, size_t size) {
    size_t start = cursor->at;
    uint64_t value = 0;
    skip_bytes(cursor, size);
    for (size_t i = 0; i < size && cursor->fault == NULL; i++) {
        value |= (uint64_t)cursor->table[start + i] << 8 * i;
    }
    return value;
}

uint64_t xb_read_leb128(xb_cursor *cursor) {
    size_t start = cursor->at;
    uint64_t value = 0;
    uint64_t byte = 0x80;
    for (unsigned shift = 0; (byte & 0x80) != 0; shift += 7) {
        byte = xb_read_number(cursor, 1);
        if (shift > 63) {
            stop_cursor(cursor, "too large a number", start);
            return 0;
        }
        value |= (byte & 0x7f) << shift;
    }
    return cursor->fault == NULL ? value : 0;
}

/* ---- Addresses ---- */

/* The size of a format; 0: it is unknown. */
static size_t size_of_format(uint8_t encoding) {
    switch (encoding & XB_PE_FORMAT) {
    case 0x00:           /* DW_EH_PE_absptr */
    case 0x04:           /* DW_EH_PE_udata8 */
    case 0x0c: return 8; /* DW_EH_PE_sdata8 */
    case 0x03:           /* DW_EH_PE_udata4 */
    case 0x0b: return 4; /* DW_EH_PE_sdata4 */
    case 0x02:           /* DW_EH_PE_udata2 */
    case 0x0a: return 2; /* DW_EH_PE_sdata2 */
    default: return 0;
    }
}

bool xb_is_encoding(uint8_t encoding) {
    uint32_t relative = encoding & PE_RELATIVE;
    return size_of_format(encoding) != 0 && (relative == 0 || relative == PE_PCREL);
}

uint64_t xb_read_address(xb_cursor *cursor, uint8_t encoding) {
    size_t start = cursor->at;
    if (!xb_is_encoding(encoding)) {
        stop_cursor(cursor, "unknown encoding", start);
        return 0;
    }
    size_t size = size_of_format(encoding);
    uint64_t value = xb_read_number(cursor, size);
    if ((encoding & 0x08) != 0 && size < 8) { /* extends the sign */
        uint64_t sign = (uint64_t)1 << (8 * size - 1);
        value = (value ^ sign) - sign;
    }
    bool is_relative = (encoding & PE_RELATIVE) != 0 && value != 0;
    return is_relative ? value + (uintptr_t)(cursor->table + start) : value;
}

/* ---- Instructions ---- */

/* The operands of an instruction: 'b' a LEB128, 'x' a LEB128 and as many bytes. */
static const char *operands_of(uint8_t operation) {
    switch (operation) {
    case 0x00:              /* DW_CFA_nop */
    case 0x0a:              /* DW_CFA_remember_state */
    case 0x0b:              /* DW_CFA_restore_state */
    case 0x2d: return "";   /* DW_CFA_AARCH64_negate_ra_state, DW_CFA_GNU_window_save */
    case 0x06:              /* DW_CFA_restore_extended */
    case 0x07:              /* DW_CFA_undefined */
    case 0x08:              /* DW_CFA_same_value */
    case 0x0d:              /* DW_CFA_def_cfa_register */
    case 0x0e:              /* DW_CFA_def_cfa_offset */
    case 0x13:              /* DW_CFA_def_cfa_offset_sf */
    case 0x2e: return "b";  /* DW_CFA_GNU_args_size */
    case 0x05:              /* DW_CFA_offset_extended */
    case 0x09:              /* DW_CFA_register */
    case 0x0c:              /* DW_CFA_def_cfa */
    case 0x11:              /* DW_CFA_offset_extended_sf */
    case 0x12:              /* DW_CFA_def_cfa_sf */
    case 0x14:              /* DW_CFA_val_offset */
    case 0x15:              /* DW_CFA_val_offset_sf */
    case 0x2f: return "bb"; /* DW_CFA_GNU_negative_offset_extended */
    case 0x0f: return "x";  /* DW_CFA_def_cfa_expression */
    case 0x10:              /* DW_CFA_expression */
    case 0x16: return "bx"; /* DW_CFA_val_expression */
    default: return NULL;
    }
}

/* Reads an instruction's operands, unless it advances the location. */
static void read_operands(xb_cursor *cursor, uint8_t operation, size_t here) {
    const char *operands = operands_of(operation);
    if (operands == NULL) {
        stop_cursor(cursor, "unknown instruction", here);
        return;
    }
    for (; *operands != '\0'; operands++) {
        uint64_t value = xb_read_leb128(cursor);
        skip_bytes(cursor, *operands == 'x' ? value : 0);
    }
}

/* How far an instruction advances the location, in units of code; reads its operands. */
static uint64_t read_instruction(xb_cursor *cursor, uint8_t operation, size_t here) {
    switch (operation >> 6) {
    case 1: return operation & 0x3fU;               /* DW_CFA_advance_loc */
    case 2: (void)xb_read_leb128(cursor); return 0; /* DW_CFA_offset */
    case 3: return 0;                               /* DW_CFA_restore */
    default: break;
    }
    switch (operation) {
    case 0x02: return xb_read_number(cursor, 1); /* DW_CFA_advance_loc1 */
    case 0x03: return xb_read_number(cursor, 2); /* DW_CFA_advance_loc2 */
    case 0x04: return xb_read_number(cursor, 4); /* DW_CFA_advance_loc4 */
    default: read_operands(cursor, operation, here); return 0;
    }
}

/* Whether an instruction defines the CFA, and whether it only changes it. */
static bool defines_cfa(uint8_t operation) {
    return operation == 0x0c || operation == 0x12 || operation == 0x0f;
}

static bool changes_cfa(uint8_t operation) {
    return operation == 0x0d || operation == 0x0e || operation == 0x13;
}

size_t xb_read_program(xb_cursor *cursor, xb_program *program) {
    size_t start = cursor->at;
    size_t end = start; /* of the last instruction but DW_CFA_nop */
    uint64_t location = 0;
    uint32_t remembered = 0;
    while (cursor->at < cursor->end) {
        size_t here = cursor->at;
        uint8_t operation = (uint8_t)xb_read_number(cursor, 1);
        location += read_instruction(cursor, operation, here) * program->code_unit;
        program->defines_cfa |= defines_cfa(operation);
        remembered += operation == 0x0a;
        if (location > program->size) {
            stop_cursor(cursor, "another range", here);
        } else if (changes_cfa(operation) && !program->defines_cfa) {
            stop_cursor(cursor, "no CFA", here);
        } else if ((operation == 0x0b && remembered == 0) || remembered > MOST_REMEMBERED) {
            stop_cursor(cursor, "no state to restore", here);
        }
        remembered -= operation == 0x0b && remembered > 0;
        end = operation != 0 ? cursor->at : end;
    }
    return end - start;
}
