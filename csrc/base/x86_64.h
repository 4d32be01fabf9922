/* The general registers of x86-64, by the numbers that instructions encode them with (Intel SDM, volume 2,
 * table 3-1). Vector registers have the numbers of their names. */
#ifndef XB_BASE_X86_64_H
#define XB_BASE_X86_64_H

#define XB_RAX 0U
#define XB_RCX 1U
#define XB_RDX 2U
#define XB_RSP 4U
#define XB_RBP 5U
#define XB_RSI 6U
#define XB_RDI 7U
#define XB_R8 8U
#define XB_R9 9U
#define XB_R10 10U
#define XB_R11 11U

#endif
