//! Reservations of the C API, for tests that choose the capacity, which `assemble` does not allow.

use execbuf::ffi::{self, execbuf_error, execbuf_status};
use execbuf::{Error, ExecBuffer, ExecPool};
use std::mem::MaybeUninit;
use std::ptr;

/// A reservation, which is freed unless it becomes a buffer.
struct Reserved(ffi::execbuf);

impl Drop for Reserved {
    fn drop(&mut self) {
        // SAFETY: The handle is all zero, or belongs to a reservation that nobody else has.
        assert_eq!(unsafe { ffi::execbuf_free(&raw mut self.0) }, execbuf_status::EXECBUF_OK);
    }
}

/// Reserves memory, and publishes the code that `fill` writes. `fill` receives the final address and scratch memory,
/// and returns the length of the code.
pub fn reserve(
    pool: Option<&ExecPool>,
    capacity: usize,
    fill: impl FnOnce(usize, &mut [u8]) -> usize,
) -> Result<ExecBuffer, Error> {
    let mut reserved = Reserved(ffi::execbuf { entry: ptr::null(), length: 0, id: 0 });
    let raw = &raw mut reserved.0;
    // SAFETY: The pool exists, and the handle and the report are writable.
    check(|error| unsafe {
        match pool {
            Some(pool) => ffi::execbuf_pool_reserve(pool.as_raw(), raw, capacity, error),
            None => ffi::execbuf_reserve(raw, capacity, error),
        }
    })?;
    let mut scratch = vec![0; capacity];
    let length = fill(reserved.0.entry.addr(), &mut scratch);
    let bytes = scratch.as_ptr().cast();
    // SAFETY: The handle and the report are writable. At most `capacity` bytes are read, because a larger length is an
    // error.
    check(|error| unsafe { ffi::execbuf_publish(&raw mut reserved.0, bytes, length, error) })?;
    // SAFETY: The buffer is published, and nobody else has it.
    Ok(unsafe {
        ExecBuffer::from_raw(std::mem::replace(
            &mut reserved.0,
            ffi::execbuf { entry: ptr::null(), length: 0, id: 0 },
        ))
    })
}

/// Makes a C call that fills a report if it fails, and converts its result.
fn check(call: impl FnOnce(*mut execbuf_error) -> execbuf_status) -> Result<(), Error> {
    let mut report = MaybeUninit::uninit();
    if call(report.as_mut_ptr()) == execbuf_status::EXECBUF_OK {
        return Ok(());
    }
    // SAFETY: The call failed, so it has filled the report.
    Err(unsafe { Error::from_raw(report.assume_init()) })
}
