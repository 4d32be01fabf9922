//! Executable memory for JIT compilers, emulators, hooking libraries and language runtimes.
//!
//! execbuf turns machine code into callable functions. No memory mapping that it makes is ever writable and executable
//! at the same time, and safe code cannot call a function after its code is freed. (On macOS on AArch64, the system lists
//! `MAP_JIT` pages as writable and executable; the processor lets each thread do only one of the two.)
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
//! # Overview
//!
//! - [`ExecBuffer`] owns one piece of published code, which can be rewritten while nothing borrows it.
//! - [`Function`] is a typed handle of a function. It holds the owner that keeps the code alive.
//! - [`ExecPool`] publishes many pieces of code in a few mappings, without a system call for each.
//! - [`Thunk`] adapts a function to callers that use another calling convention. (Rust itself needs no thunk.)
//!   [`dynamic::DynThunk`] does the same for a [`Signature`] that is known only at run time.
//! - [`abi`] defines the function pointer types that all of these accept, and describes signatures as values.
//! - [`probe()`] reports which backends work on this machine and in this process, and why the others do not. The
//!   example `doctor` prints the report.
//! - [`Error`] names the argument or system call at fault and lists every attempt to make memory executable.
//! - [`ffi`] is the C API on which all of this is built.
//!
//! # What it does not do
//!
//! It does not assemble, compile or check machine code, and it is not a sandbox: machine code can do anything that the
//! process can. It never returns memory that is writable and executable, nor a writable pointer to published code. (A
//! pool keeps a second, writable mapping of each region, at a random address.) It does not patch code that may be
//! running.
//!
//! # Platforms
//!
//! | system | architectures | how a buffer becomes executable | how a pool's memory is mapped |
//! |---|---|---|---|
//! | Linux, Android | x86-64, AArch64; others compile | `mprotect`; if a policy refuses it, a sealed memfd; else an alias made by `mremap` | a sealed memfd, mapped twice; else an alias |
//! | Windows | x86-64, AArch64 | `VirtualProtect` | a section with two views |
//! | macOS | x86-64, AArch64 | x86-64: `mprotect`; AArch64: `MAP_JIT` and the per-thread write protection | x86-64: a dedicated mapping for each buffer; AArch64: `MAP_JIT` |
//! | other Unix | x86-64, AArch64 | `mprotect` | a dedicated mapping for each buffer |
//!
//! On other platforms with a C library, everything compiles and returns [`ErrorKind::Unsupported`] at run time.
//!
//! # Features
//!
//! - `std` (default): [`Error`] converts into `std::io::Error`. Without this feature the crate is `no_std` with
//!   `alloc`.
//! - `bindgen`: generates [`ffi`] from the C header at build time, with libclang. It is meant for work on execbuf
//!   itself.

#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

// The modules in dependency order. Each uses only modules before it:
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

/// Runs the examples of the README, which are for x86-64.
#[cfg(all(doctest, target_arch = "x86_64"))]
#[doc = include_str!("../README.md")]
struct Readme;
