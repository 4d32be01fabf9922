//! Reservations: what they take, and publishing in one or in many.

use super::*;

suite! {
    fn a_failure_to_publish_returns_the_reservation(m) {
        for capacity in [16, 100, 5000, 3 << 20] {
            let reserved = m.room(capacity);
            let address = reserved.address();
            assert_eq!((address % 16, reserved.capacity()), (0, capacity));
            let (reserved, error) = reserved.publish(&[]).unwrap_err().into_parts();
            assert_eq!((error.kind(), error.culprit()), (ErrorKind::Empty, Some("length")));
            let refused = reserved.publish(&vec![0; capacity + 1]).unwrap_err();
            assert_eq!(refused.error().kind(), ErrorKind::Capacity);
            assert_eq!(refused.to_string(), refused.error().to_string());
            assert_eq!(format!("{refused:?}"), format!("{:?}", refused.error()));
            let (reserved, _) = refused.into_parts();
            assert_eq!((reserved.address(), reserved.capacity()), (address, capacity));
            let buffer = reserved.publish(&function(7, capacity)).unwrap();
            assert_eq!((buffer.as_ptr().addr(), buffer.len(), call(&buffer)), (address, capacity, 7));
        }
    }

    fn a_question_mark_turns_the_error_of_publishing_into_an_error(m) {
        let publish = |code: &[u8]| -> Result<ExecBuffer, Error> { Ok(m.room(16).publish(code)?) };
        assert_eq!(publish(&[]).unwrap_err().kind(), ErrorKind::Empty);
        let publish = |code: &[u8]| -> Result<(), Box<dyn std::error::Error>> {
            drop(m.room(16).publish(code)?);
            Ok(())
        };
        assert!(publish(&[]).unwrap_err().to_string().ends_with("(length)"));
    }

    fn a_dropped_reservation_gives_its_memory_back(m) {
        let drop_some = || {
            for capacity in [16, 5000, 1 << 20] {
                drop(m.room(capacity));
                drop(m.room(capacity).publish(&[]).unwrap_err());
            }
            drop(Reserved::publish_all(vec![(m.room(16), &[][..]), (m.room(1 << 20), &[1])]).unwrap_err());
        };
        let drop_many = || (0..50).for_each(|_| drop_some());
        drop_many(); // a pool adds regions until enough is in quarantine
        let kept = m.publish(3);
        let before = maps::look();
        drop_many();
        let after = maps::look();
        assert_eq!(after.executable_bytes, before.executable_bytes);
        assert!(after.bytes < before.bytes + (24 << 20), "{before:?}, {after:?}");
        if let Maker::Pool(pool) = m {
            assert_eq!((pool.stats().live(), pool.code_bytes()), (1, kept.len()));
        }
        assert_eq!(call(&kept), 3);
    }

    fn many_reservations_are_published_or_none(m) {
        let make = || (0..40).map(|n| m.room([16, 100, 5000, 600_000][n % 4])).collect::<Vec<_>>();
        let addresses = |all: &[(Reserved, Vec<u8>)]| all.iter().map(|(place, _)| place.address()).collect::<Vec<_>>();
        let mut all: Vec<_> = make().into_iter().zip((0..).map(returning)).collect();
        let places = addresses(&all);
        for (position, code) in [(0, vec![]), (13, vec![]), (39, vec![0; 600_001]), (4, vec![0; 17])] {
            let before = std::mem::replace(&mut all[position].1, code);
            let (returned, error) = Reserved::publish_all(all).unwrap_err().into_parts();
            let kind = if returned[position].1.is_empty() { ErrorKind::Empty } else { ErrorKind::Capacity };
            assert_eq!((error.kind(), error.position()), (kind, Some(position)));
            all = returned;
            all[position].1 = before;
            assert_eq!(addresses(&all), places);
        }
        let buffers = Reserved::publish_all(all).unwrap();
        maps::look();
        for ((number, buffer), address) in (0..).zip(&buffers).zip(places) {
            assert_eq!((call(buffer), buffer.as_ptr().addr()), (number, address));
            assert_eq!(buffer.as_ref(), returning(number));
        }
        assert!(Reserved::publish_all(Vec::<(Reserved, [u8; 1])>::new()).unwrap().is_empty());
    }

    fn a_destructor_that_panics_after_publishing_frees_the_code(m) {
        struct Explosive;
        impl AsRef<[u8]> for Explosive {
            fn as_ref(&self) -> &[u8] {
                &[1]
            }
        }
        impl Drop for Explosive {
            fn drop(&mut self) {
                if !std::thread::panicking() {
                    std::panic::resume_unwind(Box::new("no"));
                }
            }
        }
        let stale = stale_handles();
        let all = vec![(m.room(16), Explosive), (m.room(16), Explosive)];
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Reserved::publish_all(all))).unwrap_err();
        if let Maker::Pool(pool) = m {
            assert_eq!(pool.stats().live(), 0);
        }
        assert_eq!(stale_handles(), stale);
    }

    fn reservations_of_many_threads_are_published_by_one(m) {
        let all = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..50).map(|_| m.room(16)).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let buffers = Reserved::publish_all(all.into_iter().zip((0..).map(returning)).collect()).unwrap();
        assert!((0..).zip(&buffers).all(|(number, buffer)| call(buffer) == number));
        assert_eq!(buffers.len(), 200);
    }

    fn a_batch_of_changes_is_made_in_order_or_not_at_all(m) {
        let code = [returning(1), returning(2)];
        let second = 16;
        let mut both = function(1, 40);
        both[second..second + code[1].len()].copy_from_slice(&code[1]);
        let mut one = m.take(&both).unwrap();
        let mut other = m.take(&both).unwrap();
        // SAFETY: Both are functions of this type.
        let results = |buffer: &ExecBuffer| unsafe {
            [0, second].map(|at| buffer.function_at::<extern "C" fn() -> u32>(at).unwrap().call())
        };
        let [three, four, five] = [3, 4, 5].map(returning);
        ExecBuffer::rewrite_batch(&mut [
            (&mut one, &[(0, &three), (second, &four), (0, &five)]),
            (&mut other, &[(second, &three)]),
        ])
        .unwrap();
        assert_eq!((results(&one), results(&other)), ([5, 4], [1, 3]));
        let error = ExecBuffer::rewrite_batch(&mut [
            (&mut one, &[(0, &three), (second, &three)]),
            (&mut other, &[(0, &four), (40, &four)]),
        ])
        .unwrap_err();
        assert_eq!((error.kind(), error.position()), (ErrorKind::OutOfBounds, Some(3)));
        assert_eq!((results(&one), results(&other)), ([5, 4], [1, 3]));
        ExecBuffer::rewrite_batch(&mut []).unwrap();
        ExecBuffer::rewrite_batch(&mut [(&mut one, &[])]).unwrap();
        maps::look();
    }
}

fn stale_handles() -> u64 {
    // SAFETY: The function has no conditions.
    unsafe { execbuf::ffi::execbuf_stale_count() }
}
