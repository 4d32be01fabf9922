//! Seccomp filters that refuse only some calls, and choices of backends for filters that kill. Linux only.
//!
//! Everything happens in children: this process never uses execbuf, so each child can still choose.

#![cfg(target_os = "linux")]

#[path = "support/mod.rs"]
mod support;

use execbuf::dynamic::Caller;
use execbuf::{Abi, Backend, ErrorKind, ExecBuffer, ExecPool};
use support::child::{End, forked};
use support::harden::{self, SKIPPED, must};
use support::{alone, call, has_proc, maps, publish, returning};

/// Runs a test in a child that has given up rights.
fn hardened(apply: impl FnOnce() -> Result<(), String>, test: impl FnOnce()) {
    let _alone = alone();
    let end = forked(|| {
        must(&apply());
        test();
    });
    assert!([End::Exited(0), End::Exited(SKIPPED)].contains(&end), "{end:?}");
}

#[test]
fn without_mremap_code_is_published_and_rewritten_by_mprotect() {
    if !has_proc() {
        return;
    }
    let no_mremap = || harden::deny(&[libc::SYS_mremap]);
    hardened(no_mremap, || {
        let mut buffer = publish(1);
        assert_eq!(maps::name_at(buffer.as_ptr()), "");
        let before = maps::look();
        for value in [2, 3] {
            buffer.rewrite(0, &returning(value)).unwrap();
            assert_eq!((call(&buffer), maps::look()), (value, before));
        }
        // The child of a fork has the same private pages, and neither process sees the other's rewrite.
        let end = forked(|| {
            buffer.rewrite(0, &returning(4)).unwrap();
            assert_eq!(call(&buffer), 4);
        });
        assert_eq!((end, call(&buffer)), (End::Exited(0), 3));
    });
}

#[test]
fn a_rewrite_that_needs_mremap_names_it_and_the_old_code_still_runs() {
    hardened(harden::mdwe, || {
        let mut buffer = publish(1);
        must(&harden::deny(&[libc::SYS_mremap]));
        let error = buffer.rewrite(0, &returning(2)).unwrap_err();
        assert_eq!((error.kind(), error.culprit(), call(&buffer)), (ErrorKind::Denied, Some("mremap"), 1));
    });
}

/// Publishes in a child that is killed if it makes a call that only the other backends make.
fn chosen(choose: impl Fn(), backend: Backend, deadly: &[libc::c_long]) {
    let kill = || harden::kill(deadly);
    hardened(kill, || {
        choose();
        let pool = ExecPool::new().unwrap();
        for mut buffer in [ExecBuffer::new(&returning(1)).unwrap(), pool.publish(&returning(1)).unwrap()] {
            buffer.rewrite(0, &returning(2)).unwrap();
            assert_eq!(call(&buffer), 2);
        }
        assert_eq!(pool.stats().backend(), (backend != Backend::Flip).then_some(backend));
    });
    // Without the choice, the process dies.
    let _alone = alone();
    let end = forked(|| {
        must(&harden::kill(deadly));
        _ = ExecPool::new().unwrap().publish(&returning(1));
        _ = ExecBuffer::new(&returning(1));
    });
    assert!([End::Crashed(libc::SIGSYS), End::Exited(SKIPPED)].contains(&end), "{end:?}");
}

/// Sets the environment variable.
fn variable(value: &std::ffi::CStr) {
    // SAFETY: This process, a child, has one thread.
    unsafe { libc::setenv(c"EXECBUF_BACKENDS".as_ptr(), value.as_ptr(), 1) };
}

#[test]
fn a_chosen_backend_makes_no_call_that_only_the_others_make() {
    let flip = [libc::SYS_memfd_create, libc::SYS_ftruncate];
    let memfd = [libc::SYS_prctl];
    let alias = [libc::SYS_prctl, libc::SYS_memfd_create, libc::SYS_ftruncate, libc::SYS_prlimit64];
    chosen(|| execbuf::set_backends(&[Backend::Flip]).unwrap(), Backend::Flip, &flip);
    chosen(|| execbuf::set_backends(&[Backend::Memfd]).unwrap(), Backend::Memfd, &memfd);
    chosen(|| execbuf::set_backends(&[Backend::Alias]).unwrap(), Backend::Alias, &alias);
    chosen(|| variable(c"alias"), Backend::Alias, &alias);
    chosen(|| variable(c"memfd,section"), Backend::Memfd, &memfd);
}

