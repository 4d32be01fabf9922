//! Raw bindings of the C API. Its manual is the header, `csrc/include/execbuf.h`.
//!
//! Use it to share buffers with C code, and for what the safe types do not offer:
//!
//! - The code of a thunk as bytes, for memory that the caller manages: `execbuf_thunk_emit`.
//! - The registers and stack offsets of arguments in a calling convention: `execbuf_layout_of`.
//! - The handle of the buffer that contains an address: `execbuf_find`.
//! - The number of stale handles that were refused: `execbuf_stale_count`.
//!
//! Structs with a member `size` have an `_INIT` macro in C. In Rust, set `size` to the struct's
//! [`size_of`].
//!
//! These functions convert between the safe types and the C API: [`ExecBuffer::into_raw`](crate::ExecBuffer::into_raw),
//! [`ExecBuffer::from_raw`](crate::ExecBuffer::from_raw), [`ExecPool::as_raw`](crate::ExecPool::as_raw),
//! [`ExecPool::try_into_raw`](crate::ExecPool::try_into_raw), [`ExecPool::from_raw`](crate::ExecPool::from_raw) and
//! [`Error::from_raw`](crate::Error::from_raw). For example:
//!
//! ```
//! use core::mem::MaybeUninit;
//! use core::ptr;
//! use execbuf::{Error, ExecBuffer, ExecPool, ffi};
//!
//! /// Converts the status of a C call into a `Result`.
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
//! // SAFETY: The pool exists, and the handle and the report are writable.
//! unsafe { check(|error| ffi::execbuf_pool_reserve(pool.as_raw(), &raw mut raw, 16, error)) }?;
//! let code = [0xc3_u8]; // x86: ret. It could depend on `raw.entry`.
//! // SAFETY: As above, and the code is readable.
//! unsafe { check(|error| ffi::execbuf_publish(&raw mut raw, code.as_ptr().cast(), code.len(), error)) }?;
//! // SAFETY: The handle is published, and nobody else has it.
//! let buffer = unsafe { ExecBuffer::from_raw(raw) };
//! assert_eq!(buffer.as_ref(), code);
//! # Ok::<(), Error>(())
//! ```

// Generated code with C's names. The header defines the statuses in a macro, so they have no comments. A union has no
// `Debug`.
#![allow(missing_docs, missing_debug_implementations, non_camel_case_types, clippy::pedantic)]

#[cfg(not(feature = "bindgen"))]
include!("bindings.rs");
#[cfg(feature = "bindgen")]
include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
