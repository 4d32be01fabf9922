//! Probes: they agree with the backends that are used, name the reasons of failures, and keep nothing. Also the output
//! of the example `doctor`.

mod support;

#[cfg(target_os = "linux")]
use execbuf::Backend;
use execbuf::{ExecPool, Probe};
use support::{alone, call, child, has_proc, maps, publish, returning};

/// Checks that buffers and pools use the backends that the probe reports.
fn assert_agrees(probe: &Probe) {
    let buffer = execbuf::ExecBuffer::new(&returning(1));
    assert_eq!(buffer.is_ok(), probe.buffer_backend().is_some(), "{buffer:?}");
    #[cfg(target_os = "linux")]
    if let Ok(buffer) = &buffer {
        let used = match maps::name_at(buffer.as_ptr()).as_str() {
            "" => Backend::Flip,
            "/dev/zero (deleted)" => Backend::Alias,
            name => {
                assert!(name.starts_with("/memfd:"), "{name}");
                Backend::Memfd
            }
        };
        assert_eq!(probe.buffer_backend(), Some(used));
    }
    let pool = ExecPool::new().expect("pools can be made");
    let published = pool.publish(&returning(2));
    let stats = pool.stats();
    if probe.pool_backend().is_some() {
        assert_eq!((stats.backend(), stats.regions(), stats.dedicated()), (probe.pool_backend(), 1, 0));
    } else {
        assert_eq!((stats.regions(), stats.dedicated()), (0, usize::from(buffer.is_ok())));
    }
    match published {
        Ok(published) => assert_eq!(call(&published), 2),
        Err(error) => assert!(probe.pool_backend().is_none() && buffer.is_err(), "{error}"),
    }
}

#[test]
fn probing_finds_a_backend_on_this_system() {
    let _alone = alone();
    let probe = execbuf::probe();
    assert_eq!(probe.error(), None);
    assert!(probe.buffer_backend().is_some(), "{probe:?}");
    for probed in probe.buffer().iter().chain(probe.pool()) {
        assert!(probed.works() == probed.call().is_none(), "{probed:?}");
        assert!(!probed.works() || probed.os_error().is_none(), "{probed:?}");
    }
}

#[test]
fn probing_agrees_with_the_backends_in_use() {
    if !has_proc() {
        return;
    }
    let _alone = alone();
    assert_agrees(&execbuf::probe());
}

#[test]
fn probing_keeps_no_memory_and_no_descriptor() {
    if !has_proc() {
        return;
    }
    let _alone = alone();
    // In a child process, no thread of another test starts meanwhile.
    let end = child::crashing("probing_keeps_no_memory_and_no_descriptor", || {
        let look = || {
            drop(execbuf::probe());
            (maps::look(), maps::descriptors())
        };
        look(); // the first look may grow the heap
        let before = look();
        for _ in 0..100 {
            drop(execbuf::probe());
        }
        let after = look();
        assert_eq!((after.0.mappings, after.0.executable_bytes), (before.0.mappings, before.0.executable_bytes));
        assert!(after.0.bytes < before.0.bytes + 100 * 4096, "{before:?}, {after:?}");
        assert_eq!(after.1, before.1);
    });
    assert_eq!(end, child::End::Exited(0));
}

#[test]
fn threads_may_probe_and_publish_at_once() {
    let _alone = alone();
    let expected = execbuf::probe();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let expected = &expected;
            scope.spawn(move || {
                for round in 0..20 {
                    let probe = execbuf::probe();
                    assert_eq!((probe.buffer(), probe.pool()), (expected.buffer(), expected.pool()));
                    let value = thread * 20 + round;
                    assert_eq!(call(&publish(value)), value);
                }
            });
        }
    });
}

#[test]
fn facts_have_unique_names_and_values() {
    let _alone = alone();
    let probe = execbuf::probe();
    let mut names: Vec<&str> = probe.facts().map(|(name, _)| name).collect();
    assert!(names.contains(&"page size"), "{names:?}");
    assert!(probe.facts().all(|(name, value)| !name.is_empty() && !value.is_empty() && value.len() < 48));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[cfg(target_os = "linux")]
#[test]
fn facts_equal_the_values_of_the_system() {
    if !has_proc() {
        return;
    }
    let _alone = alone();
    let probe = execbuf::probe();
    let file = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    // SAFETY: Reads a constant.
    let page_size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    assert_eq!(fact(&probe, "page size"), page_size.to_string());
    assert_eq!(fact(&probe, "kernel"), file("/proc/sys/kernel/osrelease").unwrap());
    assert_eq!(fact(&probe, "vm.max_map_count"), file("/proc/sys/vm/max_map_count").unwrap());
    let noexec = file("/proc/sys/vm/memfd_noexec").unwrap_or("absent".to_owned());
    assert_eq!(fact(&probe, "vm.memfd_noexec"), noexec);
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: The limit is writable.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let unlimited = limit.rlim_cur == libc::RLIM_INFINITY;
    let expected = if unlimited { "unlimited".to_owned() } else { limit.rlim_cur.to_string() };
    assert_eq!(fact(&probe, "RLIMIT_NOFILE"), expected);
}

#[cfg(target_os = "linux")]
fn fact<'a>(probe: &'a Probe, wanted: &str) -> &'a str {
    let found = probe.facts().find(|(name, _)| *name == wanted);
    found.unwrap_or_else(|| panic!("{wanted} is missing: {probe:?}")).1
}

