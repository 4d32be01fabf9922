//! Executable memory for JIT compilers, emulators, hooking libraries and language runtimes.
//!
//! execbuf turns machine code into callable functions. No memory mapping that it makes is ever writable and executable
//! at the same time, and safe code cannot call a function after its code is freed.
//!
//! ```
//! use execbuf::{ExecBuffer, Function};
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
//! type Answer = extern "C" fn() -> i32;
//!
//! let mut buffer = ExecBuffer::new(&CODE)?;
//! // SAFETY: The bytes are a function without arguments that returns a 32-bit integer.
//! let answer = unsafe { buffer.function::<Answer>() }; // borrows the buffer
//! assert_eq!(answer.call(), 42);
//!
//! // The borrow has ended, so the code can be changed.
//! buffer.rewrite(0, &CODE)?;
//!
//! // SAFETY: As above.
//! let answer: Function<Answer, ExecBuffer> = unsafe { buffer.into_function() }; // owns the buffer
//! let shared = answer.shared(); // can be cloned, and sent to other threads
//! let clone = shared.clone();
//! assert_eq!(std::thread::spawn(move || clone.call()).join().unwrap(), shared.call());
//! # Ok::<(), execbuf::Error>(())
//! ```
//!
//! # What is here
//!
//! - [`ExecBuffer`] owns one piece of published code. You can rewrite it while nothing borrows it.
//! - [`Function`] is a typed handle of a function, with the owner that keeps its code alive.
//! - [`ExecPool`] publishes many pieces of code in a few mappings, without a system call for each.
//! - [`Thunk`] owns a function pointer of one calling convention for a function of another, for callers other than Rust.
//!   [`dynamic::DynThunk`] does the same for a [`Signature`] that is known only at run time.
//! - [`abi`] has the function pointer types that all of these work with, and their types as values.
//! - [`probe()`] reports what this machine and this process allow, and why not. The example `doctor` prints it.
//! - [`Error`] says what was wrong, and lists every attempt to make memory executable.
//! - [`ffi`] is the C API that everything rests on.
//!
//! # What it does not do
//!
//! It does not assemble, compile or check machine code, and it is not a sandbox: machine code can do anything that the
//! process can. It never hands out memory that is writable and executable, nor a writable pointer to published code. It
//! does not patch code that may be running.
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
//! Elsewhere, where there is a C library, everything compiles, and fails with [`ErrorKind::Unsupported`] at run time.
//!
//! # Features
//!
//! - `std` (default): [`Error`] converts into `std::io::Error`. Without it the crate is `no_std` with `alloc`.
//! - `bindgen`: generates [`ffi`] anew at build time, with libclang. For those who change the header.

#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

// The modules in their order. Each uses only modules before it:
// ffi, backend, error, buffer, stats, pool, probe, signature, abi, function, call, entry, thunk, dynamic.
pub mod abi;
mod backend;
mod buffer;
mod call;
#[cfg(doctest)]
mod compile_fail;
pub mod dynamic;
mod entry;
mod error;
pub mod ffi;
mod function;
mod pool;
mod probe;
mod signature;
mod stats;
mod thunk;

pub use abi::{Abi, AbiReturn, AbiType, FnPtr, Signature, Type};
pub use backend::{Attempt, Backend};
pub use buffer::ExecBuffer;
pub use error::{Error, ErrorKind};
pub use function::{CloneOwner, Function, SharedFunction};
pub use pool::{ExecPool, ExecPoolBuilder};
pub use probe::{BackendReport, Probe, probe};
pub use stats::{Place, PoolStats};
pub use thunk::Thunk;

/// The README's examples, which are for x86-64.
#[cfg(all(doctest, target_arch = "x86_64"))]
#[doc = include_str!("../README.md")]
struct Readme;
