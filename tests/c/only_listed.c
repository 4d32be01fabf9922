/* Runs a program under a seccomp filter that kills it at the first system call that is in neither of two
 * lists: only_listed PROGRAM [ARGUMENT...]
 *
 * .ci/allowed writes the first list, LISTED, from execbuf.h. The second is what programs and the tests need.
 */

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const long allowed[] = {
    LISTED
        /* The start and the end of a program, and its output. */
        SYS_execve,
    SYS_arch_prctl,
    SYS_set_tid_address,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_pread64,
    SYS_fstat,
    SYS_newfstatat,
    SYS_exit,
    SYS_exit_group,
    SYS_ioctl,
    SYS_lseek,
    /* Threads, signals and children of the tests. */
    SYS_clone,
    SYS_clone3,
    SYS_wait4,
    SYS_getpid,
    SYS_gettid,
    SYS_tgkill,
    SYS_kill,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_alarm,
    SYS_setitimer,
    SYS_pipe2,
    SYS_pipe,
    SYS_restart_syscall,
    SYS_sched_getaffinity,
    SYS_vfork,
    /* What tests ask the system, or forbid themselves. */
    SYS_mincore,
    SYS_readlink,
    SYS_access,
    SYS_chdir,
    SYS_chmod,
    SYS_getdents64,
    SYS_seccomp,
    SYS_dup,
    SYS_dup2,
    SYS_setuid,
    SYS_setgid,
    SYS_unshare,
    SYS_pause,
    SYS_access,
    SYS_unlink,
    SYS_symlink,
    SYS_mkdir,
    SYS_rmdir,
    SYS_mknod,
    SYS_mknodat,
    SYS_fchown,
};

enum { COUNT = sizeof allowed / sizeof allowed[0] };

int main(int argc, char **argv) {
    static struct sock_filter filter[2 * COUNT + 2];
    unsigned short length = 0;
    filter[length++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < COUNT; i++) {
        filter[length++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], 0, 1);
        filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {length, filter};
    if (argc < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("only_listed");
        return 77;
    }
    (void)execv(argv[1], argv + 1);
    perror(argv[1]);
    return 1;
}
