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
