//! Publishing, the memory around the code, and its protection.

use super::*;

suite! {
    fn new_publishes_code_that_runs(m) {
        let buffer = m.publish(7);
        maps::look();
        assert_eq!(call(&buffer), 7);
        assert_eq!(buffer.as_ref(), returning(7));
        assert_eq!(buffer.len(), returning(7).len());
        assert_eq!(buffer.as_ptr().addr() % 16, 0);
    }

    fn a_range_that_ends_at_zero_has_no_addresses(_m) {
        for start in [0, 4096] {
            let range = std::ops::RangeInclusive::new(start, 0);
            let error = execbuf::ExecBuffer::new_at(&returning(7), execbuf::Placement::default().range(range)).unwrap_err();
            assert_eq!(error.kind(), execbuf::ErrorKind::TooFar);
        }
    }

    fn published_code_is_executable_and_not_writable(m) {
        if !maps::LISTED {
            return skip("published code: the mappings of this system cannot be listed");
        }
        let buffer = m.publish(7);
        let mapping = maps::at(buffer.as_ptr()).expect("the code is mapped");
        assert!(mapping.executable && !mapping.writable);
    }

    fn code_is_surrounded_by_traps(m) {
        let buffer = m.publish(7);
        let entry = buffer.as_ptr();
        let before = entry.wrapping_sub(16);
        // SAFETY: The 16 bytes before the entry and the bytes up to the end of the page are readable: a dedicated
        // mapping has them, and this buffer is alone in its pool.
        let (before, page) = unsafe {
            (std::slice::from_raw_parts(before, 16), std::slice::from_raw_parts(entry, 4096 - 16))
        };
        for bytes in [before, &page[buffer.len().next_multiple_of(4)..]] {
            assert!(bytes.chunks(4).all(|bytes| bytes == TRAP));
        }
    }

    fn running_past_the_end_traps(m) {
        let mut code = returning(7);
        code.truncate(code.len() - if cfg!(target_arch = "x86_64") { 1 } else { 4 }); // no ret
        let buffer = m.take(&code).unwrap();
        let end = m.crashing(module_path!(), "running_past_the_end_traps", || { call(&buffer); });
        assert!(end.is_trap(), "{end:?}");
    }

    fn running_into_the_bytes_before_the_entry_traps(m) {
        let buffer = m.publish(7);
        let end = m.crashing(module_path!(), "running_into_the_bytes_before_the_entry_traps", || {
            let before = buffer.as_ptr().wrapping_sub(16);
            // SAFETY: None. The call traps, which ends this process.
            let function = unsafe { std::mem::transmute::<*const u8, extern "C" fn()>(before) };
            function();
        });
        assert!(end.is_trap(), "{end:?}");
    }

    fn writing_to_published_code_crashes(m) {
        let mut buffer = m.publish(7);
        buffer.rewrite(0, &returning(8)).unwrap();
        for target in [buffer.as_ptr(), buffer.as_ptr().wrapping_sub(16)] {
            let end = m.crashing(module_path!(), "writing_to_published_code_crashes", || {
                // SAFETY: None. The write faults, which ends this process.
                unsafe { target.cast_mut().write_volatile(0) };
            });
            assert!(end.is_access_violation(), "{end:?}");
        }
    }

    fn thousands_of_buffers_are_independent(m) {
        let _kept = m.publish(0);
        let before = maps::look().executable_bytes;
        let mut after = [0; 12];
        for bytes in &mut after {
            let mut buffers: Vec<ExecBuffer> = (0..2000).map(|value| m.publish(value)).collect();
            for (value, buffer) in (0..2000).zip(&buffers) {
                assert_eq!(call(buffer), value);
            }
            buffers.retain(|buffer| call(buffer) % 3 != 0);
            for buffer in &buffers {
                assert_ne!(call(buffer) % 3, 0);
            }
            drop(buffers);
            *bytes = maps::look().executable_bytes;
        }
        // A pool keeps one empty region, and adds regions until enough is in quarantine.
        assert_eq!(after[10], after[11]);
        assert!(after[11] - before <= 1 << 20, "{before} bytes were executable, now {after:?} are");
    }
}
