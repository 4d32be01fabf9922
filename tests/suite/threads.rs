//! Buffers and functions used by several threads.

use super::*;

suite! {
    fn functions_share_their_buffer_across_threads(m) {
        let buffer = std::sync::Arc::new(m.publish(6));
        // SAFETY: The code is such a function.
        let function = unsafe { buffer.shared_function_at::<extern "C" fn() -> u32>(0) }.unwrap();
        drop(buffer);
        let threads: Vec<_> = (0..4).map(|_| {
            let function = function.clone();
            std::thread::spawn(move || (0..1000).map(|_| function.call()).sum::<u32>())
        }).collect();
        let address = function.as_ptr();
        assert_eq!(function.owner().as_ptr(), address);
        drop(function);
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 6000);
        }
        assert!(m.is_freed(address), "the last owner frees the code");
    }

    fn threads_can_publish_rewrite_and_drop_concurrently(m) {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for round in 0..100 {
                        let mut buffer = m.publish(thread * 1000 + round);
                        assert_eq!(call(&buffer), thread * 1000 + round);
                        buffer.rewrite(0, &returning(round)).unwrap();
                        assert_eq!(call(&buffer), round);
                    }
                });
            }
        });
    }
}
