//! Errors, and that failed operations keep no memory.

use super::*;

/// Code whose destructor panics.
struct Explosive([u8; 2000]);

impl AsRef<[u8]> for Explosive {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Explosive {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("no"));
    }
}

suite! {
    fn invalid_lengths_and_offsets_are_errors(m) {
        let kind = |result: Result<ExecBuffer, execbuf::Error>| {
            let error = result.unwrap_err();
            assert_eq!((error.os_error(), error.attempts().count()), (None, 0));
            (error.kind(), error.culprit().unwrap())
        };
        assert_eq!(kind(m.take(&[])), (ErrorKind::Empty, "length"));
        assert_eq!(kind(m.assemble(|_| Ok::<_, Infallible>([]))), (ErrorKind::Empty, "length"));
        assert_eq!(kind(m.reserve(0, |_, _| 0)), (ErrorKind::Empty, "capacity"));
        assert_eq!(kind(m.reserve(16, |_, _| 0)), (ErrorKind::Empty, "length"));
        assert_eq!(kind(m.reserve(16, |_, _| 17)), (ErrorKind::Capacity, "length"));
        for size in [usize::MAX, usize::MAX / 2 + 1, isize::MAX.unsigned_abs(), isize::MAX.unsigned_abs() - 16] {
            assert_eq!(kind(m.reserve(size, |_, _| 1)), (ErrorKind::TooLarge, "capacity"));
        }

        let mut buffer = m.publish(5);
        let length = buffer.len();
        let mut rewrite = |offset, code: &[u8]| {
            let error = buffer.rewrite(offset, code).unwrap_err();
            assert_eq!(call(&buffer), 5);
            (error.kind(), error.culprit().unwrap())
        };
        assert_eq!(rewrite(0, &[]), (ErrorKind::Empty, "length"));
        assert_eq!(rewrite(0, &[0; 100]), (ErrorKind::OutOfBounds, "length"));
        assert_eq!(rewrite(length, &[0]), (ErrorKind::OutOfBounds, "length"));
        assert_eq!(rewrite(length + 1, &[0]), (ErrorKind::OutOfBounds, "offset"));
        assert_eq!(rewrite(usize::MAX, &[0]), (ErrorKind::OutOfBounds, "offset"));
        for offset in [length, usize::MAX] {
            // SAFETY: Nothing is called.
            let error = unsafe { buffer.function_at::<extern "C" fn()>(offset) }.unwrap_err();
            assert_eq!((error.kind(), error.culprit()), (ErrorKind::OutOfBounds, Some("offset")));
        }
    }

    fn more_memory_than_the_address_space_is_no_memory(m) {
        let error = m.reserve(isize::MAX.unsigned_abs() - (1 << 20), |_, _| 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoMemory);
        assert!(error.culprit().is_some());
        #[cfg(feature = "std")]
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::OutOfMemory);
    }

    fn failed_operations_keep_no_memory_and_no_descriptor(m) {
        let fail = || {
            let _ = m.take(&[]).unwrap_err();
            let _ = m.assemble(|_| Err::<[u8; 1], _>("no")).unwrap_err();
            let mut calls = 0;
            let _ = m.assemble(|_| { calls += 1; if calls == 1 { Ok(vec![0; 1 << 20]) } else { Err("no") } }).unwrap_err();
            let _ = m.reserve(1 << 20, |_, _| (1 << 20) + 1).unwrap_err();
            let _ = m.publish(1).rewrite(0, &[0; 5000]).unwrap_err();
            std::panic::catch_unwind(|| {
                m.reserve(1 << 20, |_, _| std::panic::resume_unwind(Box::new("no")))
            }).unwrap_err();
            std::panic::catch_unwind(|| {
                m.assemble::<[u8; 0], Infallible>(|_| std::panic::resume_unwind(Box::new("no")))
            }).unwrap_err();
            std::panic::catch_unwind(|| m.assemble(|_| Ok::<_, Infallible>(Explosive([0xcc; 2000])))).unwrap_err();
        };
        fail();
        let kept: Vec<ExecBuffer> = (0..10).map(|value| m.publish(value)).collect();
        let before = (maps::look(), maps::descriptors());
        for _ in 0..50 {
            fail();
        }
        let after = (maps::look(), maps::descriptors());
        assert_eq!(after.0.executable_bytes, before.0.executable_bytes);
        assert_eq!(after.1, before.1);
        // A leak would keep a megabyte in each of the 50 rounds. The limit of less than half of that leaves space for
        // the heap, and for the stacks of other tests' threads, which start meanwhile and wait.
        assert!(after.0.bytes < before.0.bytes + (24 << 20), "{before:?}, {after:?}");
        for (value, buffer) in (0..10).zip(&kept) {
            assert_eq!(call(buffer), value);
        }
    }
}
