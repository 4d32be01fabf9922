//! Code cannot be changed while it is in use.
//!
//! A buffer cannot be rewritten while a function borrows it:
//!
//! ```compile_fail,E0502
//! let mut buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! buffer.rewrite(0, &[0xcc]).unwrap();
//! function.call();
//! ```
//!
//! A buffer cannot be rewritten while a function owns it:
//!
//! ```compile_fail,E0596
//! let mut owned = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! owned.owner().rewrite(0, &[0xcc]).unwrap();
//! ```
//!
//! A buffer cannot be rewritten while functions share it:
//!
//! ```compile_fail,E0596
//! let mut buffer = std::sync::Arc::new(execbuf::ExecBuffer::new(&[0xc3]).unwrap());
//! let function = unsafe { buffer.shared_function_at::<extern "C" fn()>(0) }.unwrap();
//! buffer.rewrite(0, &[0xcc]).unwrap();
//! ```
//!
//! A buffer cannot be rewritten while its bytes are borrowed:
//!
//! ```compile_fail,E0502
//! let mut buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let bytes: &[u8] = buffer.as_ref();
//! buffer.rewrite(0, &[0xcc]).unwrap();
//! assert_eq!(bytes, [0xc3]);
//! ```
