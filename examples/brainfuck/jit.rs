//! Compiles a program to machine code, publishes it and runs it.
//!
//! The machine code is a function that takes the tape, its length, and a pointer that it passes to the two Rust
//! functions for input and output. The code contains the addresses of these functions. It returns 0, or, if an
//! operation stopped the program, the index of that operation plus 1.

use crate::program::{Error, Op, Program, Streams, TAPE};
use execbuf::ExecBuffer;
use std::ffi::c_void;

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
mod target;

/// Declares the functions through which machine code and Rust call each other. On x86-64 they have the System V
/// convention on every system, also on Windows, so one code generator suffices. Rust converts between the conventions.
macro_rules! conventions {
    ($extern:literal) => {
        type Compiled = unsafe extern $extern fn(*mut u8, usize, *mut c_void) -> u64;

        /// Writes a byte. Machine code calls it with the pointer that it received. Returns 0 on success.
        unsafe extern $extern fn put(streams: *mut c_void, byte: u8) -> u32 {
            // SAFETY: `run` passes its streams, and borrows them until the machine code has returned.
            let streams = unsafe { &mut *streams.cast::<Streams>() };
            u32::from(!streams.put(byte))
        }

        /// Reads a byte. Machine code calls it with the pointer that it received.
        unsafe extern $extern fn get(streams: *mut c_void) -> u32 {
            // SAFETY: As in `put`.
            u32::from(unsafe { &mut *streams.cast::<Streams>() }.get())
        }

        /// Returns the addresses of `put` and `get`.
        fn callbacks() -> (u64, u64) {
            let put: unsafe extern $extern fn(*mut c_void, u8) -> u32 = put;
            let get: unsafe extern $extern fn(*mut c_void) -> u32 = get;
            (put as usize as u64, get as usize as u64)
        }
    };
}

#[cfg(target_arch = "x86_64")]
conventions!("sysv64");
#[cfg(not(target_arch = "x86_64"))]
conventions!("C");

/// Compiles a program to machine code.
pub fn compile(program: &Program) -> Vec<u8> {
    let (put, get) = callbacks();
    let mut code = target::Code::new(put, get);
    code.prologue();
    // The position of each operation's code.
    let mut begins = Vec::new();
    for (index, (op, _)) in program.ops.iter().enumerate() {
        begins.push(code.position());
        let stop = u32::try_from(index + 1).expect("programs have fewer than 2^32 operations");
        match *op {
            Op::Move(by) => code.move_by(by, stop),
            Op::Add(by) => code.add(by),
            Op::Output => code.output(stop),
            Op::Input => code.input(),
            Op::Begin(_) => code.begin(),
            Op::End(begin) => code.end(begins[begin]),
        }
    }
    code.finish()
}

/// A program that is ready to run.
pub struct Jit<'a> {
    program: &'a Program,
    buffer: ExecBuffer,
}

impl<'a> Jit<'a> {
    pub fn new(program: &'a Program) -> Result<Self, execbuf::Error> {
        Ok(Self { program, buffer: ExecBuffer::new(&compile(program))? })
    }

    /// Returns the length of the machine code in bytes.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    pub fn run(&self, streams: &mut Streams) -> Result<(), Error> {
        let mut tape = vec![0_u8; TAPE];
        // SAFETY: `compile` makes a function of this type and convention.
        let compiled = unsafe { self.buffer.function::<Compiled>() };
        // SAFETY: The tape has the given length, and the function never leaves it. It passes the streams to `put` and
        // `get`.
        let stopped = unsafe { compiled.call(tape.as_mut_ptr(), tape.len(), (&raw mut *streams).cast()) };
        let Some(index) = usize::try_from(stopped).ok().and_then(|stopped| stopped.checked_sub(1)) else {
            return Ok(());
        };
        let (op, position) = self.program.ops[index];
        Err(if op == Op::Output { streams.write_error() } else { Error::OffTheTape(position) })
    }
}
