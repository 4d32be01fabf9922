//! Reservations of the C API, for what `assemble` does not show: a capacity of the test's own.

use execbuf::ffi::{self, execbuf_error, execbuf_status};
use execbuf::{Error, ExecBuffer, ExecPool};
use std::mem::MaybeUninit;
use std::ptr;

/// A handle that is freed unless it becomes a buffer.
struct Reserved(ffi::execbuf);

impl Drop for Reserved {
    fn drop(&mut self) {
        // SAFETY: The handle is of a reservation that nobody else has, or of nothing.
        assert_eq!(unsafe { ffi::execbuf_free(&raw mut self.0) }, execbuf_status::EXECBUF_OK);
    }
}

/// Reserves memory and publishes what `fill` writes to scratch memory. It is told the address and returns the length.
pub fn reserve(
    pool: Option<&ExecPool>,
    capacity: usize,
    fill: impl FnOnce(usize, &mut [u8]) -> usize,
) -> Result<ExecBuffer, Error> {
    let mut reserved = Reserved(ffi::execbuf { entry: ptr::null(), length: 0, id: 0 });
    let raw = &raw mut reserved.0;
    // SAFETY: The pool lives, and the handle and the report can be written.
    check(|error| unsafe {
        match pool {
            Some(pool) => ffi::execbuf_pool_reserve(pool.as_raw(), raw, capacity, error),
            None => ffi::execbuf_reserve(raw, capacity, error),
        }
    })?;
    let mut scratch = vec![0; capacity];
    let length = fill(reserved.0.entry.addr(), &mut scratch);
    let bytes = scratch.as_ptr().cast();
    // SAFETY: The handle and the report can be written, and no more than `capacity` bytes are read: a larger length is an
    // error.
    check(|error| unsafe { ffi::execbuf_publish(&raw mut reserved.0, bytes, length, error) })?;
    // SAFETY: It is published, and nobody else has it.
    Ok(unsafe {
        ExecBuffer::from_raw(std::mem::replace(
            &mut reserved.0,
            ffi::execbuf { entry: ptr::null(), length: 0, id: 0 },
        ))
    })
}

/// The result of a C call that fills a report if it fails.
fn check(call: impl FnOnce(*mut execbuf_error) -> execbuf_status) -> Result<(), Error> {
    let mut report = MaybeUninit::uninit();
    if call(report.as_mut_ptr()) == execbuf_status::EXECBUF_OK {
        return Ok(());
    }
    // SAFETY: The call failed, so it has filled the report.
    Err(unsafe { Error::from_raw(report.assume_init()) })
}