#[test]
fn a_late_choice_and_one_without_a_backend_are_errors() {
    let _alone = alone();
    let end = forked(|| {
        let error = execbuf::set_backends(&[Backend::MapJit]).unwrap_err();
        assert_eq!((error.kind(), error.culprit()), (ErrorKind::Backends, Some("backends")));
        let error = ExecPool::builder().backends(&[Backend::Section]).build().unwrap_err();
        assert_eq!((error.kind(), error.culprit()), (ErrorKind::Backends, Some("backends")));
        let error = execbuf::set_backends(&[]).unwrap_err();
        assert_eq!((error.kind(), error.culprit()), (ErrorKind::Backends, Some("first use")));
    });
    assert_eq!(end, End::Exited(0));
}

#[test]
fn a_wrong_variable_is_named_by_the_error() {
    let _alone = alone();
    let end = forked(|| {
        variable(c"memfd,flop");
        let error = ExecBuffer::new(&returning(1)).unwrap_err();
        assert_eq!((error.kind(), error.culprit()), (ErrorKind::Backends, Some("EXECBUF_BACKENDS")));
        assert_eq!(execbuf::probe().error(), Some(ErrorKind::Backends));
        variable(c"");
        assert_eq!(call(&publish(1)), 1);
    });
    assert_eq!(end, End::Exited(0));
}

#[test]
fn without_getrandom_the_writable_view_is_not_beside_the_code() {
    if !has_proc() {
        return;
    }
    hardened(
        || harden::deny(&[libc::SYS_getrandom]),
        || {
            let pools: Vec<_> = (0..2).map(|_| ExecPool::new().unwrap()).collect();
            let buffers: Vec<_> = pools.iter().map(|pool| pool.publish(&returning(1)).unwrap()).collect();
            if pools.iter().any(|pool| pool.stats().regions() == 0) {
                must(&Err("the place of writable views: there are no regions here".to_owned()));
            }
            let code: Vec<_> = buffers.iter().map(|buffer| maps::at(buffer.as_ptr()).unwrap().start).collect();
            let shared = |map: &maps::Mapping| map.writable && map.shared && map.end - map.start >= 32 << 10;
            let views: Vec<_> = maps::all().into_iter().filter(shared).map(|map| map.start).collect();
            assert_eq!(views.len(), 2, "{views:x?}");
            // Each is far from all code, and from the other one.
            for near in [views[0].abs_diff(views[1]), views[0].abs_diff(code[0]), views[1].abs_diff(code[1])] {
                assert!(near > 1 << 30, "{views:x?} {code:x?}");
            }
        },
    );
}

#[test]
fn read_implies_exec_makes_no_memory_of_a_first_pool_writable_and_executable() {
    if !has_proc() {
        return;
    }
    let _alone = alone();
    let end = forked(|| {
        assert_eq!(call(&publish(1)), 1); // after this, execbuf no longer asks for the personality
        must(&harden::read_implies_exec());
        let both = || maps::all().into_iter().filter(|map| map.writable && map.executable && !map.elastic);
        let before = both().count();
        _ = ExecPool::new().unwrap().publish(&returning(1));
        assert_eq!(both().count(), before);
    });
    assert!([End::Exited(0), End::Exited(SKIPPED)].contains(&end), "{end:?}");
}

#[test]
fn code_of_a_pool_of_private_memory_has_private_mappings() {
    if !has_proc() {
        return;
    }
    hardened(
        || Ok(()),
        || {
            let pool = ExecPool::builder().backends(&[Backend::Flip]).build().unwrap();
            let buffer = pool.publish(&returning(1)).unwrap();
            assert_eq!((maps::name_at(buffer.as_ptr()).as_str(), call(&buffer)), ("", 1));
            assert_eq!((pool.stats().regions(), pool.stats().dedicated()), (0, 1));
        },
    );
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn dynamic_calls_work_without_executable_memory() {
    extern "C" fn scale(number: i32, factor: f64) -> f64 {
        f64::from(number) * factor
    }
    if !has_proc() {
        return;
    }
    hardened(harden::no_memfd, || {
        must(&harden::deny(&[libc::SYS_mremap]));
        assert_eq!(ExecBuffer::new(&returning(1)).unwrap_err().kind(), ErrorKind::Denied);
        let new = || Caller::new(&"d(id)".parse().unwrap(), Abi::NATIVE).unwrap();
        drop(new()); // the library keeps a pool
        let before = maps::look();
        for _ in 0..3 {
            let caller = new();
            let mut args = caller.args();
            args.set(0, 28).unwrap().set(1, 1.5).unwrap();
            // SAFETY: The function has this signature.
            assert_eq!(unsafe { args.call::<f64>(scale as *const u8) }.unwrap().to_bits(), 42_f64.to_bits());
        }
        assert_eq!(maps::look(), before);
    });
}
