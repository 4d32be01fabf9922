/* The numbers that DWARF gives the registers which unwind tables of this library name, by instruction set:
 * the stack pointer, the frame pointer, and the return address (psABI x86-64, figure 3.36; DWARF for the Arm
 * 64-bit Architecture, 4.1; RISC-V psABI, "DWARF Register Numbers"). */
#ifndef XB_DEBUG_REGISTERS_H
#define XB_DEBUG_REGISTERS_H

#if defined(__aarch64__) || defined(_M_ARM64)
#define XB_DWARF_SP 31
#define XB_DWARF_FP 29
#define XB_DWARF_RETURN 30
#elif defined(__riscv)
#define XB_DWARF_SP 2
#define XB_DWARF_FP 8
#define XB_DWARF_RETURN 1
#else /* x86-64; on others no code has tables */
#define XB_DWARF_SP 7
#define XB_DWARF_FP 6
#define XB_DWARF_RETURN 16
#endif

/* The data alignment factor of tables of this library: -8 as a signed LEB128, and its absolute value. */
#define XB_DATA_UNIT 0x78
#define XB_DATA_UNIT_SIZE 8U

#endif
