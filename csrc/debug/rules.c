/* Writes unwind rules of users' code (DWARF 5, 6.4 "Call Frame Information"; Linux Standard Base Core 5.0,
 * 10.6 "Exception Frames"). Pure: no state, no system calls. Only 64-bit systems use it.
 *
 *     offset  size  CIE
 *          0     4  length of the rest: 52
 *          4     4  0: this is a CIE
 *          8     1  version: 1
 *          9     5  augmentation "zRPL": a length, then encodings of addresses, personality and LSDA
 *         14     1  code alignment factor
 *         15     1  data alignment factor
 *         16     1  return address register
 *         17     1  augmentation length: 11
 *         18     1  encoding of addresses: absolute, of 8 bytes (DW_EH_PE_absptr)
 *         19     1  encoding of the personality routine: as above, perhaps indirect
 *         20     8  the personality routine; 0: none
 *         28     1  encoding of the LSDA: as above, perhaps indirect
 *         29    27  instructions, then DW_CFA_nop
 *
 *     offset  size  FDE
 *          0     4  length of the rest
 *          4     4  distance from here back to the CIE: 60
 *          8     8  address of the function
 *         16     8  length of the function
 *         24     1  augmentation length: 8
 *         25     8  the LSDA; 0: none
 *         33     *  instructions, then DW_CFA_nop, to the multiple of 8
 *
 * libgcc and LLVM's unwinder take a personality routine and an LSDA of 0 for none. */

#include "rules.h"

#include <string.h>

#include "registers.h"
#include "writer.h"

#define CIE_SIZE 56U
#define FDE_HEADER 33U

#define DW_EH_PE_ABSPTR 0x00U
#define DW_EH_PE_INDIRECT 0x80U
#define DW_CFA_ADVANCE_LOC4 0x04U
#define DW_CFA_UNDEFINED 0x07U
#define DW_CFA_DEF_CFA 0x0cU

/* The most bytes that come before a function's instructions in the record of a slot. */
#define ADVANCE_SIZE 5U

static void write_bytes(xb_writer *to, const uint8_t *bytes, size_t size) {
    if (size > 0) {
        memcpy(to->out + to->length, bytes, size);
    }
    to->length += size;
}

static void fill_with_nops(xb_writer *to, size_t end) {
    memset(to->out + to->length, 0, end - to->length); /* DW_CFA_nop */
    to->length = end;
}

static void write_rules_cie(uint8_t *out, const xb_rules *rules) {
    static const char augmentation[] = "zRPL";
    xb_writer to = {out, 0};
    xb_write_u32(&to, CIE_SIZE - 4);
    xb_write_u32(&to, 0);
    xb_write_u8(&to, 1);
    write_bytes(&to, (const uint8_t *)augmentation, sizeof augmentation);
    xb_write_u8(&to, rules->code_unit);
    xb_write_u8(&to, rules->data_unit);
    xb_write_u8(&to, rules->return_register);
    xb_write_u8(&to, 11);
    xb_write_u8(&to, DW_EH_PE_ABSPTR);
    xb_write_u8(&to, rules->personality_is_indirect ? DW_EH_PE_INDIRECT : DW_EH_PE_ABSPTR);
    xb_write_u64(&to, rules->personality);
    xb_write_u8(&to, rules->lsda_is_indirect ? DW_EH_PE_INDIRECT : DW_EH_PE_ABSPTR);
    write_bytes(&to, rules->initial, rules->initial_size);
    fill_with_nops(&to, CIE_SIZE);
}

/* Writes the first 24 bytes of an FDE of so many bytes, which lies behind its CIE. */
static void write_rules_header(uint8_t *out, size_t size, uint64_t start, uint64_t length) {
    xb_writer to = {out, 0};
    xb_write_u32(&to, (uint32_t)size - 4);
    xb_write_u32(&to, CIE_SIZE + 4);
    xb_write_u64(&to, start);
    xb_write_u64(&to, length);
}

/* Writes the rest of an FDE.
 *
 * In: distance: from the start of the FDE's range to that of the function. */
