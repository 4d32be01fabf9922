/* Writes little-endian numbers one behind the other: for the tables of this folder. The caller sees to it
 * that there is space. */
#ifndef XB_DEBUG_WRITER_H
#define XB_DEBUG_WRITER_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that are being written. */
typedef struct xb_writer {
    uint8_t *out;
    size_t length; /* how many bytes have been written */
} xb_writer;

static inline void xb_write_u8(xb_writer *to, uint32_t value) {
    to->out[to->length++] = (uint8_t)value;
}

static inline void xb_write_u16(xb_writer *to, uint32_t value) {
    xb_write_u8(to, value & 0xff);
    xb_write_u8(to, value >> 8 & 0xff);
}

static inline void xb_write_u32(xb_writer *to, uint32_t value) {
    xb_write_u16(to, value & 0xffff);
    xb_write_u16(to, value >> 16);
}

static inline void xb_write_u64(xb_writer *to, uint64_t value) {
    xb_write_u32(to, (uint32_t)value);
    xb_write_u32(to, (uint32_t)(value >> 32));
}

/* An unsigned LEB128: seven bits in each byte, the lowest first; the highest bit says that more follow
 * (DWARF 5, 7.6). */
static inline void xb_write_leb128(xb_writer *to, uint32_t value) {
    for (; value >= 0x80; value >>= 7) {
        xb_write_u8(to, (value & 0x7f) | 0x80);
    }
    xb_write_u8(to, value);
}

#endif
