//! The public API's tests, to be run as they are (`tests/buffer.rs`) and in children that have given up rights
//! (`tests/hardened.rs`).

#![allow(dead_code, unreachable_pub, reason = "the list is for one of the two")]

use crate::support::{SHORTEST, TRAP, call, child, function, maps, reserve, returning};
use execbuf::{Error, ErrorKind, ExecBuffer, ExecPool};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::convert::Infallible;

/// Where a test gets its buffers from.
pub enum Maker {
    /// Each has pages of its own.
    Own,
    /// They are published in a pool.
    Pool(ExecPool),
}

impl Maker {
    pub fn pool() -> Self {
        Self::Pool(ExecPool::new().expect("this system allows executable memory"))
    }

    fn take(&self, code: &[u8]) -> Result<ExecBuffer, Error> {
        match self {
            Self::Own => ExecBuffer::new(code),
            Self::Pool(pool) => pool.publish(code),
        }
    }

    fn reserve(&self, capacity: usize, fill: impl FnOnce(usize, &mut [u8]) -> usize) -> Result<ExecBuffer, Error> {
        match self {
            Self::Own => reserve(None, capacity, fill),
            Self::Pool(pool) => reserve(Some(pool), capacity, fill),
        }
    }

    fn assemble<B: AsRef<[u8]>, E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        &self,
        assemble: impl FnMut(usize) -> Result<B, E>,
    ) -> Result<ExecBuffer, Error> {
        match self {
            Self::Own => ExecBuffer::assemble(assemble),
            Self::Pool(pool) => pool.assemble(assemble),
        }
    }

    fn publish(&self, value: u32) -> ExecBuffer {
        self.take(&returning(value)).expect("this system allows executable memory")
    }

    /// [`child::crashing`] for a test of this file.
    fn crashing(&self, test: &str, body: impl FnOnce()) -> child::End {
        let group = if let Self::Own = self { "tests" } else { "pooled" };
        child::crashing(&format!("suite::{group}::{test}"), body)
    }

    /// Rewrites code that returned `old` before a fork. Returns what it is to return now: in a pool's region it is frozen.
    fn rewrite_after_fork(&self, buffer: &mut ExecBuffer, old: u32, new: u32) -> u32 {
        let result = buffer.rewrite(0, &returning(new));
        match self {
            Self::Pool(pool) if pool.stats().regions() > 0 => {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Frozen);
                old
            }
            _ => {
                result.unwrap();
                new
            }
        }
    }

    #[cfg(not(unix))]
    fn skip_fork(&self) {
        let group = if let Self::Own = self { "" } else { " of a pool" };
        crate::support::skip(&format!("fork{group}: this system has none"));
    }

    /// Whether there is no code at an address any more.
    fn is_gone(&self, address: *const u8) -> bool {
        match self {
            Self::Pool(pool) if pool.stats().regions() > 0 => pool.lookup(address).is_none(),
            _ => maps::at(address).is_none_or(|mapping| !mapping.executable),
        }
    }
}

macro_rules! suite {
    ($(fn $name:ident($maker:ident) $body:block)*) => {
        $(pub fn $name($maker: &Maker) $body)*

        /// Every test by name.
        pub const ALL: &[(&str, fn(&Maker))] = &[$((stringify!($name), $name)),*];

        mod tests {
            $(#[test] fn $name() {
                // One at a time: they count the process's mappings.
                let _alone = crate::support::alone();
                super::$name(&super::Maker::Own)
            })*
        }

        mod pooled {
            $(#[test] fn $name() {
                let _alone = crate::support::alone();
                super::$name(&super::Maker::pool())
            })*
        }
    };
}

