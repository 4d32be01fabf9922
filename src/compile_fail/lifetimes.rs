//! A function cannot outlive its code.
//!
//! A function cannot outlive the scope of its buffer:
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
//! A buffer cannot be dropped while a function borrows it:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! drop(buffer);
//! function.call();
//! ```
//!
//! A buffer cannot be moved while a function borrows it:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! let moved = buffer;
//! function.call();
//! ```
//!
//! A buffer cannot become an owned function while a function borrows it:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! let owned = unsafe { buffer.into_function::<extern "C" fn()>() };
//! function.call();
//! ```
//!
//! A function at an offset also borrows the buffer:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function_at::<extern "C" fn()>(0) }.unwrap();
//! drop(buffer);
//! function.call();
//! ```
//!
//! A copy of a function also borrows the buffer:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! let copy = function;
//! drop(buffer);
//! copy.call();
//! ```
//!
//! A function that borrows the buffer of an owned function cannot outlive the owned function:
//!
//! ```compile_fail,E0505
//! let owned = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let function = unsafe { owned.owner().function::<extern "C" fn()>() };
//! drop(owned);
//! function.call();
//! ```
//!
//! `by_ref` borrows the handle:
//!
//! ```compile_fail,E0505
//! let owned = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let function = owned.by_ref();
//! drop(owned);
//! function.call();
//! ```
//!
//! `by_dyn` borrows the handle:
//!
//! ```compile_fail,E0505
//! let owned = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let function = owned.by_dyn();
//! drop(owned);
//! function.call();
//! ```
//!
//! `into_owner` consumes the handle:
//!
//! ```compile_fail,E0382
//! let owned = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let buffer = owned.into_owner();
//! owned.call();
//! ```
//!
//! `and` keeps the borrow of the first owner:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() }.and(1);
//! drop(buffer);
//! function.call();
//! ```
//!
//! `and` keeps the borrow of what it adds:
//!
//! ```compile_fail,E0505
//! let data = vec![1];
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.into_function::<extern "C" fn()>() }.and(&data);
//! drop(data);
//! function.call();
//! ```
//!
//! A module cannot drop its code while a function borrows the module:
//!
//! ```compile_fail,E0502
//! # use execbuf::{ExecBuffer, Function};
//! let mut module = vec![ExecBuffer::new(&[0xc3]).unwrap()];
//! let function = unsafe { Function::<extern "C" fn(), _>::from_parts(module[0].as_ptr(), &module) };
//! module.clear();
//! function.call();
//! ```
//!
//! `boxed` keeps the borrow:
//!
//! ```compile_fail,E0505
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() }.boxed();
//! drop(buffer);
//! function.call();
//! ```
//!
//! `shared` requires an owner without borrows:
//!
//! ```compile_fail,E0597
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() }.shared();
//! ```
//!
//! `into_native` keeps the borrow:
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
//! `to_abi` borrows the handle:
//!
//! ```compile_fail,E0505
//! let owned = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let thunk = owned.to_abi::<extern "system" fn()>().unwrap();
//! drop(owned);
//! thunk.call();
//! ```
//!
//! `into_target` consumes the thunk:
//!
//! ```compile_fail,E0382
//! let owned = unsafe { execbuf::ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let thunk = owned.into_native().unwrap();
//! let buffer = thunk.into_owner().into_target();
//! thunk.call();
//! ```
//!
//! A function of a [`DynThunk`](crate::dynamic::DynThunk) cannot outlive the thunk:
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
//! A [`DynThunk`](crate::dynamic::DynThunk) cannot outlive what its owner borrows:
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
//! The builder of a thunk cannot outlive its pool:
//!
//! ```compile_fail,E0505
//! extern "C" fn nothing() {}
//! let pool = execbuf::ExecPool::new().unwrap();
//! let signature = "v()".parse().unwrap();
//! let builder = execbuf::dynamic::DynThunk::builder(&signature).pool(&pool);
//! drop(pool);
//! builder.build(nothing as *const u8).unwrap();
//! ```
//!
//! `boxed` does not lengthen a borrow:
//!
//! ```compile_fail,E0597
//! # use execbuf::{ExecBuffer, Function};
//! let buffer = ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! let boxed: Function<extern "C" fn(), Box<dyn Send + Sync + 'static>> = function.boxed();
//! ```
//!
//! The lifetime of an owner cannot be lengthened:
//!
//! ```compile_fail,E0597
//! # use execbuf::{ExecBuffer, Function};
//! let buffer = ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! let longer: Function<extern "C" fn(), &'static ExecBuffer> = function;
//! ```
//!
//! A thunk cannot accept arguments with a shorter lifetime than those of its target:
//!
//! ```compile_fail,E0597
//! type Target = extern "C" fn(*const &'static u8);
//! type Shorter<'a> = extern "system" fn(*const &'a u8);
//! extern "C" fn nothing(_: *const &'static u8) {}
//! let number = 1;
//! let thunk = execbuf::Function::from_fn(nothing as Target).into_abi::<Shorter<'_>>().unwrap();
//! thunk.call(&raw const *&&number);
//! ```
//!
//! A thunk cannot return results with a longer lifetime than those of its target:
//!
//! ```compile_fail,E0597
//! # use execbuf::Function;
//! type Target<'a> = extern "C" fn() -> *const &'a u8;
//! type Longer = extern "system" fn() -> *const &'static u8;
//! extern "C" fn null<'a>() -> *const &'a u8 { std::ptr::null() }
//! fn target<'a>(_: &'a u8) -> Function<Target<'a>, ()> { Function::from_fn(null as Target<'a>) }
//! let number = 1;
//! let thunk = target(&number).into_abi::<Longer>().unwrap();
//! ```
