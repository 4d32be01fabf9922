//! Code near an address.

use super::*;

suite! {
    fn all_code_lies_near_the_given_address() {
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

    fn where_nothing_is_free_near_the_address_the_error_says_so() {
        // No address space but for this: 2 GiB to both sides.
        let size = (4 << 30) + (256 << 20);
        let taken = take(size);
        if taken.is_null() {
            return skip("address space that is too far: there are no 4 GiB");
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
        assert_eq!((pool.stats().live(), pool.stats().bytes(), pool.stats().regions()), (0, 0, 0));
        assert_eq!(maps::look().executable_bytes, before);
        give(taken, size);
        let buffer = publish(&pool, 9);
        assert_eq!((call(&buffer), pool.stats().live()), (9, 1));
        assert!(is_near(buffer.as_ptr(), taken.wrapping_add(size / 2)));
    }
}

/// Whether a relative call of 32 bits reaches from the one to the other.
fn is_near(one: *const u8, other: *const u8) -> bool {
    one.addr().abs_diff(other.addr()) < 1 << 31
}

#[cfg(windows)]
unsafe extern "system" {
    fn VirtualAlloc(address: *const u8, size: usize, how: u32, protection: u32) -> *mut u8;
    fn VirtualFree(address: *mut u8, size: usize, how: u32) -> i32;
}

/// Takes address space, and no memory; null if there is not so much.
fn take(size: usize) -> *mut u8 {
    #[cfg(unix)]
    // SAFETY: A new mapping touches no other.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let base = libc::mmap(ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0);
        if base == libc::MAP_FAILED { ptr::null_mut() } else { base.cast() }
    }
    #[cfg(windows)]
    // SAFETY: As above. MEM_RESERVE, PAGE_NOACCESS.
    unsafe {
        VirtualAlloc(ptr::null(), size, 0x2000, 0x01)
    }
}

/// Gives it back.
fn give(base: *mut u8, size: usize) {
    #[cfg(unix)]
    // SAFETY: It is ours, and nobody has anything in it.
    unsafe {
        libc::munmap(base.cast(), size);
    }
    #[cfg(windows)]
    // SAFETY: As above. MEM_RELEASE takes no size.
    unsafe {
        let _ = size;
        VirtualFree(base, 0, 0x8000);
    }
}
