//! Threads and clones follow the owner.
//!
//! A function whose owner is not `Send` stays on its thread:
//!
//! ```compile_fail,E0277
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.into_function::<extern "C" fn()>() }.and(std::rc::Rc::new(1));
//! std::thread::spawn(move || function.call());
//! ```
//!
//! and so does its thunk:
//!
//! ```compile_fail,E0277
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.into_function::<extern "C" fn()>() }.and(std::rc::Rc::new(1));
//! let thunk = function.into_native().unwrap();
//! std::thread::spawn(move || thunk.call());
//! ```
//!
//! A function whose owner is not `Sync` is not used by two threads:
//!
//! ```compile_fail,E0277
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.into_function::<extern "C" fn()>() }.and(std::cell::Cell::new(1));
//! std::thread::scope(|scope| {
//!     scope.spawn(|| function.call());
//! });
//! ```
//!
//! nor shared:
//!
//! ```compile_fail,E0277
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.into_function::<extern "C" fn()>() }.and(std::cell::Cell::new(1)).shared();
//! ```
//!
//! A function is not cloned if the clone of its owner would keep something else alive:
//!
//! ```compile_fail,E0599
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() }.and(vec![1, 2, 3]);
//! let clone = function.clone();
//! ```
//!
//! nor if the owner can't be cloned:
//!
//! ```compile_fail,E0599
//! let function = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let clone = function.clone();
//! ```
