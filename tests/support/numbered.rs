//! Pieces of code in a pool, with the numbers that they return.

use super::{call, function, publish, rename, returning};
use execbuf::{ExecBuffer, ExecPool};

/// A piece of code and the number that it returns.
pub type Numbered = (u32, ExecBuffer);

pub fn pool() -> ExecPool {
    ExecPool::new().expect("this system allows executable memory")
}

/// Returns whether pools have regions on this system.
pub fn has_regions() -> bool {
    let pool = pool();
    let _buffer = numbered(&pool, 1, 100);
    pool.stats().regions() > 0
}

/// Returns whether a process can copy a region that it shares since a fork: on Linux, if `mremap` is allowed.
pub fn can_copy() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // SAFETY: These are new pages that nobody else uses; one of them is moved over the other one.
        unsafe {
            let (private, anonymous) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1);
            let two = libc::mmap(std::ptr::null_mut(), 2 << 16, libc::PROT_READ, private, anonymous, 0);
            assert_ne!(two, libc::MAP_FAILED);
            let other = two.byte_add(1 << 16);
            let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
            let moved = libc::mremap(two, 1 << 16, 1 << 16, flags, other);
            // After a move, the first half is free, and another thread may have mapped something there.
            let (rest, size) = if moved == libc::MAP_FAILED { (two, 2 << 16) } else { (other, 1 << 16) };
            libc::munmap(rest, size);
            moved != libc::MAP_FAILED
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    false
}

pub fn numbered(pool: &ExecPool, number: u32, length: usize) -> Numbered {
    (number, pool.publish(&function(number, length)).expect("this system allows executable memory"))
}

pub fn check(live: &[Numbered]) {
    for (number, buffer) in live {
        assert_eq!(call(buffer), *number);
    }
}

/// Rewrites the last function of the list, which must not be frozen where regions cannot be copied.
pub fn rename_last(live: &mut [Numbered], new: u32) {
    let (number, buffer) = live.last_mut().expect("the list is not empty");
    let mut code = buffer.as_ref().to_vec();
    rename(&mut code, new);
    buffer.rewrite(0, &code).expect("it was published after the fork");
    *number = new;
}
