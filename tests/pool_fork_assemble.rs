//! Forks between the reservation of memory and the publication of code in it.
#![cfg(unix)]

mod support;

use execbuf::ErrorKind;
use support::child::{self, End};
use support::numbered::{can_copy, has_regions, pool};
use support::{SHORTEST, alone, call, function, publish, rename, reserve};

const FINE: End = End::Exited(0);

#[test]
fn both_processes_publish_what_was_reserved_before_a_fork() {
    let _alone = alone();
    let pool = pool();
    let other = publish(1);
    for capacity in [100, 40 << 10, 3 << 20] {
        let mut in_child = false;
        let frozen = has_regions() && !can_copy() && capacity < 2 << 20;
        let result = reserve(Some(&pool), capacity, |_, code| {
            rename(code, 77);
            if let Some(end) = child::forked_and_returned() {
                assert_eq!(end, FINE);
            } else {
                in_child = true;
            }
            SHORTEST
        });
        if in_child {
            let fine = match &result {
                Ok(buffer) => !frozen && call(buffer) == 77,
                Err(error) => frozen && error.kind() == ErrorKind::Frozen,
            };
            let fine = fine && pool.stats().live() == usize::from(!frozen) && call(&other) == 1;
            // SAFETY: The child of a fork must not run the parent's exit handlers.
            unsafe { libc::_exit(i32::from(!fine)) };
        }
        assert_eq!(call(&result.unwrap()), 77);
        assert_eq!((pool.stats().live(), pool.stats().frozen()), (0, 0));
    }
}

#[test]
fn both_processes_publish_after_a_fork_in_the_closure_of_assemble() {
    let _alone = alone();
    let pool = pool();
    for length in [SHORTEST, 50, 10_000] {
        let (mut calls, mut in_child) = (0, false);
        let shared = has_regions() && !can_copy();
        let result = pool.assemble(|_| {
            calls += 1;
            if calls == 1 {
                if let Some(end) = child::forked_and_returned() {
                    assert_eq!(end, FINE);
                } else {
                    in_child = true;
                }
            }
            Ok::<_, std::convert::Infallible>(function(77, length))
        });
        if in_child {
            // If the code does not fit, the child makes a new reservation, which is its own.
            let frozen = shared && length <= 16;
            let fine = match &result {
                Ok(buffer) => !frozen && call(buffer) == 77,
                Err(error) => frozen && error.kind() == ErrorKind::Frozen,
            };
            let fine = fine && pool.stats().live() == usize::from(!frozen);
            // SAFETY: The child of a fork must not run the parent's exit handlers.
            unsafe { libc::_exit(i32::from(!fine)) };
        }
        assert_eq!(call(&result.unwrap()), 77);
        assert_eq!((pool.stats().live(), pool.stats().frozen()), (0, 0));
    }
}
