//! Methods whose conditions the compiler cannot check are `unsafe`.
//!
//! ```compile_fail,E0133
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = buffer.function::<extern "C" fn()>();
//! ```
//!
//! ```compile_fail,E0133
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = buffer.function_at::<extern "C" fn()>(0);
//! ```
//!
//! ```compile_fail,E0133
//! let function = execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>();
//! ```
//!
//! ```compile_fail,E0133
//! let function = execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function_at::<extern "C" fn()>(0);
//! ```
//!
//! ```compile_fail,E0133
//! let buffer = std::sync::Arc::new(execbuf::ExecBuffer::new(&[0xc3]).unwrap());
//! let function = buffer.shared_function_at::<extern "C" fn()>(0);
//! ```
//!
//! ```compile_fail,E0133
//! let function = execbuf::Function::<extern "C" fn(), ()>::from_parts(std::ptr::null(), ());
//! ```
//!
//! ```compile_fail,E0133
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! let pointer: extern "C" fn() = function.as_fn();
//! ```
//!
//! ```compile_fail,E0133
//! extern "C" fn nothing() {}
//! let signature = "v()".parse().unwrap();
//! let thunk = execbuf::dynamic::DynThunk::builder(&signature).build(nothing as *const u8).unwrap();
//! let function = thunk.function::<extern "C" fn()>();
//! ```
//!
//! ```compile_fail,E0133
//! extern "C" fn nothing() {}
//! let signature = "v()".parse().unwrap();
//! let thunk = execbuf::dynamic::DynThunk::builder(&signature).build(nothing as *const u8).unwrap();
//! let function = thunk.into_function::<extern "C" fn()>();
//! ```
//!
//! Whoever implements [`CloneOwner`](crate::CloneOwner) promises that clones keep the same code alive:
//!
//! ```compile_fail,E0200
//! #[derive(Clone)]
//! struct Module(Vec<u8>);
//! impl execbuf::CloneOwner for Module {}
//! ```
//!
//! Calls of an `unsafe` function type are `unsafe`:
//!
//! ```compile_fail,E0133
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<unsafe extern "C" fn()>() };
//! function.call();
//! ```
//!
//! ```compile_fail,E0133
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.into_function::<unsafe extern "C" fn()>() };
//! function.call();
//! ```
//!
//! ```compile_fail,E0133
//! unsafe extern "C" fn nothing() {}
//! let thunk = execbuf::Function::from_fn(nothing as unsafe extern "C" fn()).into_native().unwrap();
//! thunk.call();
//! ```
