/* Includes the platform file for the system that the library is built for; no other file makes that choice.
 *
 * For tests, EXECBUF_PRIM_STUB chooses the stub on any system, and EXECBUF_PRIM_UNIX chooses on any Unix what
 * systems without a file of their own get. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* for mremap and others; counts only before the first system header */
#endif

#include "../base/isa.h"
#include "prim.h"
#include "unwinder.h"

#if defined(EXECBUF_PRIM_STUB) || defined(XB_ISA_UNKNOWN)
#include "stub/stub.inc"
#elif defined(EXECBUF_PRIM_UNIX)
#include "unix/unix.inc"
#elif defined(_WIN32)
#include "windows/windows.inc"
#elif defined(__linux__)
#include "linux/linux.inc"
#elif defined(__APPLE__)
#include "apple/apple.inc"
#elif defined(__unix__)
#include "unix/unix.inc"
#else
#include "stub/stub.inc"
#endif

/* x32, which is x86-64 with pointers of 32 bits, has a convention of its own. */
#if (!defined(__x86_64__) && !defined(_M_X64)) || defined(__ILP32__)
const execbuf_abi xb_prim_abi = EXECBUF_ABI_NATIVE;
#elif defined(_WIN32) || defined(__CYGWIN__)
const execbuf_abi xb_prim_abi = EXECBUF_ABI_WIN64;
#else
const execbuf_abi xb_prim_abi = EXECBUF_ABI_SYSV64;
#endif

/* Other data models and byte orders of AArch64 have conventions that are not known here. */
#if (!defined(__aarch64__) && !defined(_M_ARM64)) || defined(__ILP32__) || defined(__AARCH64EB__)
const xb_prim_arm_abi xb_prim_arm = XB_PRIM_ARM_NONE;
#elif defined(__APPLE__)
const xb_prim_arm_abi xb_prim_arm = XB_PRIM_ARM_APPLE;
#elif defined(_WIN32)
const xb_prim_arm_abi xb_prim_arm = XB_PRIM_ARM_WINDOWS;
#else
const xb_prim_arm_abi xb_prim_arm = XB_PRIM_ARM_AAPCS64;
#endif

/* Until xb_prim_arm_fork_mark, and for ever where the system has no fork mark. */
static const uint8_t constant_fork_mark = 1;
const uint8_t *xb_prim_fork_mark = &constant_fork_mark;
