//! Whether a function is `Send`, `Sync` and `Clone` depends on its owner.
//!
//! A function whose owner is not `Send` cannot be sent to another thread:
//!
//! ```compile_fail,E0277
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.into_function::<extern "C" fn()>() }.and(std::rc::Rc::new(1));
//! std::thread::spawn(move || function.call());
//! ```
//!
//! Nor can a thunk of such a function:
//!
//! ```compile_fail,E0277
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.into_function::<extern "C" fn()>() }.and(std::rc::Rc::new(1));
//! let thunk = function.into_native().unwrap();
//! std::thread::spawn(move || thunk.call());
//! ```
//!
//! A function whose owner is not `Sync` cannot be used by two threads:
//!
//! ```compile_fail,E0277
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.into_function::<extern "C" fn()>() }.and(std::cell::Cell::new(1));
//! std::thread::scope(|scope| {
//!     scope.spawn(|| function.call());
//! });
//! ```
//!
//! A function whose owner is not `Sync` cannot be shared:
//!
//! ```compile_fail,E0277
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.into_function::<extern "C" fn()>() }.and(std::cell::Cell::new(1)).shared();
//! ```
//!
//! A function cannot be cloned if a clone of its owner keeps other data alive:
//!
//! ```compile_fail,E0599
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() }.and(vec![1, 2, 3]);
//! let clone = function.clone();
//! ```
//!
//! A function cannot be cloned if its owner cannot be cloned:
//!
//! ```compile_fail,E0599
//! let function = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let clone = function.clone();
//! ```
//!
//! A copy of a function that borrows such an owner cannot be sent either:
//!
//! ```compile_fail,E0277
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.into_function::<extern "C" fn()>() }.and(std::rc::Rc::new(1));
//! let borrowed = function.by_ref();
//! std::thread::scope(|scope| {
//!     scope.spawn(move || borrowed.call());
//! });
//! ```
//!
//! Nor can a [`DynThunk`](crate::dynamic::DynThunk) with such an owner:
//!
//! ```compile_fail,E0277
//! extern "C" fn nothing() {}
//! let signature = "v()".parse().unwrap();
//! let thunk = execbuf::dynamic::DynThunk::builder(&signature).build(nothing as *const u8).unwrap();
//! let thunk = thunk.with_owner(std::rc::Rc::new(1));
//! std::thread::spawn(move || drop(thunk));
//! ```
