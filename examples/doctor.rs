//! Prints which backends work on this machine and in this process, which one execbuf uses, and what to change if none
//! works. The exit status is 0 if code can be published.

use std::io;
use std::process::ExitCode;

use execbuf::{Backend, BackendReport, ErrorKind, Probe};

fn main() -> ExitCode {
    let probe = execbuf::probe();
    println!("execbuf {} on {}, {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);

    println!("\nExecBuffer");
    print_backends(probe.buffer(), probe.buffer_backend());
    println!("\nExecPool");
    print_backends(probe.pool(), probe.pool_backend());
    if probe.pool_backend().is_none() && probe.buffer_backend().is_some() {
        println!("  each function gets a dedicated mapping, as with ExecBuffer");
    }

    println!("\nSystem and process");
    for (name, value) in probe.facts() {
        println!("  {name:<24}{value}");
    }

    println!("\nAdvice");
    for line in advice(&probe) {
        println!("  {line}");
    }
    if probe.buffer_backend().is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_backends(backends: &[BackendReport], used: Option<Backend>) {
    for probed in backends {
        let backend = probed.backend().to_string();
        match probed.call() {
            Some(call) if call.starts_with("excluded") => println!("  {backend:<9}excluded"),
            None if used == Some(probed.backend()) => println!("  {backend:<9}used"),
            None => println!("  {backend:<9}works"),
            Some(call) => println!("  {backend:<9}fails    {}", failure(call, probed.os_error())),
        }
    }
}

fn failure(call: &str, os_error: Option<i32>) -> String {
    match os_error {
        Some(code) => format!("{call}: {}", io::Error::from_raw_os_error(code)),
        None => call.to_owned(),
    }
}

/// Returns the lines of the advice.
fn advice(probe: &Probe) -> Vec<String> {
    match probe.error() {
        Some(ErrorKind::ReadImpliesExec) => {
            return vec![
                "The READ_IMPLIES_EXEC personality makes all readable memory executable. Start this".to_owned(),
                "program without it: no setarch -X, no executable stack (execstack -c PROGRAM).".to_owned(),
            ];
        }
        Some(ErrorKind::Unsupported) => {
            return vec!["execbuf does not support this platform.".to_owned()];
        }
        Some(ErrorKind::Backends) => {
            return vec!["EXECBUF_BACKENDS names no backend of this platform, or an unknown one.".to_owned()];
        }
        Some(_) => return vec!["No memory is left for the fork handlers.".to_owned()],
        None => {}
    }
    let (situation, failed) = match (probe.buffer_backend(), probe.pool_backend()) {
        (None, _) => ("ExecBuffer cannot publish code. To make a backend work:", probe.buffer()),
        (Some(_), None) if !probe.pool().is_empty() => {
            ("Pools use a dedicated mapping for each function. To make a backend of regions work:", probe.pool())
        }
        _ => return vec![nothing_to_do(probe).to_owned()],
    };
    let remedies = failed.iter().filter_map(|probed| {
        let remedy = remedy(probe, probed.call()?, probed.os_error().unwrap_or(0));
        Some(format!("{:<9}{remedy}", probed.backend().to_string()))
    });
    std::iter::once(situation.to_owned()).chain(remedies).collect()
}

fn nothing_to_do(probe: &Probe) -> &'static str {
    if probe.buffer().iter().chain(probe.pool()).all(BackendReport::works) {
        "nothing to do"
    } else {
        "nothing to do: the backends that fail are not needed"
    }
}

/// Returns what an administrator or the user can do about a failure.
#[cfg(unix)]
fn remedy(probe: &Probe, call: &str, code: i32) -> String {
    let fact = |wanted| probe.facts().find(|(name, _)| *name == wanted).map_or("", |(_, value)| value);
    let refused = [libc::EPERM, libc::EACCES].contains(&code);
    // In a container the mode is hidden, but the label may be visible.
    let (label, mode) = (fact("security label"), fact("SELinux"));
    let is_selinux = mode == "enforcing" || (mode == "unknown" && label.contains(':'));
    match call {
        "prctl(PR_GET_MDWE)" => "MDWE is on. systemd: MemoryDenyWriteExecute=no".to_owned(),
        "getrlimit(RLIMIT_FSIZE)" => {
            "raise the limit of the file size. systemd: LimitFSIZE=; shell: ulimit -f".to_owned()
        }
        _ if call.starts_with("excluded") => "EXECBUF_BACKENDS, or the program, excludes it".to_owned(),
        _ if call.starts_with("self-test") => {
            "stale code was executed, perhaps by an emulator. valgrind needs --smc-check=all".to_owned()
        }
        _ if code == libc::EMFILE => {
            "raise the limit of open files. systemd: LimitNOFILE=; shell: ulimit -n".to_owned()
        }
        _ if code == libc::ENFILE => "the whole system has too many open files: raise fs.file-max".to_owned(),
        "mremap" if [libc::EINVAL, libc::ENOMEM].contains(&code) => {
            "raise vm.max_map_count; or this is an emulator that cannot map memory twice".to_owned()
        }
        _ if code == libc::ENOMEM => "allow more memory, address space or mappings: RLIMIT_AS, RLIMIT_DATA, \
             the limit of the cgroup, vm.max_map_count"
            .to_owned(),
        _ if code == libc::ENOSYS => format!("allow {call} in the seccomp filter, or use a newer kernel"),
        _ if cfg!(target_os = "macos") && refused => {
            "sign the program with the entitlement com.apple.security.cs.allow-jit".to_owned()
        }
        _ if cfg!(target_os = "netbsd") && refused => "PaX MPROTECT refuses it: paxctl +m PROGRAM".to_owned(),
        _ if code == libc::EACCES && is_selinux => format!(
            "SELinux refuses {call} to {label}. See ausearch -m avc -ts recent; booleans: getsebool -a | grep exec"
        ),
        _ if code == libc::EACCES && fact("PaX").contains('M') => {
            "PaX MPROTECT refuses it: paxctl -m PROGRAM".to_owned()
        }
        "mprotect" | "mmap" if refused && fact("seccomp") == "filter" => {
            format!("a seccomp filter refuses {call}. systemd: MemoryDenyWriteExecute=no")
        }
        _ if refused && fact("seccomp") == "filter" => {
            format!("allow {call} in the seccomp filter. systemd: SystemCallFilter=; containers: the profile")
        }
        _ if refused => format!("a policy of this system refuses {call}"),
        _ => format!("unexpected failure: {}", failure(call, Some(code).filter(|code| *code != 0))),
    }
}

/// Returns what an administrator or the user can do about a failure.
#[cfg(windows)]
fn remedy(probe: &Probe, call: &str, code: i32) -> String {
    const ERROR_DYNAMIC_CODE_BLOCKED: i32 = 1655;
    let prohibited = probe.facts().any(|fact| fact == ("dynamic code", "prohibited"));
    if code == ERROR_DYNAMIC_CODE_BLOCKED || prohibited {
        return "turn off Arbitrary Code Guard for this program: Windows Security, Exploit protection".to_owned();
    }
    match io::Error::from_raw_os_error(code).kind() {
        io::ErrorKind::OutOfMemory => "add memory, or enlarge the paging file".to_owned(),
        _ => format!("unexpected failure: {}", failure(call, Some(code).filter(|code| *code != 0))),
    }
}