static void write_rules_rest(uint8_t *out, size_t size, const xb_rules *rules, uint64_t distance) {
    xb_writer to = {out, FDE_HEADER - 9};
    xb_write_u8(&to, 8);
    xb_write_u64(&to, rules->lsda);
    if (distance > 0) {
        xb_write_u8(&to, DW_CFA_ADVANCE_LOC4);
        xb_write_u32(&to, (uint32_t)(distance / rules->code_unit));
    }
    write_bytes(&to, rules->program, rules->program_size);
    fill_with_nops(&to, size);
}

static size_t round_to_words(size_t value) {
    return (value + 7) & ~(size_t)7;
}

static size_t rules_fde_size(size_t program_size) {
    return round_to_words(FDE_HEADER + program_size);
}

size_t xb_rules_words(const xb_rules *rules, size_t count) {
    size_t size = 8;
    for (size_t i = 0; i < count; i++) {
        size += CIE_SIZE + rules_fde_size(rules[i].program_size);
    }
    return size / 8;
}

void xb_rules_write(uint64_t *words, const xb_rules *rules, size_t count, const uint8_t **first,
                    const uint8_t **last) {
    uint8_t *out = (uint8_t *)words;
    *first = out + CIE_SIZE;
    for (size_t i = 0; i < count; i++) {
        size_t size = rules_fde_size(rules[i].program_size);
        write_rules_cie(out, &rules[i]);
        out += CIE_SIZE;
        write_rules_header(out, size, rules[i].start, rules[i].size);
        write_rules_rest(out, size, &rules[i], 0);
        *last = out;
        out += size;
    }
    memset(out, 0, 8);
}

/* ---- The list of a span ---- */

/* Tables of compilers take about a tenth of the size of the code, and more for small functions. */
static size_t record_fde_size(size_t slot_size) {
    return rules_fde_size(ADVANCE_SIZE + 32 + slot_size / 4);
}

size_t xb_record_words(size_t slot_size) {
    return (CIE_SIZE + record_fde_size(slot_size)) / 8;
}

size_t xb_record_list_words(size_t slot_size, size_t count) {
    return xb_record_words(slot_size) * count + 1;
}

uint64_t *xb_record_fde(uint64_t *words, size_t slot_size, size_t index) {
    return words + xb_record_words(slot_size) * index + CIE_SIZE / 8;
}

/* Code that is not described: the return address is undefined, so unwinders stop there. They want to know a
 * CFA all the same. */
static const uint8_t unknown_initial[] = {DW_CFA_DEF_CFA, XB_DWARF_SP, 0};
static const uint8_t unknown_program[] = {DW_CFA_UNDEFINED, XB_DWARF_RETURN};
static const xb_rules unknown_rules = {0,
                                       0,
                                       0,
                                       0,
                                       false,
                                       false,
                                       1,
                                       XB_DATA_UNIT,
                                       XB_DWARF_RETURN,
                                       unknown_initial,
                                       sizeof unknown_initial,
                                       unknown_program,
                                       sizeof unknown_program};

void xb_record_write_list(uint64_t *words, const uint8_t *start, size_t slot_size, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint8_t *fde = (uint8_t *)xb_record_fde(words, slot_size, i);
        write_rules_header(fde, record_fde_size(slot_size), (uintptr_t)start + i * slot_size, slot_size);
        xb_record_fill(words, slot_size, i, NULL);
    }
    words[xb_record_list_words(slot_size, count) - 1] = 0;
}

/* LSDAs count from the start of the FDE's range, so that has to be the function's. */
bool xb_record_fits(const xb_rules *rules, uint64_t address, size_t slot_size) {
    uint64_t distance = rules->start - address;
    return rules->program_size <= record_fde_size(slot_size) - FDE_HEADER - ADVANCE_SIZE &&
           distance % rules->code_unit == 0 && (distance == 0 || rules->lsda == 0);
}

void xb_record_fill(uint64_t *words, size_t slot_size, size_t index, const xb_rules *rules) {
    uint8_t *fde = (uint8_t *)xb_record_fde(words, slot_size, index);
    uint64_t address;
    memcpy(&address, fde + 8, sizeof address);
    const xb_rules *filled = rules != NULL ? rules : &unknown_rules;
    write_rules_cie(fde - CIE_SIZE, filled);
    write_rules_rest(fde, record_fde_size(slot_size), filled, rules != NULL ? rules->start - address : 0);
}
