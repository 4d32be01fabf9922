//! Pools whose code is near an address.

use super::*;

suite! {
    fn all_code_is_near_the_given_address() {
        let heap = Box::new(7);
        for near in [call as *const u8, (&raw const *heap).cast()] {
            let pool = ExecPool::builder().near(near).build().unwrap();
            let mut sizes: Vec<usize> = (0..3000).map(|n| SHORTEST + n % 1000).collect();
            sizes.extend([3 << 20, 100_000, 64 << 20]);
            if !has_regions() {
                sizes.drain(..2900);
            }
            let buffers: Vec<ExecBuffer> = sizes.iter().map(|&size| pool.publish(&function(8, size)).unwrap()).collect();
            let reserved = reserve(Some(&pool), 5 << 20, |_, code| { rename(code, 8); SHORTEST }).unwrap();
            let assembled = pool.assemble(|_| Ok::<_, Infallible>(function(8, 5 << 20))).unwrap();
            for buffer in buffers.iter().chain([&reserved, &assembled]) {
                for end in [buffer.as_ptr(), buffer.as_ptr().wrapping_add(buffer.len())] {
                    assert!(is_near(end, near), "{end:?} is too far from {near:?}");
                }
                assert_eq!(call(buffer), 8);
            }
        }
    }

    fn no_free_address_range_near_the_address_is_too_far() {
        // Take more than the 2 GiB on both sides of the address.
        let size = (4 << 30) + (256 << 20);
        let taken = take(size);
        if taken.is_null() {
            return skip("address space that is too far: the system does not allow 4 GiB");
        }
        let pool = ExecPool::builder().near(taken.wrapping_add(size / 2)).build().unwrap();
        let before = maps::look().executable_bytes;
        for _ in 0..3 {
            for error in [
                pool.publish(&returning(1)).unwrap_err(),
                pool.publish(&function(1, 3 << 20)).unwrap_err(),
                reserve(Some(&pool), 100, |_, _| 1).unwrap_err(),
                pool.assemble(|_| Ok::<_, Infallible>(returning(1))).unwrap_err(),
                pool.publish_batch(&[&returning(1), &returning(2)]).unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::TooFar, "{error}");
            }
        }
        assert_eq!((pool.stats().live(), pool.code_bytes(), pool.stats().regions()), (0, 0, 0));
        assert_eq!(maps::look().executable_bytes, before);
        give(taken, size);
        let buffer = publish(&pool, 9);
        assert_eq!((call(&buffer), pool.stats().live()), (9, 1));
        assert!(is_near(buffer.as_ptr(), taken.wrapping_add(size / 2)));
    }
}

/// Returns whether a 32-bit relative call reaches from one address to the other.
fn is_near(one: *const u8, other: *const u8) -> bool {
    one.addr().abs_diff(other.addr()) < 1 << 31
}

#[cfg(windows)]
unsafe extern "system" {
    fn VirtualAlloc(address: *const u8, size: usize, how: u32, protection: u32) -> *mut u8;
    fn VirtualFree(address: *mut u8, size: usize, how: u32) -> i32;
}

/// Reserves address space without memory. Returns null if that fails.
fn take(size: usize) -> *mut u8 {
    #[cfg(unix)]
    // SAFETY: A new mapping affects no other mapping.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS; // with PROT_NONE no memory is reserved
        let base = libc::mmap(ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0);
        if base == libc::MAP_FAILED { ptr::null_mut() } else { base.cast() }
    }
    #[cfg(windows)]
    // SAFETY: As above. MEM_RESERVE, PAGE_NOACCESS.
    unsafe {
        VirtualAlloc(ptr::null(), size, 0x2000, 0x01)
    }
}

/// Returns address space from [`take`] to the system.
fn give(base: *mut u8, size: usize) {
    #[cfg(unix)]
    // SAFETY: The range came from `take`, and nobody uses it.
    unsafe {
        libc::munmap(base.cast(), size);
    }
    #[cfg(windows)]
    // SAFETY: As above. MEM_RELEASE requires the size 0.
    unsafe {
        let _ = size;
        VirtualFree(base, 0, 0x8000);
    }
}
