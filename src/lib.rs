//! Executable memory: machine code in, typed callable function out.
//!
//! For JIT compilers, emulators, hooks and language runtimes. The memory is never writable and executable at
//! once, not even for a moment, and a function can't outlive the memory it lives in.
//!
//! ```
//! use execbuf::ExecBuffer;
//!
//! #[cfg(target_arch = "x86_64")]
//! const CODE: [u8; 6] = [
//!     0xb8, 42, 0, 0, 0, // mov eax, 42
//!     0xc3, //              ret
//! ];
//! #[cfg(target_arch = "aarch64")]
//! const CODE: [u8; 8] = [
//!     0x40, 0x05, 0x80, 0x52, // mov w0, #42
//!     0xc0, 0x03, 0x5f, 0xd6, // ret
//! ];
//!
//! let buffer = ExecBuffer::new(&CODE)?;
//! // SAFETY: The bytes are a function without arguments that returns a 32-bit integer.
//! let answer = unsafe { buffer.function::<extern "C" fn() -> i32>() };
//! assert_eq!(answer.call(), 42);
//! # Ok::<(), execbuf::Error>(())
//! ```
//!
//! # What is here
//!
//! - [`ExecBuffer`] owns one piece of published code: from bytes ([`new`](ExecBuffer::new)), or from a closure
//!   that is told the final address ([`build`](ExecBuffer::build)); it can be rewritten while nothing borrows it.
//! - [`Function`] and [`OwnedFunction`] are typed handles that borrow or own their buffer.
//! - [`ExecPool`] publishes many pieces of code in a few mappings, without a system call for each.
//! - [`Thunk`] and [`DynThunk`] are function pointers of one calling convention for functions of the other, for third
//!   parties; [`Signature`] and [`Abi`] are what they go by.
//! - [`FnPtr`] is the set of function pointer types they work for, with ABI and signature as constants.
//! - [`probe()`] tells what this machine and this process allow, and why not; the example `doctor` prints it.
//! - [`Error`] tells what was wrong, and lists every way of getting executable memory that was tried.
//! - [`ffi`] is the C API that all of this rests on.
//!
//! # What it does not do
//!
//! It does not assemble, compile or check machine code, and it is no sandbox: what runs can do anything the
//! process can. It never gives out memory that is writable and executable, nor a writable pointer to code. It
//! does not patch code that may be running.
//!
//! # What does not compile
//!
//! A function can't outlive its buffer:
//!
//! ```compile_fail,E0597
//! # use execbuf::{ExecBuffer, Function};
//! let function: Function<'_, extern "C" fn()>;
//! {
//!     let buffer = ExecBuffer::new(&[0xc3]).unwrap();
//!     function = unsafe { buffer.function() };
//! }
//! function.call();
//! ```
//!
//! nor can the buffer be dropped or moved while one borrows it, at whatever offset:
//!
//! ```compile_fail,E0505
//! # use execbuf::ExecBuffer;
//! let buffer = ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! drop(buffer);
//! function.call();
//! ```
//!
//! ```compile_fail,E0505
//! # use execbuf::ExecBuffer;
//! let buffer = ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function_at::<extern "C" fn()>(0) }.unwrap();
//! drop(buffer);
//! function.call();
//! ```
//!
//! ```compile_fail,E0505
//! # use execbuf::ExecBuffer;
//! let owner = unsafe { ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>() };
//! let function = unsafe { owner.buffer().function::<extern "C" fn()>() };
//! drop(owner);
//! function.call();
//! ```
//!
//! nor be rewritten:
//!
//! ```compile_fail,E0502
//! # use execbuf::ExecBuffer;
//! let mut buffer = ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! buffer.rewrite(0, &[0xcc]).unwrap();
//! function.call();
//! ```
//!
//! nor while somebody reads the code:
//!
//! ```compile_fail,E0502
//! # use execbuf::ExecBuffer;
//! let mut buffer = ExecBuffer::new(&[0xc3]).unwrap();
//! let bytes: &[u8] = buffer.as_ref();
//! buffer.rewrite(0, &[0xcc]).unwrap();
//! assert_eq!(bytes, [0xc3]);
//! ```
//!
//! The Rust ABI is not stable, so it is refused:
//!
//! ```compile_fail,E0277
//! # use execbuf::ExecBuffer;
//! let buffer = ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<fn()>() };
//! ```
//!
//! and so are closures and other things that are no function pointers:
//!
//! ```compile_fail,E0277
//! # use execbuf::ExecBuffer;
//! # fn published_as<F: execbuf::FnPtr>(buffer: &ExecBuffer, like: F) -> execbuf::Function<'_, F> {
//! #     unsafe { buffer.function::<F>() }
//! # }
//! let buffer = ExecBuffer::new(&[0xc3]).unwrap();
//! let function = published_as(&buffer, || ());
//! ```
//!
//! What the bytes are, somebody has to vouch for:
//!
//! ```compile_fail,E0133
//! # use execbuf::ExecBuffer;
//! let function = ExecBuffer::new(&[0xc3]).unwrap().into_function::<extern "C" fn()>();
//! ```
//!
//! ```compile_fail,E0133
//! # use execbuf::ExecBuffer;
//! let buffer = ExecBuffer::new(&[0xc3]).unwrap();
//! let function = buffer.function::<extern "C" fn()>();
//! ```
//!
//! ```compile_fail,E0133
//! # use execbuf::ExecBuffer;
//! let buffer = ExecBuffer::new(&[0xc3]).unwrap();
//! let function = buffer.function_at::<extern "C" fn()>(0);
//! ```
//!
//! and the pointer is not given out without a promise:
//!
//! ```compile_fail,E0133
//! # use execbuf::ExecBuffer;
//! let buffer = ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! let pointer: extern "C" fn() = function.as_fn();
//! ```
//!
//! An `unsafe` function type keeps its calls unsafe:
//!
//! ```compile_fail,E0133
//! # use execbuf::ExecBuffer;
//! let buffer = ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<unsafe extern "C" fn()>() };
//! function.call();
//! ```
//!
#![cfg_attr(
    not(target_arch = "x86_64"),
    doc = "An ABI that the target lacks is refused:\n\n```compile_fail,E0570\ntype F = extern \"sysv64\" fn();\nfn f(_: F) {}\n```"
)]
//!
//! # Platforms
//!
//! | system | architectures | how a buffer becomes executable | how a pool's memory is mapped |
//! |---|---|---|---|
//! | Linux, Android | x86-64, AArch64; others compile | `mprotect`; where a policy refuses that, a sealed memfd; else an alias that `mremap` makes | a sealed memfd, mapped twice; else an alias |
//! | Windows | x86-64, AArch64 | `VirtualProtect` | a section with two views |
//! | macOS | x86-64, AArch64 | `mprotect`; on AArch64 `MAP_JIT` and the thread's write protection | the same; on x86-64 each buffer by itself |
//! | other Unix | the same | `mprotect` | each buffer by itself |
//!
//! Elsewhere, where there is a C library, everything compiles, and says [`ErrorKind::Unsupported`] at run time.
//!
//! # Features
//!
//! - `std` (default): [`Error`] converts into `std::io::Error`. Without it the crate is `no_std` with `alloc`.
//! - `bindgen`: generates [`ffi`] anew at build time, with libclang. For those who change the header.

#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod buffer;
mod error;
pub mod ffi;
mod fn_ptr;
mod function;
mod pool;
mod probe;
mod signature;
mod thunk;

pub use buffer::ExecBuffer;
pub use error::{Attempt, Backend, Error, ErrorKind};
pub use fn_ptr::{AbiResult, AbiType, FnPtr};
pub use function::{Function, OwnedFunction};
pub use pool::{ExecPool, ExecPoolBuilder, Place, PoolStats};
pub use probe::{Probe, Probed, probe};
pub use signature::{Abi, Signature, Type};
pub use thunk::{DynThunk, Thunk};

/// The README's examples, which are for x86-64.
#[cfg(all(doctest, target_arch = "x86_64"))]
#[doc = include_str!("../README.md")]
struct Readme;
