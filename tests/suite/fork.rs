//! Forks: both processes have independent code.

use super::*;

suite! {
    fn both_processes_can_call_rewrite_and_publish_after_a_fork(m) {
        #[cfg(unix)]
        {
            let mut kept = m.publish(1);
            let mut rewritten = m.publish(2);
            let freed = m.publish(3);
            let end = child::forked(|| {
                assert_eq!((call(&kept), call(&rewritten), call(&freed)), (1, 2, 3));
                let expected = m.rewrite_after_fork(&mut rewritten, 2, 20);
                drop(freed);
                let new: Vec<ExecBuffer> = (100..110).map(|value| m.publish(value)).collect();
                assert_eq!((call(&kept), call(&rewritten)), (1, expected));
                assert!((100..110).zip(&new).all(|(value, buffer)| call(buffer) == value));
            });
            assert_eq!(end, child::End::Exited(0));
            // In this process, `freed` was dropped with the child's closure.
            assert_eq!((call(&kept), call(&rewritten)), (1, 2));
            let expected = m.rewrite_after_fork(&mut kept, 1, 10);
            assert_eq!(call(&kept), expected);
        }
        #[cfg(not(unix))]
        m.skip_fork();
    }

    fn the_childs_code_does_not_change_when_the_parent_rewrites_and_frees(m) {
        #[cfg(unix)]
        {
            let mut rewritten = m.publish(2);
            let freed = std::mem::ManuallyDrop::new(m.publish(3));
            let go = child::Shared::new();
            // SAFETY: The child only waits, calls published code and exits.
            let child = unsafe { libc::fork() };
            assert!(child >= 0);
            if child == 0 {
                // SAFETY: As above.
                unsafe {
                    libc::alarm(120);
                    go.wait();
                    libc::_exit(i32::from(call(&rewritten) != 2 || call(&freed) != 3));
                }
            }
            let expected = m.rewrite_after_fork(&mut rewritten, 2, 20);
            drop(std::mem::ManuallyDrop::into_inner(freed));
            let _new: Vec<ExecBuffer> = (100..110).map(|value| m.publish(value)).collect();
            go.set();
            let mut status = 0;
            // SAFETY: This process made the child, and `status` is writable.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(status, 0);
            assert_eq!(call(&rewritten), expected);
        }
        #[cfg(not(unix))]
        m.skip_fork();
    }

    fn fork_while_other_threads_publish_leaves_no_lock_held(m) {
        #[cfg(unix)]
        {
            use std::sync::atomic::{AtomicBool, Ordering};
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| while !stop.load(Ordering::Relaxed) { drop(m.publish(1)); });
                }
                let ends: Vec<child::End> = (0..50).map(|_| child::forked(|| {
                    let mut buffer = m.publish(2);
                    buffer.rewrite(0, &returning(3)).unwrap();
                    assert_eq!(call(&buffer), 3);
                })).collect();
                stop.store(true, Ordering::Relaxed);
                assert!(ends.iter().all(|end| *end == child::End::Exited(0)), "{ends:?}");
            });
        }
        #[cfg(not(unix))]
        m.skip_fork();
    }
}
