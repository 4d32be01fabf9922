/* Reads .eh_frame tables (Linux Standard Base Core 5.0, 10.6 "Exception Frames"; DWARF 5, 6.4 and 7.24).
 * Pure: no state, no system calls.
 *
 * A table consists of CIEs, and of FDEs that refer to them. rules.c draws both; here, they are of any form
 * that compilers emit. All that an unwinder would read is checked, since libgcc aborts at what it does not
 * know, and reads on where an operand has no end. */

#include "eh_frame.h"

#include <stdlib.h>
#include <string.h>

#include "cursor.h"

/* A CIE that has been read. */
typedef struct cie {
    size_t offset; /* in the table */
    uint8_t address_encoding;
    uint8_t lsda_encoding;
    bool has_augmentation;
    xb_rules rules; /* what its functions have in common */
} cie;

/* A table that is being read. */
typedef struct table_reading {
    const uint8_t *table;
    size_t length;
    uint64_t start; /* of the code */
    uint64_t size;
    xb_table_fault fault;
} table_reading;

static bool refuse_table(table_reading *in, const char *reason, size_t offset) {
    if (in->fault.reason == NULL) {
        in->fault.reason = reason;
        in->fault.offset = offset;
    }
    return false;
}

/* Refuses a table if the cursor met a fault. */
static bool check_cursor(table_reading *in, const xb_cursor *at) {
    return at->fault == NULL || refuse_table(in, at->fault, at->fault_at);
}

/* ---- Records ---- */

/* Goes to the record at an offset: its length, and the word behind that.
 *
 * Returns: false at the end of the table: a length of 0, or no bytes left; or if it is truncated.
 * Out: record: a cursor behind both, whose end is that of the record.
 *      id:     the word: 0 in a CIE. */
static bool open_record(table_reading *in, size_t offset, xb_cursor *record, uint32_t *id) {
    xb_cursor at = xb_cursor_new(in->table, offset, in->length);
    *id = 0;
    if (offset == in->length) {
        return false;
    }
    uint32_t length = (uint32_t)xb_read_number(&at, 4);
    if (!check_cursor(in, &at)) {
        return false;
    }
    if (length == 0) {
        return offset + 4 != in->length ? refuse_table(in, "bytes behind the end", offset + 4) : false;
    }
    if (length < 4 || length > in->length - at.at) { /* 0xffffffff would announce a length of 64 bits */
        return refuse_table(in, "truncated", offset);
    }
    at.end = at.at + length;
    *id = (uint32_t)xb_read_number(&at, 4);
    *record = at;
    return true;
}

/* The version, and the augmentation: which encodings follow.
 *
 * Out: version: 1 or 3.
 *      text:    where the augmentation begins. */
static bool read_cie_head(table_reading *in, xb_cursor *at, uint64_t *version, size_t *text) {
    size_t version_at = at->at;
    *version = xb_read_number(at, 1);
    if (at->fault == NULL && *version != 1 && *version != 3) {
        return refuse_table(in, "unknown version", version_at);
    }
    *text = at->at;
    while (xb_read_number(at, 1) != 0) {
    }
    return check_cursor(in, at);
}

/* What the letters of an augmentation behind its 'z' announce. */
static bool read_augmentation(table_reading *in, xb_cursor *at, size_t text, cie *out) {
    for (size_t letter = text + 1; in->table[letter] != 0; letter++) {
        size_t here = at->at;
        switch (in->table[letter]) {
        case 'R': out->address_encoding = (uint8_t)xb_read_number(at, 1); break;
        case 'L': out->lsda_encoding = (uint8_t)xb_read_number(at, 1); break;
        case 'P': {
            uint8_t encoding = (uint8_t)xb_read_number(at, 1);
            out->rules.personality = xb_read_address(at, encoding);
            out->rules.personality_is_indirect = xb_is_indirect(encoding);
            break;
        }
        default: return refuse_table(in, "unknown augmentation", letter);
        }
        bool is_known = xb_is_encoding(out->address_encoding) && !xb_is_indirect(out->address_encoding) &&
                        (out->lsda_encoding == XB_PE_OMIT || xb_is_encoding(out->lsda_encoding));
        if (!is_known) {
            return refuse_table(in, "unknown encoding", here);
        }
    }
    return check_cursor(in, at);
}

/* Reads a LEB128 that unwinders of this library get as one byte. */
static uint8_t read_factor(table_reading *in, xb_cursor *at, uint64_t most) {
    size_t here = at->at;
    uint64_t value = xb_read_leb128(at);
    if (at->fault == NULL && (value == 0 || value > most)) {
        (void)refuse_table(in, "unknown alignment", here);
    }
    return (uint8_t)value;
}

