//! Executable memory for JIT compilers, emulators, hooking libraries and language runtimes.
//!
//! execbuf turns machine code into callable functions. No memory mapping that it makes is ever writable and executable
//! at the same time, and safe code cannot call a function after its code is freed. (On macOS on AArch64, the system lists
//! `MAP_JIT` pages as writable and executable; the processor lets each thread do only one of the two.)
//!
//! ```
//! # #[cfg(target_arch = "x86_64")] {
//! use execbuf::ExecBuffer;
//!
//! let buffer = ExecBuffer::new(&[
//!     0x48, 0x8d, 0x04, 0x37, // lea rax, [rdi + rsi]
//!     0xc3, //                   ret
//! ])?;
//! // SAFETY: The bytes are a System V function that adds two integers.
//! let add = unsafe { buffer.function::<extern "sysv64" fn(u64, u64) -> u64>() };
//! assert_eq!(add.call(40, 2), 42); // on Windows, too
//! # }
//! # Ok::<(), execbuf::Error>(())
//! ```
//!
//! The `unsafe` block vouches for what nobody can check: that these bytes implement this signature. The rest is checked
//! by the compiler: `add` borrows the buffer, so it cannot be called after the code is freed or while it is rewritten.
//!
//! The examples on this page are for x86-64. execbuf works the same way on AArch64, which needs other bytes.
//!
//! # Functions that own their code
//!
//! A [`Function`] can also own its buffer, or share it with its clones and with other threads.
//!
//! ```
//! # #[cfg(target_arch = "x86_64")] {
//! use execbuf::{ExecBuffer, Function};
//!
//! type Answer = extern "C" fn() -> i32;
//!
//! let mut buffer = ExecBuffer::new(&[
//!     0xb8, 42, 0, 0, 0, // mov eax, 42
//!     0xc3, //              ret
//! ])?;
//! buffer.rewrite(1, &43_i32.to_le_bytes())?; // nothing borrows the buffer
//!
//! // SAFETY: The bytes are a function without arguments that returns a 32-bit integer.
//! let answer: Function<Answer, ExecBuffer> = unsafe { buffer.into_function() };
//! assert_eq!(answer.call(), 43);
//!
//! let shared = answer.shared(); // can be cloned, and sent to other threads
//! let clone = shared.clone();
//! assert_eq!(std::thread::spawn(move || clone.call()).join().unwrap(), shared.call());
//! # }
//! # Ok::<(), execbuf::Error>(())
//! ```
//!
//! # Many functions
//!
//! An [`ExecPool`] puts thousands of functions into a few mappings, usually without a system call for each. A function
//! keeps its memory alive even if the pool is dropped first.
//!
//! ```
//! # #[cfg(target_arch = "x86_64")] {
//! use execbuf::ExecPool;
//!
//! let pool = ExecPool::new()?;
//! let mut functions = Vec::new();
//! for number in 0..1000_i32 {
//!     let mut code = vec![0xb8]; //             mov eax, number
//!     code.extend(number.to_le_bytes());
//!     code.push(0xc3); //                       ret
//!     let buffer = pool.publish(&code)?;
//!     // SAFETY: The bytes are a function without arguments that returns a 32-bit integer.
//!     functions.push(unsafe { buffer.into_function::<extern "C" fn() -> i32>() });
//! }
//! assert_eq!(functions[471].call(), 471);
//! # }
//! # Ok::<(), execbuf::Error>(())
//! ```
//!
//! # Code that knows its address
//!
//! [`ExecPool::assemble`] and [`ExecBuffer::assemble`] tell an assembler the address before it produces the code. Functions
//! that call each other need all addresses first: see [`Reserved`].
//!
//! ```
//! # #[cfg(target_arch = "x86_64")] {
//! use execbuf::{Error, ExecPool};
//!
//! let pool = ExecPool::new()?;
//! let buffer = pool.assemble(|address| {
//!     let end = address as u64 + 11;
//!     let mut code = vec![0x48, 0xb8]; //       mov rax, end
//!     code.extend(end.to_le_bytes());
//!     code.push(0xc3); //                       ret
//!     Ok::<_, Error>(code)
//! })?;
//! // SAFETY: The bytes are a function without arguments that returns a 64-bit integer.
//! let end = unsafe { buffer.function::<extern "C" fn() -> u64>() };
//! assert_eq!(end.call(), buffer.as_ptr() as u64 + buffer.len() as u64);
//! # }
//! # Ok::<(), execbuf::Error>(())
//! ```
//!
//! # The other calling convention
//!
//! Rust calls `extern "sysv64"` and `extern "win64"` functions directly. When something else is the caller, such as a C
//! library or the Windows API, a [`Thunk`] converts the call.
//!
//! ```
//! # #[cfg(target_arch = "x86_64")] {
//! use execbuf::ExecBuffer;
//!
//! let buffer = ExecBuffer::new(&[
//!     0x48, 0x8d, 0x04, 0x11, // lea rax, [rcx + rdx]
//!     0xc3, //                   ret
//! ])?;
//! // SAFETY: The bytes are a Win64 function that adds two integers.
//! let add = unsafe { buffer.into_function::<extern "win64" fn(u64, u64) -> u64>() };
//!
//! let native = add.into_native()?; // an `extern "C"` function of this system; it owns the buffer
//! // SAFETY: The pointer is used while `native` exists.
//! let pointer: extern "C" fn(u64, u64) -> u64 = unsafe { native.as_fn() };
//! assert_eq!(pointer(40, 2), 42);
//! # }
//! # Ok::<(), execbuf::Error>(())
//! ```
//!
//! # Overview
//!
//! - [`ExecBuffer`] owns one piece of published code, which can be rewritten while nothing borrows it.
//! - [`Function`] is a typed handle of a function. It holds the owner that keeps the code alive.
//! - [`ExecPool`] publishes many pieces of code in a few mappings, without a system call for each.
//! - [`Reserved`] is memory at a known address, for functions that refer to each other.
//! - [`Constants`] and [`Data`] are memory near code, read-only or writable, that is never executable. [`FnCell`] is a
//!   function pointer there, through which code jumps: it retargets code that may be running.
//! - [`Thunk`] adapts a function to callers that use another calling convention. (Rust itself needs no thunk.)
//!   [`dynamic::DynThunk`] does the same for a [`Signature`] that is known only at run time.
//! - [`Closure`], [`ClosureMut`] and [`ClosureOnce`] turn Rust closures into C function pointers.
//! - [`dynamic::Caller`] calls functions whose signature is known only at run time, and [`dynamic::DynClosure`] is such a
//!   function.
//! - [`abi`] defines the function pointer types that all of these accept, and describes signatures as values.
//!   [`abi_struct!`] defines structs that functions take and return by value.
//! - [`Info`] describes code: its name, how to unwind through it, and its lines of source. [`tools`] shows it to debuggers and profilers.
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
// ffi, backend, error, choice, info, buffer, reserved, staged, placement, stats, data, pool, probe, types, signature, abi, vectors,
// structs, function, cell, call, entry, thunk, closure, dynamic, tools.
pub mod abi;
mod backend;
mod buffer;
mod cell;
mod choice;
mod closure;
#[cfg(doctest)]
mod compile_fail;
mod data;
#[cfg(all(doctest, target_arch = "x86_64"))]
mod documents;
pub mod dynamic;
mod entry;
mod error;
pub mod ffi;
mod function;
mod info;
mod placement;
mod pool;
mod probe;
mod reserved;
mod signature;
mod staged;
mod stats;
#[doc(hidden)]
pub mod structs;
mod thunk;
pub mod tools;
mod types;
mod vectors;

mod call; // last, so that the page of `Function` begins with the other methods

pub use abi::{Abi, AbiReturn, AbiType, FnPtr, Signature, Type};
pub use backend::{Attempt, Backend};
pub use buffer::ExecBuffer;
pub use cell::FnCell;
pub use choice::set_backends;
pub use closure::{Closure, ClosureFn, ClosureFnMut, ClosureFnOnce, ClosureMut, ClosureOnce};
pub use data::{Constants, Data, StagedConstants};
pub use error::{Error, ErrorKind, PublishError};
pub use function::{CloneOwner, Function, SharedFunction};
pub use info::{Info, Line, Unwind};
pub use placement::Placement;
pub use pool::{ExecPool, ExecPoolBuilder};
pub use probe::{BackendReport, Probe, probe};
pub use reserved::Reserved;
pub use staged::Staged;
pub use stats::{Place, PoolStats};
pub use thunk::Thunk;
