/* Writes code that loads, stores and copies values. Pure: no state, no system calls. */

#include "values.h"

#include "code.h"

/* A value that is longer is copied by a loop, so that adapters stay short. */
#define MAX_UNROLLED 64U

/* Loads a power of two of bytes. */
static void load_power(xb_asm *to, uint32_t reg, xb_operand memory, uint32_t size) {
    switch (size) {
    case 1: xb_asm_movzx_byte(to, reg, memory); break;
    case 2: xb_asm_movzx_word(to, reg, memory); break;
    case 4: xb_asm_mov_32(to, reg, memory); break;
    default: xb_asm_mov(to, reg, memory); break;
    }
}

static void store_power(xb_asm *to, xb_operand memory, uint32_t reg, uint32_t size) {
    switch (size) {
    case 1: xb_asm_mov_store_8(to, memory, reg); break;
    case 2: xb_asm_mov_store_16(to, memory, reg); break;
    case 4: xb_asm_mov_store_32(to, memory, reg); break;
    default: xb_asm_mov_store(to, memory, reg); break;
    }
}

/* The largest power of two that is at most this. size is at least 1. */
static uint32_t power_below(uint32_t size) {
    uint32_t power = 1;
    while (2 * power <= size) {
        power *= 2;
    }
    return power;
}

/* Other sizes are two parts that overlap: the first bytes, and the last ones, which come first because reg
 * may be base. */
void xb_value_load(xb_asm *to, uint32_t reg, uint32_t base, uint32_t offset, uint32_t size) {
    uint32_t part = power_below(size);
    uint32_t rest = size - part;
    if (rest == 0) {
        load_power(to, reg, xb_asm_memory(base, offset), part);
        return;
    }
    load_power(to, XB_R10, xb_asm_memory(base, offset + rest), part);
    load_power(to, reg, xb_asm_memory(base, offset), part);
    xb_asm_shl(to, XB_R10, 8 * rest);
    xb_asm_or(to, reg, xb_asm_reg(XB_R10));
}

void xb_value_load_vector(xb_asm *to, uint32_t xmm, uint32_t base, uint32_t offset, uint32_t size) {
    xb_operand memory = xb_asm_memory(base, offset);
    switch (size) {
    case 4: xb_asm_movss(to, xmm, memory); break;
    case 8: xb_asm_movsd(to, xmm, memory); break;
    default: xb_asm_movups(to, xmm, memory); break;
    }
}

void xb_value_store(xb_asm *to, uint32_t base, uint32_t offset, uint32_t reg, uint32_t size) {
    for (uint32_t part = power_below(size);; part = power_below(size)) {
        store_power(to, xb_asm_memory(base, offset), reg, part);
        size -= part;
        if (size == 0) {
            break;
        }
        xb_asm_shr(to, reg, 8 * part);
        offset += part;
    }
}

void xb_value_store_vector(xb_asm *to, uint32_t base, uint32_t offset, uint32_t xmm, uint32_t size) {
    xb_operand memory = xb_asm_memory(base, offset);
    switch (size) {
    case 4: xb_asm_movss_store(to, memory, xmm); break;
    case 8: xb_asm_movsd_store(to, memory, xmm); break;
    default: xb_asm_movups_store(to, memory, xmm); break;
    }
}

void xb_value_extend(xb_asm *to, uint32_t reg, xb_operand from, uint8_t type) {
    switch (type) {
    case EXECBUF_TYPE_BOOL:
    case EXECBUF_TYPE_U8: xb_asm_movzx_byte(to, reg, from); break;
    case EXECBUF_TYPE_I8: xb_asm_movsx_byte_64(to, reg, from); break;
    case EXECBUF_TYPE_U16: xb_asm_movzx_word(to, reg, from); break;
    case EXECBUF_TYPE_I16: xb_asm_movsx_word_64(to, reg, from); break;
    case EXECBUF_TYPE_U32: xb_asm_mov_32(to, reg, from); break;
    case EXECBUF_TYPE_I32: xb_asm_movsxd(to, reg, from); break;
    default: xb_asm_mov(to, reg, from); break;
    }
}

/* The last part overlaps the one before it, as in xb_value_copy. */
void xb_value_zero(xb_asm *to, uint32_t base, uint32_t size) {
    uint32_t whole = size & ~15U;
    xb_asm_xorps(to, to->scratch);
    if (size > MAX_UNROLLED) { /* r10 is how many bytes are left */
        xb_asm_mov_r10d(to, whole);
        uint32_t start = to->length;
        xb_asm_movups_store(to, xb_asm_indexed(base, 0U - 16), to->scratch);
        xb_asm_sub_r10_16(to);
        xb_asm_jnz_back(to, start);
    } else {
        for (uint32_t at = 0; at < whole; at += 16) {
            xb_asm_movups_store(to, xb_asm_memory(base, at), to->scratch);
        }
    }
    if (whole < size) {
        xb_asm_movups_store(to, xb_asm_memory(base, size - 16), to->scratch);
    }
}

/* Copies 1, 2, 4, 8 or 16 bytes. */
static void copy_part(xb_asm *to, uint32_t where, uint32_t base, uint32_t from, uint32_t size) {
    if (size == 16) {
        xb_asm_movups(to, to->scratch, xb_asm_memory(base, from));
        xb_asm_movups_store(to, xb_asm_stack(where), to->scratch);
    } else {
        load_power(to, XB_RAX, xb_asm_memory(base, from), size);
        store_power(to, xb_asm_stack(where), XB_RAX, size);
    }
}

/* Copies a multiple of 16 bytes, from the end to the beginning. r10 is how many are left. */
static void copy_by_loop(xb_asm *to, uint32_t where, uint32_t base, uint32_t from, uint32_t size) {
    xb_asm_mov_r10d(to, size);
    uint32_t start = to->length;
    xb_asm_movups(to, to->scratch, xb_asm_indexed(base, from - 16));
    xb_asm_movups_store(to, xb_asm_indexed(XB_RSP, where - 16), to->scratch);
    xb_asm_sub_r10_16(to);
    xb_asm_jnz_back(to, start);
}

/* The last part overlaps the one before it, so that it ends where the value does. */
void xb_value_copy(xb_asm *to, uint32_t where, uint32_t base, uint32_t from, uint32_t size) {
    uint32_t part = size >= 16 ? 16 : power_below(size);
    uint32_t whole = size - size % part;
    if (size > MAX_UNROLLED) {
        copy_by_loop(to, where, base, from, whole);
    } else {
        for (uint32_t at = 0; at < whole; at += part) {
            copy_part(to, where + at, base, from + at, part);
        }
    }
    if (whole < size) {
        copy_part(to, where + size - part, base, from + size - part, part);
    }
}
