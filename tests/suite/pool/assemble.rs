//! Assembling code in a pool.

use super::*;

suite! {
    fn the_closure_of_assemble_may_use_the_pool() {
        let pool = pool();
        let mut inner = Vec::new();
        let outer = pool.assemble(|outer| {
            inner.clear();
            inner.extend((0..50).map(|n| publish(&pool, n)));
            inner.push(pool.assemble(|inner| {
                assert!(inner.abs_diff(outer) >= 64);
                Ok::<_, Infallible>(function(50, 200))
            })?);
            Ok::<_, execbuf::Error>(function(99, 200))
        }).unwrap();
        assert!((0..).zip(&inner).all(|(n, buffer)| call(buffer) == n));
        assert_eq!((call(&outer), inner.len(), pool.stats().live()), (99, 51, 52));
    }

    fn assembled_code_takes_no_more_memory_than_published_code() {
        for length in [SHORTEST, 20, 100, 1000] {
            let code = function(7, length);
            let resident = |make: &dyn Fn(&ExecPool) -> ExecBuffer| {
                let pool = pool();
                let buffers: Vec<_> = (0..3000).map(|_| make(&pool)).collect();
                assert_eq!(pool.code_bytes(), buffers.len() * length);
                pool.stats().resident()
            };
            let published = resident(&|pool| pool.publish(&code).unwrap());
            let assembled = resident(&|pool| pool.assemble(|_| Ok::<_, Infallible>(&code)).unwrap());
            // The first, too small reservations wait in quarantine for a barrier.
            assert!(assembled <= published + published / 4 + (64 << 10), "{length}: {assembled}, {published}");
        }
    }

    fn failed_assembly_leaves_no_code_in_the_pool() {
        let pool = pool();
        let kept = publish(&pool, 3);
        let fail = || for capacity in [16, 1000, 50_000, 3 << 20] {
            let mut calls = 0;
            let second = || { calls += 1; calls == 2 };
            let mut second = second;
            pool.assemble(|_| if second() { Err("no") } else { Ok(vec![0; capacity.max(100)]) }).unwrap_err();
            pool.assemble(|_| Ok::<_, Infallible>([])).unwrap_err();
            reserve(Some(&pool), capacity, |_, _| 0).unwrap_err();
            reserve(Some(&pool), capacity, |_, _| capacity + 1).unwrap_err();
            let panic = std::panic::AssertUnwindSafe(|| {
                reserve(Some(&pool), capacity, |_, _| std::panic::resume_unwind(Box::new("no")))
            });
            std::panic::catch_unwind(panic).unwrap_err();
            let panic = std::panic::AssertUnwindSafe(|| {
                pool.assemble::<[u8; 0], Infallible>(|_| std::panic::resume_unwind(Box::new("no")))
            });
            std::panic::catch_unwind(panic).unwrap_err();
        };
        fail();
        let before = maps::look().executable_bytes;
        for _ in 0..100 {
            fail();
        }
        assert_eq!((pool.stats().live(), pool.code_bytes(), call(&kept)), (1, kept.len(), 3));
        assert_eq!(maps::look().executable_bytes, before);
    }
}
