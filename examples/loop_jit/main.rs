//! A compiler for a small language of loops. `docs/first-jit.md` explains it.
//!
//! `loop_jit [FILE [N]]` compiles a program, calls it with the number N, and also interprets it.

#![allow(unreachable_pub, reason = "tests use these modules")]

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod compiler;
mod program;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::process::ExitCode;

#[cfg(target_arch = "aarch64")]
use aarch64::Compiled;
use execbuf::ExecBuffer;
use program::Program;
#[cfg(target_arch = "x86_64")]
use x86_64::Compiled;

/// Adds the squares of the numbers up to n.
const SQUARES: &str = "\
i = 0
repeat n {
    i = i + 1
    result = result + i * i
}
";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loop_jit: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let (source, n) = match arguments {
        [] => (SQUARES.to_owned(), "1000"),
        [file] => (read(file)?, "1000"),
        [file, n] => (read(file)?, n.as_str()),
        _ => return Err("usage: loop_jit [FILE [N]]".into()),
    };
    let n = n.parse().map_err(|_| format!("not a number of 64 bits: {n}"))?;
    let program = Program::parse(&source)?;
    print!("{source}");

    let code = compiler::compile(&program);
    println!("compiled to {} bytes", code.len());
    let buffer = ExecBuffer::new(&code)?;
    // SAFETY: The compiler makes functions of this type. They write to their own part of the stack only.
    let function = unsafe { buffer.into_function::<Compiled>() };
    println!("machine code  f({n}) = {}", function.call(n));

    let result = program::interpret(&program, n, u64::MAX).ok_or("the program takes too long")?;
    println!("interpreter   f({n}) = {result}");
    Ok(())
}

fn read(file: &str) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))
}
