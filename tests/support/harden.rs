//! Ways for a child to give up rights on Linux. Each returns the reason if the system does not support it.

use super::maps;
use std::io::Error;

/// Sets MDWE: memory that is or was writable can no longer become executable (Linux 6.3, prctl(2)).
pub fn mdwe() -> Result<(), String> {
    const PR_SET_MDWE: libc::c_int = 65;
    // SAFETY: This only restricts this process, which is a child.
    ok("PR_SET_MDWE", unsafe { libc::prctl(PR_SET_MDWE, 1_u64, 0_u64, 0_u64, 0_u64) })
}

/// Sets the `READ_IMPLIES_EXEC` personality, under which the kernel makes readable memory executable.
pub fn read_implies_exec() -> Result<(), String> {
    const READ_IMPLIES_EXEC: libc::c_ulong = 0x040_0000;
    // SAFETY: This affects only new mappings of this process, which is a child.
    ok("personality", unsafe { libc::personality(READ_IMPLIES_EXEC) })?;
    // SAFETY: This value only queries the personality.
    let now = unsafe { libc::personality(0xffff_ffff) };
    let set = libc::c_ulong::from(now.unsigned_abs()) & READ_IMPLIES_EXEC != 0;
    let page = set.then(|| vec![0_u8; 1 << 20]).map(|memory| maps::at(memory.as_ptr()));
    match page.flatten() {
        Some(mapping) if mapping.executable => Ok(()),
        _ => Err("READ_IMPLIES_EXEC has no effect here".to_owned()),
    }
}

/// The type of the first argument of setrlimit.
#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

pub fn limit(resource: Resource, most: u64) -> Result<(), String> {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: The limit is readable, and affects only this process, which is a child.
    ok("setrlimit", unsafe { libc::setrlimit(resource, &raw const limit) })
}

pub fn limited_address_space(size: usize) -> Result<(), String> {
    limit(libc::RLIMIT_AS, size as u64)?;
    if Vec::<u8>::new().try_reserve(size).is_ok() {
        return Err("RLIMIT_AS has no effect here".to_owned());
    }
    Ok(())
}

/// Converts the result of a system call.
pub fn ok(what: &str, result: libc::c_int) -> Result<(), String> {
    if result < 0 { Err(format!("{what}: {}", Error::last_os_error())) } else { Ok(()) }
}

/// Installs the filter that systemd installs for `MemoryDenyWriteExecute=`: EPERM for mmap with W and X, mprotect and
/// `pkey_mprotect` with X, and shmat with `SHM_EXEC`.
pub fn systemd_filter() -> Result<(), String> {
    let x = libc::PROT_EXEC.unsigned_abs();
    let wx = x | libc::PROT_WRITE.unsigned_abs();
    let mut filter = vec![];
    filter.extend(deny_if_all_set(libc::SYS_mmap, 2, wx));
    filter.extend(deny_if_all_set(libc::SYS_mprotect, 2, x));
    filter.extend(deny_if_all_set(libc::SYS_pkey_mprotect, 2, x));
    filter.extend(deny_if_all_set(libc::SYS_shmat, 2, libc::SHM_EXEC.unsigned_abs()));
    install(filter)
}

/// Installs a filter that makes the given system calls fail with EPERM.
pub fn deny(calls: &[libc::c_long]) -> Result<(), String> {
    install(calls.iter().flat_map(|&call| deny_if_all_set(call, 0, 0)).collect())
}

/// Installs a filter that kills the process if it makes one of the given system calls.
pub fn kill(calls: &[libc::c_long]) -> Result<(), String> {
    let mut filter: Vec<_> = calls.iter().flat_map(|&call| deny_if_all_set(call, 0, 0)).collect();
    for instruction in filter.iter_mut().filter(|instruction| instruction.code == 6) {
        instruction.k = libc::SECCOMP_RET_KILL_PROCESS; // 6: BPF_RET
    }
    install(filter)
}

