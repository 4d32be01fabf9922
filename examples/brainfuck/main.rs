//! A Brainfuck compiler. The machine code calls back into Rust for input and output.
//!
//! `cargo run --example brainfuck [--interpret] [FILE]`: without a file, it runs a built-in program. With
//! `--interpret`, it also interprets the program, and prints how much longer that takes.

#![allow(unreachable_pub, reason = "the modules of one program")]

mod jit;
mod program;

use program::{Program, Streams, interpret};
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::Instant;

/// Prints a triangle of stars. Then it counts, to run long enough for a measurement.
const BUILT_IN: &str = "
    ++++++++++++++++            sixteen rows
    >>> +++++++[<++++++>-]<     a star in cell 2 (forty two)
    [>+<-]>                     now in cell 3
    > ++++++++++                a new line in cell 4
    <<<<                        for each row
    [
        >+                      one star more
        [>+>>>+<<<<-]           copy how many to cells 2 and 5
        >>>>[<<<<+>>>>-]<<<     and back
        [>.<-]                  write them
        >>.<<<<-
    ]
    >>>>>> ++++++++++++++++     then sixteen times
    [
        >-[                     and 255 times each
            >-                  move 255 to three cells
            [>+>+>+<<<-]
            >[-]>[-]>[-]<<<     and forget it
        <-]
    <-]
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("brainfuck: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let switches = arguments.len();
    arguments.retain(|argument| argument != "--interpret");
    let compare = arguments.len() < switches;
    let source = match &arguments[..] {
        [] => BUILT_IN.to_owned(),
        [file] => std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?,
        _ => return Err("usage: brainfuck [--interpret] [FILE]".into()),
    };
    let program = Program::parse(&source)?;

    // Reads all input first, so that both runs get the same. Reads nothing from a terminal.
    let mut input = Vec::new();
    if source.contains(',') && !std::io::stdin().is_terminal() {
        std::io::stdin().read_to_end(&mut input)?;
    }

    let start = Instant::now();
    let jit = jit::Jit::new(&program)?;
    let compiling = start.elapsed();
    let start = Instant::now();
    let mut output = Vec::new();
    let result = jit.run(&mut Streams::new(&input, &mut output));
    let running = start.elapsed();
    std::io::stdout().write_all(&output)?;
    result?;

    if compare {
        let start = Instant::now();
        let mut interpreted = Vec::new();
        interpret(&program, &mut Streams::new(&input, &mut interpreted), u64::MAX).transpose()?;
        let interpreting = start.elapsed();
        assert_eq!(interpreted, output, "the interpreter writes what the machine code writes");
        println!("compiled to {} bytes in {compiling:.1?}", jit.len());
        println!("machine code  {running:>10.1?}");
        println!("interpreter   {interpreting:>10.1?}");
        println!("{:.0} times faster", interpreting.as_secs_f64() / running.as_secs_f64());
    }
    Ok(())
}
