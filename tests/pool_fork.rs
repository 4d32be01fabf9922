//! Pools and fork: both processes can still call the existing code, and neither sees the changes of the other.

#[cfg(unix)]
mod support;

#[cfg(not(unix))]
#[test]
fn forks() {
    eprintln!("SKIP: pools and fork: this system does not fork");
}

#[cfg(unix)]
mod unix {
    use crate::support::child::{self, End};
    use crate::support::numbered::{Numbered, can_copy, check, has_regions, numbered, pool, rename_last};
    use crate::support::{
        Random, SHORTEST, TRAP, alone, call, function, has_proc, is_cross, maps, rename, reserve, returning, skip,
    };
    use execbuf::{ErrorKind, ExecBuffer, ExecPool};
    use std::mem::ManuallyDrop;
    use std::sync::atomic::{AtomicBool, Ordering};

    const FINE: End = End::Exited(0);

    #[test]
    fn both_processes_can_publish_and_drop_after_each_of_ten_thousand_forks() {
        if !has_proc() {
            return;
        }
        let _alone = alone();
        let pool = pool();
        let rounds = if is_cross() || !has_regions() { 300 } else { 10_000 };
        // As without forks: regions of 32, 128 and 512 KiB have room for what lives and for 128 KiB in quarantine.
        // Without copies, each live function may keep one shared region; those without live code are unmapped.
        let most = if can_copy() { 3 } else { 11 };
        let mut random = Random(1);
        let mut live: Vec<Numbered> = (0..10).map(|n| numbered(&pool, n, 100)).collect();
        for round in 1..=rounds {
            let child = child::started(|| {
                check(&live);
                drop(live.swap_remove(random.of(0..live.len())));
                live.extend((0..3).map(|n| numbered(&pool, 1_000_000 + round + n, 100)));
                check(&live);
                drop(live.swap_remove(random.of(0..live.len())));
                rename_last(&mut live, 7);
                check(&live);
            });
            // The parent publishes and drops at the same time.
            for n in 0..3 {
                drop(live.swap_remove(random.of(0..live.len())));
                live.push(numbered(&pool, 3 * round + n, random.of(SHORTEST..200)));
            }
            check(&live);
            rename_last(&mut live, 2_000_000 + round);
            check(&live);
            assert_eq!(child.wait(), FINE, "round {round}");
            check(&live);
            let stats = pool.stats();
            assert!(stats.regions() <= most, "round {round}: {stats:?}");
        }
        let stats = pool.stats();
        assert_eq!((stats.live(), stats.dedicated() == 0), (10, has_regions()));
        assert!(stats.frozen() < if can_copy() { 1 } else { most }, "{stats:?}");
        maps::look();
        drop(live);
        assert_eq!((pool.stats().live(), pool.stats().frozen()), (0, 0));
    }

