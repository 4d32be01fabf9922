//! The suite in children that have given up rights, and what happens where no right is left. Linux only.

#[cfg(target_os = "linux")]
mod suite;
#[cfg(target_os = "linux")]
mod support;

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("SKIP: the hardenings are Linux's");
}

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(target_os = "linux")]
mod linux {
    use crate::suite;
    use crate::support::{self, TRAP, call, child, maps, publish, returning};
    use execbuf::{Backend, ErrorKind, ExecBuffer};
    use std::io::Error;

    /// How a child exits that could not be hardened.
    const SKIPPED: i32 = 77;

    /// A way to give up rights.
    struct Hardening {
        name: &'static str,
        /// Gives them up in this process, or says why it can't.
        apply: fn() -> Result<(), String>,
        /// What the mappings of published code are of, and so which backend made them: "" for private anonymous
        /// memory, "/dev/zero" for shared.
        mappings: &'static str,
    }

    const HARDENINGS: &[Hardening] = &[
        Hardening { name: "nothing", apply: || Ok(()), mappings: "" },
        Hardening { name: "MDWE", apply: mdwe, mappings: MEMFD },
        Hardening { name: "systemd's filter", apply: systemd_filter, mappings: MEMFD },
        Hardening { name: "MDWE and the filter", apply: mdwe_and_filter, mappings: MEMFD },
        Hardening { name: "MDWE and memfd_noexec=2", apply: mdwe_and_noexec, mappings: MEMFD },
        Hardening { name: "MDWE, the filter, no memfd", apply: no_memfd, mappings: SHARED },
        Hardening { name: "MDWE, the filter, NOFILE=0", apply: no_files, mappings: SHARED },
        Hardening { name: "MDWE, the filter, FSIZE=0", apply: no_file_size, mappings: SHARED },
        Hardening { name: "NOFILE=0", apply: no_file_descriptors, mappings: "" },
        Hardening { name: "FSIZE=0", apply: no_file_sizes, mappings: "" },
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
            failed += report(hardening.name, "the expected backend is used", end);
            if end == child::End::Exited(SKIPPED) {
                continue;
            }
            for (name, test) in suite::ALL {
                failed += report(hardening.name, name, hardened(hardening.apply, test));
            }
        }
        for (name, test) in OTHERS {
            failed += report("alone", name, child::forked(test));
        }
        println!("test result: {}", if failed == 0 { "ok" } else { "FAILED" });
        std::process::exit(i32::from(failed > 0));
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

    /// Tests that harden themselves, each in a child of its own.
    const OTHERS: &[(&str, fn())] = &[
        ("where all is refused the error lists every attempt", all_refused),
        ("rights that are lost later are noticed", lost_later),
        ("sealed code can't be made writable", sealed),
        ("the child of a fork asks anew what it may do", fork_forgets),
        ("code over RLIMIT_FSIZE takes another way", file_size),
        ("a lack of descriptors is no refusal", no_descriptors),
        ("refused staging is no lack of memory", refused_staging),
        ("a lack of scratch memory is an error", no_scratch_memory),
        ("a policy that is imposed later leaves old code as it was", old_code_under_a_new_policy),
        ("under READ_IMPLIES_EXEC new is refused", read_implies_exec),
        ("under READ_IMPLIES_EXEC after the first use nothing is writable and executable", read_implies_exec_late),
        ("an exhausted address space is an error, and passes", no_address_space),
        ("an exhausted address space is an error under MDWE", no_address_space_under_mdwe),
        ("exhausted mappings are an error, and pass", no_mappings),
    ];

    fn all_refused() {
        must(&no_memfd());
        must(&deny(&[libc::SYS_mremap]));
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
        must(&mdwe());
        assert_eq!(maps::name_at(publish(1).as_ptr()), MEMFD);
        must(&deny(&[libc::SYS_memfd_create]));
        assert_eq!(maps::name_at(publish(1).as_ptr()), SHARED);
        must(&deny(&[libc::SYS_mremap]));
        assert_eq!(ExecBuffer::new(&returning(1)).unwrap_err().kind(), ErrorKind::Denied);
    }

