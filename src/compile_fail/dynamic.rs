//! Dynamic calls.
//!
//! Arguments that are used after their caller was dropped:
//!
//! ```compile_fail,E0505
//! use execbuf::{Abi, dynamic::Caller};
//! let caller = Caller::new(&"v()".parse().unwrap(), Abi::NATIVE).unwrap();
//! let args = caller.args();
//! drop(caller);
//! let _ = unsafe { args.call::<()>(core::ptr::null()) };
//! ```
//!
//! An argument that has no C type:
//!
//! ```compile_fail,E0277
//! use execbuf::{Abi, dynamic::Caller};
//! let caller = Caller::new(&"v(p)".parse().unwrap(), Abi::NATIVE).unwrap();
//! let _ = caller.args().set(0, "text");
//! ```
//!
//! A reference as an argument:
//!
//! ```compile_fail,E0277
//! use execbuf::{Abi, dynamic::Caller};
//! let caller = Caller::new(&"v(p)".parse().unwrap(), Abi::NATIVE).unwrap();
//! let _ = caller.args().set(0, &7_u8);
//! ```
//!
//! A result that has no C type:
//!
//! ```compile_fail,E0277
//! use execbuf::{Abi, dynamic::Caller};
//! let caller = Caller::new(&"p()".parse().unwrap(), Abi::NATIVE).unwrap();
//! let _ = unsafe { caller.args().call::<String>(core::ptr::null()) };
//! ```
//!
//! Calls without `unsafe`:
//!
//! ```compile_fail,E0133
//! use execbuf::{Abi, dynamic::Caller};
//! let caller = Caller::new(&"v()".parse().unwrap(), Abi::NATIVE).unwrap();
//! let _ = caller.args().call::<()>(core::ptr::null());
//! ```
//!
//! ```compile_fail,E0133
//! use execbuf::{Abi, dynamic::Caller};
//! let caller = Caller::new(&"v()".parse().unwrap(), Abi::NATIVE).unwrap();
//! let _ = caller.args().call_bytes(core::ptr::null(), &mut []);
//! ```
//!
//! ```compile_fail,E0133
//! use execbuf::{Abi, dynamic::Caller};
//! let caller = Caller::new(&"v()".parse().unwrap(), Abi::NATIVE).unwrap();
//! caller.call_raw(core::ptr::null(), core::ptr::null(), core::ptr::null_mut());
//! ```
//!
//! A closure that outlives what its handler captures:
//!
//! ```compile_fail,E0597
//! use execbuf::{Abi, dynamic::DynClosure};
//! let closure = {
//!     let text = String::from("captured");
//!     DynClosure::new(&"L()".parse().unwrap(), Abi::NATIVE, |call| call.set_result(text.len()).unwrap()).unwrap()
//! };
//! let _ = closure.function::<extern "C" fn() -> usize>().map(|function| function.call());
//! ```
//!
//! A handle that outlives its closure:
//!
//! ```compile_fail,E0505
//! use execbuf::{Abi, dynamic::DynClosure};
//! let closure = DynClosure::new(&"v()".parse().unwrap(), Abi::NATIVE, |_| {}).unwrap();
//! let function = closure.function::<extern "C" fn()>().unwrap();
//! drop(closure);
//! function.call();
//! ```
//!
//! Handlers that may not be shared, or not be sent:
//!
//! ```compile_fail,E0277
//! use execbuf::{Abi, dynamic::DynClosure};
//! let calls = std::cell::Cell::new(0);
//! let closure = DynClosure::new(&"v()".parse().unwrap(), Abi::NATIVE, |_| calls.set(1)).unwrap();
//! ```
//!
//! ```compile_fail,E0277
//! use execbuf::{Abi, dynamic::DynClosure};
//! let value = std::rc::Rc::new(42);
//! let closure = DynClosure::new(&"v()".parse().unwrap(), Abi::NATIVE, move |_| _ = &value).unwrap();
//! ```
//!
//! A handler that changes what it captures:
//!
//! ```compile_fail,E0594
//! use execbuf::{Abi, dynamic::DynClosure};
//! let mut calls = 0;
//! let closure = DynClosure::new(&"v()".parse().unwrap(), Abi::NATIVE, |_| calls += 1).unwrap();
//! ```
//!
//! Arguments that outlive the call:
//!
//! ```compile_fail,E0521
//! use execbuf::{Abi, dynamic::DynClosure};
//! let kept = std::sync::Mutex::new(None);
//! let closure = DynClosure::new(&"v(p)".parse().unwrap(), Abi::NATIVE, |call| {
//!     *kept.lock().unwrap() = call.arg_bytes(0);
//! });
//! ```
//!
//! A `NonNull`, a function pointer, or a struct that has one, made from the pointer that somebody passed:
//!
//! ```compile_fail,E0080
//! use execbuf::{Abi, dynamic::DynClosure};
//! let closure = DynClosure::new(&"v(p)".parse().unwrap(), Abi::NATIVE, |call| {
//!     let pointer = call.arg::<core::ptr::NonNull<u8>>(0).unwrap();
//! });
//! ```
//!
//! ```compile_fail,E0080
//! use execbuf::{Abi, dynamic::DynClosure};
//! let closure = DynClosure::new(&"v(p)".parse().unwrap(), Abi::NATIVE, |call| {
//!     let function: extern "C" fn() = call.arg(0).unwrap();
//!     function();
//! });
//! ```
//!
//! ```compile_fail,E0080
//! use execbuf::{Abi, dynamic::DynClosure};
//! execbuf::abi_struct! { struct Callback { function: extern "C" fn() } }
//! let closure = DynClosure::new(&"v({p})".parse().unwrap(), Abi::NATIVE, |call| {
//!     (call.arg::<Callback>(0).unwrap().function)();
//! });
//! ```
//!
//! The same from the pointer that a handler returns:
//!
//! ```compile_fail,E0080
//! use execbuf::{Abi, dynamic::DynClosure};
//! let closure = DynClosure::new(&"p()".parse().unwrap(), Abi::NATIVE, |_| {}).unwrap();
//! let function = closure.function::<extern "C" fn() -> extern "C" fn()>().unwrap();
//! ```
//!
//! ```compile_fail,E0080
//! use execbuf::{Abi, dynamic::DynClosure};
//! let closure = DynClosure::new(&"p()".parse().unwrap(), Abi::NATIVE, |_| {}).unwrap();
//! let function = closure.into_function::<extern "C" fn() -> core::ptr::NonNull<u8>>().unwrap();
//! ```
//!
//! A reference as an argument:
//!
//! ```compile_fail,E0277
//! use execbuf::{Abi, dynamic::DynClosure};
//! let closure = DynClosure::new(&"v(p)".parse().unwrap(), Abi::NATIVE, |call| {
//!     let number = call.arg::<&u64>(0).unwrap();
//! });
//! ```