/// Probes in child processes that have given up rights.
#[cfg(target_os = "linux")]
mod hardened {
    use super::{Backend, alone, assert_agrees, fact, has_proc, maps};
    use crate::support::harden::{SKIPPED, must};
    use crate::support::{child, harden};
    use execbuf::{BackendReport, ErrorKind, Probe};
    use libc::{EACCES, EFBIG, EMFILE, EPERM};

    /// The backends that fail, each with the call and its error code.
    type Failures = &'static [(Backend, &'static str, i32)];

    /// Runs a test in a child that has given up rights. The test receives a probe made before that.
    pub(super) fn hardened(apply: impl FnOnce() -> Result<(), String>, test: impl FnOnce(&Probe)) {
        if !has_proc() {
            return;
        }
        let _alone = alone();
        let end = child::forked(|| {
            let before = execbuf::probe();
            must(&apply());
            test(&before);
        });
        assert!([child::End::Exited(0), child::End::Exited(SKIPPED)].contains(&end), "{end:?}");
    }

    fn assert_failures(now: &[BackendReport], before: &[BackendReport], failures: Failures) {
        assert_eq!(now.len(), before.len());
        for (now, before) in now.iter().zip(before) {
            match failures.iter().find(|failure| failure.0 == now.backend()) {
                Some(&(_, call, code)) => assert_eq!((now.call(), now.os_error()), (Some(call), Some(code))),
                None => assert_eq!(now, before),
            }
        }
    }

    /// Checks that after a hardening exactly these backends fail.
    fn fails(apply: fn() -> Result<(), String>, buffer: Failures, pool: Failures, look: fn(&Probe)) {
        hardened(apply, |before| {
            let now = execbuf::probe();
            assert_failures(now.buffer(), before.buffer(), buffer);
            assert_failures(now.pool(), before.pool(), pool);
            look(&now);
            assert_eq!(now.error(), None);
        });
    }

    #[test]
    fn mdwe_is_reported() {
        let flip = &[(Backend::Flip, "prctl(PR_GET_MDWE)", EACCES)];
        fails(harden::mdwe, flip, &[], |probe| {
            assert_eq!(fact(probe, "MDWE"), "on");
            assert_agrees(probe);
        });
    }

    #[test]
    fn the_filter_of_systemd_is_reported() {
        fails(harden::systemd_filter, &[(Backend::Flip, "mprotect", EPERM)], &[], |probe| {
            assert_eq!(fact(probe, "seccomp"), "filter");
            assert_agrees(probe);
        });
    }

    #[test]
    fn a_refused_memfd_is_reported() {
        let memfd = &[(Backend::Memfd, "memfd_create", EPERM)];
        fails(|| harden::deny(&[libc::SYS_memfd_create]), memfd, memfd, assert_agrees);
    }

    #[test]
    fn exhausted_descriptors_are_reported() {
        let memfd = &[(Backend::Memfd, "memfd_create", EMFILE)];
        fails(
            || harden::limit(libc::RLIMIT_NOFILE, 0),
            memfd,
            memfd,
            |probe| {
                assert_eq!(fact(probe, "RLIMIT_NOFILE"), "0");
                assert_eq!(fact(probe, "vm.max_map_count"), "unknown");
            },
        );
    }

    #[test]
    fn a_limit_of_the_file_size_is_reported() {
        let memfd = &[(Backend::Memfd, "getrlimit(RLIMIT_FSIZE)", EFBIG)];
        let apply = || {
            // An emulator writes a file when this process reads its mappings.
            if !maps::keep_open() {
                return Err("/proc/self/maps is a copy, as in qemu-user".to_owned());
            }
            harden::limit(libc::RLIMIT_FSIZE, 0)
        };
        fails(apply, memfd, memfd, |probe| {
            assert_eq!(fact(probe, "RLIMIT_FSIZE"), "0");
            assert_agrees(probe);
        });
    }

    #[test]
    fn a_refused_mremap_is_reported() {
        hardened(
            || harden::deny(&[libc::SYS_mremap]),
            |before| {
                let now = execbuf::probe();
                // The flip needs it neither to publish nor to rewrite.
                let failures: Failures = &[(Backend::Memfd, "mremap", EPERM), (Backend::Alias, "mremap", EPERM)];
                assert_failures(now.buffer(), before.buffer(), failures);
                // A pool with memfd never moves memory.
                assert_failures(now.pool(), before.pool(), &[(Backend::Alias, "mremap", EPERM)]);
                assert_agrees(&now);
            },
        );
    }

    #[test]
    fn pools_without_regions_use_the_backend_of_buffers() {
        hardened(no_regions, |_| {
            let probe = execbuf::probe();
            assert_eq!((probe.pool_backend(), probe.buffer_backend()), (None, Some(Backend::Flip)));
            assert_agrees(&probe);
        });
    }

    /// Refuses memfd, and madvise, which keeps regions from being inherited by the child of a fork.
    pub(super) fn no_regions() -> Result<(), String> {
        harden::deny(&[libc::SYS_memfd_create, libc::SYS_madvise])
    }

    #[test]
    fn if_all_backends_are_refused_none_is_reported_to_work() {
        hardened(no_way, |_| {
            let probe = execbuf::probe();
            assert_eq!((probe.buffer_backend(), probe.pool_backend(), probe.error()), (None, None, None));
            assert_agrees(&probe);
        });
    }

    pub(super) fn no_way() -> Result<(), String> {
        harden::mdwe()?;
        harden::deny(&[libc::SYS_memfd_create, libc::SYS_mremap])
    }

    #[test]
    fn no_backend_is_tried_under_read_implies_exec() {
        hardened(harden::read_implies_exec, |_| {
            let probe = execbuf::probe();
            assert_eq!(probe.error(), Some(ErrorKind::ReadImpliesExec));
            assert!(!probe.buffer().is_empty() && !probe.pool().is_empty());
            assert!(probe.buffer().iter().chain(probe.pool()).all(|probed| probed.call() == Some("personality")));
        });
    }

    #[test]
    fn read_implies_exec_is_detected_after_the_first_use() {
        hardened(
            || {
                drop(super::publish(1));
                harden::read_implies_exec()
            },
            |_| assert_eq!(execbuf::probe().error(), Some(ErrorKind::ReadImpliesExec)),
        );
    }
}