    fn sealed() {
        must(&mdwe());
        let mut buffer = publish(1);
        buffer.rewrite(0, &returning(2)).unwrap();
        let page = buffer.as_ptr().wrapping_sub(16).cast_mut().cast();
        for protection in [libc::PROT_WRITE, libc::PROT_READ | libc::PROT_WRITE] {
            // SAFETY: The page is the buffer's, and is not written.
            let result = unsafe { libc::mprotect(page, 1, protection) };
            let refused = result == -1 && Error::last_os_error().raw_os_error() == Some(libc::EACCES);
            if !refused && !kernel_maps_sealed_files_shared() {
                must(&Err("sealed code: this kernel has no shared mappings of sealed files".to_owned()));
            }
            assert!(refused);
        }
        assert_eq!(call(&buffer), 2);
    }

    /// Whether this kernel is new enough (6.7): asked by a sealed file of our own.
    fn kernel_maps_sealed_files_shared() -> bool {
        // SAFETY: Makes a file and a mapping of its own, and touches neither.
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
            must(&personality());
            assert_eq!(ExecBuffer::new(&returning(1)).unwrap_err().kind(), ErrorKind::ReadImpliesExec);
        });
        if end == child::End::Exited(SKIPPED) {
            must(&Err("READ_IMPLIES_EXEC in a fork".to_owned()));
        }
        assert_eq!(end, child::End::Exited(0));
        assert_eq!(call(&publish(1)), 1);
    }

    fn file_size() {
        must(&mdwe());
        must(&keep_maps_open());
        must(&limit(libc::RLIMIT_FSIZE, 8192));
        assert_eq!(maps::name_at(publish(1).as_ptr()), MEMFD);
        // The kernel would kill this process for writing a larger file.
        let mut code = returning(2);
        code.resize(100_000, TRAP[0]);
        let buffer = ExecBuffer::new(&code).unwrap();
        assert_eq!((maps::name_at(buffer.as_ptr()).as_str(), call(&buffer)), (SHARED, 2));
    }

    fn no_descriptors() {
        must(&mdwe());
        must(&deny(&[libc::SYS_mremap]));
        must(&limit(libc::RLIMIT_NOFILE, 0));
        let error = ExecBuffer::new(&returning(1)).unwrap_err();
        assert_eq!((error.kind(), error.os_error()), (ErrorKind::NoMemory, Some(libc::EMFILE)));
        assert_eq!((error.culprit(), error.attempts().count()), (Some("memfd_create"), 3));
        assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
    }

    fn refused_staging() {
        assert_eq!(call(&publish(1)), 1);
        must(&deny(&[libc::SYS_mmap]));
        let error = ExecBuffer::new(&returning(1)).unwrap_err();
        assert_eq!((error.kind(), error.culprit()), (ErrorKind::Denied, Some("mmap")));
    }

    fn no_scratch_memory() {
        drop(publish(1));
        let used: usize = maps::all().iter().map(|mapping| mapping.end - mapping.start).sum();
        must(&limited_address_space(used + (48 << 20)));
        // The reservation fits, but not the scratch memory as well.
        let error = ExecBuffer::build(32 << 20, |_, _| Ok(1)).unwrap_err();
        assert_eq!((error.kind(), error.culprit()), (ErrorKind::NoMemory, Some("scratch memory")));
        assert!(ExecBuffer::build(1 << 20, |_, _| Ok(1)).is_ok());
    }

    fn no_address_space_under_mdwe() {
        must(&mdwe());
        no_address_space();
    }

    fn old_code_under_a_new_policy() {
        let mut buffer = publish(1);
        must(&mdwe());
        must(&deny(&[libc::SYS_memfd_create, libc::SYS_mremap]));
        let before = maps::look();
        assert_eq!(buffer.rewrite(0, &returning(2)).unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(call(&buffer), 1);
        assert_eq!(maps::look(), before);
    }

    fn read_implies_exec() {
        must(&personality());
        let before = maps::all().len();
        for error in [ExecBuffer::new(&returning(1)).unwrap_err(), ExecBuffer::build(1, |_, _| Ok(1)).unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::ReadImpliesExec);
            assert_eq!(error.culprit(), Some("personality"));
            assert!(error.to_string().contains("setarch"), "{error}");
        }
        assert_eq!(maps::all().len(), before);
    }

    fn read_implies_exec_late() {
        let mut buffer = publish(1);
        must(&personality());
        let not_both = |address: *const u8| {
            let mapping = maps::at(address).expect("it is mapped");
            assert!(!(mapping.writable && mapping.executable), "{mapping:x?}");
        };
        buffer.rewrite(0, &returning(2)).unwrap();
        not_both(buffer.as_ptr());
        let built = ExecBuffer::build(16, |address, code| {
            not_both(address as *const u8);
            code[..returning(3).len()].copy_from_slice(&returning(3));
            Ok(returning(3).len())
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
        must(&limited_address_space(used + (1 << 20)));
        let error = loop {
            match ExecBuffer::new(&returning(3)) {
                Ok(buffer) => buffers.push(buffer),
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), error.os_error()), (ErrorKind::NoMemory, Some(libc::ENOMEM)));
        assert!(error.to_string().contains("RLIMIT_AS"), "{error}");
        assert_eq!(rewritten.rewrite(0, &returning(20)).unwrap_err().kind(), ErrorKind::NoMemory);
        assert_eq!(ExecBuffer::build(1 << 20, |_, _| Ok(1)).unwrap_err().kind(), ErrorKind::NoMemory);
        assert_eq!((call(&kept), call(&rewritten)), (1, 2));
        assert!(buffers.iter().all(|buffer| call(buffer) == 3));
        drop(buffers);
        rewritten.rewrite(0, &returning(20)).unwrap();
        assert_eq!((call(&publish(4)), call(&rewritten)), (4, 20));
    }

    fn no_mappings() {
        let mut buffers: Vec<ExecBuffer> = (0..20).map(publish).collect();
        let mut taken = Vec::with_capacity(1 << 20);
        loop {
            // Pages with protections in turn, so that the kernel can't merge them.
            let protection = if taken.len() % 2 == 0 { libc::PROT_READ } else { libc::PROT_NONE };
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: A new mapping touches no other.
            let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
            if page == libc::MAP_FAILED {
                break;
            }
            if taken.len() == 1_000_000 {
                support::skip("exhausted mappings: vm.max_map_count is over a million");
                return;
            }
            taken.push(page);
        }
        let error = ExecBuffer::new(&returning(3)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoMemory);
        assert!(error.to_string().contains("vm.max_map_count"), "{error}");
        assert_eq!(buffers[5].rewrite(0, &returning(50)).unwrap_err().kind(), ErrorKind::NoMemory);
        assert!((0..20).zip(&buffers).all(|(value, buffer)| call(buffer) == value));
        let end = buffers[19].as_ptr();
        buffers.truncate(10); // unmapped now or later, but gone
        for page in taken {
            // SAFETY: The page is ours.
            unsafe { libc::munmap(page, 4096) };
        }
        drop(publish(1));
        let mapping = maps::at(end);
        assert!(mapping.is_none_or(|mapping| !mapping.executable), "{mapping:x?}");
        assert!((0..10).zip(&buffers).all(|(value, buffer)| call(buffer) == value));
    }

    /// Goes on if the right could be given up, else ends the child as skipped.
    fn must(result: &Result<(), String>) {
        if let Err(why) = result {
            support::skip(why);
            // SAFETY: The child of a fork ends this way.
            unsafe { libc::_exit(SKIPPED) };
        }
    }

    fn mdwe() -> Result<(), String> {
        const PR_SET_MDWE: libc::c_int = 65;
        // SAFETY: Takes rights from this process, a child.
        ok("PR_SET_MDWE", unsafe { libc::prctl(PR_SET_MDWE, 1_u64, 0_u64, 0_u64, 0_u64) })
    }

    fn mdwe_and_filter() -> Result<(), String> {
        mdwe()?;
        systemd_filter()
    }

    fn no_memfd() -> Result<(), String> {
        mdwe_and_filter()?;
        deny(&[libc::SYS_memfd_create])
    }

    fn no_files() -> Result<(), String> {
        mdwe_and_filter()?;
        no_file_descriptors()
    }

    fn no_file_size() -> Result<(), String> {
        mdwe_and_filter()?;
        no_file_sizes()
    }

    fn no_file_descriptors() -> Result<(), String> {
        keep_maps_open()?;
        limit(libc::RLIMIT_NOFILE, 0)
    }

    fn no_file_sizes() -> Result<(), String> {
        keep_maps_open()?;
        limit(libc::RLIMIT_FSIZE, 0)
    }

    /// The tests go on looking at the mappings when no file can be opened or written.
    fn keep_maps_open() -> Result<(), String> {
        if maps::keep_open() { Ok(()) } else { Err("/proc/self/maps is a copy, as qemu-user's".to_owned()) }
    }

    /// The setting belongs to a PID namespace, so this makes one, whose first process goes on with the test.
    fn mdwe_and_noexec() -> Result<(), String> {
        // SAFETY: Concerns only the children of this process.
        ok("a PID namespace for vm.memfd_noexec", unsafe { libc::unshare(libc::CLONE_NEWPID) })?;
        let end = child::forked_and_returned();
        if let Some(end) = end {
            // The outer process ends as the inner one did.
            let code = if let child::End::Exited(code) = end { code } else { 102 };
            // SAFETY: The child of a fork ends this way.
            unsafe { libc::_exit(code) };
        }
        std::fs::write("/proc/sys/vm/memfd_noexec", "2").map_err(|error| format!("vm.memfd_noexec: {error}"))?;
        mdwe()
    }

    fn personality() -> Result<(), String> {
        const READ_IMPLIES_EXEC: libc::c_ulong = 0x040_0000;
        // SAFETY: Concerns mappings that are made from now on, in a child.
        ok("personality", unsafe { libc::personality(READ_IMPLIES_EXEC) })?;
        // SAFETY: Asks.
        let now = unsafe { libc::personality(0xffff_ffff) };
        let set = libc::c_ulong::from(now.unsigned_abs()) & READ_IMPLIES_EXEC != 0;
        let page = set.then(|| vec![0_u8; 1 << 20]).map(|memory| maps::at(memory.as_ptr()));
        match page.flatten() {
            Some(mapping) if mapping.executable => Ok(()),
            _ => Err("READ_IMPLIES_EXEC has no effect here".to_owned()),
        }
    }

    fn limit(resource: libc::__rlimit_resource_t, most: u64) -> Result<(), String> {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: The limit is readable; it concerns this process, a child.
        ok("setrlimit", unsafe { libc::setrlimit(resource, &raw const limit) })
    }

    fn limited_address_space(size: usize) -> Result<(), String> {
        limit(libc::RLIMIT_AS, size as u64)?;
        if Vec::<u8>::new().try_reserve(size).is_ok() {
            return Err("RLIMIT_AS has no effect here".to_owned());
        }
        Ok(())
    }

    fn ok(what: &str, result: libc::c_int) -> Result<(), String> {
        if result < 0 { Err(format!("{what}: {}", Error::last_os_error())) } else { Ok(()) }
    }

    /// The filter that systemd installs for `MemoryDenyWriteExecute=`: EPERM for mmap with W and X, mprotect and
    /// `pkey_mprotect` with X, shmat with `SHM_EXEC`.
    fn systemd_filter() -> Result<(), String> {
        let x = libc::PROT_EXEC.unsigned_abs();
        let wx = x | libc::PROT_WRITE.unsigned_abs();
        let mut filter = vec![];
        filter.extend(deny_if_all_set(libc::SYS_mmap, 2, wx));
        filter.extend(deny_if_all_set(libc::SYS_mprotect, 2, x));
        filter.extend(deny_if_all_set(libc::SYS_pkey_mprotect, 2, x));
        filter.extend(deny_if_all_set(libc::SYS_shmat, 2, libc::SHM_EXEC.unsigned_abs()));
        install(filter)
    }

    /// A filter that answers EPERM to the given system calls.
    fn deny(calls: &[libc::c_long]) -> Result<(), String> {
        install(calls.iter().flat_map(|&call| deny_if_all_set(call, 0, 0)).collect())
    }

    /// EPERM for a system call if its argument of that index has all the given bits.
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

    fn install(mut filter: Vec<libc::sock_filter>) -> Result<(), String> {
        filter.push(op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
        let length = u16::try_from(filter.len()).expect("a short filter");
        let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
        // SAFETY: Takes rights from this process, a child.
        let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) };
        ok("PR_SET_NO_NEW_PRIVS", result)?;
        let mode = libc::c_ulong::from(libc::SECCOMP_MODE_FILTER);
        // SAFETY: The program and its filter are readable.
        ok("seccomp", unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) })
    }
}
