//! Runs `tests/suite` in child processes that have given up rights, and tests what happens if no way to make memory
//! executable is left. Linux only.

#[cfg(target_os = "linux")]
#[path = "suite/pool/mod.rs"]
mod pool;
#[cfg(target_os = "linux")]
mod suite;
#[cfg(target_os = "linux")]
mod support;

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("SKIP: the hardening tests are for Linux");
}

#[cfg(target_os = "linux")]
fn main() {
    if support::has_proc() {
        linux::main();
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use crate::support::harden::{SKIPPED, must};
    use crate::support::{TRAP, call, child, harden, maps, publish, reserve, returning};
    use crate::{pool, suite};
    use execbuf::{Backend, ErrorKind, ExecBuffer, ExecPool};
    use std::convert::Infallible;
    use std::io::Error;

    /// A way to give up rights.
    struct Hardening {
        name: &'static str,
        /// Gives up the rights in this process, or returns the reason why it cannot.
        apply: fn() -> Result<(), String>,
        /// The file name of the mappings of dedicated buffers, which shows the backend: "" for private anonymous
        /// memory, "/dev/zero" for shared anonymous memory.
        mappings: &'static str,
        /// The backend that pools use.
        pool: Backend,
    }

    const HARDENINGS: &[Hardening] = &[
        Hardening { name: "nothing", apply: || Ok(()), mappings: "", pool: Backend::Memfd },
        Hardening { name: "MDWE", apply: harden::mdwe, mappings: MEMFD, pool: Backend::Memfd },
        Hardening {
            name: "systemd's filter",
            apply: harden::systemd_filter,
            mappings: MEMFD,
            pool: Backend::Memfd,
        },
        Hardening {
            name: "MDWE and the filter",
            apply: harden::mdwe_and_filter,
            mappings: MEMFD,
            pool: Backend::Memfd,
        },
        Hardening {
            name: "MDWE and memfd_noexec=2",
            apply: harden::mdwe_and_noexec,
            mappings: MEMFD,
            pool: Backend::Memfd,
        },
        Hardening {
            name: "MDWE, the filter, no memfd",
            apply: harden::no_memfd,
            mappings: SHARED,
            pool: Backend::Alias,
        },
        Hardening {
            name: "MDWE, the filter, NOFILE=0",
            apply: harden::no_files,
            mappings: SHARED,
            pool: Backend::Alias,
        },
        Hardening {
            name: "MDWE, the filter, FSIZE=0",
            apply: harden::no_file_size,
            mappings: SHARED,
            pool: Backend::Alias,
        },
        Hardening { name: "NOFILE=0", apply: harden::no_file_descriptors, mappings: "", pool: Backend::Alias },
        Hardening { name: "FSIZE=0", apply: harden::no_file_sizes, mappings: "", pool: Backend::Alias },
    ];
    const MEMFD: &str = "/memfd:execbuf (deleted)";
    const SHARED: &str = "/dev/zero (deleted)";

    pub(super) fn main() {
        let mut failed = 0;
        for hardening in HARDENINGS {
            let end = hardened(hardening.apply, || {
                let mut buffer = publish(1);
                assert_eq!(maps::name_at(buffer.as_ptr()), hardening.mappings);
                buffer.rewrite(0, &returning(2)).unwrap();
                assert_eq!((maps::name_at(buffer.as_ptr()).as_str(), call(&buffer)), (hardening.mappings, 2));
            });
            failed += report(hardening.name, "buffers use the expected backend", end);
            if end == child::End::Exited(SKIPPED) {
                continue;
            }
            let end = hardened(hardening.apply, || expected_regions(hardening));
            failed += report(hardening.name, "pools use the expected backend", end);
            for (name, test) in suite::ALL.iter().copied().flatten() {
                let dedicated = hardened(hardening.apply, || test(&suite::Maker::Dedicated));
                failed += report(hardening.name, name, dedicated);
                let pooled = hardened(hardening.apply, || test(&suite::Maker::pool()));
                failed += report(hardening.name, &format!("in a pool: {name}"), pooled);
            }
            for (name, test) in pool::ALL.iter().copied().flatten() {
                failed += report(hardening.name, name, hardened(hardening.apply, test));
            }
        }
        for (name, test) in OTHERS {
            failed += report("other", name, child::forked(test));
        }
        println!("test result: {}", if failed == 0 { "ok" } else { "FAILED" });
        std::process::exit(i32::from(failed > 0));
    }

    fn expected_regions(hardening: &Hardening) {
        let pool = ExecPool::new().unwrap();
        let mut buffer = pool.publish(&returning(1)).unwrap();
        let stats = pool.stats();
        if stats.regions() == 0 {
            let attempts: Vec<_> =
                stats.attempts().iter().map(|attempt| (attempt.backend(), attempt.call())).collect();
            assert!(!attempts.is_empty() && stats.dedicated() == 1);
            must(&Err(format!("the backend of pools under {}: no regions: {attempts:?}", hardening.name)));
        }
        assert_eq!(stats.backend(), Some(hardening.pool));
        let mappings = if hardening.pool == Backend::Memfd { MEMFD } else { SHARED };
        let failed: Vec<_> = stats.attempts().iter().map(execbuf::Attempt::backend).collect();
        assert_eq!(failed, if hardening.pool == Backend::Memfd { vec![] } else { vec![Backend::Memfd] });
        assert_eq!(maps::name_at(buffer.as_ptr()), mappings);
        buffer.rewrite(0, &returning(2)).unwrap();
        assert_eq!((maps::name_at(buffer.as_ptr()).as_str(), call(&buffer)), (mappings, 2));
        // There is one executable mapping and one writable mapping.
        let mapped = maps::of(mappings);
        let mut rights: Vec<_> = mapped.iter().map(|mapping| (mapping.writable, mapping.executable)).collect();
        rights.sort_unstable();
        assert_eq!(rights, [(false, true), (true, false)]);
    }

    /// Runs a test in a child that has given up rights.
    fn hardened(apply: fn() -> Result<(), String>, test: impl FnOnce()) -> child::End {
        child::forked(|| {
            must(&apply());
            test();
        })
    }

    fn report(group: &str, name: &str, end: child::End) -> usize {
        let (text, failed) = match end {
            child::End::Exited(0) => ("ok".to_owned(), 0),
            child::End::Exited(SKIPPED) => ("skipped".to_owned(), 0),
            end => (format!("FAILED: {end:?}"), 1),
        };
        println!("test {group}: {name} ... {text}");
        failed
    }

    /// Tests that apply their own restrictions. Each runs in its own child process.
    const OTHERS: &[(&str, fn())] = &[
        ("if every backend is refused, the error lists every attempt", all_refused),
        ("a backend that is refused later is replaced by another one", lost_later),
        ("sealed code cannot become writable", sealed),
        ("the child of a fork checks the personality again", fork_forgets),
        ("code larger than RLIMIT_FSIZE uses another backend", file_size),
        ("no descriptors left is reported as NoMemory, not Denied", no_descriptors),
        ("a refused mmap is reported as Denied, not NoMemory", refused_staging),
        ("existing code still runs after a rewrite is refused by a new policy", old_code_under_a_new_policy),
        ("publishing is refused under READ_IMPLIES_EXEC", read_implies_exec),
        ("READ_IMPLIES_EXEC after the first use makes no mapping writable and executable", read_implies_exec_late),
        ("an exhausted address space is an error until memory is freed", no_address_space),
        ("an exhausted address space is an error under MDWE", no_address_space_under_mdwe),
        ("exhausted mappings are an error until mappings are freed", no_mappings),
    ];

    fn all_refused() {
        must(&harden::no_memfd());
        must(&harden::deny(&[libc::SYS_mremap]));
        let before = maps::look();
        let error = ExecBuffer::new(&returning(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        let attempts: Vec<_> = error.attempts().map(|a| (a.backend(), a.call(), a.os_error())).collect();
        let expected = [
            (Backend::Flip, "prctl(PR_GET_MDWE)", Some(libc::EACCES)),
            (Backend::Memfd, "memfd_create", Some(libc::EPERM)),
            (Backend::Alias, "mremap", Some(libc::EPERM)),
        ];
        assert_eq!(attempts, expected);
        assert_eq!((error.culprit(), error.os_error()), (Some("mremap"), Some(libc::EPERM)));
        let text = error.to_string();
        let list = "(flip: prctl(PR_GET_MDWE): EACCES; memfd: memfd_create: EPERM; alias: mremap: EPERM)";
        assert!(text.ends_with(list), "{text}");
        #[cfg(feature = "std")]
        assert_eq!(Error::from(error).kind(), std::io::ErrorKind::PermissionDenied);
        assert_eq!(maps::look(), before);
    }

    fn lost_later() {
        assert_eq!(maps::name_at(publish(1).as_ptr()), "");
        must(&harden::mdwe());
        assert_eq!(maps::name_at(publish(1).as_ptr()), MEMFD);
        must(&harden::deny(&[libc::SYS_memfd_create]));
        assert_eq!(maps::name_at(publish(1).as_ptr()), SHARED);
        must(&harden::deny(&[libc::SYS_mremap]));
        assert_eq!(ExecBuffer::new(&returning(1)).unwrap_err().kind(), ErrorKind::Denied);
    }

    fn sealed() {
        must(&harden::mdwe());
        let mut buffer = publish(1);
        buffer.rewrite(0, &returning(2)).unwrap();
        let page = buffer.as_ptr().wrapping_sub(16).cast_mut().cast();
        for protection in [libc::PROT_WRITE, libc::PROT_READ | libc::PROT_WRITE] {
            // SAFETY: The page belongs to the buffer, and nothing writes it.
            let result = unsafe { libc::mprotect(page, 1, protection) };
            let refused = result == -1 && Error::last_os_error().raw_os_error() == Some(libc::EACCES);
            if !refused && !kernel_maps_sealed_files_shared() {
                must(&Err("sealed code: this kernel has no shared mappings of sealed files".to_owned()));
            }
            assert!(refused);
        }
        assert_eq!(call(&buffer), 2);
    }

    /// Returns whether the kernel (6.7 or later) can map a file sealed against writing as shared, by mapping such a
    /// file.
    fn kernel_maps_sealed_files_shared() -> bool {
        // SAFETY: This makes a new file and a new mapping, and accesses neither.
        unsafe {
            let fd = libc::memfd_create(c"control".as_ptr(), libc::MFD_ALLOW_SEALING);
            libc::ftruncate(fd, 1);
            libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_WRITE);
            let page = libc::mmap(std::ptr::null_mut(), 1, libc::PROT_READ, libc::MAP_SHARED, fd, 0);
            page != libc::MAP_FAILED
        }
    }

    fn fork_forgets() {
        assert_eq!(call(&publish(1)), 1);
        let end = child::forked(|| {
            must(&harden::read_implies_exec());
            assert_eq!(ExecBuffer::new(&returning(1)).unwrap_err().kind(), ErrorKind::ReadImpliesExec);
        });
        if end == child::End::Exited(SKIPPED) {
            must(&Err("READ_IMPLIES_EXEC in a fork".to_owned()));
        }
        assert_eq!(end, child::End::Exited(0));
        assert_eq!(call(&publish(1)), 1);
    }

    fn file_size() {
        must(&harden::mdwe());
        must(&harden::keep_maps_open());
        must(&harden::limit(libc::RLIMIT_FSIZE, 8192));
        assert_eq!(maps::name_at(publish(1).as_ptr()), MEMFD);
        // Writing a file beyond RLIMIT_FSIZE would kill this process.
        let mut code = returning(2);
        code.resize(100_000, TRAP[0]);
        let buffer = ExecBuffer::new(&code).unwrap();
        assert_eq!((maps::name_at(buffer.as_ptr()).as_str(), call(&buffer)), (SHARED, 2));
    }

    fn no_descriptors() {
        must(&harden::mdwe());
        must(&harden::deny(&[libc::SYS_mremap]));
        must(&harden::limit(libc::RLIMIT_NOFILE, 0));
        let error = ExecBuffer::new(&returning(1)).unwrap_err();
        assert_eq!((error.kind(), error.os_error()), (ErrorKind::NoMemory, Some(libc::EMFILE)));
        assert_eq!((error.culprit(), error.attempts().count()), (Some("memfd_create"), 3));
        assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
    }

    fn refused_staging() {
        assert_eq!(call(&publish(1)), 1);
        must(&harden::deny(&[libc::SYS_mmap]));
        let error = ExecBuffer::new(&returning(1)).unwrap_err();
        assert_eq!((error.kind(), error.culprit()), (ErrorKind::Denied, Some("mmap")));
    }

    fn no_address_space_under_mdwe() {
        must(&harden::mdwe());
        no_address_space();
    }

    fn old_code_under_a_new_policy() {
        let mut buffer = publish(1);
        must(&harden::mdwe());
        must(&harden::deny(&[libc::SYS_memfd_create, libc::SYS_mremap]));
        let before = maps::look();
        assert_eq!(buffer.rewrite(0, &returning(2)).unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(call(&buffer), 1);
        assert_eq!(maps::look(), before);
    }

    fn read_implies_exec() {
        must(&harden::read_implies_exec());
        let before = maps::all().len();
        let assembled = ExecBuffer::assemble(|_| Ok::<_, Infallible>([0]));
        for error in [ExecBuffer::new(&returning(1)).unwrap_err(), assembled.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::ReadImpliesExec);
            assert_eq!(error.culprit(), Some("personality"));
            assert!(error.to_string().contains("setarch"), "{error}");
        }
        assert_eq!(maps::all().len(), before);
    }

    fn read_implies_exec_late() {
        let mut buffer = publish(1);
        must(&harden::read_implies_exec());
        let not_both = |address: *const u8| {
            let mapping = maps::at(address).expect("the address is mapped");
            assert!(!(mapping.writable && mapping.executable), "{mapping:x?}");
        };
        buffer.rewrite(0, &returning(2)).unwrap();
        not_both(buffer.as_ptr());
        let built = ExecBuffer::assemble(|address| {
            not_both(address as *const u8);
            Ok::<_, Infallible>(returning(3))
        })
        .unwrap();
        not_both(built.as_ptr());
        assert_eq!((call(&buffer), call(&built)), (2, 3));
    }

    fn no_address_space() {
        let kept = publish(1);
        let mut rewritten = publish(2);
        let mut buffers = Vec::with_capacity(100_000);
        let used: usize = maps::all().iter().map(|mapping| mapping.end - mapping.start).sum();
        must(&harden::limited_address_space(used + (1 << 20)));
        let error = loop {
            match ExecBuffer::new(&returning(3)) {
                Ok(buffer) => buffers.push(buffer),
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), error.os_error()), (ErrorKind::NoMemory, Some(libc::ENOMEM)));
        assert!(error.to_string().contains("RLIMIT_AS"), "{error}");
        assert_eq!(rewritten.rewrite(0, &returning(20)).unwrap_err().kind(), ErrorKind::NoMemory);
        assert_eq!(reserve(None, 1 << 20, |_, _| 1).unwrap_err().kind(), ErrorKind::NoMemory);
        assert_eq!((call(&kept), call(&rewritten)), (1, 2));
        assert!(buffers.iter().all(|buffer| call(buffer) == 3));
        drop(buffers);
        rewritten.rewrite(0, &returning(20)).unwrap();
        assert_eq!((call(&publish(4)), call(&rewritten)), (4, 20));
    }

    fn no_mappings() {
        // An emulator also needs mappings.
        must(&harden::keep_maps_open());
        let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
        if most.trim().parse().is_ok_and(|most: usize| most > 200_000) {
            must(&Err("exhausted mappings: vm.max_map_count is too large for this test".to_owned()));
        }
        let mut buffers: Vec<ExecBuffer> = (0..20).map(publish).collect();
        let mut taken = Vec::with_capacity(1 << 20);
        loop {
            // Adjacent pages have different protections, so the kernel cannot merge their mappings.
            let protection = if taken.len() % 2 == 0 { libc::PROT_READ } else { libc::PROT_NONE };
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: A new mapping affects no other mapping.
            let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
            if page == libc::MAP_FAILED {
                break;
            }
            if taken.len() == 1_000_000 {
                must(&Err("exhausted mappings: the system allows a million".to_owned()));
            }
            taken.push(page);
        }
        let error = ExecBuffer::new(&returning(3)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoMemory);
        assert!(error.to_string().contains("vm.max_map_count"), "{error}");
        assert_eq!(buffers[5].rewrite(0, &returning(50)).unwrap_err().kind(), ErrorKind::NoMemory);
        assert!((0..20).zip(&buffers).all(|(value, buffer)| call(buffer) == value));
        let end = buffers[19].as_ptr();
        buffers.truncate(10); // the memory is unmapped now, or by a later call
        for page in taken {
            // SAFETY: This test mapped the page.
            unsafe { libc::munmap(page, 4096) };
        }
        drop(publish(1));
        let mapping = maps::at(end);
        assert!(mapping.is_none_or(|mapping| !mapping.executable), "{mapping:x?}");
        assert!((0..10).zip(&buffers).all(|(value, buffer)| call(buffer) == value));
    }
}
