//! Memory that is written in place.

use super::*;

/// Writes a function that returns a number to the beginning of a slice.
fn put(bytes: &mut [u8], value: u32) {
    let code = returning(value);
    bytes[..code.len()].copy_from_slice(&code);
}

suite! {
    fn staged_code_is_written_where_it_runs(m) {
        for capacity in [16, 100, 4080, 5000, 3 << 20] {
            let mut staged = m.stage(capacity);
            let address = staged.address();
            assert_eq!((address % 16, staged.len(), staged.as_mut_ptr().addr()), (0, capacity, address));
            assert!(staged.iter().all(|&byte| byte == 0));
            assert!(m.is_freed(staged.as_mut_ptr()));
            staged.copy_from_slice(&function(7, capacity));
            maps::look();
            let buffer = staged.publish(capacity).unwrap();
            maps::look();
            assert_eq!((buffer.as_ptr().addr(), buffer.len(), call(&buffer)), (address, capacity, 7));
            assert_eq!(buffer.as_ref(), function(7, capacity));
        }
    }

    fn code_is_unpublished_and_published_again_many_times(m) {
        let mut staged = m.stage(10_000);
        for value in 0..100 {
            let length = 10_000 - 90 * value as usize;
            put(&mut staged, value);
            let mut buffer = staged.publish(length).unwrap();
            assert_eq!((call(&buffer), buffer.len()), (value, length));
            if value % 3 == 0 {
                buffer.rewrite(0, &returning(value + 1)).unwrap();
                assert_eq!(call(&buffer), value + 1);
            }
            staged = buffer.unpublish().unwrap();
            assert_eq!(staged.len(), length);
            assert!(staged.starts_with(&returning(if value % 3 == 0 { value + 1 } else { value })));
        }
        maps::look();
    }

    fn a_failure_to_publish_returns_the_staged_bytes(m) {
        let mut staged = m.stage(5000);
        staged.copy_from_slice(&function(9, 5000));
        let address = staged.address();
        for (length, kind) in [(0, ErrorKind::Empty), (5001, ErrorKind::Capacity), (usize::MAX, ErrorKind::Capacity)] {
            let (returned, error) = staged.publish(length).unwrap_err().into_parts();
            assert_eq!((error.kind(), error.culprit()), (kind, Some("length")));
            staged = returned;
            assert_eq!((staged.address(), &*staged), (address, &function(9, 5000)[..]));
        }
        assert_eq!(call(&staged.publish(5000).unwrap()), 9);
    }

    fn dropped_staged_memory_is_given_back(m) {
        let drop_some = || {
            for capacity in [16, 5000, 1 << 20] {
                drop(m.stage(capacity));
                drop(m.stage(capacity).publish(0).unwrap_err());
                let mut staged = m.stage(capacity);
                put(&mut staged, 1);
                drop(staged.publish(16).unwrap().unpublish().unwrap());
            }
        };
        drop_some();
        let kept = m.publish(3);
        let before = maps::look();
        for _ in 0..50 {
            drop_some();
        }
        let after = maps::look();
        assert_eq!(after.executable_bytes, before.executable_bytes);
        assert!(after.bytes < before.bytes + (24 << 20), "{before:?}, {after:?}");
        if let Maker::Pool(pool) = m {
            assert_eq!((pool.stats().live(), pool.code_bytes()), (1, kept.len()));
        }
        assert_eq!(call(&kept), 3);
    }

    fn published_buffers_are_unpublished_unless_they_share_pages(m) {
        for length in [SHORTEST, 5000, 1 << 20] {
            let buffer = m.take(&function(5, length)).unwrap();
            let address = buffer.as_ptr();
            match buffer.unpublish() {
                Ok(mut staged) => {
                    assert_eq!((staged.address(), staged.len()), (address.addr(), length));
                    assert!(m.is_freed(address));
                    put(&mut staged, 6);
                    assert_eq!(call(&staged.publish(length).unwrap()), 6);
                }
                Err(refused) => {
                    let (buffer, error) = refused.into_parts();
                    assert!(matches!(m, Maker::Pool(_)) && length < 1 << 20);
                    assert_eq!((error.kind(), error.culprit()), (ErrorKind::Unsupported, Some("region")));
                    assert_eq!((call(&buffer), buffer.as_ptr()), (5, address));
                }
            }
        }
    }

    fn staged_memory_goes_to_other_threads(m) {
        let staged = m.stage(100);
        let buffer = std::thread::spawn(move || {
            let mut staged = staged;
            put(&mut staged, 12);
            staged.publish(100).unwrap()
        })
        .join()
        .unwrap();
        assert_eq!(call(&buffer), 12);
    }

    fn running_staged_memory_crashes(m) {
        let end = m.crashing(module_path!(), "running_staged_memory_crashes", || {
            let mut staged = m.stage(100);
            put(&mut staged, 1);
            // SAFETY: The call crashes, since the memory is not executable.
            let function: extern "C" fn() -> u32 = unsafe { std::mem::transmute(staged.as_mut_ptr()) };
            function();
        });
        assert!(matches!(end, child::End::Crashed(_)), "{end:?}");
    }
}