/// Runs the example `doctor`.
mod doctor {
    use crate::support::example;

    /// Runs the example and returns its exit status and output. If the system cannot start it, prints a SKIP line and
    /// returns `None`.
    fn run() -> Option<(i32, String)> {
        let output = example::run("doctor", &[], ".", "")?;
        assert!(output.stderr.is_empty(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("examples write UTF-8").replace("\r\n", "\n");
        Some((output.status.code().expect("it exits"), text))
    }

    #[test]
    fn it_has_no_advice_if_code_can_be_published() {
        let Some((status, text)) = run() else { return };
        assert_eq!(status, 0, "{text}");
        assert!(text.contains("\n  nothing to do"), "{text}");
        assert!(text.contains("used\n"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    }

    #[cfg(target_os = "linux")]
    mod hardened {
        use super::run;
        use crate::hardened::{hardened, no_regions, no_way};
        use crate::support::{example, harden, is_cross, skip};
        use std::process::Command;

        /// Checks the exit status, and that the output contains each part.
        fn prints(apply: fn() -> Result<(), String>, expected: i32, parts: &[&str]) {
            hardened(apply, |_| {
                let Some((status, text)) = run() else { return };
                assert_eq!(status, expected, "{text}");
                for part in parts {
                    assert!(text.contains(part), "{part:?} is not in {text}");
                }
            });
        }

        #[test]
        fn it_has_no_advice_under_mdwe() {
            prints(
                harden::mdwe,
                0,
                &["flip     fails    prctl(PR_GET_MDWE)", "memfd    used", "  nothing to do: "],
            );
        }

        #[test]
        fn it_prints_a_remedy_for_each_refused_backend() {
            let remedies = ["MemoryDenyWriteExecute=no", "allow memfd_create in", "allow mremap in"];
            prints(no_way, 1, &remedies);
        }

        #[test]
        fn it_says_that_pools_without_regions_use_dedicated_mappings() {
            prints(no_regions, 0, &["each function gets a dedicated mapping", "allow memfd_create in"]);
        }

        #[test]
        fn it_never_requests_memory_that_is_writable_and_executable() {
            let works = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
            if is_cross() || !works.is_ok_and(|status| status.success()) {
                return skip("the system calls of doctor: no strace that works here");
            }
            let Some(program) = example::program("doctor") else { return };
            let output = Command::new("strace").arg("-f").arg(program).output().expect("strace runs");
            let trace = String::from_utf8(output.stderr).expect("strace writes ASCII");
            assert!(trace.contains("PROT_EXEC"), "{trace}");
            for line in trace.lines() {
                assert!(!(line.contains("PROT_WRITE") && line.contains("PROT_EXEC")), "{line}");
                assert!(!line.contains("/proc/self/status") || line.contains("O_CLOEXEC"), "{line}");
            }
        }
    }
}