    #[test]
    fn forks_while_other_threads_publish_and_drop_leave_no_lock_held() {
        let _alone = alone();
        let pool = pool();
        let mut mine: Vec<Numbered> = (0..10).map(|n| numbered(&pool, n, 50)).collect();
        let stop = AtomicBool::new(false);
        let rounds = if is_cross() { 30 } else { 500 };
        std::thread::scope(|scope| {
            for thread in 1..3 {
                let (pool, stop) = (&pool, &stop);
                scope.spawn(move || {
                    let mut random = Random(u64::from(thread));
                    let mut live: Vec<Numbered> = Vec::new();
                    let mut number = thread << 24;
                    while !stop.load(Ordering::Relaxed) {
                        number += 1;
                        live.push(numbered(pool, number, random.of(SHORTEST..2000)));
                        if live.len() > 50 {
                            let (number, buffer) = live.swap_remove(random.of(0..live.len()));
                            assert_eq!(call(&buffer), number);
                        }
                    }
                    check(&live);
                });
            }
            // The other threads must stop even if this one panics.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for round in 0..rounds {
                    let end = child::forked(|| {
                        check(&mine);
                        drop(mine.swap_remove(3));
                        mine.extend((0..20).map(|n| numbered(&pool, 5000 + n, 300)));
                        let fill = |_, code: &mut [u8]| {
                            rename(code, 9);
                            SHORTEST
                        };
                        let built = reserve(Some(&pool), 500, fill).unwrap();
                        rename_last(&mut mine, 6000);
                        check(&mine);
                        assert_eq!(call(&built), 9);
                        mine.clear();
                        assert!(pool.stats().live() > 0 || pool.stats().frozen() == 0);
                    });
                    assert_eq!(end, FINE, "round {round}");
                    check(&mine);
                }
            }));
            stop.store(true, Ordering::Relaxed);
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        });
        mine.clear();
        assert_eq!((pool.stats().live(), pool.code_bytes(), pool.stats().frozen()), (0, 0, 0));
    }

    #[test]
    fn each_process_rewrites_a_copy_of_its_own() {
        let _alone = alone();
        let pool = pool();
        let mut old = numbered(&pool, 1, 100);
        let mut large = numbered(&pool, 2, 3 << 20);
        let is_frozen = has_regions() && !can_copy();
        let rewrite = |buffer: &mut ExecBuffer, value: u32| {
            let result = buffer.rewrite(0, &returning(value));
            if is_frozen {
                let error = result.unwrap_err();
                assert_eq!((error.kind(), error.culprit()), (ErrorKind::Frozen, Some("buffer")));
                assert_eq!(call(buffer), 1);
                assert!(*buffer.as_ref() == function(1, 100));
            } else {
                result.unwrap();
                assert_eq!(call(buffer), value);
            }
            // Other errors take precedence over that one.
            assert_eq!(buffer.rewrite(0, &[]).unwrap_err().kind(), ErrorKind::Empty);
            assert_eq!(buffer.rewrite(99, &[0; 2]).unwrap_err().kind(), ErrorKind::OutOfBounds);
        };
        let go = child::Shared::new();
        let child = child::started(|| {
            rewrite(&mut old.1, 9);
            let mut new = numbered(&pool, 3, 100);
            new.1.rewrite(0, &returning(4)).unwrap();
            // A dedicated mapping is not shared.
            large.1.rewrite(0, &returning(5)).unwrap();
            go.wait();
            assert_eq!((call(&old.1), call(&new.1), call(&large.1)), (if is_frozen { 1 } else { 9 }, 4, 5));
        });
        rewrite(&mut old.1, 10);
        let mut new = numbered(&pool, 6, 100);
        new.1.rewrite(0, &returning(7)).unwrap();
        large.1.rewrite(0, &returning(8)).unwrap();
        go.set();
        assert_eq!(child.wait(), FINE);
        assert_eq!((call(&old.1), call(&new.1), call(&large.1)), (if is_frozen { 1 } else { 10 }, 7, 8));
    }

    #[test]
    fn the_childs_code_does_not_change_when_the_parent_frees_and_publishes() {
        let _alone = alone();
        let pool = pool();
        let count = if has_regions() { 3000 } else { 300 };
        let mut random = Random(2);
        let old: Vec<Numbered> = (0..count).map(|n| numbered(&pool, n, random.of(SHORTEST..1000))).collect();
        let lengths: Vec<usize> = old.iter().map(|(_, buffer)| buffer.len()).collect();
        let old = ManuallyDrop::new(old); // a child that panics must not drop it
        let (go, stop) = (child::Shared::new(), child::Shared::new());
        let child = child::started(|| {
            go.wait();
            let look = || {
                for ((number, buffer), &length) in old.iter().zip(&lengths) {
                    assert_eq!(call(buffer), *number);
                    assert!(*buffer.as_ref() == function(*number, length), "{number}");
                }
            };
            look();
            let new: Vec<Numbered> = (0..1000).map(|n| numbered(&pool, 10_000 + n, 500)).collect();
            look();
            check(&new);
            stop.set();
        });
        drop(ManuallyDrop::into_inner(old));
        let new: Vec<Numbered> =
            (0..2 * count).map(|n| numbered(&pool, 20_000 + n, random.of(SHORTEST..1000))).collect();
        go.set();
        assert_eq!(child.wait(), FINE);
        stop.wait();
        check(&new);
        assert_eq!((pool.stats().live(), pool.stats().frozen()), (new.len(), 0));
    }

    #[test]
    fn the_parents_code_does_not_change_when_the_child_frees_and_publishes() {
        let _alone = alone();
        let pool = pool();
        let mut old: Vec<Numbered> = (0..300).map(|n| numbered(&pool, n, 100)).collect();
        let before: Vec<Vec<u8>> = old.iter().map(|(_, buffer)| buffer.as_ref().to_vec()).collect();
        let end = child::forked(|| {
            old.clear();
            let new: Vec<Numbered> = (0..600).map(|n| numbered(&pool, 10_000 + n, 100)).collect();
            check(&new);
            assert_eq!((pool.stats().live(), pool.stats().frozen()), (600, 0));
        });
        assert_eq!(end, FINE);
        check(&old);
        assert!(old.iter().zip(&before).all(|((_, buffer), bytes)| buffer.as_ref() == &bytes[..]));
    }

    #[test]
    fn freed_code_traps_in_the_child() {
        let _alone = alone();
        let pool = pool();
        let _kept = numbered(&pool, 1, 100);
        let freed = numbered(&pool, 2, 100).1.as_ptr();
        if !has_regions() {
            return skip("freed code in the child: without regions it is unmapped");
        }
        for _ in 0..2 {
            let end = child::forked(|| {
                // SAFETY: `_kept` keeps the region mapped, and it is readable.
                let traps =
                    || unsafe { std::slice::from_raw_parts(freed, 112) }.chunks(4).all(|bytes| bytes == TRAP);
                assert!(traps());
                let _new = numbered(&pool, 3, 100); // copies the region
                assert!(traps());
                // SAFETY: None. The call traps, which ends this process.
                unsafe { std::mem::transmute::<*const u8, extern "C" fn()>(freed)() };
            });
            assert!(end.is_trap(), "{end:?}");
        }
    }

    #[test]
    fn a_shared_region_is_unmapped_with_its_last_code() {
        if !has_proc() {
            return;
        }
        let _alone = alone();
        let pool = ExecPool::builder().name("shared").build().unwrap();
        let mut old: Vec<Numbered> = (0..10).map(|n| numbered(&pool, n, 100)).collect();
        if !has_regions() {
            return skip("shared regions: pools have none on this system");
        }
        let regions = || (pool.stats().regions(), pool.stats().frozen());
        #[cfg(target_os = "linux")]
        let mapped = || maps::of("/memfd:shared (deleted)").len();
        #[cfg(not(target_os = "linux"))]
        let mapped = || 2 * pool.stats().regions();
        let is_memfd = mapped() > 0;
        let mappings = |regions: usize| assert_eq!(mapped(), if is_memfd { 2 * regions } else { 0 });
        assert_eq!(regions(), (1, 0));
        let go = child::Shared::new();
        let child = child::started(|| {
            assert_eq!(regions(), (1, 1));
            go.wait();
        });
        assert_eq!(regions(), (1, 1));
        mappings(1);
        while old.len() > 1 {
            old.pop();
            assert_eq!(regions(), (1, 1));
        }
        check(&old);
        old.pop();
        assert_eq!(regions(), (0, 0));
        mappings(0);
        go.set();
        assert_eq!(child.wait(), FINE);
        // One that was already empty stays for the next code, if no process shares it, or is unmapped then.
        drop(numbered(&pool, 100, 100));
        assert_eq!(regions(), (1, 0));
        assert_eq!(child::forked(|| ()), FINE);
        let new = numbered(&pool, 101, 100);
        assert_eq!((regions(), call(&new.1)), ((1, 0), 101));
        mappings(1);
        // Nor does a dropped pool keep a shared region.
        drop(pool);
        assert_eq!(child::forked(|| drop(new)), FINE);
    }

    #[test]
    fn each_process_unmaps_a_pool_when_it_drops_it() {
        if !has_proc() {
            return;
        }
        let _alone = alone();
        drop(numbered(&pool(), 1, 100));
        let before = maps::look().executable_bytes;
        let pool = pool();
        let old: Vec<Numbered> = (0..10).map(|n| numbered(&pool, n, 100)).collect();
        let end = child::forked(|| {
            let new = numbered(&pool, 20, 100);
            drop((pool, old));
            assert_eq!(call(&new.1), 20);
            drop(new);
            assert_eq!(maps::look().executable_bytes, before);
        });
        assert_eq!(end, FINE);
        // In this process, the pool and its code were dropped with the closure.
        assert_eq!(maps::look().executable_bytes, before);
    }

    #[test]
    fn children_of_children_have_independent_code() {
        fn generation(pool: &ExecPool, live: &mut Vec<Numbered>, number: u32) {
            let Some(next) = number.checked_sub(1) else { return };
            let child = child::started(|| {
                check(live);
                live.push(numbered(pool, 100 * number, 100));
                generation(pool, live, next);
                drop(live.remove(0));
                rename_last(live, 50 + number);
                check(live);
            });
            live.push(numbered(pool, 1000 * number, 100));
            check(live);
            assert_eq!(child.wait(), FINE);
            rename_last(live, 2000 + number);
            check(live);
        }
        let _alone = alone();
        let pool = pool();
        let mut live: Vec<Numbered> = (0..10).map(|n| numbered(&pool, n, 100)).collect();
        generation(&pool, &mut live, 5);
        assert_eq!(pool.stats().live(), 11);
    }

    #[test]
    fn spawning_a_program_freezes_nothing() {
        let _alone = alone();
        let pool = pool();
        let mut old = numbered(&pool, 1, 100);
        for _ in 0..3 {
            assert!(std::process::Command::new("true").status().unwrap().success());
        }
        if !cfg!(all(target_os = "linux", target_env = "gnu")) {
            return skip("spawning a program: here it may use fork");
        }
        assert_eq!(pool.stats().frozen(), 0);
        old.1.rewrite(0, &returning(2)).unwrap();
        assert_eq!(call(&old.1), 2);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_writable_view_is_not_inherited() {
        if !has_proc() {
            return;
        }
        let _alone = alone();
        let pool = ExecPool::builder().name("inherited").build().unwrap();
        let _old = numbered(&pool, 1, 100);
        let mapped = || {
            let mappings = maps::of("/memfd:inherited (deleted)");
            let writable = mappings.iter().filter(|mapping| mapping.writable).count();
            (mappings.len() - writable, writable)
        };
        if mapped() == (0, 0) {
            return skip("the writable view: pools do not use memfd here");
        }
        assert_eq!(mapped(), (1, 1));
        assert_eq!(child::forked(|| assert_eq!(mapped(), (1, 0))), FINE);
        // SAFETY: The child is a copy of this process with only this thread, and continues like the child of a fork.
        let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
        let child = child::started_as(libc::pid_t::try_from(child).unwrap(), || assert_eq!(mapped(), (1, 0)));
        assert_eq!(child.wait(), FINE);
        let _new = numbered(&pool, 2, 100);
        let regions = if can_copy() { 1 } else { 2 };
        assert_eq!(mapped(), (regions, regions));
        let end = child::forked(|| {
            assert_eq!(mapped(), (regions, 0));
            let _newer = numbered(&pool, 3, 100);
            assert_eq!(mapped(), (if can_copy() { 1 } else { 3 }, 1));
        });
        assert_eq!(end, FINE);
    }
}
