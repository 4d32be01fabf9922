//! The C API, as it is in `csrc/include/execbuf.h`, which is its manual.
//!
//! Use it to share buffers with C code, or for what the safe types don't offer:
//!
//! - reservations that are published later, and several at once: `execbuf_reserve`, `execbuf_pool_reserve` and
//!   `execbuf_publish`;
//! - thunks as bytes, for memory of your own: `execbuf_thunk_emit`;
//! - where a calling convention has each argument: `execbuf_layout_of`;
//! - the buffer that contains an address: `execbuf_find`;
//! - how often a stale handle was refused: `execbuf_stale_count`.
//!
//! Structs with a member `size` have an `_INIT` macro in C. In Rust, set the size to [`size_of`](core::mem::size_of) the struct.
//!
//! [`ExecBuffer::into_raw`](crate::ExecBuffer::into_raw), [`ExecBuffer::from_raw`](crate::ExecBuffer::from_raw),
//! [`ExecPool::as_raw`](crate::ExecPool::as_raw), [`ExecPool::from_raw`](crate::ExecPool::from_raw) and
//! [`Error::from_raw`](crate::Error::from_raw) lead from one to the other:
//!
//! ```
//! use core::mem::MaybeUninit;
//! use core::ptr;
//! use execbuf::{Error, ExecBuffer, ExecPool, ffi};
//!
//! /// Makes the result of a C call a Rust one.
//! ///
//! /// # Safety
//! ///
//! /// The call fills the report if it fails.
//! unsafe fn check(call: impl FnOnce(*mut ffi::execbuf_error) -> ffi::execbuf_status) -> Result<(), Error> {
//!     let mut report = MaybeUninit::uninit();
//!     match call(report.as_mut_ptr()) {
//!         ffi::execbuf_status::EXECBUF_OK => Ok(()),
//!         // SAFETY: The call failed.
//!         _ => Err(unsafe { Error::from_raw(report.assume_init()) }),
//!     }
//! }
//!
//! let pool = ExecPool::new()?;
//! let mut raw = ffi::execbuf { entry: ptr::null(), length: 0, id: 0 };
//! // SAFETY: The pool lives, and the handle and the report can be written.
//! unsafe { check(|error| ffi::execbuf_pool_reserve(pool.as_raw(), &raw mut raw, 16, error)) }?;
//! let code = [0xc3_u8]; // x86: ret. It could depend on `raw.entry`.
//! // SAFETY: As above, and the code can be read.
//! unsafe { check(|error| ffi::execbuf_publish(&raw mut raw, code.as_ptr().cast(), code.len(), error)) }?;
//! // SAFETY: The handle is published, and nobody else has it.
//! let buffer = unsafe { ExecBuffer::from_raw(raw) };
//! assert_eq!(buffer.as_ref(), code);
//! # Ok::<(), Error>(())
//! ```

// Generated code, in C's spelling. The statuses get their texts from a macro, where no comment reaches them.
#![allow(missing_docs, non_camel_case_types, clippy::pedantic)]

#[cfg(not(feature = "bindgen"))]
include!("bindings.rs");
#[cfg(feature = "bindgen")]
include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