/// Returns the instructions of a filter that make a system call fail with EPERM if the argument at `index` has all the
/// given bits.
fn deny_if_all_set(call: libc::c_long, index: u32, bits: u32) -> [libc::sock_filter; 6] {
    let argument = 16 + 8 * index; // seccomp_data.args, low half
    [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0), // seccomp_data.nr
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 4, u32::try_from(call).expect("a small number")),
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, argument),
        op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, bits),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, bits),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs()),
    ]
}

fn op(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("BPF codes have 16 bits"), jt, jf, k }
}

/// Installs a filter that allows only the given system calls. `otherwise` says what happens at any other call.
pub fn allow_only(calls: &[libc::c_long], otherwise: u32) -> Result<(), String> {
    let mut filter = vec![op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)]; // seccomp_data.nr
    for &call in calls {
        let number = u32::try_from(call).expect("a small number");
        filter.push(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number));
        filter.push(op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    }
    install_with_default(filter, otherwise)
}

fn install(filter: Vec<libc::sock_filter>) -> Result<(), String> {
    install_with_default(filter, libc::SECCOMP_RET_ALLOW)
}

fn install_with_default(mut filter: Vec<libc::sock_filter>, default: u32) -> Result<(), String> {
    filter.push(op(libc::BPF_RET | libc::BPF_K, 0, 0, default));
    let length = u16::try_from(filter.len()).expect("a short filter");
    let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
    // SAFETY: This only restricts this process, which is a child.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) };
    ok("PR_SET_NO_NEW_PRIVS", result)?;
    let mode = libc::c_ulong::from(libc::SECCOMP_MODE_FILTER);
    // SAFETY: The program and its filter are readable.
    ok("seccomp", unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) })
}

/// The exit status of a child that could not be hardened.
pub const SKIPPED: i32 = 77;

/// Ends the child as skipped if a right could not be given up.
pub fn must(result: &Result<(), String>) {
    if let Err(why) = result {
        super::skip(why);
        // SAFETY: The child of a fork must not run the parent's exit handlers.
        unsafe { libc::_exit(SKIPPED) };
    }
}

pub fn mdwe_and_filter() -> Result<(), String> {
    mdwe()?;
    systemd_filter()
}

pub fn no_memfd() -> Result<(), String> {
    mdwe_and_filter()?;
    deny(&[libc::SYS_memfd_create])
}

pub fn no_files() -> Result<(), String> {
    mdwe_and_filter()?;
    no_file_descriptors()
}

pub fn no_file_size() -> Result<(), String> {
    mdwe_and_filter()?;
    no_file_sizes()
}

pub fn no_file_descriptors() -> Result<(), String> {
    keep_maps_open()?;
    limit(libc::RLIMIT_NOFILE, 0)
}

pub fn no_file_sizes() -> Result<(), String> {
    keep_maps_open()?;
    limit(libc::RLIMIT_FSIZE, 0)
}

/// Keeps `/proc/self/maps` open, so that tests can read it when no file can be opened.
pub fn keep_maps_open() -> Result<(), String> {
    if super::maps::keep_open() { Ok(()) } else { Err("/proc/self/maps is a copy, as in qemu-user".to_owned()) }
}

/// Sets MDWE and `vm.memfd_noexec=2`. The latter belongs to a PID namespace, so this creates one, whose first process
/// continues the test.
pub fn mdwe_and_noexec() -> Result<(), String> {
    // SAFETY: This affects only the children of this process.
    ok("a PID namespace for vm.memfd_noexec", unsafe { libc::unshare(libc::CLONE_NEWPID) })?;
    let end = super::child::forked_and_returned();
    if let Some(end) = end {
        // The outer process exits with the status of the inner one.
        let code = if let super::child::End::Exited(code) = end { code } else { 102 };
        // SAFETY: The child of a fork must not run the parent's exit handlers.
        unsafe { libc::_exit(code) };
    }
    std::fs::write("/proc/sys/vm/memfd_noexec", "2").map_err(|error| format!("vm.memfd_noexec: {error}"))?;
    mdwe()
}