static bool read_cie(table_reading *in, size_t offset, xb_cursor *at, cie *out) {
    uint64_t version;
    size_t text;
    memset(out, 0, sizeof *out);
    out->offset = offset;
    out->lsda_encoding = XB_PE_OMIT;
    if (!read_cie_head(in, at, &version, &text)) {
        return false;
    }
    out->has_augmentation = in->table[text] == 'z';
    if (!out->has_augmentation && in->table[text] != 0) {
        return refuse_table(in, "unknown augmentation", text);
    }
    out->rules.code_unit = read_factor(in, at, 0x7f);
    out->rules.data_unit = read_factor(in, at, 0x7f);
    out->rules.return_register = (uint8_t)(version == 1 ? xb_read_number(at, 1) : xb_read_leb128(at));
    if (out->has_augmentation) {
        uint64_t size = xb_read_leb128(at);
        size_t start = at->at;
        if (!check_cursor(in, at) || !read_augmentation(in, at, text, out)) {
            return false;
        }
        if (at->at - start != size) {
            return refuse_table(in, "wrong augmentation length", start);
        }
    }
    if (!check_cursor(in, at)) {
        return false;
    }
    size_t start = at->at;
    xb_program program = {out->rules.code_unit, 0, false};
    out->rules.initial = in->table + start;
    out->rules.initial_size = xb_read_program(at, &program);
    if (check_cursor(in, at) && !program.defines_cfa) {
        return refuse_table(in, "no CFA", start);
    }
    return check_cursor(in, at) &&
           (out->rules.initial_size <= XB_MAX_INITIAL || refuse_table(in, "too many instructions", start));
}

/* The LSDA of an FDE. */
static bool read_lsda(table_reading *in, xb_cursor *at, const cie *from, xb_rules *out) {
    uint64_t size = xb_read_leb128(at);
    size_t start = at->at;
    if (!check_cursor(in, at)) {
        return false;
    }
    if (from->lsda_encoding != XB_PE_OMIT && size > 0) {
        out->lsda = xb_read_address(at, from->lsda_encoding);
        out->lsda_is_indirect = xb_is_indirect(from->lsda_encoding);
    }
    return check_cursor(in, at) &&
           (at->at - start == size || refuse_table(in, "wrong augmentation length", start));
}

static bool read_fde(table_reading *in, xb_cursor *at, const cie *from, xb_rules *out) {
    size_t here = at->at;
    *out = from->rules;
    out->start = xb_read_address(at, from->address_encoding);
    out->size =
        xb_read_address(at, from->address_encoding & XB_PE_FORMAT); /* a length: relative to nothing */
    if (!check_cursor(in, at)) {
        return false;
    }
    uint64_t distance = out->start - in->start;
    if (out->size == 0 || distance >= in->size || out->size > in->size - distance) {
        return refuse_table(in, "another range", here);
    }
    if (from->has_augmentation && !read_lsda(in, at, from, out)) {
        return false;
    }
    xb_program program = {out->code_unit, out->size, true};
    out->program = in->table + at->at;
    out->program_size = xb_read_program(at, &program);
    return check_cursor(in, at);
}

/* The CIE that an FDE refers to: mostly the last one.
 *
 * In/Out: last: the last one that was read. */
static bool find_cie(table_reading *in, size_t wanted, size_t fde, cie *last) {
    xb_cursor at;
    uint32_t id;
    if (last->rules.code_unit != 0 && last->offset == wanted) {
        return true;
    }
    for (size_t offset = 0; offset < fde && open_record(in, offset, &at, &id); offset = at.end) {
        if (offset == wanted) {
            return id == 0 ? read_cie(in, offset, &at, last) : refuse_table(in, "no CIE", fde + 4);
        }
    }
    return refuse_table(in, "no CIE", fde + 4);
}

xb_table_fault xb_eh_frame_read(const uint8_t *table, size_t length, uint64_t start, uint64_t size,
                                xb_rules *rules, size_t *count) {
    table_reading in = {table, length, start, size, {NULL, 0}};
    xb_cursor at;
    uint32_t id;
    cie last;
    memset(&last, 0, sizeof last);
    *count = 0;
    for (size_t offset = 0; open_record(&in, offset, &at, &id); offset = at.end) {
        xb_rules read;
        if (id == 0) {
            (void)read_cie(&in, offset, &at, &last);
        } else if (find_cie(&in, offset + 4 - id, offset, &last) && read_fde(&in, &at, &last, &read)) {
            if (rules != NULL) {
                rules[*count] = read;
            }
            ++*count;
        }
        if (in.fault.reason != NULL) {
            break;
        }
    }
    return in.fault;
}

static int by_address(const void *one, const void *other) {
    uint64_t first = ((const xb_rules *)one)->start;
    uint64_t second = ((const xb_rules *)other)->start;
    return (first > second) - (first < second);
}

bool xb_eh_frame_sort(xb_rules *rules, size_t count) {
    qsort(rules, count, sizeof *rules, by_address);
    for (size_t i = 1; i < count; i++) {
        if (rules[i].start - rules[i - 1].start < rules[i - 1].size) {
            return false;
        }
    }
    return true;
}
