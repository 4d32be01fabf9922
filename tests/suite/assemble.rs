//! Code that depends on its address: `assemble`, and reservations.

use super::*;

suite! {
    fn assemble_passes_the_final_address(m) {
        // Code that fits into the first reservation, and code that needs a second one.
        for length in [SHORTEST, 16, 17, 64, 1000, 5000, 100_000, 3 << 20] {
            let mut addresses = Vec::new();
            let buffer = m.assemble(|address| {
                addresses.push(address);
                maps::look();
                Ok::<_, Infallible>(function(9, length))
            }).unwrap();
            maps::look();
            assert_eq!(Some(&buffer.as_ptr().addr()), addresses.last());
            // The first reservation is the smallest that there is: a page, or a slot.
            let first = if let Maker::Pool(_) = m { 16 } else { 4096 - 64 };
            assert_eq!(addresses.len(), if length > first { 2 } else { 1 }, "{length}: {addresses:x?}");
            assert_eq!(buffer.as_ref(), function(9, length));
            assert_eq!(call(&buffer), 9);
        }
    }

    fn assemble_repeats_until_the_code_fits(m) {
        // The code grows with each call, or becomes shorter in the end.
        for lengths in [&[5000, 6000, 6500, 6501, 6501][..], &[10_000, 5000], &[5000, 7000, 100]] {
            let mut calls = lengths.iter();
            let buffer = m.assemble(|_| {
                Ok::<_, Infallible>(function(4, *calls.next().expect("the last one fits")))
            }).unwrap();
            assert_eq!((buffer.len(), calls.next(), call(&buffer)), (*lengths.last().unwrap(), None, 4));
        }
    }

    fn code_that_never_fits_is_an_error(m) {
        let before = maps::look().executable_bytes;
        let mut calls = 0;
        let error = m.assemble(|_| {
            calls += 1;
            Ok::<_, Infallible>(function(4, calls * 5000))
        }).unwrap_err();
        assert_eq!((error.kind(), calls), (ErrorKind::Unsettled, 8));
        assert_eq!((error.os_error(), error.culprit(), error.attempts().count()), (None, None, 0));
        assert!(error.to_string().starts_with("the code was longer at each address"), "{error}");
        if let Maker::Dedicated = m {
            assert_eq!(maps::look().executable_bytes, before);
        }
    }

    fn an_error_of_the_closure_is_the_source_of_the_error(m) {
        let error = m.assemble(|_| Err::<[u8; 1], _>("unbalanced")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AssembleFailed);
        assert_eq!(error.to_string(), "the closure that assembles the code failed");
        assert_eq!(format!("{error:?}"), "AssembleFailed(the closure that assembles the code failed: unbalanced)");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "unbalanced");
        assert_eq!((error.os_error(), error.culprit(), error.attempts().count()), (None, None, 0));
    }

    fn a_reservation_has_the_final_address(m) {
        let mut reserved = 0;
        let buffer = m.reserve(64, |address, bytes| {
            reserved = address;
            assert_eq!(bytes, [0; 64]);
            let code = returning(9);
            bytes[..code.len()].copy_from_slice(&code);
            maps::look();
            code.len()
        }).unwrap();
        maps::look();
        assert_eq!(buffer.as_ptr().addr(), reserved);
        assert_eq!(buffer.as_ref(), returning(9));
        assert_eq!(call(&buffer), 9);
    }

    fn publishing_unmaps_the_unused_pages_of_a_reservation(m) {
        if let Maker::Pool(_) = m {
            return; // a slot keeps the size of its reservation
        }
        if !maps::LISTED {
            return skip("unused pages: the mappings of this system cannot be listed");
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
        bytes(8); // grows the heap for the scratch memory
        assert_eq!(bytes(8), 4096.max(page_size()));
        assert_eq!(bytes(1 << 20), (1 << 20) + page_size());
    }

    fn the_unused_part_of_a_reservation_is_never_resident(m) {
        let before = peak_memory();
        let buffer = m.reserve(128 << 20, |_, bytes| {
            let code = returning(1);
            bytes[..code.len()].copy_from_slice(&code);
            code.len()
        }).unwrap();
        assert_eq!(call(&buffer), 1);
        assert!(peak_memory() - before < 32 << 20);
    }
}

/// Returns the peak resident memory of this process in bytes, or 0 where the system does not report it.
fn peak_memory() -> usize {
    #[cfg(target_os = "linux")]
    {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: `usage` is writable, and all zero is a valid value.
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
    // SAFETY: Reads a constant.
    return usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("pages have a size");
    #[cfg(windows)]
    4096
}
