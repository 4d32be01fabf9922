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

pub fn numbered(pool: &ExecPool, number: u32, length: usize) -> Numbered {
    (number, pool.publish(&function(number, length)).expect("this system allows executable memory"))
}

pub fn check(live: &[Numbered]) {
    for (number, buffer) in live {
        assert_eq!(call(buffer), *number);
    }
}

/// Rewrites the last function of the list, which must not be frozen.
pub fn rename_last(live: &mut [Numbered], new: u32) {
    let (number, buffer) = live.last_mut().expect("the list is not empty");
    let mut code = buffer.as_ref().to_vec();
    rename(&mut code, new);
    buffer.rewrite(0, &code).expect("it was published after the fork");
    *number = new;
}
