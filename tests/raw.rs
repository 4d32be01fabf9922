//! Conversions between the safe types and the C API.

mod support;

use execbuf::ffi::{self, execbuf_status};
use execbuf::{Error, ErrorKind, ExecBuffer, ExecPool};
use std::mem::MaybeUninit;
use std::ptr;
use support::{call, function, reserve, returning};

#[test]
fn a_buffer_is_unchanged_after_a_round_trip_through_c() {
    let pool = ExecPool::new().unwrap();
    for buffer in [ExecBuffer::new(&returning(3)).unwrap(), pool.publish(&returning(3)).unwrap()] {
        let (address, length) = (buffer.as_ptr(), buffer.len());
        let raw = buffer.into_raw();
        assert_eq!((raw.entry.cast(), raw.length), (address, length));
        // SAFETY: The handle came from a buffer, and is not used again.
        let mut buffer = unsafe { ExecBuffer::from_raw(raw) };
        assert_eq!((buffer.as_ptr(), buffer.len(), call(&buffer)), (address, length, 3));
        buffer.rewrite(0, &returning(4)).unwrap();
        assert_eq!(call(&buffer), 4);
    }
    assert_eq!(pool.stats().live(), 0);
}

#[test]
fn c_can_free_a_buffer_from_rust() {
    let pool = ExecPool::new().unwrap();
    let mut raw = pool.publish(&returning(3)).unwrap().into_raw();
    assert_eq!(pool.stats().live(), 1);
    // SAFETY: The handle is writable, and nobody calls its code.
    assert_eq!(unsafe { ffi::execbuf_free(&raw mut raw) }, execbuf_status::EXECBUF_OK);
    assert_eq!(pool.stats().live(), 0);
}

#[test]
fn rust_can_drop_a_buffer_from_c() {
    let pool = ExecPool::new().unwrap();
    let code = function(7, 100);
    let mut raw = MaybeUninit::uninit();
    // SAFETY: The pool exists, the handle is writable, and the code is readable for its length. Nobody else has the
    // handle.
    let buffer = unsafe {
        let (bytes, length) = (code.as_ptr().cast(), code.len());
        let status = ffi::execbuf_pool_publish(pool.as_raw(), raw.as_mut_ptr(), bytes, length, ptr::null_mut());
        assert_eq!(status, execbuf_status::EXECBUF_OK);
        ExecBuffer::from_raw(raw.assume_init())
    };
    assert_eq!((buffer.as_ref(), call(&buffer), pool.stats().live()), (&code[..], 7, 1));
    drop(buffer);
    assert_eq!(pool.stats().live(), 0);
}

#[test]
fn a_pool_is_unchanged_after_a_round_trip_through_c() {
    let pool = ExecPool::builder().name("raw").build().unwrap();
    let buffer = pool.publish(&returning(5)).unwrap();
    let (address, clone) = (pool.as_raw(), pool.clone());
    let pool = pool.try_into_raw().expect_err("there is a clone");
    assert_eq!((pool.as_raw(), clone.as_raw()), (address, address));
    drop(clone);
    let raw = pool.try_into_raw().expect("there is no clone");
    assert_eq!(raw, address);
    // SAFETY: It came from a pool, and is not used again.
    let pool = unsafe { ExecPool::from_raw(raw) };
    assert_eq!((pool.name(), pool.stats().live(), call(&buffer)), ("raw", 1, 5));
    drop(pool);
    assert_eq!(call(&buffer), 5);
}

#[test]
fn an_error_report_of_c_becomes_an_error() {
    for (capacity, kind) in [(0, ErrorKind::Empty), (usize::MAX, ErrorKind::TooLarge)] {
        let error: Error = reserve(None, capacity, |_, _| unreachable!()).unwrap_err();
        assert_eq!((error.kind(), error.culprit(), error.os_error()), (kind, Some("capacity"), None));
    }
    let error = reserve(None, 16, |_, _| 17).unwrap_err();
    assert_eq!((error.kind(), error.culprit()), (ErrorKind::Capacity, Some("length")));
}
