//! Tests of the compiler in `examples/brainfuck`: its parser and its machine code. `tests/heavy/brainfuck.rs` compares
//! the machine code with the interpreter.

#![allow(unreachable_pub, dead_code, reason = "the modules of the example")]

#[path = "../examples/brainfuck/jit.rs"]
mod jit;
#[path = "../examples/brainfuck/program.rs"]
mod program;

use jit::Jit;
use program::{Error, Op, Position, Program, Streams, TAPE};

fn parse_error(source: &str) -> Error {
    Program::parse(source).unwrap_err()
}

fn at(line: usize, column: usize) -> Position {
    Position { line, column }
}

/// Runs a program as machine code. Returns its output and its result.
fn run(source: &str, input: &[u8]) -> (Vec<u8>, Result<(), Error>) {
    let program = Program::parse(source).unwrap();
    let mut output = Vec::new();
    let result = Jit::new(&program).unwrap().run(&mut Streams::new(input, &mut output));
    (output, result)
}

#[test]
fn unbalanced_brackets_are_reported_by_position() {
    assert_eq!(parse_error("+]"), Error::NothingToClose(at(1, 2)));
    assert_eq!(parse_error("[\n\n  []]]"), Error::NothingToClose(at(3, 6)));
    assert_eq!(parse_error("ä[["), Error::NeverClosed(at(1, 3)));
    assert_eq!(parse_error("[][\n]["), Error::NeverClosed(at(2, 2)));
    assert_eq!(parse_error("x]").to_string(), "line 1, column 2: this ']' has no '['");
    assert_eq!(parse_error("[x").to_string(), "line 1, column 1: this '[' has no ']'");
}

#[test]
fn equal_commands_are_folded() {
    let ops: Vec<Op> = Program::parse("+++ -><<<[-]").unwrap().ops.into_iter().map(|(op, _)| op).collect();
    assert_eq!(ops, [Op::Add(2), Op::Move(-2), Op::Begin(4), Op::Add(255), Op::End(2)]);
}

#[test]
fn programs_write_and_read() {
    assert_eq!(run("", b""), (vec![], Ok(())));
    assert_eq!(run("-.+.", b""), (vec![255, 0], Ok(())));
    assert_eq!(run(",[.,]", b"echo"), (b"echo".to_vec(), Ok(())));
    assert_eq!(run("++++++++[>++++++++<-]>+.", b""), (b"A".to_vec(), Ok(())));
}

/// Fills the callee-saved registers, calls a compiled program that uses all of them, and reads them afterwards.
#[cfg(target_arch = "x86_64")]
#[test]
fn machine_code_preserves_callee_saved_registers() {
    use execbuf::ExecBuffer;
    let program = Program::parse("+.>,[-]<").unwrap();
    let buffer = ExecBuffer::new(&jit::compile(&program)).unwrap();
    let (mut tape, mut output) = ([0_u8; 2], Vec::new());
    let mut streams = Streams::new(b"a", &mut output);
    let mut kept = [11_u64, 12, 13, 14, 15, 16];
    // SAFETY: The code is a System V function with these three arguments. All registers that it may change are
    // declared, and those that it must preserve are saved here.
    unsafe {
        std::arch::asm!(
            "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
            "push rcx", "sub rsp, 8",
            "mov rbx, [rcx]", "mov rbp, [rcx + 8]", "mov r12, [rcx + 16]",
            "mov r13, [rcx + 24]", "mov r14, [rcx + 32]", "mov r15, [rcx + 40]",
            "call rax",
            "add rsp, 8", "pop rcx",
            "mov [rcx], rbx", "mov [rcx + 8], rbp", "mov [rcx + 16], r12",
            "mov [rcx + 24], r13", "mov [rcx + 32], r14", "mov [rcx + 40], r15",
            "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
            inout("rax") buffer.as_ptr() => _, inout("rcx") kept.as_mut_ptr() => _,
            inout("rdi") tape.as_mut_ptr() => _, inout("rsi") tape.len() => _,
            inout("rdx") (&raw mut streams) => _,
            clobber_abi("sysv64"),
        );
    }
    assert_eq!(kept, [11, 12, 13, 14, 15, 16]);
    assert_eq!((tape, output), ([1, 0], vec![1]));
}

#[test]
fn leaving_the_tape_is_an_error_with_its_position() {
    assert_eq!(run("+.\n <", b""), (vec![1], Err(Error::OffTheTape(at(2, 2)))));
    assert_eq!(run("+[>+]", b"").1, Err(Error::OffTheTape(at(1, 3))));
    assert_eq!(TAPE, 30_000);
    let to_the_end = ">".repeat(TAPE - 1);
    assert_eq!(run(&format!("{to_the_end}+."), b""), (vec![1], Ok(())));
    assert_eq!(run(&format!("{to_the_end}.>"), b"").1, Err(Error::OffTheTape(at(1, TAPE + 1))));
}

#[test]
fn a_failed_write_ends_the_program() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("full"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let program = Program::parse("+[.]").unwrap();
    let result = Jit::new(&program).unwrap().run(&mut Streams::new(b"", &mut Full));
    assert_eq!(result, Err(Error::Output("full".into())));
}