suite! {
    fn new_publishes_code_that_runs(m) {
        let buffer = m.publish(7);
        maps::look();
        assert_eq!(call(&buffer), 7);
        assert_eq!(buffer.as_ref(), returning(7));
        assert_eq!(buffer.len(), returning(7).len());
        assert_eq!(buffer.as_ptr().addr() % 16, 0);
    }

    fn published_code_is_mapped_readable_and_executable_and_nothing_else(m) {
        let buffer = m.publish(7);
        let mapping = maps::at(buffer.as_ptr()).expect("the code is mapped");
        assert!(mapping.executable && !mapping.writable);
    }

    fn code_is_surrounded_by_traps(m) {
        let buffer = m.publish(7);
        let entry = buffer.as_ptr();
        let before = entry.wrapping_sub(16);
        // SAFETY: The 16 bytes before the entry, and those behind the code up to the end of the page, are
        // readable, as ExecBuffer's documentation promises.
        let (before, page) = unsafe {
            (std::slice::from_raw_parts(before, 16), std::slice::from_raw_parts(entry, 4096 - 16))
        };
        for bytes in [before, &page[buffer.len().next_multiple_of(4)..]] {
            assert!(bytes.chunks(4).all(|bytes| bytes == TRAP));
        }
    }

    fn running_over_the_end_traps(m) {
        let mut code = returning(7);
        code.truncate(code.len() - if cfg!(target_arch = "x86_64") { 1 } else { 4 }); // no ret
        let buffer = m.take(&code).unwrap();
        let end = m.crashing("running_over_the_end_traps", || { call(&buffer); });
        assert!(end.is_trap(), "{end:?}");
    }

    fn running_into_the_bytes_before_the_entry_traps(m) {
        let buffer = m.publish(7);
        let end = m.crashing("running_into_the_bytes_before_the_entry_traps", || {
            let before = buffer.as_ptr().wrapping_sub(16);
            // SAFETY: It is a function in as far as it is executable; it traps.
            let function = unsafe { std::mem::transmute::<*const u8, extern "C" fn()>(before) };
            function();
        });
        assert!(end.is_trap(), "{end:?}");
    }

    fn writing_to_published_code_dies(m) {
        let mut buffer = m.publish(7);
        buffer.rewrite(0, &returning(8)).unwrap();
        for target in [buffer.as_ptr(), buffer.as_ptr().wrapping_sub(16)] {
            let end = m.crashing("writing_to_published_code_dies", || {
                // SAFETY: None; it dies, which is the test.
                unsafe { target.cast_mut().write_volatile(0) };
            });
            assert!(end.is_access_violation(), "{end:?}");
        }
    }

    fn assemble_tells_the_final_address(m) {
        // Code that fits at once, and code for which memory is reserved again.
        for length in [SHORTEST, 64, 65, 1000, 5000, 100_000, 3 << 20] {
            let mut told = Vec::new();
            let buffer = m.assemble(|address| {
                told.push(address);
                maps::look();
                Ok::<_, Infallible>(function(9, length))
            }).unwrap();
            maps::look();
            assert_eq!(Some(&buffer.as_ptr().addr()), told.last());
            assert!(told.len() <= 2 && (told.len() == 1 || length > 64), "{length}: {told:x?}");
            assert_eq!(buffer.as_ref(), function(9, length));
            assert_eq!(call(&buffer), 9);
        }
    }

    fn assemble_goes_on_until_the_code_fits(m) {
        // Longer each time, by less and less; and shorter in the end.
        for lengths in [&[5000, 6000, 6500, 6501, 6501][..], &[10_000, 5000], &[5000, 7000, 100]] {
            let mut calls = lengths.iter();
            let buffer = m.assemble(|_| {
                Ok::<_, Infallible>(function(4, *calls.next().expect("the last one fits")))
            }).unwrap();
            assert_eq!((buffer.len(), calls.next(), call(&buffer)), (*lengths.last().unwrap(), None, 4));
        }
    }

    fn code_that_is_longer_at_each_address_is_an_error(m) {
        let before = maps::look().executable_bytes;
        let mut calls = 0;
        let error = m.assemble(|_| {
            calls += 1;
            Ok::<_, Infallible>(function(4, calls * 5000))
        }).unwrap_err();
        assert_eq!((error.kind(), calls), (ErrorKind::Unsettled, 8));
        assert_eq!((error.os_error(), error.culprit(), error.attempts().count()), (None, None, 0));
        assert!(error.to_string().starts_with("the code was longer at each address"), "{error}");
        if let Maker::Own = m {
            assert_eq!(maps::look().executable_bytes, before);
        }
    }

    fn a_reservation_has_the_final_address(m) {
        let mut told = 0;
        let buffer = m.reserve(64, |address, bytes| {
            told = address;
            assert_eq!(bytes, [0; 64]);
            let code = returning(9);
            bytes[..code.len()].copy_from_slice(&code);
            maps::look();
            code.len()
        }).unwrap();
        maps::look();
        assert_eq!(buffer.as_ptr().addr(), told);
        assert_eq!(buffer.as_ref(), returning(9));
        assert_eq!(call(&buffer), 9);
    }

    fn a_reservation_gives_back_what_the_code_did_not_need(m) {
        if let Maker::Pool(_) = m {
            return; // its room stays
        }
        let bytes = |written: usize| {
            let before = maps::look().executable_bytes;
            let buffer = m.reserve(1 << 20, |_, code| {
                code[..6.min(written)].copy_from_slice(&returning(9)[..6]);
                written
            }).unwrap();
            let after = maps::look().executable_bytes;
            drop(buffer);
            after - before
        };
        bytes(8); // the heap for the scratch memory is there
        assert_eq!(bytes(8), 4096.max(page_size()));
        assert_eq!(bytes(1 << 20), (1 << 20) + page_size());
    }

    fn rewrite_changes_the_code(m) {
        let mut buffer = m.publish(1);
        let address = buffer.as_ptr();
        for value in 2..20 {
            buffer.rewrite(0, &returning(value)).unwrap();
            maps::look();
            assert_eq!(call(&buffer), value);
        }
        assert_eq!(buffer.as_ptr(), address);
    }

    fn rewrite_follows_a_model(m) {
        // A buffer of a few pages, rewritten here and there, against a plain vector.
        let mut runner = TestRunner::new(Config { failure_persistence: None, cases: 40, ..Config::default() });
        let lengths = prop_oneof![1..64_usize, 4000..4200_usize, 8000..8300_usize];
        let rewrites = prop::collection::vec((any::<prop::sample::Index>(), 1..5000_usize, any::<u8>()), 1..8);
        runner.run(&(lengths, rewrites), |(length, rewrites)| {
            let mut model = vec![TRAP[0]; length];
            let mut buffer = m.take(&model).unwrap();
            for (offset, count, byte) in rewrites {
                let offset = offset.index(length);
                let bytes = vec![byte; count];
                let result = buffer.rewrite(offset, &bytes);
                if offset + count <= length {
                    prop_assert!(result.is_ok());
                    model[offset..offset + count].copy_from_slice(&bytes);
                } else {
                    prop_assert_eq!(result.unwrap_err().kind(), ErrorKind::OutOfBounds);
                }
                prop_assert_eq!(buffer.as_ref(), &model[..]);
            }
            Ok(())
        }).unwrap();
        maps::look();
    }

    fn large_code_is_published_and_rewritten(m) {
        let size = 64 << 20;
        let mut code = vec![TRAP[0]; size];
        let function = returning(3);
        code[size - 16..][..function.len()].copy_from_slice(&function);
        let mut buffer = m.take(&code).unwrap();
        let last = |buffer: &ExecBuffer| {
            // SAFETY: There is such a function at that offset.
            unsafe { buffer.function_at::<extern "C" fn() -> u32>(size - 16) }.unwrap().call()
        };
        assert_eq!(last(&buffer), 3);
        buffer.rewrite(size - 16, &returning(4)).unwrap();
        assert_eq!(last(&buffer), 4);
        maps::look();
    }

    fn bad_lengths_and_offsets_are_refused(m) {
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
        assert_eq!(kind(m.reserve(16, |_, _| usize::MAX)), (ErrorKind::Capacity, "length"));
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

    fn more_than_there_is_is_out_of_memory(m) {
        let error = m.reserve(isize::MAX.unsigned_abs() - (1 << 20), |_, _| 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoMemory);
        assert!(error.culprit().is_some());
        #[cfg(feature = "std")]
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::OutOfMemory);
    }

    fn an_error_of_the_assembling_closure_is_the_source(m) {
        let error = m.assemble(|_| Err::<[u8; 1], _>("unbalanced")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AssembleFailed);
        assert_eq!(error.to_string(), "the closure that assembles the code failed: unbalanced");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "unbalanced");
        assert_eq!((error.os_error(), error.culprit(), error.attempts().count()), (None, None, 0));
    }

    fn nothing_is_left_of_what_failed(m) {
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
        // Each way to fail would leave a megabyte in each of the 50 rounds. Less than half of that may be the heap, or the
        // stacks of other tests' threads, which start meanwhile and wait.
        assert!(after.0.bytes < before.0.bytes + (24 << 20), "{before:?}, {after:?}");
        for (value, buffer) in (0..10).zip(&kept) {
            assert_eq!(call(buffer), value);
        }
    }

    fn a_reservation_touches_only_what_is_published(m) {
        let before = peak_memory();
        let buffer = m.reserve(128 << 20, |_, bytes| {
            let code = returning(1);
            bytes[..code.len()].copy_from_slice(&code);
            code.len()
        }).unwrap();
        assert_eq!(call(&buffer), 1);
        assert!(peak_memory() - before < 32 << 20);
    }

    fn thousands_of_buffers_are_independent(m) {
        let _kept = m.publish(0);
        let before = maps::look().executable_bytes;
        let mut buffers: Vec<ExecBuffer> = (0..2000).map(|value| m.publish(value)).collect();
        for (value, buffer) in (0..2000).zip(&buffers) {
            assert_eq!(call(buffer), value);
        }
        buffers.retain(|buffer| call(buffer) % 3 != 0);
        for buffer in &buffers {
            assert_ne!(call(buffer) % 3, 0);
        }
        drop(buffers);
        assert_eq!(maps::look().executable_bytes, before);
    }

    fn owned_functions_share_their_buffer_across_threads(m) {
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
        assert!(m.is_gone(address), "it goes with the last owner");
    }

    fn threads_publish_rewrite_and_drop_at_once(m) {
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

    fn fork_leaves_both_processes_with_their_own_code(m) {
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
            // `freed` was moved into the child's closure; in this process it was dropped with the closure.
            assert_eq!((call(&kept), call(&rewritten)), (1, 2));
            let expected = m.rewrite_after_fork(&mut kept, 1, 10);
            assert_eq!(call(&kept), expected);
        }
        #[cfg(not(unix))]
        m.skip_fork();
    }

    fn a_childs_code_does_not_change_when_the_parent_rewrites_and_frees(m) {
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
            // SAFETY: The child is ours; `status` can be written.
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

/// The most memory that this process ever had at once, in bytes; 0 where nobody counts.
fn peak_memory() -> usize {
    #[cfg(target_os = "linux")]
    {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: `usage` can be written, and zeros are a valid value of it.
        let usage = unsafe {
            libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
            usage.assume_init()
        };
        usize::try_from(usage.ru_maxrss).expect("a number of kilobytes") * 1024
    }
    #[cfg(not(target_os = "linux"))]
    0
}

fn page_size() -> usize {
    #[cfg(unix)]
    // SAFETY: Asks for a constant.
    return usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("pages have a size");
    #[cfg(windows)]
    4096
}
