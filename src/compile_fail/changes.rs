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
//! A buffer cannot be rewritten while a function that calls it borrows it:
//!
//! ```compile_fail,E0502
//! let mut callee = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let caller = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { caller.into_function::<extern "C" fn()>() }.and(&callee);
//! callee.rewrite(0, &[0xcc]).unwrap();
//! function.call();
//! ```
//!
//! Data cannot be changed while a function that reads it borrows it:
//!
//! ```compile_fail,E0506
//! let mut limit = 1;
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() }.and(&limit);
//! limit = 2;
//! function.call();
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
//!
//! A buffer cannot be rewritten while a thunk of its function borrows it:
//!
//! ```compile_fail,E0502
//! let mut buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let thunk = unsafe { buffer.function::<extern "C" fn()>() }.into_native().unwrap();
//! buffer.rewrite(0, &[0xcc]).unwrap();
//! thunk.call();
//! ```
//!
//! A thunk's own code cannot be rewritten:
//!
//! ```compile_fail,E0596
//! extern "C" fn nothing() {}
//! let thunk = execbuf::Function::from_fn(nothing as extern "C" fn()).into_native().unwrap();
//! thunk.owner().code().unwrap().rewrite(0, &[0xcc]).unwrap();
//! ```
