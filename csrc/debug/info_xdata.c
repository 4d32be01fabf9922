/* Unwind tables of descriptions in the format of Windows (Microsoft, "x64 exception handling"). */

#include "info_xdata.h"

#include <string.h>

#include "../base/x86_64.h"
#include "canned.h"
#include "writer.h"
#include "xdata.h"

/* Flags of a table, in bits 3 to 7 of its first byte. */
#define FLAG_HANDLERS 3U /* of exceptions, of termination, or of both: its address follows the codes */

/* ---- Frames in words ---- */

/* The most that UWOP_ALLOC_LARGE describes in units of 8 bytes, in one node. */
#define MOST_UNITS 0xffffU

static void write_node(xb_writer *to, uint32_t offset, uint32_t operation, uint32_t info) {
    xb_write_u8(to, offset);
    xb_write_u8(to, operation | info << 4);
}

/* The first four bytes; frame_register 0: none. */
static void write_head(xb_writer *to, size_t prologue, uint32_t nodes, uint32_t frame_register) {
    xb_write_u8(to, 1); /* version 1, no flags */
    xb_write_u8(to, (uint32_t)prologue);
    xb_write_u8(to, nodes);
    xb_write_u8(to, frame_register);
}

static void write_frame_pointer_info(xb_writer *to, const xb_found_frame *frame) {
    write_head(to, frame->moved, 2, XB_RBP);
    write_node(to, (uint32_t)frame->moved, XB_UWOP_SET_FPREG, 0);
    write_node(to, (uint32_t)frame->pushed, XB_UWOP_PUSH_NONVOL, XB_RBP);
}

static void write_fixed_info(xb_writer *to, uint32_t prologue, uint32_t bytes) {
    if (bytes <= 128) {
        write_head(to, prologue, 1, 0);
        write_node(to, prologue, XB_UWOP_ALLOC_SMALL, bytes / 8 - 1);
        xb_write_u16(to, 0); /* an even number of nodes */
    } else if (bytes / 8 <= MOST_UNITS) {
        write_head(to, prologue, 2, 0);
        write_node(to, prologue, XB_UWOP_ALLOC_LARGE, 0);
        xb_write_u16(to, bytes / 8);
    } else {
        write_head(to, prologue, 3, 0);
        write_node(to, prologue, XB_UWOP_ALLOC_LARGE, 1);
        xb_write_u32(to, bytes);
        xb_write_u16(to, 0);
    }
}

const char *xb_info_xdata(uint8_t *out, size_t *size, const execbuf_info *info, const uint8_t *code,
                          size_t length) {
    const char *wrong = xb_canned_check(info, code, length);
    xb_writer to = {out, 0};
    bool is_fixed = info->unwind == EXECBUF_UNWIND_FIXED && info->frame_size > 0;
    if (wrong == NULL && is_fixed && info->prologue > 255) {
        wrong = "prologue"; /* its length is one byte */
    } else if (wrong == NULL && is_fixed) {
        write_fixed_info(&to, info->prologue, info->frame_size);
    } else if (wrong == NULL && info->unwind == EXECBUF_UNWIND_FRAME_POINTER) {
        const xb_found_frame frame = xb_canned_find(code, length);
        write_frame_pointer_info(&to, &frame);
    }
    *size = to.length;
    return wrong;
}

/* ---- Finished tables ---- */

/* How many nodes an unwind code takes; 0: it is unknown. */
static size_t count_nodes(uint32_t operation, uint32_t info) {
    switch (operation) {
    case XB_UWOP_PUSH_NONVOL:
    case XB_UWOP_ALLOC_SMALL: return 1;
    case XB_UWOP_SET_FPREG: return info == 0 ? 1 : 0;
    case XB_UWOP_PUSH_MACHFRAME: return info <= 1 ? 1 : 0;
    case XB_UWOP_SAVE_NONVOL:
    case XB_UWOP_SAVE_XMM128: return 2;
    case XB_UWOP_SAVE_NONVOL_FAR:
    case XB_UWOP_SAVE_XMM128_FAR: return 3;
    case XB_UWOP_ALLOC_LARGE: return info <= 1 ? 2 + info : 0;
    default: return 0;
    }
}

static xb_table_fault fault_at(const char *reason, size_t offset) {
    xb_table_fault fault = {NULL, 0};
    fault.reason = reason;
    fault.offset = offset;
    return fault;
}

/* Checks the codes, of which all nodes can be read. */
static xb_table_fault check_codes(const uint8_t *table) {
    const size_t end = 4 + 2 * (size_t)table[2];
    uint32_t offset = table[1]; /* codes descend from the end of the prologue */
    for (size_t at = 4; at < end;) {
        const uint32_t operation = table[at + 1] & 15;
        const size_t nodes = count_nodes(operation, table[at + 1] >> 4);
        if (nodes == 0) {
            return fault_at("unknown unwind code", at + 1);
        }
        if (2 * nodes > end - at) {
            return fault_at("truncated", at);
        }
        if (table[at] > offset) {
            return fault_at("order of unwind codes", at);
        }
        if (operation == XB_UWOP_SET_FPREG && (table[3] & 15) == 0) {
            return fault_at("no frame register", at + 1);
        }
        offset = table[at];
        at += 2 * nodes;
    }
    return fault_at(NULL, 0);
}

size_t xb_info_xdata_handler(const uint8_t *table) {
    return table[0] >> 3 != 0 ? 4 + 4 * (((size_t)table[2] + 1) / 2) : 0;
}

static uint32_t handler_address(const uint8_t *table) {
    uint32_t address;
    memcpy(&address, table + xb_info_xdata_handler(table), sizeof address);
    return address;
}

bool xb_info_xdata_handler_fits(const uint8_t *table, uint32_t distance) {
    return handler_address(table) <= UINT32_MAX - distance;
}

void xb_info_xdata_move_handler(uint8_t *table, uint32_t distance) {
    const uint32_t address = handler_address(table) + distance;
    memcpy(table + xb_info_xdata_handler(table), &address, sizeof address);
}

xb_table_fault xb_info_xdata_check(const uint8_t *table, size_t size, size_t length) {
    if (size < 4) {
        return fault_at("truncated", size);
    }
    if ((table[0] & 7) != 1) {
        return fault_at("unknown version", 0);
    }
    if (table[0] >> 3 > FLAG_HANDLERS) {
        return fault_at("unsupported flags", 0); /* chained tables */
    }
    if (length > UINT32_MAX) {
        return fault_at("length", 0);
    }
    if (table[1] > length) {
        return fault_at("prologue", 1);
    }
    size_t end = 4 + 4 * (((size_t)table[2] + 1) / 2) + (table[0] >> 3 != 0 ? 4 : 0);
    return size < end ? fault_at("truncated", size) : check_codes(table);
}

xb_table_fault xb_info_xdata_read(const uint8_t **table, size_t *size, uint8_t *canned,
                                  const execbuf_info *info, const uint8_t *code, size_t length) {
    if (info->unwind != EXECBUF_UNWIND_UNWIND_INFO) {
        *table = canned;
        return fault_at(xb_info_xdata(canned, size, info, code, length), 0);
    }
    *table = (const uint8_t *)info->table;
    *size = info->table_length;
    return *size == 0 ? fault_at(NULL, 0) : xb_info_xdata_check(*table, *size, length);
}
