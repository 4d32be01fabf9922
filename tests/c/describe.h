/* Tables for the tests of descriptions. */
#ifndef EXECBUF_TEST_DESCRIBE_H
#define EXECBUF_TEST_DESCRIBE_H

#include "check.h"

/* A table of a CIE and one FDE, with the encodings that compilers use most. All offsets are constants. */
#define TABLE_SIZE 56U
#define AT_VERSION 8U
#define AT_AUGMENTATION 9U
#define AT_ENCODING 16U
#define AT_INITIAL 17U
#define AT_FDE 24U
#define AT_START 32U
#define AT_SIZE 40U
#define AT_PROGRAM 49U

/* Writes the table of a function that keeps a frame pointer. */
static inline void write_table(uint8_t *out, const void *start, uint64_t size) {
    static const uint8_t bytes[TABLE_SIZE] = {
        20,   0,  0,  0, 0, 0, 0,  0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0, /* CIE */
        0x0c, 7,  8,                                                     /* DW_CFA_def_cfa rsp, 8 */
        0x90, 1,                                                         /* DW_CFA_offset 16, 1 */
        0,    0,  28, 0, 0, 0, 28, 0, 0, 0,                              /* FDE; the range is filled in */
        0,    0,  0,  0, 0, 0, 0,  0, 0, 0,   0,   0, 0, 0,    0,  0, 0, /* no augmentation data */
        0x41,                                                            /* DW_CFA_advance_loc 1 */
        0x0e, 16,                                                        /* DW_CFA_def_cfa_offset 16 */
        0x86, 2,                                                         /* DW_CFA_offset rbp, 2 */
    };
    uint64_t address = (uintptr_t)start;
    memcpy(out, bytes, sizeof bytes);
    memcpy(out + AT_START, &address, 8);
    memcpy(out + AT_SIZE, &size, 8);
}

static inline execbuf_info info_of_table(const void *table, size_t length) {
    execbuf_info info = EXECBUF_INFO_INIT;
    info.unwind = EXECBUF_UNWIND_EH_FRAME;
    info.table = table;
    info.table_length = length;
    return info;
}

static inline execbuf_info info_of_kind(execbuf_unwind unwind) {
    execbuf_info info = EXECBUF_INFO_INIT;
    info.unwind = unwind;
    return info;
}

#endif
