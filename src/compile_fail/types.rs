//! Types that published code cannot have.
//!
//! A function pointer with the Rust ABI, which is not stable:
//!
//! ```compile_fail,E0277
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<fn()>() };
//! ```
//!
//! A function pointer with a reference, which makes its type generic:
//!
//! ```compile_fail,E0277
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn(&u8)>() };
//! ```
//!
//! A function pointer with a reference that has a lifetime:
//!
//! ```compile_fail,E0277
//! let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn(&'static u8)>() };
//! ```
//!
//! A closure, which is not a function pointer:
//!
//! ```compile_fail,E0277
//! let function = execbuf::Function::from_fn(|| ());
//! ```
//!
//! A thunk with another signature than its target:
//!
//! ```compile_fail,E0271
//! extern "C" fn double(number: u64) -> u64 { 2 * number }
//! let function = execbuf::Function::from_fn(double as extern "C" fn(u64) -> u64);
//! let thunk = function.into_abi::<extern "C" fn(u32) -> u64>().unwrap();
//! ```
//!
//! A safe thunk of an `unsafe` target:
//!
//! ```compile_fail,E0271
//! unsafe extern "C" fn nothing() {}
//! let function = execbuf::Function::from_fn(nothing as unsafe extern "C" fn());
//! let thunk = function.into_abi::<extern "C" fn()>().unwrap();
//! ```
//!
//! A thunk that may not unwind, of a target that may:
//!
//! ```compile_fail,E0271
//! extern "C-unwind" fn panics() { panic!() }
//! let function = execbuf::Function::from_fn(panics as extern "C-unwind" fn());
//! let thunk = function.into_abi::<extern "C" fn()>().unwrap();
//! ```
//!
//! A user's type without an `unsafe impl` of `AbiType`:
//!
//! ```compile_fail,E0200
//! #[derive(Clone, Copy)]
//! #[repr(transparent)]
//! struct Register(u64);
//! impl execbuf::AbiType for Register {
//!     const TYPE: execbuf::Type = execbuf::Type::U64;
//! }
//! ```
//!
//! A handle whose fields safe code chooses:
//!
//! ```compile_fail,E0451
//! extern "C" fn nothing() {}
//! let function = execbuf::Function { pointer: nothing as extern "C" fn(), owner: () };
//! ```
//!
//! An argument without data, which has no type in a signature:
//!
//! ```compile_fail,E0080
//! #[derive(Clone, Copy)]
//! #[repr(transparent)]
//! struct Nothing(());
//! unsafe impl execbuf::AbiType for Nothing {
//!     const TYPE: execbuf::Type = execbuf::Type::Void;
//! }
//! let signature = <extern "C" fn(Nothing) as execbuf::FnPtr>::SIGNATURE;
//! ```

#[cfg(not(target_arch = "x86_64"))]
/// A function pointer with an ABI that the target does not have:
///
/// ```compile_fail,E0570
/// type F = extern "sysv64" fn();
/// fn f(_: F) {}
/// ```
struct Foreign;

#[cfg(all(target_arch = "x86_64", not(windows)))]
/// A safe call that unwinds through a Win64 frame, on systems whose unwinders do not restore the registers of that
/// frame (rust-lang/rust#144371):
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
///
/// A safe `"win64-unwind"` type as an argument, as a result and in an `Option`: whoever gets it could call it.
///
/// ```compile_fail,E0277
/// let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
/// let function = unsafe { buffer.function::<extern "C" fn(extern "win64-unwind" fn())>() };
/// ```
///
/// ```compile_fail,E0277
/// let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
/// let function = unsafe { buffer.function::<extern "C" fn() -> extern "win64-unwind" fn()>() };
/// ```
///
/// ```compile_fail,E0277
/// let buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
/// let function = unsafe { buffer.function::<extern "C" fn() -> Option<extern "win64-unwind" fn()>>() };
/// ```
struct Unwinding;

#[cfg(all(target_arch = "x86_64", not(windows)))]
/// A function of UEFI, on systems where rustc passes structs and 128-bit integers to it by neither convention:
///
/// ```compile_fail,E0277
/// extern "efiapi" fn double(number: u64) -> u64 { 2 * number }
/// let function = execbuf::Function::from_fn(double as extern "efiapi" fn(u64) -> u64);
/// ```
struct Uefi;
