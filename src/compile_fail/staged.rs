//! Staged memory is used up when it is published, and so is a buffer when it is staged again.
//!
//! Staged memory cannot be written after it is published:
//!
//! ```compile_fail,E0382
//! let mut staged = execbuf::ExecBuffer::stage(16).unwrap();
//! let buffer = staged.publish(1).unwrap();
//! staged[0] = 0xc3;
//! ```
//!
//! A slice of it cannot be written after that, either:
//!
//! ```compile_fail,E0505
//! let mut staged = execbuf::ExecBuffer::stage(16).unwrap();
//! let bytes = &mut staged[..];
//! let buffer = staged.publish(1).unwrap();
//! bytes[0] = 0xc3;
//! ```
//!
//! A slice of staged memory cannot outlive it:
//!
//! ```compile_fail,E0505
//! let staged = execbuf::ExecBuffer::stage(16).unwrap();
//! let bytes = &staged[..];
//! drop(staged);
//! assert_eq!(bytes[0], 0);
//! ```
//!
//! Staged memory cannot be written while a slice of it is read:
//!
//! ```compile_fail,E0502
//! let mut staged = execbuf::ExecBuffer::stage(16).unwrap();
//! let bytes = &staged[1..];
//! staged[0] = bytes[0];
//! assert_eq!(bytes[0], 0);
//! ```
//!
//! It cannot be written without unsafe code through the pointer:
//!
//! ```compile_fail,E0133
//! let staged = execbuf::ExecBuffer::stage(16).unwrap();
//! *staged.as_mut_ptr() = 0xc3;
//! ```
//!
//! Staged memory holds no code yet, so it has no functions:
//!
//! ```compile_fail,E0599
//! let staged = execbuf::ExecBuffer::stage(16).unwrap();
//! let function = unsafe { staged.function::<extern "C" fn()>() };
//! ```
//!
//! A buffer cannot be unpublished while a function borrows it:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! let staged = buffer.unpublish().unwrap();
//! function.call();
//! ```
//!
//! A buffer cannot be unpublished while functions share it:
//!
//! ```compile_fail,E0507
//! let buffer = std::sync::Arc::new(execbuf::ExecBuffer::new(&[0xc3]).unwrap());
//! let function = unsafe { buffer.shared_function_at::<extern "C" fn()>(0) }.unwrap();
//! let staged = buffer.unpublish().unwrap();
//! ```
//!
//! The bytes of a buffer cannot be read after it is unpublished:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let bytes = buffer.as_ref();
//! let staged = buffer.unpublish().unwrap();
//! assert_eq!(bytes[0], 0xc3);
//! ```
