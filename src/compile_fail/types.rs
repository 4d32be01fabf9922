//! Types that code can't have.
//!
//! The Rust ABI is not stable:
//!
//! ```compile_fail,E0277
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<fn()>() };
//! ```
//!
//! References make a function pointer type generic:
//!
//! ```compile_fail,E0277
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn(&u8)>() };
//! ```
//!
//! and are no arguments even with a lifetime:
//!
//! ```compile_fail,E0277
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn(&'static u8)>() };
//! ```
//!
//! A closure is not a function pointer:
//!
//! ```compile_fail,E0277
//! let function = execbuf::Function::from_fn(|| ());
//! ```
//!
//! A thunk has the signature of its target:
//!
//! ```compile_fail,E0271
//! extern "C" fn double(number: u64) -> u64 { 2 * number }
//! let function = execbuf::Function::from_fn(double as extern "C" fn(u64) -> u64);
//! let thunk = function.into_abi::<extern "C" fn(u32) -> u64>().unwrap();
//! ```
//!
//! and stays `unsafe` if the target is:
//!
//! ```compile_fail,E0271
//! unsafe extern "C" fn nothing() {}
//! let function = execbuf::Function::from_fn(nothing as unsafe extern "C" fn());
//! let thunk = function.into_abi::<extern "C" fn()>().unwrap();
//! ```
//!
//! and unwinds only if the target's type says so:
//!
//! ```compile_fail,E0271
//! extern "C-unwind" fn panics() { panic!() }
//! let function = execbuf::Function::from_fn(panics as extern "C-unwind" fn());
//! let thunk = function.into_abi::<extern "C" fn()>().unwrap();
//! ```
//!
//! A type of one's own takes `unsafe` to be an argument:
//!
//! ```compile_fail,E0200
//! #[derive(Clone, Copy)]
//! #[repr(transparent)]
//! struct Register(u64);
//! impl execbuf::AbiType for Register {
//!     const TYPE: execbuf::Type = execbuf::Type::U64;
//! }
//! ```

#[cfg(not(target_arch = "x86_64"))]
/// An ABI that the target lacks does not compile:
///
/// ```compile_fail,E0570
/// type F = extern "sysv64" fn();
/// fn f(_: F) {}
/// ```
struct Foreign;

#[cfg(all(target_arch = "x86_64", not(windows)))]
/// A safe call never unwinds through a Win64 frame where the unwinder does not restore that frame's registers
/// (rust-lang/rust#144371):
///
/// ```compile_fail,E0277
/// extern "sysv64-unwind" fn panics() { panic!() }
/// let function = execbuf::Function::from_fn(panics as extern "sysv64-unwind" fn());
/// let thunk = function.into_abi::<extern "win64-unwind" fn()>().unwrap();
/// thunk.call();
/// ```
///
/// ```compile_fail,E0277
/// let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
/// let function = unsafe { buffer.function::<extern "win64-unwind" fn()>() };
/// function.call();
/// ```
///
/// ```compile_fail,E0277
/// extern "win64-unwind" fn panics() { panic!() }
/// let function = execbuf::Function::from_fn(panics as extern "win64-unwind" fn());
/// ```
///
/// ```compile_fail,E0133
/// unsafe extern "sysv64-unwind" fn panics() { panic!() }
/// let function = execbuf::Function::from_fn(panics as unsafe extern "sysv64-unwind" fn());
/// let thunk = function.into_abi::<unsafe extern "win64-unwind" fn()>().unwrap();
/// thunk.call();
/// ```
struct Unwinding;
