//! Pools in the child of a raw `clone` system call, which runs no fork handlers. Linux only.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod support;

use execbuf::{ErrorKind, ExecPool};
use std::sync::atomic::{AtomicBool, Ordering};
use support::child::{self, End};
use support::numbered::{Numbered, check, has_regions, numbered, pool, rename_last};
use support::{alone, call, function, is_cross, publish, rename, reserve, returning, skip};

const FINE: End = End::Exited(0);

#[test]
fn the_child_of_a_raw_clone_copies_regions() {
    let _alone = alone();
    let pool = pool();
    let mut old: Vec<Numbered> = (0..100).map(|n| numbered(&pool, n, 100)).collect();
    // SAFETY: The child is a copy of this process with only this thread, and continues like the child of a fork.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    let child = child::started_as(libc::pid_t::try_from(child).unwrap(), || {
        check(&old);
        let mut new: Vec<Numbered> = (0..100).map(|n| numbered(&pool, 1000 + n, 100)).collect();
        drop(new.swap_remove(50));
        rename_last(&mut new, 5000);
        check(&new);
        if has_regions() {
            assert_eq!((pool.stats().regions(), pool.stats().frozen()), (1, 0));
        }
        check(&old);
        old[0].1.rewrite(0, &returning(9)).unwrap();
        assert_eq!(call(&old[0].1), 9);
        old.clear();
        assert_eq!((pool.stats().live(), pool.stats().frozen()), (99, 0));
        let fill = |_, code: &mut [u8]| {
            rename(code, 8);
            50
        };
        let built = reserve(Some(&pool), 100, fill).unwrap();
        assert_eq!(call(&built), 8);
    });
    assert_eq!(child.wait(), FINE);
    check(&old);
    assert_eq!(pool.stats().frozen(), 0);
    let new: Vec<Numbered> = (0..100).map(|n| numbered(&pool, 2000 + n, 100)).collect();
    check(&old);
    check(&new);
}

/// In the parent, another thread holds the library's lock most of the time.
#[test]
fn the_child_of_a_raw_clone_does_not_wait_for_a_lock_of_its_parent() {
    if is_cross() {
        return skip("a raw clone while another thread runs: the emulator itself may deadlock");
    }
    let _alone = alone();
    let pool = pool();
    let buffer = pool.publish(&function(7, 100)).unwrap();
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                // SAFETY: The function has no conditions.
                unsafe { execbuf::ffi::execbuf_stale_count() };
            }
        });
        let mut fine = 0;
        for _ in 0..40 {
            // SAFETY: As above. The child calls only execbuf and async-signal-safe functions.
            let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
            if child == 0 {
                // SAFETY: The alarm kills the child if it hangs; otherwise `_exit` ends it.
                unsafe {
                    libc::alarm(10);
                    let found = pool.lookup(buffer.as_ptr()).is_some();
                    libc::_exit(i32::from(!found));
                }
            }
            let mut status = 0;
            // SAFETY: This process made the child, and `status` is writable.
            unsafe { libc::waitpid(libc::pid_t::try_from(child).unwrap(), &raw mut status, 0) };
            fine += i32::from(status == 0);
            if status != 0 {
                break;
            }
        }
        ends.store(true, Ordering::Relaxed);
        assert_eq!(fine, 40);
    });
}

/// Every operation checks the fork mark, so each one must work as the first operation in such a child.
#[test]
fn every_operation_can_be_the_first_in_the_child_of_a_raw_clone() {
    let _alone = alone();
    let pool = pool();
    for operation in 0..9 {
        let mut old: Vec<Numbered> = (0..10).map(|n| numbered(&pool, n, 100)).collect();
        let regions = has_regions();
        // SAFETY: As above.
        let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
        let child = child::started_as(libc::pid_t::try_from(child).unwrap(), || {
            match operation {
                0 => drop(numbered(&pool, 50, 100)),
                1 => drop(old.pop()),
                2 => {
                    let result = old[0].1.rewrite(0, &function(0, 100));
                    result.unwrap();
                }
                3 => drop(pool.publish_batch(&[&returning(1), &returning(2)]).unwrap()),
                4 => drop(
                    reserve(Some(&pool), 100, |_, code| {
                        rename(code, 8);
                        50
                    })
                    .unwrap(),
                ),
                5 => assert!(pool.lookup(old[0].1.as_ptr()).is_some()),
                6 => assert_eq!(pool.stats().frozen(), usize::from(regions)),
                7 => drop(ExecPool::new().unwrap()),
                _ => drop(publish(1)),
            }
            check(&old);
            let new = numbered(&pool, 60, 100);
            assert_eq!(call(&new.1), 60);
        });
        assert_eq!(child.wait(), FINE, "operation {operation}");
        check(&old);
    }
}

#[test]
fn children_do_not_get_the_code_of_a_pool_that_is_not_inherited() {
    let _alone = alone();
    let secret = ExecPool::builder().not_inherited(true).build().unwrap();
    // qemu-user ignores MADV_WIPEONFORK, so it does not know the child of a raw clone.
    let kinds: &[bool] = if is_cross() { &[false] } else { &[false, true] };
    for &is_raw in kinds {
        let mut old = secret.publish(&returning(5)).unwrap();
        let run = || {
            let error = old.rewrite(0, &returning(9)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotInherited);
            drop(old);
            let new = secret.publish(&returning(6)).unwrap();
            assert_eq!((call(&new), secret.stats().live()), (6, 1));
        };
        let child = if is_raw {
            // SAFETY: As above.
            let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
            child::started_as(libc::pid_t::try_from(child).unwrap(), run)
        } else {
            child::started(run)
        };
        assert_eq!(child.wait(), FINE);
    }
}
