/* Constants of the kernel that older headers of the C library lack. Each is part of the kernel's ABI. */
#ifndef XB_PRIM_LINUX_KERNEL_H
#define XB_PRIM_LINUX_KERNEL_H

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* include/uapi/linux/prctl.h, Linux 6.3 */
#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66
#endif
#ifndef PR_MDWE_REFUSE_EXEC_GAIN
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

/* Of sys/auxv.h (glibc 2.16, musl, Android), which includes elf.h, whose names are also those of debug/elf.c.
 */
extern unsigned long getauxval(unsigned long type);
/* include/uapi/linux/auxvec.h */
#define LINUX_AT_SECURE 23UL
#define LINUX_AT_RANDOM 25UL

/* include/uapi/linux/memfd.h, Linux 3.17; NOEXEC_SEAL: 6.3 */
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 0x0001U
#endif
#ifndef MFD_ALLOW_SEALING
#define MFD_ALLOW_SEALING 0x0002U
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* include/uapi/linux/fcntl.h, Linux 3.17; FUTURE_WRITE: 5.1 */
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_SEAL_SEAL 0x0001
#define F_SEAL_SHRINK 0x0002
#define F_SEAL_GROW 0x0004
#define F_SEAL_WRITE 0x0008
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

/* include/uapi/linux/random.h, Linux 3.17 */
#ifndef GRND_NONBLOCK
#define GRND_NONBLOCK 0x0001
#endif

/* include/uapi/asm-generic/mman-common.h, Linux 3.4; WIPEONFORK: 4.14 */
#ifndef MADV_DONTDUMP
#define MADV_DONTDUMP 16
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13; for files: 6.15 */
#define MADV_GUARD_REMOVE 103
#endif

/* arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/mman-common.h, Linux 4.9 */
#if defined(__x86_64__) && !defined(__ILP32__)
#ifndef SYS_pkey_mprotect
#define SYS_pkey_mprotect 329
#define SYS_pkey_alloc 330
#define SYS_pkey_free 331
#endif
#ifndef PKEY_DISABLE_ACCESS
#define PKEY_DISABLE_ACCESS 0x1
#endif
#endif

/* include/uapi/linux/membarrier.h, Linux 4.14; SYNC_CORE: 4.16. These have names of ours, since the header
 * has them as enumerators, which #ifndef does not see. */
#define MEMBARRIER_QUERY 0
#define MEMBARRIER_FENCE 8
#define MEMBARRIER_REGISTER_FENCE 16
#define MEMBARRIER_SYNC_CORE 32
#define MEMBARRIER_REGISTER_SYNC_CORE 64

#endif
