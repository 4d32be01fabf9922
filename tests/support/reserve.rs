//! Reservations for tests that choose the capacity, which `assemble` does not allow.

use execbuf::{Error, ExecBuffer, ExecPool};

/// Reserves memory, and publishes the code that `fill` writes. `fill` receives the final address and scratch memory,
/// and returns the length of the code. One that is greater than the capacity stands for longer code.
pub fn reserve(
    pool: Option<&ExecPool>,
    capacity: usize,
    fill: impl FnOnce(usize, &mut [u8]) -> usize,
) -> Result<ExecBuffer, Error> {
    let reserved = match pool {
        Some(pool) => pool.reserve(capacity)?,
        None => ExecBuffer::reserve(capacity)?,
    };
    assert_eq!(reserved.capacity(), capacity);
    let mut scratch = vec![0; capacity];
    let length = fill(reserved.address(), &mut scratch);
    scratch.resize(length, 0);
    Ok(reserved.publish(&scratch)?)
}
