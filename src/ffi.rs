//! The C API, as it is in `csrc/include/execbuf.h`, which is its manual.
//!
//! The safe types of this crate cover all of it. Use it directly where you share buffers with C code.
//!
//! ```
//! use core::ptr;
//! use execbuf::ffi;
//!
//! let mut buffer = ffi::execbuf { entry: ptr::null(), length: 0, id: 0 };
//! // SAFETY: All pointers are valid, the error report may be null, and the buffer is freed once.
//! unsafe {
//!     let status = ffi::execbuf_new(&raw mut buffer, [0xc3_u8].as_ptr().cast(), 1, ptr::null_mut());
//!     assert_eq!(status, ffi::execbuf_status::EXECBUF_OK);
//!     assert_eq!(ffi::execbuf_free(&raw mut buffer), ffi::execbuf_status::EXECBUF_OK);
//! }
//! ```

// Generated code, in C's spelling. The statuses get their texts from a macro, where no comment reaches them.
#![allow(missing_docs, non_camel_case_types, clippy::pedantic)]

#[cfg(not(feature = "bindgen"))]
include!("bindings.rs");
#[cfg(feature = "bindgen")]
include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
