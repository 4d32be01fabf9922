//! Pools with several handles and threads, and several pools.

use super::*;

suite! {
    fn clones_are_handles_of_the_same_pool() {
        let pool = pool();
        let clone = pool.clone();
        let buffer = publish(&clone, 5);
        assert_eq!(pool.lookup(buffer.as_ptr()).unwrap().entry(), buffer.as_ptr());
        assert_eq!((pool.stats().live(), clone.stats().live()), (1, 1));
        drop(pool);
        let other = publish(&clone, 6);
        assert_eq!((call(&buffer), call(&other), clone.stats().live()), (5, 6, 2));
        let threads: Vec<_> = (0..4).map(|thread| {
            let pool = clone.clone();
            std::thread::spawn(move || (0..500).map(|n| publish(&pool, thread * 1000 + n)).collect::<Vec<_>>())
        }).collect();
        let buffers: Vec<ExecBuffer> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!((0..).zip(&buffers).all(|(n, buffer)| call(buffer) == n / 500 * 1000 + n % 500));
        assert_eq!(clone.stats().live(), 2002);
    }

    fn pools_do_not_share_code() {
        let (one, two) = (pool(), pool());
        let (first, second) = (publish(&one, 1), publish(&two, 2));
        assert_eq!((one.lookup(second.as_ptr()), two.lookup(first.as_ptr())), (None, None));
        assert_eq!((one.stats().live(), two.stats().live()), (1, 1));
        drop((two, second));
        assert_eq!((call(&first), one.stats().live()), (1, 1));
        // New pools reuse the number of a freed pool, which does not affect other pools.
        for n in 0..100 {
            let pool = pool();
            let buffer = publish(&pool, n);
            assert_eq!((call(&buffer), one.stats().live(), pool.stats().live()), (n, 1, 1));
        }
    }

    fn threads_can_publish_rewrite_and_drop_in_one_pool() {
        let pool = pool();
        let count = if has_regions() { 3000 } else { 200 };
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut random = Random(thread.into());
                    let mut live: Vec<(u32, ExecBuffer)> = Vec::new();
                    for n in 0..count {
                        let number = thread * 10_000 + n;
                        live.push((number, pool.publish(&function(number, random.of(SHORTEST..300))).unwrap()));
                        if random.of(0..2) == 0 {
                            let chosen = random.of(0..live.len());
                            let (number, buffer) = live.swap_remove(chosen);
                            assert_eq!(call(&buffer), number);
                        }
                        let chosen = random.of(0..live.len().max(1));
                        if let Some((number, buffer)) = live.get_mut(chosen) {
                            *number += 100_000;
                            let mut code = buffer.as_ref().to_vec();
                            rename(&mut code, *number);
                            buffer.rewrite(0, &code).unwrap();
                        }
                    }
                    assert!(live.iter().all(|(number, buffer)| call(buffer) == *number));
                });
            }
        });
        assert_eq!((pool.stats().live(), pool.code_bytes()), (0, 0));
    }

    fn another_thread_can_drop_a_buffer() {
        let pool = pool();
        let (sender, receiver) = std::sync::mpsc::channel();
        let count = if has_regions() { 10_000 } else { 300 };
        std::thread::scope(|scope| {
            scope.spawn(move || for (n, buffer) in (0..).zip(receiver) {
                assert_eq!(call(&buffer), n);
            });
            for n in 0..count {
                sender.send(pool.publish(&function(n, 64)).unwrap()).unwrap();
            }
            drop(sender);
        });
        assert_eq!(pool.stats().live(), 0);
    }
}
