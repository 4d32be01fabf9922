//! A function does not outlive its code.
//!
//! It does not outlive the scope of its buffer:
//!
//! ```compile_fail,E0597
//! # use execbuf::{ExecBuffer, Function};
//! let function: Function<extern "C" fn(), &ExecBuffer>;
//! {
//!     let buffer = ExecBuffer::new(&[0xc3]).unwrap();
//!     function = unsafe { buffer.function() };
//! }
//! function.call();
//! ```
//!
//! The buffer is not dropped while a function borrows it:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! drop(buffer);
//! function.call();
//! ```
//!
//! nor moved:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! let moved = buffer;
//! function.call();
//! ```
//!
//! nor turned into an owned function:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! let owned = unsafe { buffer.into_function::<extern "C" fn()>() };
//! function.call();
//! ```
//!
//! at whatever offset the function begins:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function_at::<extern "C" fn()>(0) }.unwrap();
//! drop(buffer);
//! function.call();
//! ```
//!
//! A copy borrows, too:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! let copy = function;
//! drop(buffer);
//! copy.call();
//! ```
//!
//! and a function that borrows the buffer of an owned one:
//!
//! ```compile_fail,E0505
//! let owned = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let function = unsafe { owned.owner().function::<extern "C" fn()>() };
//! drop(owned);
//! function.call();
//! ```
//!
//! `by_ref`:
//!
//! ```compile_fail,E0505
//! let owned = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let function = owned.by_ref();
//! drop(owned);
//! function.call();
//! ```
//!
//! `by_dyn`:
//!
//! ```compile_fail,E0505
//! let owned = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let function = owned.by_dyn();
//! drop(owned);
//! function.call();
//! ```
//!
//! `into_owner` takes the handle:
//!
//! ```compile_fail,E0382
//! let owned = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let buffer = owned.into_owner();
//! owned.call();
//! ```
//!
//! `and` keeps the first loan:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() }.and(1);
//! drop(buffer);
//! function.call();
//! ```
//!
//! and the second:
//!
//! ```compile_fail,E0505
//! let data = vec![1];
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.into_function::<extern "C" fn()>() }.and(&data);
//! drop(data);
//! function.call();
//! ```
//!
//! `boxed` keeps the loan:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() }.boxed();
//! drop(buffer);
//! function.call();
//! ```
//!
//! `shared` wants an owner, not a loan:
//!
//! ```compile_fail,E0597
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() }.shared();
//! ```
//!
//! `into_native` keeps the loan:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let thunk = unsafe { buffer.function::<extern "C" fn()>() }.into_native().unwrap();
//! drop(buffer);
//! thunk.call();
//! ```
//!
//! `to_native` borrows the handle:
//!
//! ```compile_fail,E0505
//! let owned = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let thunk = owned.to_native().unwrap();
//! drop(owned);
//! thunk.call();
//! ```
//!
//! `to_abi`:
//!
//! ```compile_fail,E0505
//! let owned = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let thunk = owned.to_abi::<extern "system" fn()>().unwrap();
//! drop(owned);
//! thunk.call();
//! ```
//!
//! `into_target` takes the thunk:
//!
//! ```compile_fail,E0382
//! let owned = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let thunk = owned.into_native().unwrap();
//! let buffer = thunk.into_owner().into_target();
//! thunk.call();
//! ```
//!
//! A function of a [`DynThunk`](crate::dynamic::DynThunk) does not outlive the thunk:
//!
//! ```compile_fail,E0505
//! extern "C" fn nothing() {}
//! let signature = "v()".parse().unwrap();
//! let thunk = execbuf::dynamic::DynThunk::builder(&signature).build(nothing as *const u8).unwrap();
//! let function = unsafe { thunk.function::<extern "C" fn()>() }.unwrap();
//! drop(thunk);
//! function.call();
//! ```
//!
//! nor what the thunk borrows:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let signature = "v()".parse().unwrap();
//! let thunk = execbuf::dynamic::DynThunk::builder(&signature).build(buffer.as_ptr()).unwrap().with_owner(&buffer);
//! drop(buffer);
//! let function = unsafe { thunk.function::<extern "C" fn()>() }.unwrap();
//! function.call();
//! ```
//!
//! The builder of a thunk does not outlive the pool:
//!
//! ```compile_fail,E0505
//! extern "C" fn nothing() {}
//! let pool = execbuf::ExecPool::new().unwrap();
//! let signature = "v()".parse().unwrap();
//! let builder = execbuf::dynamic::DynThunk::builder(&signature).pool(&pool);
//! drop(pool);
//! builder.build(nothing as *const u8).unwrap();
//! ```
